"""Chains of a process as an ArviZ DataTree."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpyro.infer import MCMC

from stpbnn import _validation as check
from stpbnn.programs.conditionals import log_likelihood, predict
from stpbnn.programs.kernel_processes import Process

__all__ = ["to_datatree"]


def to_datatree(
    process: Process, mcmc: MCMC, X: Any, y: Any, *, temperature: Any, X_new: Any = None, noise: bool = False
) -> xr.DataTree:
    """Return the chains of a program as a DataTree in ArviZ's schema, ready for ``az.summary`` and ``az.loo``.

    Parameters
    ----------
    process : Process
        The program that was sampled.
    mcmc : numpyro.infer.MCMC
        After its run on the same data.
    X, y, temperature
        What it was run on.
    X_new : array of shape (n, N_0) or None
        New points, for the group predictions.
    noise : bool
        Whether the predictions are new targets, "y"; otherwise they are the function, "f".

    Returns
    -------
    xarray.DataTree
        Groups posterior; sample_stats, the extra fields that were collected; log_likelihood of the P points by
        `log_likelihood`; observed_data; with X_new also predictions by `predict`.

    Raises
    ------
    ValueError
        As `condition`, and for chains that have not been run.

    References
    ----------
    Theory notes, section 5.

    Examples
    --------
    >>> import jax
    >>> from numpyro import distributions as dist
    >>> from numpyro.infer import NUTS
    >>> from stpbnn import FullyConnected
    >>> from stpbnn.programs import student_t_process
    >>> X, y, prior = np.eye(3), np.array([1.0, 0.0, -1.0]), dist.Exponential(1.0)
    >>> model = student_t_process(FullyConnected((10,)), {"df": 4.0})
    >>> mcmc = MCMC(NUTS(model), num_warmup=10, num_samples=10, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), X, y, temperature=prior)
    >>> tree = to_datatree(model, mcmc, X, y, temperature=prior)
    >>> dict(tree["log_likelihood"]["y"].sizes)
    {'chain': 1, 'draw': 10, 'train_point': 3}
    """
    import arviz as az

    process = check.instance("process", process, Process)
    noise = check.boolean("noise", noise)
    if check.instance("mcmc", mcmc, MCMC).last_state is None:
        raise ValueError("mcmc: got chains that have not been run, expected those after mcmc.run(...)")
    # not by az.from_numpyro, which fails where ArviZ was imported before NumPyro
    samples, fields = mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields(group_by_chain=True)
    if "potential_energy" in fields:
        fields["lp"] = -fields.pop("potential_energy")
    pointwise = log_likelihood(process, samples, X, y, temperature=temperature)
    groups = {"posterior": samples, "sample_stats": fields, "observed_data": {"y": np.array(y)}}
    parts = {name: {key: np.asarray(values) for key, values in group.items()} for name, group in groups.items()}
    tree = az.from_dict(parts, dims={"y": ["train_point"]})
    sampled = tree["posterior"].coords
    by_draw = {name: sampled[name] for name in ("chain", "draw")}

    def group(name: str, dim: str, values: np.ndarray) -> xr.DataTree:
        coords = by_draw | {dim: np.arange(values.shape[-1])}
        return xr.DataTree(xr.Dataset({name: (("chain", "draw", dim), values)}, coords))

    tree["log_likelihood"] = group("y", "train_point", pointwise)
    if X_new is not None:
        drawn = predict(process, samples, X, y, X_new, temperature=temperature, noise=noise)
        tree["predictions"] = group("y" if noise else "f", "test_point", drawn)
    return tree
