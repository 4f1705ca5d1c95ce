"""The marginal laws of the order parameters of two layers: smooth, and those of a fine grid and of NUTS."""

import jax
import numpy as np
import pytest
from scipy.stats import gamma

from stpbnn import FiniteWidthRegressor, FullyConnected, programs
from stpbnn.comparison.learned import PROBABILITIES

WIDTHS, T = (10, 12), 0.1
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3))
Y = np.sin(X[:, 0]) + X[:, 1]
LEVELS = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])


def law():
    return FiniteWidthRegressor(FullyConnected(WIDTHS, "erf"), temperature=T).fit(X, Y).order_parameter_posterior_


def erf_kernel(K):
    a = 1 + 2 * np.diagonal(K, axis1=-2, axis2=-1)
    return 2 / np.pi * np.arcsin(2 * K / np.sqrt(a[..., :, None] * a[..., None, :]))


def grid(size=90):
    """Return a grid of log Q of each layer, and the marginal weights of p(Q | y) on it."""
    u = np.linspace(-3.5, 3.0, size)
    Q1, Q2 = np.exp(u)[:, None, None, None], np.exp(u)[None, :, None, None]
    A = Q2 * erf_kernel(Q1 * erf_kernel(X @ X.T / 3)) + T * np.eye(len(X))
    solved = np.linalg.solve(A, np.broadcast_to(Y[:, None], (size, size, len(Y), 1)))[..., 0]
    data = -(np.linalg.slogdet(A)[1] + solved @ Y) / 2
    priors = [u + gamma.logpdf(np.exp(u), N / 2, scale=2 / N) for N in WIDTHS]
    weights = np.exp(data + priors[0][:, None] + priors[1] - data.max())
    return u, [weights.sum(axis=1 - layer) / weights.sum() for layer in (0, 1)]


def modes(quantiles):
    density = np.diff(PROBABILITIES) / np.diff(quantiles)
    return int(np.sum((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])))


def test_marginal_laws_of_two_layers_are_smooth_and_right():
    found = law()
    u, weights = grid()
    step = u[1] - u[0]
    for layer, quantiles in enumerate(found.quantile(LEVELS)):
        below = np.interp(np.log(quantiles), u + step / 2, np.cumsum(weights[layer]))
        assert np.abs(below - LEVELS).max() < 0.015
    for quantiles in found.quantile(PROBABILITIES):
        assert modes(quantiles) == 1
        gaps = np.diff(np.log(quantiles[10:-10]))
        assert gaps.max() < 3 * gaps.min()  # none cluster on nodes


@pytest.mark.long
def test_marginal_laws_agree_with_nuts():
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
    from numpyro.infer import MCMC, NUTS

    found = law().quantile(LEVELS)
    with jax.enable_x64(True):
        model = programs.scale_mixture(FullyConnected(WIDTHS, "erf"))
        mcmc = MCMC(NUTS(model), num_warmup=300, num_samples=2000, num_chains=4, chain_method="vectorized",
                    progress_bar=False)  # fmt: skip
        mcmc.run(jax.random.key(1), X, Y, temperature=T)
        Q = np.asarray(mcmc.get_samples(group_by_chain=True)["Q"])
    assert split_gelman_rubin(Q).max() < 1.01
    size = effective_sample_size(Q).min()
    for layer, quantiles in enumerate(found):
        below = (Q[..., layer].reshape(-1, 1) <= quantiles).mean(axis=0)
        assert np.all(np.abs(below - LEVELS) < 0.015 + 4 * np.sqrt(LEVELS * (1 - LEVELS) / size))
