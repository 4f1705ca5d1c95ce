"""Student's t-process regression against scipy, mpmath, quadrature, scikit-learn's Gaussian process and simulation."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from stpbnn import StudentTProcessRegressor


@parametrize_with_checks([StudentTProcessRegressor(noise=n) for n in ("scale", "gaussian")])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_conformance(estimator, check):
    check(estimator)
