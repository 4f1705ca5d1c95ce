"""Frozen predictive distributions against scipy.stats."""

import warnings

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from stpbnn import FiniteWidthRegressor, FullyConnected
from stpbnn.predictive import Gaussian, JointGaussian, JointMixture, JointStudentT, Mixture, StudentT
from stpbnn.predictive.student_t_laws import log_density

MEAN, VARIANCE = np.array([0.5, -1.0, 2.0]), np.array([0.25, 4.0, 1.0])
COVARIANCE = np.array([[0.25, 0.3, 0.1], [0.3, 4.0, -0.5], [0.1, -0.5, 1.0]])


def test_marginals_agree_with_scipy():
    law, reference = Gaussian(MEAN, VARIANCE), stats.norm(MEAN, [0.5, 2.0, 1.0])
    y = np.array([0.1, 0.2, 0.3])
    for name in ("cdf", "pdf", "logpdf"):
        np.testing.assert_allclose(getattr(law, name)(y), getattr(reference, name)(y), rtol=1e-12)
    np.testing.assert_allclose(law.quantile(0.9), reference.ppf(0.9), rtol=1e-12)
    np.testing.assert_allclose(law.interval(0.8), np.transpose(reference.interval(0.8)), rtol=1e-12)
    np.testing.assert_allclose(law.std, [0.5, 2.0, 1.0])
    assert law.quantile([0.1, 0.5, 0.9]).shape == (3, 3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        law.quantile(1.5)


def test_certain_values_are_steps():
    law = Gaussian(np.array([1.0, 1.0]), np.array([0.0, 4.0]))
    np.testing.assert_array_equal(law.quantile([0.0, 0.3, 1.0])[0], [-np.inf, 1.0, np.inf])
    np.testing.assert_allclose(law.interval(0.9)[0], [1.0, 1.0])
    np.testing.assert_allclose(law.cdf(np.array([0.9, 1.0])), [0.0, 0.5])
    np.testing.assert_allclose(law.cdf(np.array([1.0, 1.0])), [1.0, 0.5])
    np.testing.assert_array_equal(law.logpdf(np.array([0.9, 1.0]))[0], -np.inf)


def test_several_outputs_keep_their_shape():
    law = Gaussian(np.zeros((4, 2)), np.ones((4, 2)))
    assert law.quantile(0.5).shape == (4, 2)
    assert law.interval(0.5).shape == (4, 2, 2)
    assert law.sample(7, random_state=0).shape == (7, 4, 2)


def test_samples_have_the_moments():
    draws = JointGaussian(MEAN, VARIANCE, COVARIANCE).sample(50_000, random_state=0)
    error = np.sqrt(VARIANCE / 50_000)
    assert np.all(np.abs(draws.mean(axis=0) - MEAN) < 4 * error)
    tolerance = 5 * np.sqrt((np.outer(VARIANCE, VARIANCE) + COVARIANCE**2) / 50_000)
    assert np.all(np.abs(np.cov(draws.T) - COVARIANCE) < tolerance)
    independent = Gaussian(MEAN, VARIANCE).sample(50_000, random_state=0)
    assert np.all(np.abs(np.cov(independent.T) - np.diag(VARIANCE)) < tolerance)


def test_joint_density_agrees_with_scipy():
    law = JointGaussian(MEAN, VARIANCE, COVARIANCE)
    y = np.array([0.1, 0.2, 0.3])
    expected = stats.multivariate_normal.logpdf(y, MEAN, COVARIANCE)
    np.testing.assert_allclose(law.logpdf(y), expected, rtol=1e-12)
    np.testing.assert_allclose(law.pdf(y), np.exp(expected), rtol=1e-12)
    two = JointGaussian(np.stack([MEAN, MEAN], 1), np.stack([VARIANCE, VARIANCE], 1), COVARIANCE)
    np.testing.assert_allclose(two.logpdf(np.stack([y, y], 1)), 2 * expected, rtol=1e-12)


def test_singular_joint_density_is_refused():
    law = JointGaussian(np.zeros(2), np.ones(2), np.ones((2, 2)))
    with pytest.raises(ValueError, match="repeated query points"):
        law.logpdf([0.0, 0.0])
    draws = law.sample(5, random_state=0)
    np.testing.assert_allclose(draws[:, 0], draws[:, 1], atol=1e-7)


WEIGHTS = np.array([0.2, 0.5, 0.3])
MEANS = np.array([[0.0, -3.0], [1.0, 0.0], [2.5, 8.0]])
VARIANCES = np.array([[1.0, 0.01], [0.25, 1.0], [4.0, 0.04]])


def mixture_density(y, k):
    return WEIGHTS @ stats.norm.pdf(y, MEANS[:, k], np.sqrt(VARIANCES[:, k]))


def test_mixture_against_numeric_integration():
    law = Mixture(WEIGHTS, MEANS, VARIANCES)
    for k in range(2):
        points = MEANS[:, k].tolist()
        moments = [
            quad(lambda y, n=n, k=k: y**n * mixture_density(y, k), -20, 20, points=points, epsabs=1e-13)[0]
            for n in range(3)
        ]
        assert abs(moments[0] - 1) < 1e-10
        assert abs(law.mean[k] - moments[1]) < 1e-10
        assert abs(law.variance[k] - (moments[2] - moments[1] ** 2)) < 1e-9
        below = quad(mixture_density, -20, 0.7, args=(k,), points=[p for p in points if p < 0.7], epsabs=1e-13)[0]
        assert abs(law.cdf(0.7)[k] - below) < 1e-10
        assert abs(law.pdf(0.7)[k] - mixture_density(0.7, k)) < 1e-14
        assert abs(law.logpdf(0.7)[k] - np.log(mixture_density(0.7, k))) < 1e-12


def test_mixture_quantiles_invert_the_distribution_function():
    law = Mixture(WEIGHTS, MEANS, VARIANCES)
    levels = np.array([1e-12, 0.025, 0.2, 0.5, 0.7, 0.975, 1 - 1e-9])
    quantiles = law.quantile(levels)
    assert quantiles.shape == (2, 7)
    for i, p in enumerate(levels):
        np.testing.assert_allclose(law.cdf(quantiles[:, i]), p, rtol=1e-9 if p < 1e-9 else 1e-12, atol=0)
        np.testing.assert_array_equal(law.quantile(p), quantiles[:, i])
    np.testing.assert_array_equal(law.interval(0.95), quantiles[:, [1, 5]])
    np.testing.assert_array_equal(law.quantile([0.0, 1.0]), [[-np.inf, np.inf]] * 2)
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            law.quantile(bad)
    with pytest.raises(ValueError, match="between 0 and 1"):
        law.interval(2.0)


def test_quantiles_of_many_mixtures():
    """Components of very different widths, point masses, and gaps: F reaches the level there, and not before."""
    rng = np.random.default_rng(3)
    weights, means = rng.dirichlet(np.ones(30)), 3 * rng.normal(size=(30, 400))
    stds = 10.0 ** rng.uniform(-6, 2, size=(30, 400))
    stds[::7, ::3] = 0
    law = Mixture(weights, means, stds**2)
    levels = np.array([1e-8, 0.05, 0.5, 0.975])
    found = law.quantile(levels)
    for x, p in zip(found.T, levels, strict=True):
        margin = 1e-12 * (1 + np.abs(x))
        assert np.all(law.cdf(x + margin) >= p)
        assert np.all(law.cdf(x - margin) <= p)
    apart = Mixture(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [1.0, 1e6]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_allclose(apart.quantile([0.5, 0.75])[0], [0.0, 1.0], atol=1e-15)
    np.testing.assert_allclose(apart.quantile(0.75)[1], 1e6, rtol=1e-15)


def test_mixture_of_one_is_the_gaussian():
    one, law = Mixture(np.ones(1), MEAN[None], VARIANCE[None]), Gaussian(MEAN, VARIANCE)
    y = np.array([0.1, 0.2, 0.3])
    for name in ("cdf", "pdf", "logpdf"):
        np.testing.assert_allclose(getattr(one, name)(y), getattr(law, name)(y), rtol=1e-12)
    np.testing.assert_allclose(one.quantile([0.1, 0.9]), law.quantile([0.1, 0.9]), rtol=1e-12)
    np.testing.assert_allclose(one.std, law.std)


def test_mixture_with_point_masses():
    """A component of zero variance, as noiseless training points have: a step of the distribution function."""
    law = Mixture(np.array([0.5, 0.5]), np.array([[1.0], [0.0]]), np.array([[0.0], [1.0]]))
    below = 0.5 * stats.norm.cdf(1.0)
    np.testing.assert_allclose([law.cdf(1 - 1e-12)[0], law.cdf(1.0)[0]], [below, below + 0.5], rtol=1e-10)
    np.testing.assert_allclose(law.quantile([below + 0.1, below + 0.4])[0], 1.0, rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert law.logpdf([1.0])[0] == law.pdf([1.0])[0] == np.inf
        np.testing.assert_allclose(law.pdf([0.3]), 0.5 * stats.norm.pdf(0.3), rtol=1e-12)
        zero = FiniteWidthRegressor(FullyConnected((5,), "linear"), temperature=0.1).fit(np.eye(3, 6), np.arange(3))
        np.testing.assert_array_equal(zero.predictive(np.zeros((2, 6))).logpdf([0.0, 0.1]), [np.inf, -np.inf])


def test_mixture_of_several_outputs_keeps_its_shape():
    law = Mixture(WEIGHTS, np.zeros((3, 4, 2)), np.ones((3, 4, 2)))
    assert law.mean.shape == law.variance.shape == law.quantile(0.5).shape == (4, 2)
    assert law.interval(0.5).shape == (4, 2, 2)
    assert law.sample(7, random_state=0).shape == (7, 4, 2)
    np.testing.assert_allclose(law.logpdf(np.zeros((4, 2))), stats.norm.logpdf(0), rtol=1e-12)


@pytest.fixture
def joint_mixture():
    covariances = np.stack([COVARIANCE, 2 * COVARIANCE, np.diag(VARIANCE)])
    return JointMixture.of(WEIGHTS, np.stack([MEAN, -MEAN, 0 * MEAN]), covariances)


def test_joint_mixture_agrees_with_scipy_and_its_marginals(joint_mixture):
    y = np.array([0.1, 0.2, 0.3])
    pairs = zip(WEIGHTS, joint_mixture.means, joint_mixture.covariances, strict=True)
    expected = sum(w * stats.multivariate_normal.pdf(y, m, C) for w, m, C in pairs)
    np.testing.assert_allclose(joint_mixture.pdf(y), expected, rtol=1e-12)
    np.testing.assert_allclose(np.diag(joint_mixture.covariance), joint_mixture.variance, rtol=1e-12)


def test_mixture_samples_have_the_moments_and_the_law(joint_mixture):
    n = 50_000
    draws = joint_mixture.sample(n, random_state=0)
    assert np.all(np.abs(draws.mean(axis=0) - joint_mixture.mean) < 4 * joint_mixture.std / np.sqrt(n))
    centred = draws - joint_mixture.mean
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(products.mean(axis=0) - joint_mixture.covariance) < 4 * error)
    law = Mixture(WEIGHTS, MEANS, VARIANCES)
    marginal = law.sample(n, random_state=1)
    for k in range(2):
        exact = lambda y, k=k: WEIGHTS @ stats.norm.cdf(y, MEANS[:, [k]], np.sqrt(VARIANCES[:, [k]]))  # noqa: E731
        assert stats.kstest(marginal[:, k], exact).pvalue > 1e-3
    assert abs(np.corrcoef(marginal.T)[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize("df", [2.001, 3.0, 30.0, 1e5])
def test_student_t_agrees_with_scipy(df):
    scale = np.array([0.5, 2.0, 1.0])
    law, reference = StudentT(MEAN, scale, df), stats.t(df, MEAN, scale)
    y = np.array([0.1, 4.0, -9.0])
    for name in ("cdf", "pdf", "logpdf"):
        np.testing.assert_allclose(getattr(law, name)(y), getattr(reference, name)(y), rtol=1e-10)
    for p in (1e-9, 0.025, 0.5, 0.8, 1 - 1e-9):
        np.testing.assert_allclose(law.quantile(p), reference.ppf(p), rtol=1e-10)
    np.testing.assert_allclose(law.interval(0.8), np.transpose(reference.interval(0.8)), rtol=1e-10)
    np.testing.assert_allclose(law.variance, reference.var(), rtol=1e-10)
    np.testing.assert_allclose(law.std, reference.std(), rtol=1e-10)
    np.testing.assert_array_equal(law.quantile([0.0, 1.0]), [[-np.inf, np.inf]] * 3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        law.quantile(-0.1)


def exact_t(name, df, z):
    """Log density, distribution function or its inverse of the standard t law, by mpmath in 40 digits."""
    with mpmath.workdps(40):
        df, z = mpmath.mpf(df), mpmath.mpf(z)
        constant = mpmath.loggamma((df + 1) / 2) - mpmath.loggamma(df / 2) - mpmath.log(df * mpmath.pi) / 2
        log_density = lambda t: constant - (df + 1) / 2 * mpmath.log1p(t * t / df)  # noqa: E731
        if name == "logpdf":
            return float(log_density(z))
        half = mpmath.quad(lambda t: mpmath.exp(log_density(t)), mpmath.linspace(0, z, 5))
        return float(mpmath.mpf(1) / 2 + half)


@pytest.mark.parametrize("df", [0.3, 2.0, 1e7, 1e10, 1e14])
def test_student_t_agrees_with_mpmath_where_scipy_loses_digits(df):
    law = StudentT(np.zeros(()), np.ones(()), df)
    for z in (-3.0, 0.5, 4.0):
        np.testing.assert_allclose(law.logpdf(z), exact_t("logpdf", df, z), rtol=1e-12)
        p = exact_t("cdf", df, z)
        np.testing.assert_allclose(law.cdf(z), p, rtol=1e-10)
        np.testing.assert_allclose(law.quantile(p), z, rtol=1e-10)
    if df == 1e10:
        assert abs(stats.t.logpdf(4.0, df) / exact_t("logpdf", df, 4.0) - 1) < 1e-6  # the law that is meant


@pytest.mark.parametrize("df", [0.5, 2.001, 40.0, 1e5, 1e9])
@pytest.mark.parametrize("P", [3, 200, 5000])
def test_joint_student_t_density_agrees_with_mpmath(df, P):
    """P up to 5,000: by mpmath from log det and quadratic form, by scipy up to ν = 1e5 and P = 200."""
    rng = np.random.default_rng(0)
    scales, y = rng.uniform(0.5, 2.0, size=P), rng.normal(size=P)
    if P == 5000:
        value = log_density(df, P, np.log(scales).sum(), np.sum(y**2 / scales))
    else:
        value = JointStudentT.of(np.zeros(P), np.diag(scales), df).logpdf(y)
    with mpmath.workdps(40):
        nu, q = mpmath.mpf(df), mpmath.fsum(mpmath.mpf(a) ** 2 / mpmath.mpf(b) for a, b in zip(y, scales, strict=True))
        log_det = mpmath.fsum(mpmath.log(mpmath.mpf(b)) for b in scales)
        expected = (
            mpmath.loggamma((nu + P) / 2) - mpmath.loggamma(nu / 2) - P * mpmath.log(nu * mpmath.pi) / 2 - log_det / 2
            - (nu + P) / 2 * mpmath.log1p(q / nu)
        )  # fmt: skip
    np.testing.assert_allclose(value, float(expected), rtol=1e-12)
    if P < 5000 and df <= 1e5:
        np.testing.assert_allclose(value, stats.multivariate_t.logpdf(y, shape=np.diag(scales), df=df), rtol=1e-10)


@pytest.mark.parametrize("units", [1.0, np.array([1.0, 3.0])])
def test_joint_student_t_of_outputs_with_a_shared_scale(units):
    """Two outputs are one t law of scale matrix diag(units²) ⊗ Σ; density and moments of draws."""
    df, mean = 7.0, np.stack([MEAN, -MEAN], 1)
    law = JointStudentT.of(mean, COVARIANCE, df, units)
    y = np.array([[0.1, 0.2], [0.3, -0.5], [1.0, 0.0]])
    whole = np.kron(np.diag(np.broadcast_to(units, 2) ** 2), COVARIANCE)
    expected = stats.multivariate_t.logpdf(y.T.ravel(), mean.T.ravel(), whole, df=df)
    np.testing.assert_allclose(law.logpdf(y), expected, rtol=1e-12)
    np.testing.assert_allclose(law.variance.T.ravel(), df / (df - 2) * np.diag(whole), rtol=1e-12)
    np.testing.assert_allclose(law.covariance[:, :, 1], df / (df - 2) * whole[3:, 3:], rtol=1e-12)
    n = 50_000
    draws = law.sample(n, random_state=0)
    assert draws.shape == (n, 3, 2)
    flat = (draws - mean).transpose(0, 2, 1).reshape(n, 6)
    products = flat[:, :, None] * flat[:, None, :]
    error = products.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(products.mean(axis=0) - df / (df - 2) * whole) < 4.5 * error)
    radius = np.einsum("ni,ij,nj->n", flat, np.linalg.inv(whole), flat) / 6
    assert stats.kstest(radius, stats.f(6, df).cdf).pvalue > 0.01  # all six share one scale
    marginal = StudentT(mean, law.scale, df).sample(n, random_state=1)
    for i, j in ((0, 0), (2, 1)):
        assert stats.kstest(marginal[:, i, j], stats.t(df, mean[i, j], law.scale[i, j]).cdf).pvalue > 0.01


def test_student_t_without_variance_and_certain_values():
    law = StudentT(np.array([1.0, 1.0]), np.array([0.0, 2.0]), 1.5)
    np.testing.assert_array_equal(law.variance, [0.0, np.inf])
    np.testing.assert_array_equal(law.quantile([0.0, 0.3, 1.0])[0], [-np.inf, 1.0, np.inf])
    np.testing.assert_allclose(law.cdf(np.array([0.9, 1.0])), [0.0, 0.5])
    np.testing.assert_array_equal(law.logpdf(np.array([0.9, 1.0]))[0], -np.inf)
    with pytest.raises(ValueError, match="repeated query points"):
        JointStudentT.of(np.zeros(2), np.ones((2, 2)), 3.0).logpdf([0.0, 0.0])


def test_joint_mixture_of_several_outputs():
    """In each component outputs are independent, each with the covariance in its own units."""
    units, means = np.array([1.0, 2.0]), np.stack([np.stack([MEAN, -MEAN], 1), np.zeros((3, 2))])
    covariances, weights = np.stack([COVARIANCE, 2 * COVARIANCE]), np.array([0.3, 0.7])
    law = JointMixture.of(weights, means, covariances, units)
    y = np.array([[0.1, 0.2], [0.3, -0.5], [1.0, 0.0]])
    density = sum(
        w * np.prod([stats.multivariate_normal.pdf(y[:, d], m[:, d], units[d] ** 2 * C) for d in range(2)])
        for w, m, C in zip(weights, means, covariances, strict=True)
    )
    np.testing.assert_allclose(law.pdf(y), density, rtol=1e-12)
    np.testing.assert_allclose(np.einsum("iid->id", law.covariance), law.variance, rtol=1e-12)
    draws = law.sample(20_000, random_state=0)
    assert np.all(np.abs(draws.mean(axis=0) - law.mean) < 5 * law.std / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(axis=0), law.std, rtol=0.05)


@pytest.mark.parametrize(
    "laws",
    [
        [Gaussian(np.zeros(2), np.ones(2)), Gaussian(np.ones(3), np.full(3, 2.0))],
        [StudentT(np.zeros(2), np.ones(2), 3.0), StudentT(np.ones(3), np.full(3, 2.0), 3.0)],
        [Mixture(WEIGHTS, MEANS, VARIANCES), Mixture(WEIGHTS, MEANS + 1, 2 * VARIANCES)],
    ],
    ids=lambda laws: type(laws[0]).__name__,
)
def test_concatenated_laws(laws):
    law = type(laws[0]).concatenate(laws)
    for name in ("mean", "variance"):
        np.testing.assert_array_equal(getattr(law, name), np.concatenate([getattr(part, name) for part in laws]))
    np.testing.assert_array_equal(law.quantile(0.7), np.concatenate([part.quantile(0.7) for part in laws]))
