"""The samplers on networks: exact moments of linear ones, agreement on an erf network, the bias of unadjusted steps."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size, gelman_rubin
from numpyro.infer import MCMC, NUTS, init_to_sample
from scipy.stats import gamma

from stpbnn import FullyConnected, programs
from stpbnn.samplers import MALA, Langevin, SplitHMC, SplitNUTS, paper_scales
from stpbnn.samplers.draws import Data
from stpbnn.samplers.draws.readout import observe_marginal

T = 0.2
RNG = np.random.default_rng(1)
X, y, X_test = RNG.normal(size=(6, 3)), RNG.normal(size=6), RNG.normal(size=(2, 3))
DATA = Data(*map(jnp.asarray, (X, y, X_test)))
LINEAR, ERF = FullyConnected((4,), "linear"), FullyConnected((4,), "erf", bias_precision=2.0)
KERNELS = {
    "hmc": SplitHMC,
    "mala": lambda model: MALA(model, num_steps=10),
    "nuts": SplitNUTS,
    "numpyro's nuts": lambda model: NUTS(model, adapt_mass_matrix=False, init_strategy=init_to_sample),
}


SLOWER = [("hmc", "marginal", (4,)), ("hmc", "explicit", (4,)), ("nuts", "marginal", (4,)), ("hmc", "marginal", (4, 3))]


def functions(net, kernel, readout, warmup=300, samples=1500, chains=4):
    """Draws of f at the test points, (chain, draw, point), and the mean over their readout where it is integrated."""
    marginal = readout == "marginal"
    model = (programs.marginal_network if marginal else programs.network)(net)
    settings = {"num_warmup": warmup, "num_samples": samples, "num_chains": chains, "chain_method": "vectorized"}
    mcmc = MCMC(kernel(model), **settings, progress_bar=False)
    mcmc.run(jax.random.key(3), DATA.X, DATA.y, temperature=T)
    weights = mcmc.get_samples(group_by_chain=True)
    if not marginal:
        return np.asarray(jax.jit(jax.vmap(jax.vmap(lambda w: net.forward(w, DATA.X_test))))(weights), float)
    keys = jax.random.split(jax.random.key(4), (chains, samples))
    draw = jax.jit(jax.vmap(jax.vmap(lambda key, w: observe_marginal(key, net, w, DATA, T)["f"])))
    return np.asarray(draw(keys, weights), float)


def moments(f):
    """Mean and mean square at every point, with their standard errors, once R-hat has been looked at."""
    values = np.concatenate([f, f**2], axis=-1)
    assert np.all(gelman_rubin(values) < 1.02)
    error = values.std((0, 1)) / np.sqrt(effective_sample_size(values))
    return values.mean((0, 1)), error


@cache
def exact_linear(widths):
    """Moments of f of a linear network by quadrature over log Q, one variable Gamma(N/2, N/2) a layer."""
    nodes = np.linspace(-6, 3, 121)
    grids = np.meshgrid(*[nodes] * len(widths), indexing="ij")
    log_weight = sum(
        gamma.logpdf(np.exp(g), n / 2, scale=2 / n) + g for g, n in zip(grids, widths, strict=True)
    ).ravel()
    K = np.vstack([X, X_test]) @ np.vstack([X, X_test]).T / X.shape[1]
    values, evidence = [], []
    for q in np.exp(sum(grids)).ravel():
        A = q * K[:6, :6] + T * np.eye(6)
        solved = np.linalg.solve(A, np.column_stack([y, q * K[:6, 6:]]))
        mean = q * K[6:, :6] @ solved[:, 0]
        variance = q * np.diag(K[6:, 6:]) - np.einsum("ij,ji->i", q * K[6:, :6], solved[:, 1:])
        values.append(np.concatenate([mean, mean**2 + variance]))
        evidence.append(-(np.linalg.slogdet(A)[1] + y @ solved[:, 0]) / 2)
    log_weight = log_weight + evidence
    weight = np.exp(log_weight - log_weight.max())
    return weight @ np.array(values) / weight.sum()


@pytest.mark.parametrize(
    ("kernel", "readout", "widths"),
    [
        ("mala", "marginal", (4,)),
        *(pytest.param(*case, marks=pytest.mark.long) for case in SLOWER),
    ],
)
def test_linear_networks_are_exact(kernel, readout, widths):
    mean, error = moments(functions(FullyConnected(widths, "linear"), KERNELS[kernel], readout))
    assert np.all(np.abs(mean - exact_linear(widths)) < 4 * error)


@cache
def erf_moments(kernel, readout):
    return moments(functions(ERF, KERNELS[kernel], readout))


@pytest.mark.long
@pytest.mark.parametrize(
    "case", [("hmc", "explicit"), ("mala", "marginal"), ("nuts", "explicit"), ("numpyro's nuts", "marginal")], ids=str
)
def test_samplers_agree_on_an_erf_network(case):
    """Each with the Hamiltonian sampler on the integrated readout; the explicit readout gives the same law."""
    (a, a_error), (b, b_error) = erf_moments("hmc", "marginal"), erf_moments(*case)
    assert np.all(np.abs(a - b) < 4 * np.hypot(a_error, b_error))


@pytest.mark.long
def test_unadjusted_langevin_converges_to_the_posterior_with_its_step_size():
    """On the raw weights of a linear network: the mean square of f is too large, by more for longer steps."""

    def excess(step_size, steps):
        def kernel(model):
            return Langevin(model, step_size=step_size, scales=paper_scales(LINEAR, T), num_steps=steps)

        mean, error = moments(functions(LINEAR, kernel, "explicit", samples=2000, chains=8))
        return (mean - exact_linear((4,)))[-1], error[-1]  # at the point that is known best

    (long, _), (half, its_error), (short, short_error) = (excess(*s) for s in ((0.4, 10), (0.2, 20), (0.01, 200)))
    assert long > 2 * half > 8 * its_error
    assert abs(short) < 4 * short_error
