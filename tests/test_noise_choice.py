"""The noise that leave-one-out chooses, against the log density of new targets and against fits of each noise."""

import warnings

import numpy as np
import pytest
from conformance import checks
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

import stpbnn
from stpbnn import FullyConnected, NNGPKernel, NNGPRegressor, StudentTProcessRegressor
from stpbnn.predictive import Mixture, StudentT

LEARNS = {"temperature": 0.1, "optimize_temperature": True, "noise": "auto"}


def sine(P, contaminated, seed):
    """Inputs, and a sine with Gaussian noise of 0.2; of contaminated targets every tenth is off by 3 to 10."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, size=(P, 1))
    y = np.sin(2 * X[:, 0]) + 0.2 * rng.normal(size=P)
    if contaminated:
        y[::10] += rng.choice([-1, 1], len(y[::10])) * rng.uniform(3, 10, len(y[::10]))
    return X, y


@pytest.fixture(scope="module", params=[False, True], ids=["clean", "contaminated"])
def fits(request):
    """The chosen fit, both candidates, and new targets of the same law."""
    model, data = StudentTProcessRegressor(RBF(0.8, "fixed"), **LEARNS), sine(60, request.param, seed=0)
    own = {noise: clone(model).set_params(noise=noise).fit(*data) for noise in ("scale", "student-t")}
    return model.fit(*data), own, sine(200, request.param, seed=1), request.param


def test_new_targets_are_likelier_under_the_noise_that_is_chosen(fits):
    model, own, (X, y), contaminated = fits
    assert model.noise_ == ("student-t" if contaminated else "scale")
    density = {noise: fit.predictive(X, noise=True).logpdf(y).mean() for noise, fit in own.items()}
    assert max(density, key=density.get) == model.noise_


def test_the_fit_is_that_of_the_noise_that_is_chosen(fits):
    model, own, (X, _), _ = fits
    assert model.loo_log_scores_ == {noise: pytest.approx(fit.loo_log_score()) for noise, fit in own.items()}
    chosen = own[model.noise_]
    assert model.noise == "auto"
    assert model.kernel_ == chosen.kernel_
    assert model.noise_df_ == chosen.noise_df_
    for ours, theirs in zip(model.predict(X, return_std=True), chosen.predict(X, return_std=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert isinstance(model.predictive(X, noise=True), StudentT if model.noise_ == "scale" else Mixture)
    clean = chosen.predictive(X, noise="clean" if model.noise_ == "student-t" else True)
    np.testing.assert_array_equal(model.predictive(X, noise="clean").variance, clean.variance)


def test_scores_are_those_of_the_laws():
    """Without learning: conditionals of SciPy's multivariate t and normal, and by drawing f from its prior."""
    X, y = sine(6, True, seed=0)
    kernel, T, others = 1.0 * RBF(0.8), 0.1, [np.delete(np.arange(6), i) for i in range(6)]
    K = kernel(X)

    def score(law):
        return sum(law(np.arange(6)).logpdf(y) - law(rest).logpdf(y[rest]) for rest in others)

    def cut(i):
        return np.zeros(len(i)), K[np.ix_(i, i)] + T * np.eye(len(i))

    def scaled(i):
        mean, covariance = cut(i)
        return stats.multivariate_t(mean, covariance * 3 / 5, df=5)

    f = np.random.default_rng(1).standard_normal((50_000, 6)) @ np.linalg.cholesky(K).T
    likely = stats.t(4, scale=np.sqrt(T)).pdf(y - f)
    drawn = sum(np.log(likely.prod(axis=1).mean() / likely[:, rest].prod(axis=1).mean()) for rest in others)
    settings = {"temperature": T, "optimizer": None, "noise": "auto"}
    scores = StudentTProcessRegressor(kernel, **settings).fit(X, y).loo_log_scores_
    assert scores == {"scale": pytest.approx(score(scaled), rel=1e-8), "student-t": pytest.approx(drawn, abs=0.4)}
    net = FullyConnected((9,), "erf", bias_precision=1.0)
    K = NNGPKernel(net)(X)
    gaussian = NNGPRegressor(net, **settings).fit(X, y).loo_log_scores_["gaussian"]
    assert gaussian == pytest.approx(score(lambda i: stats.multivariate_normal(*cut(i))), rel=1e-8)


def test_the_choice_is_kept_in_files(fits, tmp_path):
    model, _, (X, _), _ = fits
    stpbnn.save(model, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    assert (again.noise, again.noise_, again.loo_log_scores_) == ("auto", model.noise_, model.loo_log_scores_)
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-12)


