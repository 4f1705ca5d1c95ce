"""Frozen predictive distributions against scipy.stats."""

import numpy as np
import pytest
from scipy import stats

from stpbnn.predictive import Gaussian, JointGaussian

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
