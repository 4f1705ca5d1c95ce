"""Bounds of quadratic forms against NumPy's dense algebra."""

import numpy as np
import pytest

from stpbnn.iterative import enclosed

RNG = np.random.default_rng(0)
LOWEST = 0.1


def matrix(rank):
    F = RNG.normal(size=(80, rank))
    return F @ F.T + LOWEST * np.eye(80)


@pytest.mark.parametrize("rank", [3, 80])
def test_bounds_enclose_the_truth_and_close_in_on_it(rank):
    A, V = matrix(rank), RNG.normal(size=(80, 4))
    truth = np.einsum("pm,pm->m", V, np.linalg.solve(A, V))
    widths = []
    for steps in (1, 2, 4, 8):
        lower, upper = enclosed(lambda V: A @ V, V, LOWEST, steps)
        assert (lower < truth * (1 + 1e-9)).all()
        assert (upper > truth * (1 - 1e-9)).all()
        widths.append(float((upper - lower).max()))
    assert widths == sorted(widths, reverse=True)
    if rank == 3:  # after four steps there is nothing left
        np.testing.assert_allclose(enclosed(lambda V: A @ V, V, LOWEST, 6), [truth, truth], rtol=1e-6)


def test_a_column_of_zeros_and_an_eigenvector_have_their_values():
    A = np.diag([0.5, 2.0, 3.0])
    V = np.array([[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(enclosed(lambda V: A @ V, V, 0.2, 3), [[0.0, 8.0], [0.0, 8.0]], rtol=1e-12, atol=1e-15)
