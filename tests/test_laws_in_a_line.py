"""How laws print, and what messages show of arrays: one short line."""

import numpy as np
import pytest

from stpbnn import FiniteWidthRegressor, FullyConnected, StudentTProcessRegressor
from stpbnn.predictive import (
    Gaussian,
    IndependentOutputs,
    JointGaussian,
    JointMixture,
    JointStudentT,
    Mixture,
    StudentT,
)

N = 300
ONES, MATRIX = np.ones(N), np.eye(N)
LAWS = [
    (Gaussian(0 * ONES, 4 * ONES), "Gaussian(shape (300,), mean 0, std 2)"),
    (JointGaussian(np.arange(N) / N, ONES, MATRIX), "JointGaussian(shape (300,), mean 0 to 0.997, std 1)"),
    (IndependentOutputs.joint(np.ones((N, 2)), [MATRIX, MATRIX]), "IndependentOutputs(shape (300, 2), mean 1, std 1)"),
    (StudentT(ONES, ONES, 4.0), "StudentT(shape (300,), df 4, mean 1, std 1.41)"),
    (JointStudentT.of(ONES, MATRIX, 1.5), "JointStudentT(shape (300,), df 1.5, mean 1, std inf)"),
    (Mixture(np.ones(1), ONES[None], ONES[None]), "Mixture(shape (300,), 1 components, mean 1, std 1)"),
    (JointMixture.of(np.ones(1), ONES[None], MATRIX[None]), "JointMixture(shape (300,), 1 components, mean 1, std 1)"),
    (Gaussian(np.empty(0), np.empty(0)), "Gaussian(shape (0,), mean of none, std of none)"),
]


@pytest.mark.parametrize(("law", "line"), LAWS, ids=[type(law).__name__ for law, _ in LAWS])
def test_a_law_prints_as_one_line(law, line):
    assert repr(law) == str(law) == line


def test_the_law_of_the_order_parameters_prints_as_one_line():
    X, y = np.linspace(0, 1, 5)[:, None], np.arange(5.0)
    model = FiniteWidthRegressor(FullyConnected((7, 8), "erf"), temperature=0.1).fit(X, y)
    line = repr(model.order_parameter_posterior_)
    assert "\n" not in line
    assert len(line) < 200
    assert line.startswith("OrderParameterPosterior(")


def test_messages_show_no_whole_arrays():
    X, y, bad = np.linspace(0, 1, 5)[:, None], np.arange(5.0), np.linspace(0, 2, 2000)
    model = FiniteWidthRegressor(FullyConnected((7,), "erf"), temperature=0.1).fit(X, y)
    doors = [
        lambda: model.predictive(X).quantile(bad),
        lambda: model.order_parameter_posterior_.quantile(bad),
        lambda: model.log_marginal_likelihood(bad),
        lambda: StudentTProcessRegressor(optimizer=None).fit(X, y).log_marginal_likelihood(np.full(2, np.nan)),
    ]
    for door in doors:
        with pytest.raises(ValueError, match="expected") as caught:
            door()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250
