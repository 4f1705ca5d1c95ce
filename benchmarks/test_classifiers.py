"""The classifier of infinite width beside scikit-learn's, on the same kernel: processor time and differences."""

import numpy as np
import pytest
from peer import processor_seconds
from sklearn.gaussian_process import GaussianProcessClassifier

from stpbnn import FiniteWidthClassifier, FullyConnected, NNGPClassifier, NNGPKernel, ProportionalLimitClassifier

NET = FullyConnected((100,), "erf", weight_precision=(1.0, 0.1))


def data(P, classes=2):
    rng = np.random.default_rng(0)
    X, Xt = rng.normal(size=(P, 20)), rng.normal(size=(P, 20))
    scores = np.tanh(X @ rng.normal(size=(20, classes))) + 0.5 * rng.normal(size=(P, classes))
    return X, scores.argmax(axis=1), Xt


@pytest.mark.parametrize("P", [500, 1000, 2000])
@pytest.mark.benchmark(group="fit and predict_proba of P points, beside scikit-learn, processor seconds in turn")
def test_beside_scikit_learn(benchmark, P):
    X, y, Xt = data(P)
    ours, theirs = (
        NNGPClassifier(NET, approximation="laplace"),
        GaussianProcessClassifier(NNGPKernel(NET), optimizer=None),
    )

    def fit_and_predict(model):
        return lambda: model.fit(X, y).predict_proba(Xt)

    fit_and_predict(ours)(), fit_and_predict(theirs)()  # compiled
    pairs = [(processor_seconds(fit_and_predict(ours)), processor_seconds(fit_and_predict(theirs))) for _ in range(5)]
    benchmark.pedantic(fit_and_predict(ours), rounds=3)
    mean, variance = theirs.latent_mean_and_variance(Xt)
    law, info = ours.latent(Xt), benchmark.extra_info
    info["processor s"] = float(np.median([own for own, _ in pairs]))
    info["times faster"] = round(float(np.median([other / own for own, other in pairs])), 2)
    info["pairs"] = [round(other / own, 2) for own, other in pairs]
    info["log evidence, difference"] = abs(ours.log_marginal_likelihood_ - theirs.log_marginal_likelihood_value_)
    info["latent mean and variance, difference"] = float(
        max(np.abs(law.mean - mean).max(), np.abs(law.variance - variance).max())
    )
    info["probabilities, difference"] = float(np.abs(ours.predict_proba(Xt) - theirs.predict_proba(Xt)).max())


@pytest.mark.parametrize("approximation", ["laplace", "ep"])
@pytest.mark.parametrize("kind", [NNGPClassifier, ProportionalLimitClassifier, FiniteWidthClassifier])
@pytest.mark.benchmark(group="two classes, 500 points, fit and predict_proba of 500")
def test_two_classes(benchmark, kind, approximation):
    X, y, Xt = data(500)
    model = kind(NET, approximation=approximation)
    benchmark.pedantic(lambda: model.fit(X, y).predict_proba(Xt), rounds=1, warmup_rounds=1)
    benchmark.extra_info["processor s"] = processor_seconds(lambda: model.fit(X, y).predict_proba(Xt))
    benchmark.extra_info["converged"] = model.converged_


@pytest.mark.benchmark(group="ten classes, 500 points, fit and predict_proba of 500")
def test_ten_classes(benchmark):
    X, y, Xt = data(500, classes=10)
    model = NNGPClassifier(NET.set_params(outputs=10))
    benchmark.pedantic(lambda: model.fit(X, y).predict_proba(Xt), rounds=1, warmup_rounds=1)
    benchmark.extra_info["processor s"] = processor_seconds(lambda: model.fit(X, y).predict_proba(Xt))
    benchmark.extra_info["converged"] = model.converged_
