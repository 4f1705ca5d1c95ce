"""Hyper-parameters learned by the leave-one-out log score: its slopes and its maximum, against scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from stpbnn import Convolutional, FullyConnected, NNGPRegressor, StudentTProcessRegressor

RNG = np.random.default_rng(3)
X = np.sort(RNG.uniform(-2, 2, size=(14, 1)), axis=0)
Y = np.sin(2 * X[:, 0]) + 0.2 * RNG.normal(size=14)
Y2 = np.column_stack([Y, np.cos(X[:, 0]) + 0.3 * RNG.normal(size=14)])
VARIANCES = 0.05 * RNG.uniform(0.5, 2, size=14)
KERNEL = ConstantKernel(1.3) * RBF(0.7)


def score_and_slopes(model, theta):
    """The score that a search sees, and its slopes."""
    return model._left_out_score(model._hyperparameters.at(theta))


def of_t_process(**settings):
    settings = {"kernel": KERNEL, "temperature": 0.05, "criterion": "leave-one-out"} | settings
    return StudentTProcessRegressor(**settings)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (of_t_process(), Y),
        (of_t_process(trend="linear", normalize_y=True), Y2),
        (of_t_process(temperature=VARIANCES, trend="constant", parametrization="scale"), Y),
        (NNGPRegressor(FullyConnected((8,), "erf", bias_precision=2.0)), Y),
        (NNGPRegressor(FullyConnected((8, 8), "relu"), trend="linear"), Y),
        (NNGPRegressor(Convolutional((5,), (1, 1), image=(1, 1, 1))), Y),
    ],
)
def test_slopes_are_those_of_the_score(float64, model, y):
    model.set_params(optimizer=None).fit(X, y)
    if isinstance(model, StudentTProcessRegressor):
        model.set_params(optimize_df=True, optimize_temperature=np.ndim(model.temperature) == 0)
    here = model._hyperparameters.theta
    slopes = approx_fprime(here, lambda theta: score_and_slopes(model, theta)[0], 1e-6)
    np.testing.assert_allclose(score_and_slopes(model, here)[1], slopes, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("criterion", ["evidence", "leave-one-out"])
def test_an_optimum_on_a_bound_has_converged_and_is_named(criterion):
    """Targets without noise: the best temperature is none."""
    model = of_t_process(kernel=RBF(1.0, "fixed"), criterion=criterion, optimize_temperature=True)
    with pytest.warns(ConvergenceWarning, match="temperature: the optimum lies on the lower bound"):
        model.fit(X, X[:, 0])
    assert model.converged_


def test_the_score_is_highest_where_refits_say():
    """A Gaussian process of an RBF kernel and noise: 14 refits for a score, and Nelder and Mead for its maximum."""

    def score(theta):
        total = 0.0
        for i in range(len(X)):
            kernel, rest = KERNEL.clone_with_theta(theta[:2]), np.delete(np.arange(len(X)), i)
            model = GaussianProcessRegressor(kernel, alpha=np.exp(theta[2]), optimizer=None).fit(X[rest], Y[rest])
            mean, std = model.predict(X[[i]], return_std=True)
            total += norm.logpdf(Y[i], mean[0], np.sqrt(std[0] ** 2 + np.exp(theta[2])))
        return total

    start = np.append(KERNEL.theta, np.log(0.05))
    best = minimize(lambda theta: -score(theta), start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4})
    model = of_t_process(df=1e5, optimize_temperature=True).fit(X, Y)  # as good as Gaussian
    assert model.converged_
    assert model.loo_log_score() == pytest.approx(-best.fun, abs=2e-3)
    by_evidence = model.set_params(criterion="evidence").fit(X, Y)
    assert by_evidence.loo_log_score() < -best.fun - 0.01


def test_a_network_is_learned_by_it():
    model = NNGPRegressor(FullyConnected((8,), "erf"), temperature=0.1, optimizer="fmin_l_bfgs_b")
    by_evidence = model.fit(X, Y)
    score, evidence = by_evidence.loo_log_score(), by_evidence.log_marginal_likelihood_
    model.set_params(criterion="leave-one-out").fit(X, Y)
    assert model.converged_
    assert model.loo_log_score() > score
    assert model.log_marginal_likelihood_ < evidence


@pytest.mark.parametrize("noise", ["gaussian", "student-t", "robust"])
def test_other_noises_are_learned_by_the_evidence(noise):
    with pytest.raises(ValueError, match=r"^criterion: got 'leave-one-out' with noise="):
        of_t_process(noise=noise).fit(X, Y)
