"""Posterior samples of the hyper-parameters of a process, checked and in one shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import distributions as dist

from stpbnn import _validation as check
from stpbnn.programs.kernel_processes import Process
from stpbnn.programs.traced import value_above

__all__ = ["hyper_draws"]


def hyper_draws(
    process: Process, samples: Mapping[str, Any], temperature: Any
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return all parameters by name, each with one leading axis of draws, and the shape of those draws."""
    check.instance("process", process, Process)
    if process.noise_df is not None:
        raise ValueError(
            "process: got one with noise_df, expected Gaussian noise; draws of the function at X are those of the "
            "site 'f', and StudentTProcessRegressor(noise='student-t') predicts elsewhere"
        )
    if not isinstance(samples, Mapping):
        got = check.shown(samples)
        raise ValueError(f"samples: got {got}, expected a mapping of names to draws, as mcmc.get_samples() is")
    if not isinstance(temperature, dist.Distribution):
        value_above("temperature", temperature, 0)
    priors = {**process.priors, "temperature": temperature} | ({} if process.df is None else {"df": process.df})
    values = {name: jnp.asarray(_recalled(name, prior, samples), float) for name, prior in priors.items()}
    own = {name: prior.shape() for name, prior in priors.items() if isinstance(prior, dist.Distribution)}
    for name, shape in own.items():
        if values[name].shape[values[name].ndim - len(shape) :] != shape:
            raise ValueError(f"samples: got {name!r} of shape {values[name].shape}, expected (draws..., *{shape})")
        _refuse_out_of_range(name, values[name])
    batches = {name: values[name].shape[: values[name].ndim - len(shape)] for name, shape in own.items()}
    if len(set(batches.values())) > 1:
        raise ValueError(f"samples: got draws of shapes {batches}, expected one and the same shape")
    batch = next(iter(batches.values()), ())
    size = int(np.prod(batch))
    return {
        name: value.reshape(size, *own[name]) if name in own else jnp.broadcast_to(value, size)
        for name, value in values.items()
    }, batch


def _recalled(name: str, prior: Any, samples: Mapping[str, Any]) -> Any:
    """Return a fixed value as it is, or the draws of the site `name` among posterior samples."""
    if not isinstance(prior, dist.Distribution):
        return prior
    if name not in samples:
        raise ValueError(f"samples: got {sorted(samples)}, expected also {name!r}, which has a prior")
    return samples[name]


def _refuse_out_of_range(name: str, values: jax.Array) -> None:
    """Refuse draws that are NaN or infinite, or below what a temperature or degrees of freedom can be."""
    if isinstance(values, jax.core.Tracer):
        return
    minimum = {"temperature": 0.0, "df": 2.0}.get(name, -np.inf)
    if not np.all(np.isfinite(values) & (values > minimum)):
        above = f" above {minimum:g}" if np.isfinite(minimum) else ""
        raise ValueError(f"samples: got draws of {name!r} from {values.min():g} on, expected finite numbers{above}")
