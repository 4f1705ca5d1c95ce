"""All that decides on the draws of a run, as a table that can be stored and compared entry by entry."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution
from numpyro.infer.mcmc import MCMCKernel

from stpbnn.network import Network
from stpbnn.samplers.draws import Data

__all__ = ["described", "fingerprint", "surroundings"]

SETTINGS = (  # flags of JAX that change random numbers or rounding
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_random_seed_offset",
    "jax_accurate_erf_inv",
    "jax_high_dynamic_range_gumbel",
    "jax_default_matmul_precision",
    "jax_disable_jit",
    "jax_disable_most_optimizations",
    "jax_optimization_level",
    "jax_use_direct_linearize",
    "jax_use_hlo_logistic_lowering",
)
PROBES = np.array([-1.5, -0.5, 0.5, 1.5])
ROUNDING = re.compile(
    "fast|precision|isa|deterministic|optimization"
)  # flags of XLA that change numbers; others change time and memory alone


def fingerprint(
    net: Network, data: Data, kernel: MCMCKernel, temperature: Any, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return network, data, temperature, sampler, settings, versions, device and the flags of JAX, as plain values.

    Parameters
    ----------
    net : Network
        The network.
    data : Data
        Training set and test points.
    kernel : MCMCKernel
        The sampler.
    temperature : float or numpyro.distributions.Distribution
        The temperature, or its prior.
    settings : mapping
        Further settings.
    """
    probes = jax.device_put(PROBES.astype(data.X.dtype))  # they tell apart activations of the same name
    slope = np.asarray(net.sigma.function(probes))
    return {
        "network": json.dumps(net.to_dict()),
        "activation": " ".join(f"{value:.5g}" for value in slope),
        **{name: _digest(array) for name, array in data._asdict().items()},
        "temperature": described(temperature),
        "sampler": _kernel(kernel),
        **settings,
        "precision": str(data.X.dtype),
        **surroundings(data.X),
    }


def surroundings(array: jax.Array | None = None) -> dict[str, Any]:
    """Return device, versions and the flags of JAX: what decides on the draws and is no setting of a run.

    Parameters
    ----------
    array : array, optional
        What lies on the device; by default a new one.
    """
    there = jnp.zeros(0) if array is None else array
    device = min(there.devices(), key=lambda device: device.id)
    return {
        "device": f"{device.platform}: {device.device_kind}",
        **{name: version(name) for name in ("stpbnn", "numpyro", "jax", "jaxlib")},
        **{name: str(getattr(jax.config, name, None)) for name in SETTINGS},
        "XLA_FLAGS": " ".join(
            sorted(flag for flag in os.environ.get("XLA_FLAGS", "").split() if ROUNDING.search(flag))
        ),
    }


def described(value: Any) -> Any:
    """Return a number, or a distribution with its parameters, in a form that can be read.

    Examples
    --------
    >>> from numpyro.distributions import LogNormal
    >>> described(LogNormal(-1.0, 0.5)), described(0.1)
    ('LogNormal(-1, 0.5)', 0.1)
    """
    if not isinstance(value, Distribution):
        return value
    parameters = (getattr(value, name, None) for name in value.arg_constraints)
    return f"{type(value).__name__}({', '.join(f'{np.asarray(p).tolist():g}' for p in parameters if p is not None)})"


def _digest(array: jax.Array | None) -> str:
    """Return the shape of an array and a hash of its values."""
    if array is None:
        return "none"
    values = np.ascontiguousarray(array)
    return f"{'x'.join(map(str, values.shape))} {hashlib.sha256(values.tobytes()).hexdigest()[:12]}"


def _kernel(kernel: MCMCKernel) -> str:
    """Return the name of a kernel, with those of its settings that are plain values."""
    plain = {
        name.lstrip("_"): value
        for name, value in sorted(vars(kernel).items())
        if isinstance(value, (bool, int, float, str, tuple, dict))
    }
    return f"{type(kernel).__name__}({', '.join(f'{name}={value}' for name, value in plain.items())})"
