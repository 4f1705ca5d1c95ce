r"""The log evidence that replica exchange leaves behind, by stepping stones, with its Monte Carlo error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from stpbnn import _validation as check

__all__ = ["LogEvidence", "tempered_log_evidence"]

BLOCKS = 10  # parts of a chain, one of which the jackknife leaves out


class LogEvidence(NamedTuple):
    """log p(y) and its Monte Carlo standard error."""

    value: float
    standard_error: float


def tempered_log_evidence(posterior: xr.DataTree) -> LogEvidence:
    r"""Return log p(y) of a posterior that was sampled with ``sampler="tempered"``.

    .. math:: \log p(y) = \sum_k \log \langle p(y \mid z)^{\beta_k - \beta_{k+1}} \rangle_{k+1}

    Every chain has its own ladder and estimate: the value is their mean. The standard error is that of a
    jackknife over ten blocks of every chain, or the scatter of the chains where that is more.

    Parameters
    ----------
    posterior : xarray.DataTree
        What `stpbnn.sample` returned.

    Returns
    -------
    LogEvidence
        `value` and `standard_error`, in nats: the density of the targets under the network, T being the variance of
        the likelihood.

    Raises
    ------
    ValueError
        If another sampler drew, the ladder does not reach the prior, or there are fewer than ten draws a chain.

    References
    ----------
    W. Xie, P. Lewis, Y. Fan, L. Kuo, M.-H. Chen, Systematic Biology 60, 150 (2011).

    Examples
    --------
    >>> likelihoods = np.random.default_rng(0).uniform(1, 3, (4, 500, 1))  # of draws of the prior, a ladder of two
    >>> stats = {"stepping_stone": (("chain", "draw", "pair"), np.log(likelihoods))}
    >>> stats |= {"power": (("chain", "draw", "rung"), np.tile([1.0, 0.0], (4, 500, 1)))}
    >>> value, error = tempered_log_evidence(xr.DataTree.from_dict({"sample_stats": xr.Dataset(stats)}))
    >>> abs(value - np.log(2)) < 3 * error < 0.1
    True
    """
    stats = check.tree("posterior", posterior).get("sample_stats")
    if stats is None or "stepping_stone" not in stats:
        raise ValueError(
            "posterior: got no sample_stats/stepping_stone, which sampler='tempered' records; sample with it"
        )
    if (lowest := float(stats["power"].min())) > 0:
        raise ValueError(
            f"posterior: got a ladder down to beta = {lowest:g}, expected one down to 0, the prior; take "
            "Tempered(model, lowest=0)"
        )
    stones = stats["stepping_stone"].to_numpy().astype(np.float64)
    draws = stones.shape[1]
    if draws < BLOCKS:
        raise ValueError(f"posterior: got {draws} draws a chain, expected at least {BLOCKS}; sample more")
    values, variances = np.array([_of_chain(chain) for chain in stones]).T
    within, between = np.sqrt(variances.mean()), np.std(values, ddof=1) if len(values) > 1 else 0.0
    return LogEvidence(float(values.mean()), float(max(within, between) / np.sqrt(len(values))))


def _of_chain(stones: np.ndarray) -> tuple[float, float]:
    """Return log p(y) by the stones (draws, pairs) of one chain and its ladder, and its jackknife variance."""
    blocks = np.array_split(stones, BLOCKS)
    sums = np.stack([logsumexp(block, axis=0) for block in blocks])
    sizes = np.array([len(block) for block in blocks], float)
    value = np.sum(logsumexp(sums, axis=0) - np.log(len(stones)))
    left_out = [
        np.sum(logsumexp(np.delete(sums, i, axis=0), axis=0) - np.log(len(stones) - sizes[i])) for i in range(BLOCKS)
    ]
    return float(value), float((BLOCKS - 1) * np.var(left_out))
