"""Many order parameters: draws from their posterior by NUTS on log Q."""

from __future__ import annotations

import warnings

import jax
import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning

from stpbnn.kernels import Closure
from stpbnn.network import FullyConnected
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.saddle_point import SaddlePoint

__all__ = ["sampled_posterior"]

CHAINS, WARMUP, DRAWS, THINNING = 4, 150, 400, 4
MAX_RHAT, MIN_ESS = 1.02, 200


def sampled_posterior(
    net: FullyConnected,
    X: Float[np.ndarray, "P N0"],
    y: Float[np.ndarray, " P"],
    temperature: float,
    closure: Closure,
    points: list[SaddlePoint],
    seed: int = 0,
) -> OrderParameterPosterior:
    """Return p(Q | y) as equally weighted draws of NUTS on log Q, started at the saddle points in turn.

    Parameters
    ----------
    net : FullyConnected
        The network.
    X, y : arrays of shape (P, N_0) and (P,)
        Training set.
    temperature : float
        T > 0, the variance of the noise.
    closure : {"nested", "global", "wishart"}
        How the order parameters enter the kernel.
    points : list of SaddlePoint
        Minima of the action, the lowest first.
    seed : int
        Seed of the chains.

    Returns
    -------
    OrderParameterPosterior
        Its error is the largest Monte Carlo standard error of a posterior mean of Q_l, relative to that mean. Its log
        evidence is that of the saddle point, right to order 1/N: MCMC gives no evidence.

    Warns
    -----
    ConvergenceWarning
        If R-hat is above 1.02, or the effective sample size below 200.
    """
    from numpyro.infer import MCMC, NUTS

    from stpbnn import programs

    starts = np.log([points[chain % len(points)].order_parameters for chain in range(CHAINS)])
    covariance = 2 * np.linalg.inv(points[0].hessian)
    mcmc = MCMC(
        NUTS(programs.scale_mixture(net, closure), dense_mass=True, inverse_mass_matrix=covariance),
        num_warmup=WARMUP,
        num_samples=DRAWS,
        num_chains=CHAINS,
        thinning=THINNING,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(seed), X, y, temperature=temperature, init_params={"Q": starts})
    return _pooled(np.asarray(mcmc.get_samples(group_by_chain=True)["Q"], dtype=np.float64), points[0].log_evidence)


def _pooled(Q: Float[np.ndarray, "chains draws L"], log_evidence: float) -> OrderParameterPosterior:
    """Return all draws as nodes; warn where the chains disagree or are too short."""
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    rhat, size = np.max(split_gelman_rubin(np.log(Q))), np.min(effective_sample_size(np.log(Q)))
    if not (rhat <= MAX_RHAT and size >= MIN_ESS):
        warnings.warn(
            f"the chains over the order parameters did not mix: R-hat {rhat:.3f} (at most {MAX_RHAT} expected), "
            f"effective sample size {size:.0f} (at least {MIN_ESS})",
            ConvergenceWarning,
            stacklevel=3,
        )
    nodes = Q.reshape(-1, Q.shape[-1])
    error = float(np.max(nodes.std(axis=0) / nodes.mean(axis=0)) / np.sqrt(size))
    return OrderParameterPosterior(nodes, np.full(len(nodes), 1 / len(nodes)), log_evidence, error)
