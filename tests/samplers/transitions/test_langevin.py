"""Langevin dynamics: exact Gaussian targets, the paper's dynamics on raw weights, the bias of the unadjusted kernel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size, gelman_rubin
from numpyro.infer import MCMC
from numpyro.infer.util import potential_energy

from stpbnn import FullyConnected, programs
from stpbnn.samplers import MALA, Langevin, SplitHMC, paper_scales

CURVATURE = jnp.array([0.25, 1.0, 9.0])


def draws(kernel, warmup, samples, start=None, chains=8):
    mcmc = MCMC(
        kernel, num_warmup=warmup, num_samples=samples, num_chains=chains, chain_method="vectorized", progress_bar=False
    )
    start = jax.random.normal(jax.random.key(9), (chains, 3)) if start is None else start
    mcmc.run(jax.random.key(0), init_params=start)
    return np.asarray(mcmc.get_samples(group_by_chain=True), float)


def gaussian(z):
    return jnp.sum(CURVATURE * z**2) / 2


def test_the_bias_of_unadjusted_langevin_is_the_known_one():
    """On a Gaussian of precision k the stationary variance is 1/(k (1 − ε k/2)): exact for every step size."""
    for step_size in (0.02, 0.1, 0.2):
        z = draws(Langevin(potential_fn=gaussian, step_size=step_size, num_steps=20), 200, 4000)
        assert np.all(gelman_rubin(z**2) < 1.02)
        expected = 1 / (np.asarray(CURVATURE) * (1 - step_size * np.asarray(CURVATURE) / 2))
        error = expected * np.sqrt(2 / effective_sample_size(z**2))
        assert np.all(np.abs((z**2).mean((0, 1)) - expected) < 4.5 * error)


@pytest.mark.parametrize(
    "kernel",
    [MALA(potential_fn=gaussian, num_steps=10), MALA(potential_fn=gaussian, precondition=True, num_steps=5),
     SplitHMC(potential_fn=gaussian)],
    ids=["mala", "preconditioned", "hmc"],
)  # fmt: skip
def test_adjusted_kernels_are_exact(kernel):
    z = draws(kernel, 400, 3000)
    assert np.all(gelman_rubin(z**2) < 1.02)
    expected = 1 / np.asarray(CURVATURE)
    error = expected * np.sqrt(2 / effective_sample_size(z**2))
    assert np.all(np.abs((z**2).mean((0, 1)) - expected) < 4.5 * error)
    assert np.all(np.abs(z.mean((0, 1))) < 4.5 * np.sqrt(expected / effective_sample_size(z)))


def test_the_preconditioner_learns_the_variances():
    mcmc = MCMC(
        MALA(potential_fn=gaussian, precondition=True, num_steps=5), num_warmup=2000, num_samples=1, progress_bar=False
    )
    mcmc.run(jax.random.key(0), init_params=jnp.zeros(3))
    np.testing.assert_allclose(mcmc.last_state.adapt_state.extra[0], 1 / CURVATURE, rtol=0.5)


def test_the_papers_dynamics_on_raw_weights():
    """The drift of one step on whitened weights is that of the paper on raw ones: θ moves by −ε ∇(loss + T prior)."""
    net, T, step_size = FullyConnected((3, 2), "erf", weight_precision=(0.5, 2.0, 4.0), bias_precision=3.0), 0.3, 1e-3
    X, y = np.random.default_rng(0).normal(size=(4, 2)), np.array([1.0, -1.0, 0.5, 0.0])
    whitened = net.sample_prior(jax.random.key(0), 2)
    precision = (
        {f"W{k + 1}": p for k, p in enumerate(net.precisions[:-1])} | {"v": 4.0} | {f"b{k}": 3.0 for k in (1, 2, 3)}
    )
    raw = {name: z / precision[name] ** 0.5 for name, z in whitened.items()}

    def energy(theta):  # written out, after the paper
        h = jnp.asarray(X) @ theta["W1"] / 2**0.5 + theta["b1"]
        h = jax.lax.erf(h) @ theta["W2"] / 3**0.5 + theta["b2"]
        f = jax.lax.erf(h) @ theta["v"] / 2**0.5 + theta["b3"]
        prior = sum(precision[name] * jnp.sum(w**2) / 2 for name, w in theta.items())
        return jnp.sum((y - f) ** 2) / 2 + T * prior

    slopes = jax.jit(jax.grad(partial(potential_energy, programs.network(net), (X, y), {"temperature": T})))(whitened)
    scales = paper_scales(net, T)
    assert set(scales) == set(whitened)
    for name, slope in jax.jit(jax.grad(energy))(raw).items():
        moved = whitened[name] - step_size * scales[name] * slopes[name]
        np.testing.assert_allclose(moved / precision[name] ** 0.5, raw[name] - step_size * slope, rtol=1e-4, atol=1e-6)
        noise = (2 * step_size * scales[name]) ** 0.5 / precision[name] ** 0.5
        np.testing.assert_allclose(noise, (2 * T * step_size) ** 0.5, rtol=1e-12)


def test_scales_are_applied_by_site():
    """A site of curvature k under the scale c behaves like step size εc: its variance is 1/(k (1 − εck/2))."""

    def potential(z):
        return (4 * jnp.sum(z["a"] ** 2) + jnp.sum(z["b"] ** 2)) / 2

    kernel = Langevin(potential_fn=potential, step_size=0.1, scales={"b": 8.0}, num_steps=20)
    start = {"a": jnp.zeros((8, 50)), "b": jnp.zeros((8, 50))}
    mcmc = MCMC(kernel, num_warmup=50, num_samples=400, num_chains=8, chain_method="vectorized", progress_bar=False)
    mcmc.run(jax.random.key(0), init_params=start)
    for name, expected in (("a", 1 / (4 * (1 - 0.2))), ("b", 1 / (1 - 0.4))):
        squares = np.asarray(mcmc.get_samples(group_by_chain=True)[name], float) ** 2
        error = expected * np.sqrt(2 / effective_sample_size(squares).sum())
        assert abs(squares.mean() - expected) < 4.5 * error


def test_a_chain_that_blew_up_says_so():
    kernel = Langevin(potential_fn=lambda z: jnp.sum(z**4), step_size=10.0)
    mcmc = MCMC(kernel, num_warmup=0, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(0), init_params=jnp.ones(2), extra_fields=("diverging",))
    assert mcmc.get_extra_fields()["diverging"][-1]
