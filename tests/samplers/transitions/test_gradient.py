"""The kernels behind NumPyro's interface: chain methods, resuming, collected fields, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC

from stpbnn import FullyConnected, programs
from stpbnn.samplers import MALA, Langevin, SplitHMC, SplitNUTS

KERNELS = {
    "hmc": SplitHMC,
    "nuts": SplitNUTS,
    "masses": lambda m: SplitHMC(m, rows=("W1",)),
    "mala": MALA,
    "preconditioned": lambda m: MALA(m, precondition=True),
    "langevin": Langevin,
}
X, y = np.random.default_rng(0).normal(size=(5, 3)), np.linspace(-1, 1, 5)
MODEL = programs.marginal_network(FullyConnected((4,), "erf"))
DATA = (jnp.asarray(X), jnp.asarray(y))


def chains(make, seed=0, **settings):
    settings = {"num_warmup": 12, "num_samples": 8, "num_chains": 2, "chain_method": "vectorized"} | settings
    mcmc = MCMC(make(MODEL), progress_bar=False, **settings)
    mcmc.run(jax.random.key(seed), *DATA, temperature=0.2, extra_fields=KERNELS["hmc"].statistics)
    return mcmc


@pytest.mark.long
@pytest.mark.parametrize("kernel", KERNELS)
def test_chains_go_on_where_they_stopped(kernel):
    """Twice four draws, the second four from the state that the first left, in a kernel object of its own."""
    whole = chains(KERNELS[kernel])
    first = chains(KERNELS[kernel], num_samples=4)
    second = MCMC(
        KERNELS[kernel](MODEL),
        num_warmup=12,
        num_samples=4,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
    )
    second.post_warmup_state = first.last_state
    second.run(first.last_state.rng_key, *DATA, temperature=0.2)
    parts = [m.get_samples(group_by_chain=True)["W1"] for m in (first, second)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole.get_samples(group_by_chain=True)["W1"])


@pytest.mark.long
@pytest.mark.parametrize("kernel", KERNELS)
def test_chain_methods_agree(kernel):
    """The same keys give the same chains, one by one or side by side, to rounding."""
    with jax.enable_x64(True):
        together, apart = (chains(KERNELS[kernel], chain_method=m) for m in ("vectorized", "sequential"))
    fields = together.get_extra_fields(group_by_chain=True)
    assert all(values.shape == (2, 8) for values in fields.values())
    assert set(fields) >= {"potential_energy", "accept_prob", "num_steps", "diverging", "energy"}
    np.testing.assert_array_equal(fields["num_steps"], apart.get_extra_fields(group_by_chain=True)["num_steps"])
    a, b = (m.get_samples(group_by_chain=True)["W1"] for m in (together, apart))
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    assert not np.allclose(a[0], a[1])


def test_the_step_size_meets_the_target_and_then_stays():
    for target in (0.6, 0.9):
        mcmc = chains(lambda m, t=target: SplitHMC(m, target_accept_prob=t), num_warmup=400, num_samples=400)
        fields = mcmc.get_extra_fields(group_by_chain=True)
        assert abs(fields["accept_prob"].mean() - target) < 0.1
        assert np.all(fields["adapt_state.step_size"] == fields["adapt_state.step_size"][:, :1])


def test_any_model_with_constrained_sites():
    """Gamma-Poisson: the posterior is a gamma distribution, sampled on the logarithm."""

    def model(counts):
        rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        numpyro.sample("counts", dist.Poisson(rate).expand(counts.shape).to_event(1), obs=counts)

    for make in (lambda m: SplitHMC(m, trajectory_length=2.0), lambda m: MALA(m, precondition=True, num_steps=5)):
        mcmc = MCMC(
            make(model), num_warmup=400, num_samples=2000, num_chains=4, chain_method="vectorized", progress_bar=False
        )
        mcmc.run(jax.random.key(0), jnp.array([3, 5, 2]))
        rate = mcmc.get_samples(group_by_chain=True)["rate"]
        summary = numpyro.diagnostics.summary(np.asarray(rate))["Param:0"]
        assert summary["r_hat"] < 1.01
        error = np.sqrt(12 / 4**2 / summary["n_eff"])  # Gamma(2 + 10, 1 + 3)
        assert abs(rate.mean() - 3.0) < 4 * error
        assert abs(rate.std() / (12**0.5 / 4) - 1) < 0.1


def test_infinite_starts_are_drawn_again():
    def model():
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.factor("half", jnp.where(z > 0, 0.0, -jnp.inf))

    mcmc = MCMC(MALA(model), num_warmup=0, num_samples=1, num_chains=16, chain_method="vectorized", progress_bar=False)
    mcmc.run(jax.random.key(0))
    assert np.all(mcmc.get_samples()["z"] > 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SplitHMC(), "expected one of the two"),
        (lambda: MALA(MODEL, potential_fn=jnp.sum), "expected one of the two"),
        (lambda: SplitHMC(MODEL, step_size=0.0), "step_size: got 0.0"),
        (lambda: SplitHMC(MODEL, trajectory_length=-1.0), "trajectory_length: got -1.0"),
        (lambda: MALA(MODEL, target_accept_prob=1.0), "target_accept_prob: got 1.0"),
        (lambda: MALA(MODEL, num_steps=0), "num_steps: got 0"),
        (lambda: Langevin(MODEL, scales={"W1": 0.0}), r"scales\['W1'\]: got 0.0"),
        (
            lambda: MCMC(Langevin(potential_fn=jnp.sum), num_warmup=0, num_samples=1).run(jax.random.key(0)),
            "init_params",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
