"""Replica exchange: modes that one chain does not leave, the evidence, and the same draws after an interruption."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import xarray as xr
from numpyro.distributions import Gamma, Normal
from numpyro.infer import MCMC
from scipy import stats
from scipy.integrate import quad

from stpbnn import FiniteWidthRegressor, FullyConnected, comparison, sample
from stpbnn.report.contents import contents
from stpbnn.samplers import Tempered, diagnose, tempered_log_evidence
from stpbnn.samplers.transitions.tempering import _swapped

RNG = np.random.default_rng(0)
X, X_TEST = RNG.normal(size=(8, 3)), RNG.normal(size=(2, 3))
Y, T, N = X @ RNG.normal(size=3), 0.2, 4
SETTINGS = {
    "temperature": T,
    "X_test": X_TEST,
    "warmup": 200,
    "chains": 4,
    "seed": 1,
    "progress": False,
    "sampler": lambda model: Tempered(model, replicas=5),
}


@pytest.fixture(scope="module")
def posterior(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "checkpoint"
    return sample(FullyConnected((N,), "linear"), X, Y, draws=1000, block=250, checkpoint=folder, **SETTINGS)


def over_scales(of):
    """Integrate a function of A = QK + T and k = QK(test, train) over Q ~ Gamma(N/2, N/2)."""
    K, cross = X @ X.T / 3, X_TEST @ X.T / 3
    law = stats.gamma(N / 2, scale=2 / N)
    return quad(lambda Q: law.pdf(Q) * of(Q * K + T * np.eye(len(Y)), Q * cross), 0, 12, epsrel=1e-9, limit=200)[0]


def test_evidence_and_means_of_a_linear_network_are_those_of_quadrature(posterior):
    evidence = over_scales(lambda A, k: stats.multivariate_normal(cov=A).pdf(Y))
    value, error = tempered_log_evidence(posterior)
    assert error < 0.1
    assert abs(value - np.log(evidence)) < 3 * error
    assert diagnose(posterior).attrs["converged"]
    f = posterior["predictions"]["f_mean"].values
    for i in range(2):

        def weighted(A, k, i=i):
            return stats.multivariate_normal(cov=A).pdf(Y) * (k @ np.linalg.solve(A, Y))[i]

        exact = over_scales(weighted)
        blocks = f[:, :, i].reshape(40, -1).mean(axis=1)
        assert abs(blocks.mean() - exact / evidence) < 4 * blocks.std() / 39**0.5


def test_the_comparison_and_the_report_have_the_evidence(posterior):
    theories = {"mixture": FiniteWidthRegressor(FullyConnected((N,), "linear"), temperature=T).fit(X, Y)}
    predicted = comparison.predict_theories(theories, X_TEST)
    compared = comparison.compare_predictions(posterior, predicted)
    value, error = tempered_log_evidence(posterior)
    assert (compared["log_evidence_posterior"], compared["log_evidence_mcse"]) == (value, error)
    exact = compared["log_marginal_likelihood"].item()
    assert abs(exact - np.log(over_scales(lambda A, k: stats.multivariate_normal(cov=A).pdf(Y)))) < 1e-6
    told = contents(posterior, predicted, compared)["convergence"]
    assert any(line.startswith("log evidence by stepping stones -") and f"mixture {exact:.2f}" in line for line in told)


def test_neighbours_swap_at_one_rate_and_walkers_go_round(posterior):
    told = posterior["sample_stats"]
    rates = told["swap_prob"].mean(("chain", "draw"))
    assert told["swap_prob"].dims == ("chain", "draw", "pair")
    assert rates.max() - rates.min() < 0.15 < rates.min()
    power = told["power"]
    assert (power.isel(rung=0) == 1).all()
    assert (power.isel(rung=-1) == 0).all()
    assert (power.diff("rung") < 0).all()
    assert (power.isel(draw=0) == power.isel(draw=-1)).all()  # frozen after the warm-up
    assert (told["round_trips"].isel(draw=-1) > 30).all()


def test_swaps_keep_the_law_of_all_orders_and_reach_two_rungs():
    """Of four replicas of given V orders have weights exp(-sum of beta V): their counts afterwards, by chi squared."""
    powers, V = np.array([1.0, 0.6, 0.3, 0.0]), np.array([2.0, -1.0, 0.5, 1.2])
    orders = np.array(list(permutations(range(4))))
    weights = np.exp(-V[orders] @ powers)
    weights /= weights.sum()
    n = 40_000
    start = orders[np.random.default_rng(0).choice(24, size=n, p=weights)]
    swap = jax.jit(jax.vmap(lambda key, V: _swapped(key, jnp.asarray(powers), V)))
    places, rates = map(np.asarray, swap(jax.random.split(jax.random.key(0), n), jnp.asarray(V[start])))
    after = np.take_along_axis(start, places, axis=1)
    counts = (after[:, None] == orders).all(axis=2).sum(axis=0)
    assert counts.sum() == n
    assert stats.chisquare(counts, n * weights).pvalue > 0.001
    assert np.abs(places - np.arange(4)).max() == 2
    accepted = np.exp(np.minimum(0, -np.diff(powers) * -np.diff(V[orders], axis=1)))
    exact = weights @ accepted
    assert np.all(np.abs(rates.mean(axis=0) - exact) < 4 * rates.std(axis=0) / n**0.5)


@pytest.mark.long
def test_interrupted_it_has_the_same_draws(posterior, tmp_path):
    net = FullyConnected((N,), "linear")
    sample(net, X, Y, draws=250, block=250, checkpoint=tmp_path, **SETTINGS)
    rest = sample(net, X, Y, draws=1000, block=250, checkpoint=tmp_path, **SETTINGS)
    for group in ("predictions", "sample_stats"):
        assert rest[group].to_dataset().equals(posterior[group].to_dataset())


def test_the_prior_of_a_site_with_constraints_is_not_tempered():
    """Of z ~ Gamma(2, 2) with one target N(z, 0.1): the Jacobian of z is a part of the prior."""

    def model():
        numpyro.sample("y", Normal(numpyro.sample("z", Gamma(2.0, 2.0)), 0.1), obs=2.0)

    mcmc = MCMC(
        Tempered(model, replicas=6), num_warmup=300, num_samples=1000, num_chains=4, chain_method="vectorized",
        progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.key(1), extra_fields=("power", "stepping_stone"))
    told, dims = mcmc.get_extra_fields(group_by_chain=True), {"power": "rung", "stepping_stone": "pair"}
    tree = xr.Dataset({name: (("chain", "draw", dim), np.asarray(told[name])) for name, dim in dims.items()})
    value, error = tempered_log_evidence(xr.DataTree.from_dict({"sample_stats": tree}))
    exact = quad(lambda z: stats.gamma(2, scale=0.5).pdf(z) * stats.norm(z, 0.1).pdf(2.0), 0.5, 4)[0]
    assert error < 0.15
    assert abs(value - np.log(exact)) < 4 * error


def test_chains_with_ladders_of_their_own_are_not_pooled():
    """Likelihoods that are equal at all draws: every chain has log p(y) = -1 exactly, by gaps that are its own."""
    gaps = np.array([[0.9, 0.1], [0.1, 0.9]])
    stones = np.broadcast_to(-gaps[:, None] * [[[1.0, 1.0]]], (2, 20, 2))
    power = np.broadcast_to(np.array([[1, 0.1, 0], [1, 0.9, 0]])[:, None], (2, 20, 3))
    told = {"stepping_stone": (("chain", "draw", "pair"), stones), "power": (("chain", "draw", "rung"), power)}
    value, error = tempered_log_evidence(xr.DataTree.from_dict({"sample_stats": xr.Dataset(told)}))
    np.testing.assert_allclose([value, error], [-1, 0], atol=1e-12)


@pytest.mark.long
def test_two_modes_have_their_weights():
    """Of z ~ N(0, 1) with a likelihood that is narrow about -2 and +1: one chain stays where it starts."""

    def model():
        z = numpyro.sample("z", Normal(0.0, 1.0))
        logs = [Normal(centre, 0.05).log_prob(z) + np.log(weight) for centre, weight in ((-2.0, 0.7), (1.0, 0.3))]
        numpyro.factor("likelihood", jax.nn.logsumexp(jnp.stack(logs), axis=0))

    mcmc = MCMC(
        Tempered(model, replicas=8), num_warmup=300, num_samples=1500, num_chains=4, chain_method="vectorized",
        progress_bar=False,
    )  # fmt: skip
    mcmc.run(jax.random.key(0))
    left = np.asarray(mcmc.get_samples(group_by_chain=True)["z"]) < -0.5
    masses = [weight * stats.norm(0, (1 + 0.05**2) ** 0.5).pdf(at) for at, weight in ((-2.0, 0.7), (1.0, 0.3))]
    blocks = left.reshape(40, -1).mean(axis=1)
    error = blocks.std() / 39**0.5
    assert error < 0.05
    assert abs(blocks.mean() - masses[0] / sum(masses)) < 4 * error


def test_chains_in_different_modes_are_named_with_the_remedy(posterior):
    tree = posterior.copy(deep=True)
    del tree["sample_stats"]
    tree["predictions/f_mean"] = tree["predictions/f_mean"] + 5.0 * tree["predictions/chain"]
    assert "the chains differ, and each mixes by itself: several modes" in diagnose(tree).attrs["remedy"]
    assert "sampler='tempered'" in diagnose(tree).attrs["remedy"]


def test_swaps_that_are_seldom_ask_for_replicas(posterior):
    tree = posterior.copy(deep=True)
    tree["sample_stats/swap_prob"] = 0.05 * tree["sample_stats/swap_prob"] / tree["sample_stats/swap_prob"].mean()
    assert "5% of the tries: more replicas, ladder=(7, 0)" in diagnose(tree).attrs["remedy"]


def test_a_ladder_is_that_of_the_kernel(posterior):
    short = SETTINGS | {"draws": 20, "warmup": 200}
    by_name = sample(FullyConnected((N,), "linear"), X, Y, **short | {"sampler": "tempered", "ladder": (5, 0.0)})
    assert by_name.attrs["sampler"] == "tempered"
    assert by_name.attrs["ladder"] == "[5, 0.0]"
    assert by_name["sample_stats"].sizes["rung"] == 5
    f, of_kernel = by_name["predictions"]["f"], posterior["predictions"]["f"]
    np.testing.assert_array_equal(f.values, of_kernel.isel(draw=slice(20)).values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ladder": (5, 0.1)}, r"ladder: got \(5, 0.1\) with sampler='hmc', expected 'tempered'"),
        ({"ladder": (1, 0.1), "sampler": "tempered"}, "ladder: got 1, expected an integer of at least 2"),
        ({"ladder": (5, 1.0), "sampler": "tempered"}, r"ladder: got \(5, 1.0\), expected a power"),
        ({"ladder": 5, "sampler": "tempered"}, "ladder: got 5, expected the number of replicas"),
        ({"ladder": (10**12, 0.1), "sampler": "tempered"}, "ladder: got 10{12} replicas, .* take fewer"),
    ],
)
def test_refused_ladders(settings, message):
    with pytest.raises(ValueError, match=message):
        sample(FullyConnected((N,), "linear"), X, Y, **{"temperature": T, "progress": False} | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replicas": 1}, "replicas: got 1, expected"),
        ({"lowest": 1.0}, "lowest: got 1.0, expected an inverse temperature"),
        ({"potential_fn": abs}, "only its observed sites are tempered"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Tempered(lambda: None, **settings)


def test_evidence_is_refused_where_there_is_none(posterior):
    tree = posterior.copy(deep=True)
    tree["sample_stats/power"] = tree["sample_stats/power"] + 0.1
    with pytest.raises(ValueError, match=r"a ladder down to beta = 0.1, expected one down to 0"):
        tempered_log_evidence(tree)
    with pytest.raises(ValueError, match="sample_stats/stepping_stone, which sampler='tempered' records"):
        tempered_log_evidence(tree.drop_nodes("sample_stats"))
    with pytest.raises(ValueError, match="got 9 draws a chain, expected at least 10"):
        tempered_log_evidence(posterior.isel(draw=slice(9)))
