"""Which eigenmodes of the kernel have been learned: theories and posterior at the training inputs."""

from __future__ import annotations

from typing import Any

import arviz_stats as az
import numpy as np
import xarray as xr

from stpbnn._validation import data_set, tree
from stpbnn.samplers import SAMPLES

__all__ = ["kernel_spectrum"]

NEEDED = (("constant_data", "eigenvector"), ("observed_data", "y"), ("predictions", "eigenmode"))


def kernel_spectrum(posterior: xr.DataTree, predictions: xr.Dataset) -> dict[str, Any]:
    r"""Return the leading eigenmodes of the kernel of infinite width, and how much of the targets each has learned.

    With the eigenvectors u_k of :math:`\kappa/\lambda_L` on the training inputs,

    .. math:: \ell_k = \frac{(u_k \cdot y)\,(u_k \cdot \bar f)}{(u_k \cdot y)^2}

    summed over outputs above and below. A Gaussian process with the kernel Q K has
    :math:`\ell_k = Q k_k / (Q k_k + T)`: it learns the modes of eigenvalues above T/Q, and leaves out those below.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned, with `predictions/eigenmode`.
    predictions : xarray.Dataset
        What `predict_theories` returned, with `train_mean`.

    Returns
    -------
    dict
        `eigenvalue` (mode), in the units of the variance of f; `target` (mode), the part of |y|² in each mode;
        `learned_posterior` and its Monte Carlo error `learned_mcse` (mode); `learned` (theory, mode), where the
        theories know their means at the training inputs. Empty for posteriors without eigenmodes.

    References
    ----------
    Theory notes, section 4.
    """
    tree("posterior", posterior)
    data_set("predictions", predictions)
    if any(posterior.get(group) is None or name not in posterior[group] for group, name in NEEDED):
        return {}
    constant, y = posterior["constant_data"], posterior["observed_data"]["y"].drop_vars("train_point", errors="ignore")
    vectors = constant["eigenvector"].drop_vars("train_point", errors="ignore").astype(np.float64)
    outer = [dim for dim in y.dims if dim != "train_point"]
    along = vectors @ y.astype(np.float64)
    power = (along**2).sum(outer)
    with np.errstate(all="ignore"):
        series = (along * posterior["predictions"]["eigenmode"]).sum(outer) / power
        found: dict[str, Any] = {
            "eigenvalue": constant["eigenvalue"].astype(np.float64),
            "target": power / float((y.astype(np.float64) ** 2).sum()),
            "learned_posterior": series.mean(SAMPLES),
            "learned_mcse": az.mcse(series, method="mean"),
        }
        if "train_mean" in predictions and predictions.sizes["train_point"] == y.sizes["train_point"]:
            means = predictions["train_mean"].drop_vars("train_point", errors="ignore")
            found["learned"] = (along * (vectors @ means)).sum(outer) / power
    return found
