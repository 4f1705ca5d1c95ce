"""Frozen predictive distributions against scipy.stats."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from stpbnn.predictive import Gaussian, JointGaussian, JointMixture, Mixture

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
