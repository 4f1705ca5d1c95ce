"""Infinitely wide convolutional networks: regression by the kernel written out, its evidence, files, and refusals."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning

import stpbnn
from stpbnn import (
    AdaptiveKernelRegressor,
    Convolutional,
    FiniteWidthRegressor,
    FullyConnected,
    NNGPClassifier,
    NNGPRegressor,
    StudentTProcessRegressor,
)
from stpbnn.kernels import patch_kernels

RNG = np.random.default_rng(0)
X, Z = RNG.normal(size=(8, 16)), RNG.normal(size=(3, 16))
Y = np.tanh(X[:, :3].sum(axis=1))
NET = Convolutional((4,), 2, 2, image=(4, 4, 1), weight_precision=(0.5, 2.0), bias_precision=4.0)
T = 0.1


def kernel(net, A, B=None):
    return np.einsum("iipq->pq", patch_kernels(net, A, B)) / 4 / 2.0 + 0.25


@pytest.fixture(scope="module")
def model():
    return NNGPRegressor(NET, temperature=T).fit(X, Y)


def test_law_of_the_function(model):
    net = model.network_
    A, k = kernel(net, X) + T * np.eye(8), kernel(net, Z, X)
    law = model.predictive(Z, joint=True)
    np.testing.assert_allclose(law.mean, k @ np.linalg.solve(A, Y), rtol=1e-10)
    np.testing.assert_allclose(law.covariance, kernel(net, Z) - k @ np.linalg.solve(A, k.T), rtol=1e-9, atol=1e-12)
    assert model.log_marginal_likelihood_ == pytest.approx(multivariate_normal(cov=A).logpdf(Y), rel=1e-10)
    inverse = np.linalg.inv(A)
    np.testing.assert_allclose(model.leave_one_out().mean, Y - inverse @ Y / np.diag(inverse), rtol=1e-9)


def test_gradient_of_the_evidence(model):
    theta = np.log([0.5, 2.0, 4.0, T])
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    for k, at in enumerate(np.eye(4) * 1e-5):
        values = [model.log_marginal_likelihood(theta + sign * at) for sign in (1, -1)]
        assert gradient[k] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-7)


def test_files_hold_it(model, tmp_path):
    stpbnn.save(model, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    assert again.network_ == model.network_
    np.testing.assert_array_equal(again.predict(Z), model.predict(Z))


def test_the_iterative_solver_and_a_trend_work_on_it(model):
    iterative = NNGPRegressor(model.network_, temperature=T, solver="iterative").fit(X, Y)
    np.testing.assert_allclose(iterative.predict(Z), model.predict(Z), rtol=1e-4, atol=1e-5)
    with_trend = NNGPRegressor(model.network_, temperature=T, trend="constant").fit(X, Y + 5.0)
    again = NNGPRegressor(model.network_, temperature=T, trend="constant").fit(X, Y)
    np.testing.assert_allclose(with_trend.predict(Z), again.predict(Z) + 5.0, rtol=1e-9)


def test_a_process_takes_its_kernel():
    process = StudentTProcessRegressor(NET, df=5.0, temperature=T, noise="gaussian", optimizer=None).fit(X, Y)
    assert np.isfinite(process.predict(Z)).all()


def test_theories_that_do_not_know_it_say_so():
    with pytest.raises(
        ValueError,
        match=r"^network: got Convolutional\(.*, expected a stpbnn.FullyConnected; take .*, or stpbnn.sample$",
    ):
        AdaptiveKernelRegressor(NET).fit(X, Y)


def test_bad_inputs_are_refused(model):
    with pytest.raises(ValueError, match=r"X: got 15 features, expected 16: images of \(4, 4, 1\)"):
        NNGPRegressor(NET).fit(X[:, :15], Y)
    with pytest.raises(ValueError, match="network: got a Convolutional, whose gradient in the inputs is not known"):
        model.predict_gradient(Z)
    with pytest.raises(ValueError, match="network: got a Convolutional of 1 hidden layer"):
        model.posterior_kernel()
    with pytest.raises(ValueError, match=r"expected a stpbnn\.FullyConnected or a stpbnn.Convolutional"):
        NNGPRegressor("erf").fit(X, Y)


def test_precisions_are_learned():
    net = NET.set_params(bias_precision=None, weight_precision=1.0)
    given = NNGPRegressor(net, temperature=T).fit(X, Y)
    learned = NNGPRegressor(net, temperature=T, optimizer="fmin_l_bfgs_b").fit(X, Y)
    assert learned.log_marginal_likelihood_ > given.log_marginal_likelihood_
    _, slope = learned.log_marginal_likelihood(eval_gradient=True)
    assert np.abs(slope).max() < 1e-2


def test_classes_of_images():
    """Laplace's approximation at the mode of the latent function that SciPy finds."""
    labels = np.where(Y > 0, "up", "down")
    model = NNGPClassifier(NET.set_params(likelihood="bernoulli"), approximation="laplace").fit(X, labels)
    K, signs = kernel(NET, X), np.where(labels == "up", 1.0, -1.0)

    def objective(a):
        f = K @ a
        return np.sum(np.logaddexp(0, -signs * f)) + a @ f / 2

    f = K @ minimize(objective, np.zeros(8), method="BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose(model.latent(X).mean, f, atol=1e-4)
    theta = np.log([0.5, 2.0, 4.0])
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    up, down = (model.log_marginal_likelihood(theta + step * np.eye(3)[1]) for step in (1e-4, -1e-4))
    assert gradient[1] == pytest.approx((up - down) / 2e-4, rel=1e-4)


def test_a_kernel_that_overlapping_windows_leave_indefinite_is_said():
    """Of several layers of features that bend it is an expansion, which need not be a covariance."""
    X = np.random.default_rng(0).normal(size=(8, 4))
    net = Convolutional((3, 3), ((1, 2), (1, 2)), stride=1, image=(1, 4, 1), activation="square")
    with pytest.warns(ConvergenceWarning, match=r"leaves out 1\d% of its law, where the kernel of overlapping windows"):
        model = FiniteWidthRegressor(net, temperature=0.01).fit(X, np.tanh(X[:, 0] + X[:, 2] * X[:, 3]))
    assert not model.converged_
    assert model.order_parameter_posterior_.error > 0.1
    assert np.isfinite(model.predict(X, return_std=True)).all()


def test_a_fit_without_a_seed_is_the_same_again():
    X = np.random.default_rng(0).normal(size=(8, 4))
    fits = [
        FiniteWidthRegressor(FullyConnected((9,), outputs=2), temperature=0.1, random_state=seed)
        for seed in (None, None, 1)
    ]
    first, second, other = (model.fit(X, X[:, :2]).predict(X) for model in fits)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0
