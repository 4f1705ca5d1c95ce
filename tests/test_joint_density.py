"""Joint predictive densities on smooth grids against mpmath in 60 digits: right, or refused for the right reason."""

import mpmath
import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, Matern, RationalQuadratic

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, StudentTProcessRegressor
from stpbnn.predictive import JointGaussian, JointMixture

TRAINING = np.linspace(0, 4, 5)
TARGETS = np.sin(TRAINING)
DIGITS = 60


def rbf(a, b):
    return mpmath.exp(-((a - b) ** 2) / 2)


def matern(a, b):
    d = mpmath.sqrt(5) * abs(a - b)
    return (1 + d + d * d / 3) * mpmath.exp(-d)


def rational(a, b):
    return 1 / (1 + (a - b) ** 2 / 2)


def erf(a, b):
    """The kernel of infinitely many erf units of one input."""
    return 2 / mpmath.pi * mpmath.asin(2 * a * b / mpmath.sqrt((1 + 2 * a * a) * (1 + 2 * b * b)))


def exact(kernel, points, values, noise, scale=1):
    """Return log det and quadratic form of the posterior covariance of GP(0, scale · kernel), and y^T A^{-1} y."""
    x, q, y, f = ([mpmath.mpf(float(v)) for v in array] for array in (TRAINING, points, TARGETS, values))
    whole = [[scale * kernel(a, b) for b in x + q] for a in x + q]
    for i in range(len(x)):
        whole[i][i] += mpmath.mpf(noise)
    factor = mpmath.cholesky(mpmath.matrix(whole))  # of (y, f) together: its last rows are those of f given y
    white = []
    for i, value in enumerate(y + f):
        known = mpmath.fsum(factor[i, j] * white[j] for j in range(i))
        white.append((value - known) / factor[i, i])
    n = len(x)
    log_det = 2 * mpmath.fsum(mpmath.log(factor[i, i]) for i in range(n, n + len(q)))
    return log_det, mpmath.fsum(w * w for w in white[n:]), mpmath.fsum(w * w for w in white[:n])


def grid(n):
    points = np.linspace(0.1, 4.2, n)
    return points, np.sin(points) + 0.01


def log_gaussian(log_det, quadratic, n):
    return -(log_det + quadratic + n * mpmath.log(2 * mpmath.pi)) / 2


@pytest.mark.parametrize(
    ("kernel", "same", "sizes", "lost"),
    [
        (rbf, RBF(1.0), (8, 14, 16), (18, 30)),
        (matern, Matern(1.0, nu=2.5), (8, 30), ()),
        (rational, RationalQuadratic(1.0, 1.0), (14, 22), ()),
    ],
    ids=["rbf", "matern", "rational"],
)
def test_student_t_density_on_smooth_grids(kernel, same, sizes, lost):
    model = StudentTProcessRegressor(same, df=5.0, temperature=0.01, optimizer=None)
    model.fit(TRAINING[:, None], TARGETS)
    for n in sizes:
        points, values = grid(n)
        with mpmath.workdps(DIGITS):
            log_det, quadratic, data = exact(kernel, points, values, 0.01)
            nu = mpmath.mpf(5 + len(TRAINING))
            spread = (3 + data) / nu
            expected = (
                mpmath.loggamma((nu + n) / 2) - mpmath.loggamma(nu / 2) - n * mpmath.log(nu * mpmath.pi * spread) / 2
                - log_det / 2 - (nu + n) / 2 * mpmath.log1p(quadratic / spread / nu)
            )  # fmt: skip
        assert abs(model.predictive(points[:, None], joint=True).logpdf(values) - float(expected)) < 2e-3
    for n in lost:
        points, values = grid(n)
        with pytest.raises(ValueError, match=f"{n} query points are too close together for so smooth a kernel"):
            model.predictive(points[:, None], joint=True).logpdf(values)
        assert np.isfinite(model.predictive(points[:, None], joint=True, noise=True).logpdf(values))


@pytest.mark.parametrize("n", [6, 8, 20])
def test_gaussian_density_of_a_network_on_smooth_grids(n):
    points, values = grid(n)
    model = NNGPRegressor(FullyConnected((50,), "erf"), temperature=0.01).fit(TRAINING[:, None], TARGETS)
    law = model.predictive(points[:, None], joint=True)
    if n == 20:
        with pytest.raises(ValueError, match="20 query points are too close together"):
            law.logpdf(values)
        return
    with mpmath.workdps(DIGITS):
        log_det, quadratic, _ = exact(erf, points, values, 0.01)
    assert abs(law.logpdf(values) - float(log_gaussian(log_det, quadratic, n))) < 0.01 * max(1.0, float(quadratic))


@pytest.mark.parametrize("n", [8, 14])
def test_density_of_mixtures_on_smooth_grids(n):
    """Of the nodes of r and their weights, each Gaussian in 60 digits."""
    points, values = grid(n)
    model = StudentTProcessRegressor(RBF(1.0), df=5.0, temperature=0.01, noise="gaussian", optimizer=None)
    model.fit(TRAINING[:, None], TARGETS)
    posterior = model.scale_posterior_
    chosen = np.argsort(posterior.weights)[-3:]
    law = model.predictive(points[:, None], joint=True)
    part = JointMixture.of(posterior.weights[chosen], law.means[chosen], law.covariances[chosen], law.units, law.error)
    with mpmath.workdps(DIGITS):
        terms = []
        for i in chosen:
            log_det, quadratic, _ = exact(rbf, points, values, 0.01, mpmath.mpf(float(posterior.nodes[i, 0])))
            terms.append(mpmath.mpf(float(posterior.weights[i])) * mpmath.exp(log_gaussian(log_det, quadratic, n)))
        expected = float(mpmath.log(mpmath.fsum(terms)))
    assert abs(part.logpdf(values) - expected) < 1e-3


def test_the_message_tells_repeated_from_close_points():
    model = FiniteWidthRegressor(FullyConnected((20,), "erf"), temperature=0.01).fit(TRAINING[:, None], TARGETS)
    with pytest.raises(ValueError, match="repeated query points: numbers 1 and 2"):
        model.predictive([[0.5], [2.5], [2.5]], joint=True).logpdf(np.zeros(3))
    with pytest.raises(ValueError, match="value at query point 1 is certain"):
        JointGaussian(np.zeros(2), np.diag([1.0, 0.0]), np.diag([1.0, 0.0])).logpdf(np.zeros(2))
