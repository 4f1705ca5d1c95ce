"""Posteriors of networks whose targets are classes, against NumPyro's NUTS on a model written out here."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density
from scipy.special import expit, log_softmax
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from small_run import same, small

import stpbnn
from stpbnn import FullyConnected, programs
from stpbnn.classification import class_scores, posterior_scores

BINARY = FullyConnected((6,), "erf", weight_precision=(0.2, 0.3), likelihood="bernoulli")
TEN = FullyConnected((6,), "erf", 10, weight_precision=(0.2, 0.3), likelihood="categorical")


def digits(classes, P, n=6):
    X, y = load_digits(n_class=classes, return_X_y=True)
    X = X / 16
    return X[:P], y[:P], X[P : P + n], y[P : P + n]


def reference(X, y, Xt, net, T, draws, chains=4):
    """Return means over draws and their standard errors of class probabilities, from NUTS on raw weights in NumPyro."""
    C, (N,), (l0, l1) = net.outputs, net.widths, net.precisions

    def f_of(W, v, X):
        return jax.lax.erf(X @ W / np.sqrt(X.shape[1])) @ v / np.sqrt(N)

    def model():
        W = numpyro.sample("W", dist.Normal(0, l0**-0.5).expand([X.shape[1], N]).to_event(2))
        v = numpyro.sample("v", dist.Normal(0, l1**-0.5).expand([N, C]).to_event(2))
        f = f_of(W, v, jnp.asarray(X))
        law = dist.Bernoulli(logits=f[:, 0]) if C == 1 else dist.Categorical(logits=f)
        numpyro.factor("data", law.log_prob(jnp.asarray(y)).sum() / T)

    mcmc = MCMC(
        NUTS(model), num_warmup=300, num_samples=draws, num_chains=chains, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(jax.random.key(1))
    drawn = mcmc.get_samples(group_by_chain=True)
    f = jax.jit(jax.vmap(jax.vmap(lambda W, v: f_of(W, v, jnp.asarray(Xt)))))(drawn["W"], drawn["v"])
    p = jnp.stack([jax.nn.sigmoid(-f[..., 0]), jax.nn.sigmoid(f[..., 0])], -1) if C == 1 else jax.nn.softmax(f)
    return moments(np.asarray(p, float))


def moments(draws):
    """Return mean and standard error, by the batch means of each chain."""
    batches = draws.reshape(draws.shape[0] * 10, -1, *draws.shape[2:]).mean(axis=1)
    return batches.mean(axis=0), batches.std(axis=0, ddof=1) / np.sqrt(len(batches))


def sampled(net, X, y, Xt, yt, **settings):
    given = {"warmup": 300, "draws": 500, "chains": 4, "progress": False} | settings
    return stpbnn.sample(net, X, y, X_test=Xt, y_test=yt, **given)


def z_values(posterior, exact):
    mean, error = moments(posterior["predictions"]["class_probability"].to_numpy().astype(float))
    return (mean - exact[0]) / np.hypot(error, exact[1])


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["hmc", "nuts", "mala", "langevin"])
def test_two_digits_are_those_of_nuts(sampler):
    X, y, Xt, yt = digits(2, 20)
    settings = {"langevin": {"draws": 20000, "warmup": 5000}, "mala": {"draws": 4000, "warmup": 1000}}
    posterior = sampled(BINARY, X, y, Xt, yt, sampler=sampler, **settings.get(sampler, {"draws": 2000}))
    assert np.abs(z_values(posterior, reference(X, y, Xt, BINARY, 1.0, 3000))).max() < 4


@pytest.mark.long
def test_ten_digits_are_those_of_nuts():
    X, y, Xt, yt = digits(10, 40)
    posterior = sampled(TEN, X, y, Xt, yt, draws=2000)
    assert np.abs(z_values(posterior, reference(X, y, Xt, TEN, 1.0, 3000))).max() < 4


@pytest.mark.long
def test_cold_posterior_is_that_of_nuts():
    X, y, Xt, yt = digits(2, 12)
    posterior = sampled(BINARY, X, y, Xt, yt, draws=2000, temperature=0.3)
    assert np.abs(z_values(posterior, reference(X, y, Xt, BINARY, 0.3, 3000))).max() < 4


@pytest.mark.parametrize(("net", "classes"), [(BINARY, 2), (TEN, 10)])
def test_density_is_prior_and_likelihood_to_the_power(net, classes):
    X, y, _, _ = digits(classes, 12)
    rng, T = np.random.default_rng(0), 0.5
    weights = {name: rng.normal(size=shape) for name, shape in net.shapes(X.shape[1]).items()}
    given = 2.0 * y - 1 if classes == 2 else np.eye(10)[y]
    with jax.enable_x64(True):
        found, _ = log_density(programs.network(net), (jnp.asarray(X), jnp.asarray(given)), {"temperature": T}, weights)
        f = np.asarray(net.forward(weights, jnp.asarray(X)))
    prior = sum(-0.5 * np.sum(w**2) - 0.5 * w.size * np.log(2 * np.pi) for w in weights.values())
    likelihood = np.log(expit((2 * y - 1) * f)).sum() if classes == 2 else log_softmax(f, axis=1)[range(12), y].sum()
    assert float(found) == pytest.approx(prior + likelihood / T, rel=1e-10)


def test_observables_of_a_short_run():
    X, y, Xt, yt = digits(2, 12)
    names = np.array(["zero", "one"])
    posterior = sampled(BINARY, X, names[y], Xt, names[yt], draws=20, warmup=20, chains=2, until={"ess": 5})
    predictions, drawn = posterior["predictions"], posterior["posterior"]
    p = predictions["class_probability"]
    assert p.dims == ("chain", "draw", "test_point", "class")
    assert p["class"].to_numpy().tolist() == ["one", "zero"]
    f = predictions["f"].to_numpy()
    np.testing.assert_allclose(p.sel({"class": "zero"}), expit(f), rtol=1e-5)
    flat, truth = p.to_numpy().reshape(-1, 6, 2).astype(float), (names[yt] == "zero").astype(int)
    np.testing.assert_allclose(
        drawn["test_loss"].to_numpy().ravel(), [log_loss(truth, each[:, 1], labels=[0, 1]) for each in flat], rtol=1e-4
    )
    right = [accuracy_score(truth, each.argmax(axis=1)) for each in flat]
    np.testing.assert_allclose(drawn["test_accuracy"].to_numpy().ravel(), right)
    each = [class_scores(p, truth, [0, 1]).calibration_error for p in flat]
    np.testing.assert_allclose(drawn["test_calibration_error"].to_numpy().ravel(), each, atol=1e-5)
    assert posterior["log_likelihood"]["y"].dims == ("chain", "draw", "train_point")
    assert set(np.unique(posterior["posterior_predictive"]["y"])) <= {-1.0, 1.0}
    with pytest.raises(ValueError, match="posterior: got one of class probabilities"):
        stpbnn.compare(posterior, {"a": stpbnn.NNGPRegressor().fit(X, posterior["observed_data"]["y"])}, Xt, 1.0 * yt)
    scores = posterior_scores(posterior)
    averaged = flat.mean(axis=0)
    assert scores["value"].sel(score="negative_log_likelihood") == pytest.approx(
        log_loss(truth, averaged[:, 1], labels=[0, 1]), rel=1e-5
    )
    assert bool((scores["standard_error"] >= 0).all())
    assert stpbnn.samplers.diagnose(posterior)["quantity"].to_numpy()[0].startswith("class_probability")


@pytest.mark.long
def test_chains_of_classes_go_on_bit_for_bit(tmp_path):
    """Three classes in words: what was sampled in two parts from a checkpoint is what is sampled at once."""
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c"])
    given = {"net": FullyConnected((2,), outputs=3, likelihood="categorical"), "X": rng.normal(size=(6, 3))}
    given |= {"y": names[[0, 1, 2, 0, 1, 2]], "X_test": rng.normal(size=(2, 3)), "y_test": names[[2, 0]]}
    given |= {"temperature": 1.0, "block": 4, "keep_draws": 4}
    small(tmp_path / "draws", draws=8, **given)
    assert same(small(tmp_path / "draws", draws=16, **given), small(draws=16, **given))


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 50)
    labels = np.array(["a", "b", "c"])[rng.integers(0, 3, 50)]
    found = class_scores(p[:, [2, 0, 1]], labels, ["c", "a", "b"])
    assert found.negative_log_likelihood == pytest.approx(log_loss(labels, p))
    assert found.accuracy == accuracy_score(labels, np.array(["a", "b", "c"])[p.argmax(axis=1)])
    assert found.brier == pytest.approx(brier_score_loss(labels, p, labels=["a", "b", "c"], scale_by_half=False))
    confidence, right = p.max(axis=1), np.array(["a", "b", "c"])[p.argmax(axis=1)] == labels
    gaps = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence >= low) & (confidence < low + 0.1)
        if inside.any():
            gaps += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert found.calibration_error == pytest.approx(gaps)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: stpbnn.sample(BINARY, X, [1, 1, 1, 1]), "y: got one class only"),
        (lambda X: stpbnn.sample(BINARY, X, ["a", 1, "a", 1]), "y: got labels of mixed type"),
        (lambda X: stpbnn.sample(BINARY, X, [0, 1, 2, 1]), "got 3 classes for a bernoulli likelihood"),
        (lambda X: stpbnn.sample(BINARY, X, [0, 1, 0, 1], readout="marginal"), "readout: got 'marginal'"),
        (lambda X: stpbnn.sample(BINARY, X, [0, 1, 0, 1], temperature=0), "temperature: got 0"),
        (
            lambda X: stpbnn.sample(BINARY, X, [0, 1, 0, 1], X_test=X[:1], y_test=[7]),
            r"y_test: got the class 7, which the training set lacks",
        ),
        (lambda X: stpbnn.NNGPRegressor(BINARY).fit(X, X[:, 0]), "network: got the likelihood 'bernoulli'"),
        (lambda X: programs.marginal_network(BINARY), "net: got the likelihood 'bernoulli'"),
        (lambda X: FullyConnected((3,), outputs=2, likelihood="bernoulli"), "expected 1 output for two classes"),
        (lambda X: FullyConnected((3,), likelihood="poisson"), "likelihood: got 'poisson', expected one of"),
    ],
)
def test_mistakes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.arange(8.0).reshape(4, 2))


def test_the_gaussian_network_is_as_it_was():
    net = FullyConnected((3,))
    assert "likelihood" not in net.to_dict()
    assert "likelihood" not in repr(net)
    assert FullyConnected(**BINARY.to_dict()) == BINARY
    assert "likelihood='bernoulli'" in repr(BINARY)
