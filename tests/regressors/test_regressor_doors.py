"""Regressors as scikit-learn's estimators: conformance, refusals, precision, and a light import."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from regression_data import REGRESSORS, data
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor


@parametrize_with_checks([regressor(temperature=T) for regressor in REGRESSORS for T in (0.01, 1.0)])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize("network", [FullyConnected((50,), "linear"), FullyConnected((50, 50), "linear")], ids=str)
def test_zero_temperature_with_a_singular_kernel_is_refused(regressor, network):
    X, y, _ = data(P=15, N0=4)  # rank 4
    with pytest.raises(ValueError, match=r"temperature: got 0 with a kernel that is singular.*larger temperature"):
        regressor(network, temperature=0).fit(X, y)
    X, y, _ = data(N0=30)
    X[1] = X[0]
    with pytest.raises(ValueError, match="remove repeated"):
        regressor(FullyConnected((50,), "erf"), temperature=0.0).fit(X, y)


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature: got -0.1, expected a finite number at least 0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"temperature": "hot"}, "temperature: got 'hot'"),
        ({"network": "erf"}, "network: got 'erf', expected a stpbnn.FullyConnected"),
    ],
)
def test_bad_settings_are_refused_by_fit(regressor, settings, message):
    X, y, _ = data()
    with pytest.raises(ValueError, match=message):
        regressor(**settings).fit(X, y)


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, 0], y), "Expected 2D array, got 1D array"),
        (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
        (lambda X, y: (np.where(X[2, 1] == X, np.nan, X), y), "contains NaN"),
        (lambda X, y: (X, np.where(y == y[2], np.inf, y)), "contains infinity"),
        (lambda X, y: (X, np.stack([y, y], axis=1)), r"shape \(15, 2\)"),
    ],
)
def test_bad_data_are_refused_by_fit(regressor, change, message):
    X, y, _ = data()
    with pytest.raises(ValueError, match=message):
        regressor(FullyConnected((10,))).fit(*change(X, y))


def test_other_mistakes_are_refused():
    X, y, Xt = data()
    model = ProportionalLimitRegressor(closure="nestd")
    with pytest.raises(ValueError, match="did you mean 'nested'"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(Xt)
    model = NNGPRegressor().fit(X, y)
    with pytest.raises(ValueError, match="at most one"):
        model.predict(Xt, return_std=True, return_cov=True)
    with pytest.raises(ValueError, match="features"):
        model.predict(Xt[:, :2])
    with pytest.raises(ValueError, match="y: got shape"):
        model.generalization_error(Xt, y)
    two = np.stack([y, y], axis=1)
    with pytest.raises(ValueError, match="learn with closure='global'"):
        ProportionalLimitRegressor(FullyConnected((5, 5), outputs=2), optimizer="fmin_l_bfgs_b").fit(X, two)
    with pytest.raises(ValueError, match="take closure='global', or ProportionalLimitRegressor"):
        FiniteWidthRegressor(FullyConnected((5, 5), outputs=2)).fit(X, two)
    with pytest.raises(ValueError, match="the mean is known for a FullyConnected of one hidden layer"):
        ProportionalLimitRegressor(FullyConnected((5, 5), "relu"), mean="keep").fit(X, y)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_everything_is_float64_and_the_global_flag_stays(dtype):
    X, y, Xt = data()
    X = (10 * X).astype(dtype)
    before = jax.config.jax_enable_x64
    model = ProportionalLimitRegressor(FullyConnected((20, 20)), temperature=0.1).fit(X, y)
    assert all(a.dtype == np.float64 for a in (*model.predict(Xt, return_std=True), model.order_parameters_))
    assert jax.config.jax_enable_x64 == before


def test_more_examples_than_memory_are_refused():
    told = "X: got P = 1000000 examples, whose kernels take about 21.8 TiB, and .* of memory are free here; take fewer"
    with pytest.raises(ValueError, match=told):
        NNGPRegressor(solver="exact").fit(np.ones((10**6, 1)), np.ones(10**6))


def test_importing_changes_no_global_state():
    code = """
import logging, warnings
filters, level, handlers = list(warnings.filters), logging.root.level, list(logging.root.handlers)
import sys, stpbnn
assert not {"jax", "numpyro", "sklearn", "arviz", "matplotlib", "pydantic", "dask"} & set(sys.modules), "heavy import"
assert set(stpbnn.__all__) <= set(dir(stpbnn))
for name in stpbnn.__all__:
    getattr(stpbnn, name)
import jax
assert not jax.config.jax_enable_x64
assert (logging.root.level, logging.root.handlers) == (level, handlers)
own = [f for f in warnings.filters if f not in filters and f[3] is not None and "stpbnn" in str(f[3])]
assert not own, own
import matplotlib
assert matplotlib.rcParams == matplotlib.rcParamsDefault or matplotlib.rcParams._get_backend_or_none() is None
try:
    stpbnn.nonsense
except AttributeError as error:
    assert "nonsense" in str(error)
else:
    raise SystemExit("no error")
"""
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
