"""Threads of BLAS: as many as small matrices can use, and afterwards as many as before."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from stpbnn import FullyConnected, NNGPRegressor
from stpbnn._blas import one_thread


def threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


class Watched(NNGPRegressor):
    """Infinite width that notes how many threads it has."""

    def _condition(self):
        self.fitting = threads()
        super()._condition()

    def _predictive(self, X, **how):
        self.predicting = threads()
        return super()._predictive(X, **how)


@pytest.mark.parametrize(("rows", "expected"), [(300, {1}), (5000, {2})])
def test_small_matrices_have_one_thread(rows, expected):
    with threadpool_limits(2, user_api="blas"):
        with one_thread(rows):
            assert threads() == expected
        assert threads() == {2}


def test_small_fits_have_one_thread():
    model = Watched(FullyConnected((5,)), temperature=0.1)
    with threadpool_limits(2, user_api="blas"):
        model.fit(np.eye(3), np.arange(3.0)).predictive(np.eye(3))
        assert threads() == {2}
    assert (model.fitting, model.predicting) == ({1}, {1})
