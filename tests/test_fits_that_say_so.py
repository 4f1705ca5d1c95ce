"""What a fit says of itself: singular and indefinite kernels, searches that fail, fits that explain nothing."""

import warnings

import mpmath
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_diabetes
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, ExpSineSquared, Matern
from student_t_data import NOISES, data

from stpbnn import Activation, FullyConnected, NNGPRegressor, StudentTProcessRegressor
from stpbnn.scale import InverseGamma, trapezoid
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.trapezoid import scale_posterior

GRID = np.array([(a, b) for a in np.linspace(-2, 2, 5) for b in np.linspace(-2, 2, 5)])


def fit(model, X, y):
    """Return the fitted model and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    return model, [str(warning.message) for warning in caught]


def exact_log_evidence(kernel, x, y, temperature, df):
    """The multivariate t of covariance K + T in 50 digits; Matern 5/2 of one input."""
    with mpmath.workdps(50):
        amplitude, length = map(mpmath.mpf, (float(kernel.k1.constant_value), float(kernel.k2.length_scale)))
        P, s = len(x), mpmath.mpf(df - 2)
        A = mpmath.matrix(P, P)
        for i in range(P):
            for j in range(P):
                z = mpmath.sqrt(5) * abs(mpmath.mpf(float(x[i])) - mpmath.mpf(float(x[j]))) / length
                A[i, j] = amplitude * (1 + z + z * z / 3) * mpmath.exp(-z) + (temperature if i == j else 0)
        L, b = mpmath.cholesky(A), mpmath.matrix([mpmath.mpf(float(value)) for value in y])
        white = mpmath.lu_solve(L, b)
        q, log_det = sum(value**2 for value in white), 2 * sum(mpmath.log(L[i, i]) for i in range(P))
        half = mpmath.mpf(df + P) / 2
        constant = (
            mpmath.loggamma(half) - mpmath.loggamma(mpmath.mpf(df) / 2) - mpmath.mpf(P) / 2 * mpmath.log(mpmath.pi * s)
        )
        return float(constant - log_det / 2 - half * mpmath.log(1 + q / s))


def test_the_search_ends_where_the_kernel_is_nearly_singular():
    """The search and what follows it see the same matrix, at a condition number of 1e15."""
    x = np.linspace(-1, 1, 29)
    y = (x - 0.3) ** 2
    model, said = fit(StudentTProcessRegressor(1.0 * Matern(nu=2.5), temperature=1e-10), x[:, None], y)
    exact = exact_log_evidence(model.kernel_, x, y, mpmath.mpf(1e-10), 5)
    np.testing.assert_allclose(model.log_marginal_likelihood_, exact, atol=0.5)
    assert model.log_marginal_likelihood() == model.log_marginal_likelihood_
    np.testing.assert_allclose(model.predict([[0.05]]), (0.05 - 0.3) ** 2, atol=1e-4)
    assert model.converged_ or any("did not converge" in message for message in said)


@pytest.mark.parametrize("seed", range(3))
def test_bayesian_optimisation_goes_on(seed):
    """Query points crowd about the minimum of a function, until the kernel is all but singular."""
    rng = np.random.default_rng(seed)
    x, candidates = rng.uniform(-1, 1, size=3), np.linspace(-1, 1, 101)
    for _ in range(12):
        model, said = fit(StudentTProcessRegressor(1.0 * Matern(nu=2.5), temperature=1e-10), x[:, None], (x - 0.3) ** 2)
        mean, std = model.predict(candidates[:, None], return_std=True)
        assert model.converged_ or any("did not converge" in message for message in said)
        place = candidates[np.argmin(mean - 0.5 * std)]
        x = np.append(x, place + 1e-4 * rng.normal())
    assert np.abs(x[-3:] - 0.3).max() < 0.1


@pytest.mark.parametrize("noise", NOISES)
def test_indefinite_kernels_are_refused_whatever_the_temperature(noise):
    kernel = ExpSineSquared(1.0, 3.0)
    lowest = np.linalg.eigvalsh(kernel(GRID))[0]
    assert lowest < -0.5
    model = StudentTProcessRegressor(kernel, temperature=2 - 2 * lowest, noise=noise, optimizer=None)
    with pytest.raises(ValueError, match=r"kernel: ExpSineSquared.* is not positive definite"):
        model.fit(GRID, GRID[:, 0])


@pytest.mark.parametrize("noise", NOISES)
def test_negative_variances_are_named(noise):
    """The training points alone cannot tell that the kernel is none."""

    class Cheat(RBF):
        def __call__(self, X, Y=None, eval_gradient=False):
            return super().__call__(X, Y, eval_gradient) if Y is None else 2 * super().__call__(X, Y)

    X, y, Xt = data()
    model = StudentTProcessRegressor(Cheat(3.0), temperature=0.1, noise=noise, optimizer=None).fit(X, y)
    with pytest.warns(UserWarning, match="4 of 4 predicted variances are negative and taken as zero"):
        std = model.predict(Xt, return_std=True)[1]
    assert noise == "gaussian" or not std.any()


def test_activations_with_a_kernel_that_is_none_are_refused():
    own = Activation("shifted", lambda h: h, lambda a, b, c: c - 3.0, None)
    with pytest.raises(ValueError, match="is not positive definite"):
        NNGPRegressor(FullyConnected((5,), own), temperature=100.0).fit(GRID, GRID[:, 0])


def test_a_search_that_cannot_begin_at_its_start_begins_elsewhere():
    """T far below the rounding of a kernel that is all but constant: the numbers of the Gaussian process."""
    X = np.array([1.0, 3.0, 5.0, 6.0, 7.0, 8.0])[:, None]
    kernel = ConstantKernel(0.1, (1e-2, 1e2)) * RBF(1000.0, (1e-3, 1e3)) + ConstantKernel(1e-5, (1e-5, 1e2))
    settings = {"df": 1e8, "temperature": 1e-10, "noise": "gaussian", "normalize_y": True}
    y = np.sin(X[:, 0])
    model, said = fit(StudentTProcessRegressor(kernel, **settings), X, y)
    assert not any("encountered" in message for message in said)
    z = (y - y.mean()) / y.std()
    expected = multivariate_normal.logpdf(z, cov=model.kernel_(X) + 1e-10 * np.eye(6))
    np.testing.assert_allclose(model.log_marginal_likelihood_, expected, atol=1e-5)


@pytest.mark.parametrize("optimizer", [None, "fmin_l_bfgs_b"])
def test_a_kernel_that_is_singular_everywhere_is_refused_with_the_remedy(optimizer):
    X, y, _ = data()
    model = StudentTProcessRegressor(DotProduct(), temperature=0, optimizer=optimizer)
    with pytest.raises(
        ValueError, match=r"^temperature: got 0 with a kernel that is singular.*larger temperature$"
    ) as e:
        model.fit(X, y)
    assert "other values" not in str(e.value)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("optimizer", ["fmin_l_bfgs_b", lambda f, theta, bounds: (theta, f(theta)[0])])
@pytest.mark.parametrize("kernel", [1.0 * ExpSineSquared(), 1.0 * RBF(), RBF() + DotProduct()])
def test_converged_and_warnings_agree(noise, optimizer, kernel):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 5, size=12)
    model = StudentTProcessRegressor(kernel, df=1e12, noise=noise, optimizer=optimizer, temperature=1e-4)
    model, said = fit(model, x[:, None], np.sin(3 * x) + 0.1 * rng.normal(size=12))
    assert model.converged_ != any("did not converge" in message for message in said)


def test_networks_say_that_their_search_did_not_converge():
    X, y, _ = data()
    stays = NNGPRegressor(optimizer=lambda f, theta, bounds: (theta, f(theta)[0]))
    model, said = fit(stays, X, y)
    assert not model.converged_
    assert "did not converge" in said[0]
    assert fit(NNGPRegressor(temperature=0.1, optimizer="fmin_l_bfgs_b"), X, y)[0].converged_


def test_a_quadrature_that_is_good_enough_does_not_warn(monkeypatch):
    K, y = RBF(0.5)(np.linspace(0, 1, 4)[:, None]), np.array([1.0, -1.0, 0.5, 0.2])
    resolvent = Resolvent.spectral(K, y[:, None], 0.1)
    monkeypatch.setattr(trapezoid, "TOLERANCE", 1e-17)
    monkeypatch.setattr(trapezoid, "MAX_NODES", 128)
    assert 1e-17 < scale_posterior(resolvent, InverseGamma(5.0)).error < 1e-6


def test_timestamps_as_inputs_are_named():
    days = np.arange(40.0)
    X, y = (1.7e9 + 86400 * days)[:, None], np.sin(days / 5) + 3
    model, said = fit(StudentTProcessRegressor(), X, y)
    assert model.score(X + 43200, y) < -5
    assert any("relates no two of the training inputs" in message and "standardise" in message for message in said)


def test_default_arguments_on_diabetes_name_the_temperature():
    X, y = load_diabetes(return_X_y=True)
    X, y = ((X - X.mean(axis=0)) / X.std(axis=0))[:150], y[:150]
    model, said = fit(StudentTProcessRegressor(), X, y)
    assert model.score(X, y) < 0.01
    assert any("explains nothing" in message and "optimize_temperature=True" in message for message in said)
    assert fit(StudentTProcessRegressor(normalize_y=True, optimize_temperature=True), X, y)[0].score(X, y) > 0.4


@pytest.mark.parametrize("nu", [20.0, 60.0])
def test_matern_kernels_that_overflow_name_their_remedy(nu):
    X, y, _ = data()
    model = StudentTProcessRegressor(Matern(nu=nu), optimizer=None).fit(X, y)
    with pytest.raises(ValueError, match=r"Matern of finite nu >= 20 overflows .*: give nu=np\.inf or nu=2\.5"):
        model.predict(X)
    assert np.isfinite(StudentTProcessRegressor(Matern(nu=np.inf), optimizer=None).fit(X, y).predict(X)).all()
