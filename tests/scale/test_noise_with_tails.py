"""What a target tells through Student's t noise, far out as well, against SciPy."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from stpbnn.scale import StudentNoise


@pytest.mark.parametrize("df", [1.0, 4.0, 30.0, 1000.0])
def test_residuals_of_any_size_have_the_density_of_student(df):
    r = np.array([0.0, 0.3, 10.0, 1e3, 1e6])
    found = StudentNoise(0.25, df).told(r, np.full(5, 1e-12)).value
    np.testing.assert_allclose(found, stats.t(df, scale=0.5).logpdf(r), rtol=1e-7)


@pytest.mark.parametrize("df", [4.0, 30.0])
def test_a_function_that_is_not_known_is_integrated_over(df):
    noise, sd = StudentNoise(0.01, df), 0.5
    for r in (0.2, 3.0, 40.0):
        near = (max(-8 * sd, r - 3.0), min(8 * sd, r + 3.0))
        parts = [(-8 * sd, 8 * sd)] if near[0] >= near[1] else [(-8 * sd, near[0]), near, (near[1], 8 * sd)]
        expected = sum(
            quad(lambda f: stats.t(df, scale=0.1).pdf(r - f) * stats.norm(0, sd).pdf(f), *part, limit=200)[0]  # noqa: B023
            for part in parts
        )
        np.testing.assert_allclose(noise.told(np.array([r]), np.array([sd**2])).value, np.log(expected), rtol=1e-6)
