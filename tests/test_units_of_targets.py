"""A fit does not depend on the unit or the origin of the targets: y → c y, and y → y + c."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_t
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern
from student_t_data import NOISES

from stpbnn import (
    FiniteWidthRegressor,
    FullyConnected,
    NNGPKernel,
    NNGPRegressor,
    ProportionalLimitRegressor,
    StudentTProcessRegressor,
)


def data(P=30):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(P, 2))
    return X, X[:, 0] + np.sin(2 * X[:, 1]) + 0.3 * rng.normal(size=P)


@pytest.mark.parametrize("unit", [1e-2, 1.0, 1e5, 1e8])
def test_temperature_beside_the_scale_is_that_of_the_highest_evidence(unit):
    """A fixed kernel, T relative to r: the optimum of scipy's multivariate t over T."""
    X, y = data(60)
    kernel, df = RBF(1.45, "fixed"), 5.0

    def loss(log_t):
        A = kernel(X) + np.exp(log_t) * np.eye(60)
        return -multivariate_t.logpdf(unit * y, shape=(df - 2) / df * A, df=df)

    best = minimize_scalar(loss, bounds=np.log([1e-8, 1e3]), method="bounded", options={"xatol": 1e-7})
    model = StudentTProcessRegressor(kernel, df=df, optimize_temperature=True).fit(X, unit * y)
    assert model.converged_
    np.testing.assert_allclose(np.log(model.temperature_), best.x, atol=1e-2)
    np.testing.assert_allclose(model.log_marginal_likelihood_, -best.fun, atol=1e-3)
    assert model.score(X, unit * y) > 0.8


def assert_equivariant(fit, units, rtol=1e-4):
    X, y = data()
    reference = fit(X, y)
    mean, std = reference.predict(X[:5] + 0.1, return_std=True)
    for unit in units:
        model = fit(X, unit * y)
        assert model.converged_
        found = model.predict(X[:5] + 0.1, return_std=True)
        np.testing.assert_allclose(found[0] / unit, mean, rtol=50 * rtol, atol=20 * rtol)
        np.testing.assert_allclose(found[1] / unit, std, rtol=50 * rtol)
        if not getattr(model, "normalize_y", False):
            evidence = model.log_marginal_likelihood_ + len(y) * np.log(unit)
            np.testing.assert_allclose(evidence, reference.log_marginal_likelihood_, atol=1e-3)
            np.testing.assert_allclose(model.temperature_ / unit**2, reference.temperature_, rtol=100 * rtol)
    return reference


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    "kernel", [RBF(1.45, "fixed"), Matern(1.0, nu=1.5), 2.0 * NNGPKernel(FullyConnected((5,)), "fixed")]
)
def test_processes_with_a_variance_to_learn(noise, kernel):
    free = ConstantKernel(1.0, (1e-25, 1e25)) * kernel
    settings = {"noise": noise, "df": 1e6, "optimize_temperature": True}
    assert_equivariant(lambda X, y: StudentTProcessRegressor(free, **settings).fit(X, y), [1e-6, 1e8])


@pytest.mark.parametrize("noise", NOISES)
def test_processes_of_normalised_targets(noise):
    settings = {"noise": noise, "normalize_y": True, "optimize_temperature": True}
    fit = lambda X, y: StudentTProcessRegressor(Matern(1.0, nu=1.5), **settings).fit(X, y)  # noqa: E731
    assert_equivariant(fit, [1e-6, 1e8])


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("unit", [1e-6, 1e8])
@pytest.mark.filterwarnings("ignore:k1__constant_value:sklearn.exceptions.ConvergenceWarning")
def test_the_kernel_that_is_taken_unasked(noise, unit):
    X, y = data()
    model = StudentTProcessRegressor(noise=noise, optimize_temperature=True).fit(X, unit * y)
    assert model.converged_
    assert 0.8 < model.score(X, unit * y) < 0.99


@pytest.mark.parametrize(
    "regressor",
    [NNGPRegressor, FiniteWidthRegressor, pytest.param(ProportionalLimitRegressor, marks=pytest.mark.long)],
)
@pytest.mark.parametrize(
    "network",
    [
        FullyConnected((50,), "erf", weight_precision=(1.0, 1.0)),
        FullyConnected((50,), "linear"),
        FullyConnected((50,), "relu", weight_precision=(1.0, 1.0)),
    ],
    ids=lambda network: network.sigma.name,
)
def test_networks(regressor, network):
    settings = {"optimizer": "fmin_l_bfgs_b"} | ({} if regressor is NNGPRegressor else {"mean": "drop"})
    assert_equivariant(lambda X, y: regressor(network, **settings).fit(X, y), [1e-6, 1e8], rtol=1e-3)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("outputs", [1, 2])
def test_offsets_that_are_large_beside_the_targets(noise, outputs):
    """The same numbers with 1e16 added, which is exact for them: all laws are the same about the offset."""
    rng = np.random.default_rng(1)
    X = rng.uniform(-2, 2, size=(20, 1))
    small = 64.0 * np.round(4 * np.sin(2 * X) + rng.normal(size=(20, outputs)))
    small -= small[0]
    y, offset = (small[:, 0] if outputs == 1 else small), 1e16
    settings = {"optimizer": None, "temperature": 0.1, "noise": noise, "normalize_y": True}
    near = StudentTProcessRegressor(RBF(1.0), **settings).fit(X, y)
    far = StudentTProcessRegressor(RBF(1.0), **settings).fit(X, y + offset)
    np.testing.assert_allclose(far.log_marginal_likelihood_, near.log_marginal_likelihood_, rtol=1e-12)
    for joint in (False, True):
        one, other = (model.predictive(X[:4] + 0.1, joint=joint, noise=True) for model in (near, far))
        np.testing.assert_allclose(other.std, one.std, rtol=1e-12)
        np.testing.assert_allclose(other.mean - offset, one.mean, atol=2)  # the spacing of doubles there
        np.testing.assert_allclose(other.interval(0.9) - offset, one.interval(0.9), atol=2)
        np.testing.assert_allclose(other.cdf(y[:4] + offset), one.cdf(y[:4]), atol=0.01)
        np.testing.assert_allclose(other.logpdf(y[:4] + offset), one.logpdf(y[:4]), rtol=0.02, atol=0.05)
        if not joint:
            np.testing.assert_allclose(other.sample(3, 0) - offset, one.sample(3, 0), atol=2)
    np.testing.assert_allclose(
        far.predict(X[:4], return_cov=True)[1], near.predict(X[:4], return_cov=True)[1], rtol=1e-10, atol=1e-9
    )
