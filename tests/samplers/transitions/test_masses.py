"""Masses against known curvatures: Gaussian targets whose law, flow and mean squared gradients are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer import MCMC

from stpbnn.samplers import SplitHMC, SplitNUTS
from stpbnn.samplers.transitions.hamiltonian import rotate_and_kick

CURVATURES = np.array([1.0, 9.0, 400.0])  # of the rows of W1, each of UNITS entries
UNITS = 40
SETTINGS = {"num_warmup": 400, "num_samples": 500, "num_chains": 4, "chain_method": "vectorized", "progress_bar": False}


def potential(z):
    return jnp.sum(jnp.asarray(CURVATURES)[:, None] * z["W1"] ** 2) / 2 + jnp.sum(z["v"] ** 2) / 2


def run(make):
    mcmc = MCMC(make(potential_fn=potential, rows=("W1",)), **SETTINGS)
    start = {"W1": jnp.ones((4, 3, UNITS)), "v": jnp.ones((4, UNITS))}
    mcmc.run(jax.random.key(0), init_params=start, extra_fields=("num_steps", "energy"))
    return mcmc


def test_coordinates_turn_with_their_frequencies():
    """H = |z|²/2 + Σ p²/(2m): with p/√m as momentum a rotation by t/√m, which three steps follow exactly."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        z, p = (jnp.asarray(rng.normal(size=4)) for _ in range(2))
        frequency = jnp.asarray([1.0, 0.5, 0.1, 0.01])
        gradient = jax.value_and_grad(lambda z: z @ z / 2)
        at = (z, p, *gradient(z))
        for _ in range(3):
            at = rotate_and_kick(gradient, 0.7 * frequency, at[0], at[1], at[3])
        turned = 2.1 * frequency
        np.testing.assert_allclose(at[0], np.cos(turned) * z + np.sin(turned) * p, rtol=1e-12)
        np.testing.assert_allclose(at[1], np.cos(turned) * p - np.sin(turned) * z, rtol=1e-12)


@pytest.mark.parametrize("make", [SplitHMC, SplitNUTS])
def test_masses_are_the_curvatures_of_a_gaussian_and_its_law_is_kept(make):
    mcmc = run(make)
    frequency = mcmc.last_state.adapt_state.extra.frequency
    masses = frequency["W1"] ** -2.0  # (chain, row, 1): means over 40 units and 200 steps
    np.testing.assert_allclose(masses[..., 0], np.broadcast_to(CURVATURES, (4, 3)), rtol=0.1)
    np.testing.assert_allclose(frequency["v"] ** -2.0, 1.0, rtol=0.15)
    W = np.asarray(mcmc.get_samples(group_by_chain=True)["W1"])  # (chain, draw, row, unit)
    squares = W**2 * CURVATURES[:, None]  # each of mean 1
    assert numpyro.diagnostics.gelman_rubin(squares.mean(axis=3)).max() < 1.01
    error = squares.mean(axis=1).std(axis=(0, 2)) / np.sqrt(4 * UNITS)
    assert np.all(np.abs(squares.mean(axis=(0, 1, 3)) - 1) < 4 * error)


def test_steps_do_not_wait_for_the_stiffest_row():
    """Without masses a step of angle θ is stable for θ < 2/20, of the stiffest row; with them the rows are alike."""
    with_masses = run(SplitHMC).get_extra_fields()["num_steps"].mean()
    without = run(lambda rows, **settings: SplitHMC(**settings)).get_extra_fields()["num_steps"].mean()
    assert with_masses < without / 4


def test_few_steps_of_warm_up_leave_finite_masses():
    for warmup in (0, 1, 3):
        mcmc = MCMC(SplitHMC(potential_fn=potential, rows=("W1",)), **SETTINGS | {"num_warmup": warmup})
        mcmc.run(jax.random.key(0), init_params={"W1": jnp.ones((4, 3, UNITS)), "v": jnp.ones((4, UNITS))})
        frequency = mcmc.last_state.adapt_state.extra.frequency["W1"]
        assert np.all((frequency > 0) & (frequency <= 1))
        if warmup == 0:
            assert np.all(frequency == 1)


def test_sites_without_names_have_a_mass_each():
    """Of curvatures 1 and 100, a tuple of positions."""
    kernel = SplitHMC(potential_fn=lambda z: jnp.sum(z[0] ** 2) / 2 + 50 * jnp.sum(z[1] ** 2), rows=("W1",))
    mcmc = MCMC(kernel, **SETTINGS | {"num_samples": 1})
    mcmc.run(jax.random.key(0), init_params=(jnp.ones((4, UNITS)), jnp.ones((4, UNITS))))
    masses = [frequency**-2.0 for frequency in mcmc.last_state.adapt_state.extra.frequency]
    for found, curvature in zip(masses, (1.0, 100.0), strict=True):
        np.testing.assert_allclose(found, curvature, rtol=0.15)


@pytest.mark.parametrize("rows", ["W1", 3, (1, 2), {"W1"}])
@pytest.mark.parametrize("make", [SplitHMC, SplitNUTS])
def test_rows_that_are_no_names_are_refused(make, rows):
    with pytest.raises(ValueError, match=r"rows: got .*, expected names of sites"):
        make(lambda: None, rows=rows)
