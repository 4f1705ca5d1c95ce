"""Products and factors of large matrices, part by part, against numpy's at once."""

import numpy as np
import pytest

from stpbnn import _linalg


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(_linalg, "LARGE", 16)


@pytest.mark.parametrize("n", [1, 16, 17, 45])
def test_in_parts(n):
    X = np.random.default_rng(0).normal(size=(n, 60))
    upper = _linalg.gram(X)
    np.testing.assert_allclose(upper, np.triu(X @ X.T), rtol=1e-12, atol=1e-12)
    L = np.linalg.cholesky(X @ X.T)
    for clean in (True, False):
        A = np.asfortranarray(upper.T.copy() + np.triu(np.full((n, n), np.nan), 1))
        factor, failure = _linalg.lower_cholesky(A, clean=clean)
        assert failure == 0
        assert np.shares_memory(factor, A)
        np.testing.assert_allclose(factor if clean else np.tril(factor), L, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [1, 8, 9, 16, 17, 45, 70])
def test_inverse_by_halves_and_at_once(n, monkeypatch):
    """Given the factor of a matrix, above which nothing is read."""
    monkeypatch.setattr(_linalg, "LEAF", 16)
    X = np.random.default_rng(1).normal(size=(n, 90))
    factor = np.linalg.cholesky(X @ X.T) + np.triu(np.full((n, n), np.nan), 1)
    for halved in (1000, 60, 1):
        monkeypatch.setattr(_linalg, "HALVED", halved)
        np.testing.assert_allclose(np.tril(_linalg.inverse_of(factor)), np.tril(np.linalg.inv(X @ X.T)), rtol=1e-8)


@pytest.mark.parametrize("order", [3, 16, 18, 45])
def test_first_minor_that_is_not_positive(order):
    A = np.eye(45, order="F")
    A[order - 1, order - 1] = -1
    assert _linalg.lower_cholesky(A, clean=True)[1] == order