def test_networks_choose_as_well_and_another_fit_forgets_the_choice():
    model = NNGPRegressor(FullyConnected((9,), "erf", bias_precision=1.0), temperature=0.04, noise="auto")
    for contaminated, noise in ((True, "student-t"), (False, "gaussian")):
        X, y = sine(60, contaminated, seed=0)
        assert model.fit(X, y + X[:, 0] / 3 - np.sin(2 * X[:, 0])).noise_ == noise
    model.set_params(noise="student-t").fit(X[:12], y[:12])
    assert (model.noise_, model.loo_log_scores_) == ("student-t", None)


def test_warnings_are_those_of_the_fit_that_is_kept():
    """Gaussian noise would take all as noise, up to its bound; Student's t has a bound of its own to tell of."""
    X, y = sine(60, True, seed=0)
    kernel = ConstantKernel(1.0, (1e-3, 1.0001)) * RBF(1.0, "fixed")
    with pytest.warns(ConvergenceWarning, match="optimum lies on the upper bound 1 of the search") as told:
        model = StudentTProcessRegressor(kernel, **LEARNS).fit(X, 3 * y)
    assert model.noise_ == "student-t"
    assert len(told) == 1


@pytest.mark.parametrize("far", [True, False])
def test_where_all_is_taken_as_noise_the_noise_that_ignores_outliers_is_named(far):
    """A few targets are a thousand times as large as the others, or none is and there is nothing but noise."""
    rng = np.random.default_rng(int(far))
    X, y = rng.uniform(-3, 3, size=(40, 1)), rng.normal(size=40)
    y[:4] *= 1e3 if far else 1.0
    for model in (
        StudentTProcessRegressor(1.0 * RBF(1.0, "fixed"), **LEARNS | {"noise": "scale"}),
        NNGPRegressor(FullyConnected((9,), "erf"), temperature=1.0, optimizer="fmin_l_bfgs_b"),
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model.fit(X, y)
        messages = [str(each.message) for each in told if "as noise" in str(each.message)]
        assert messages
        assert all(("take noise='student-t'" in each) == far for each in messages)


def test_a_fit_without_moments_is_not_chosen(monkeypatch):
    """No accuracy is enough."""
    X, y = sine(60, True, seed=0)
    model = StudentTProcessRegressor(1.0 * RBF(1.0), optimizer=None, temperature=0.1, noise="auto").fit(X, y)
    assert model.noise_ == "student-t"
    monkeypatch.setattr("stpbnn.regressors.noise_choice.ACCURACY", 0.0)
    model.fit(X, y)
    assert model.noise_ == "scale"
    assert model.loo_log_scores_["student-t"] == -np.inf


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trend": "linear"}, "trend: got 'linear' with noise='auto', expected 'zero'"),
        ({"temperature": 0.0}, "temperature: got 0 with noise='auto'"),
        ({"solver": "iterative"}, "solver: got 'iterative' with noise='auto', expected 'auto' or 'exact'"),
        ({"criterion": "leave-one-out"}, "criterion: got 'leave-one-out' with noise='auto'"),
    ],
)
@pytest.mark.parametrize("kind", [NNGPRegressor, StudentTProcessRegressor])
def test_what_one_of_the_noises_lacks_is_refused(kind, settings, message):
    model = kind(optimizer=None, noise="auto").fit(*sine(8, False, seed=0))
    with pytest.raises(ValueError, match=message):
        model.set_params(**settings).fit(*sine(8, False, seed=0))
    assert not hasattr(model, "X_train_")
    with pytest.raises(ValueError, match="sample_weight: got weights with noise='auto', expected noise="):
        kind(optimizer=None, noise="auto").fit(*sine(8, False, seed=0), sample_weight=np.ones(8))


def test_each_noise_learns_the_degrees_of_freedom_that_it_has():
    X, y = sine(25, True, seed=0)
    kernel, learns = 1.0 * RBF(0.8, "fixed"), {"optimize_df": True, "optimize_noise_df": True}
    with pytest.warns(ConvergenceWarning, match="noise_df: the optimum lies on the lower bound"):
        model = StudentTProcessRegressor(kernel, **LEARNS, **learns).fit(X, y)
    assert model.noise_df_ == pytest.approx(1.0)
    assert model.df_ == 5.0


@checks(StudentTProcessRegressor(noise="auto", temperature=1.0, optimizer=None), long=True)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)
