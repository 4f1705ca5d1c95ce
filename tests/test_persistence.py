"""Regressors that are saved and read again: the same predictions, and one clear message for every other file."""

import json
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import Ridge

import stpbnn
from stpbnn import (
    Activation,
    FiniteWidthRegressor,
    FullyConnected,
    NNGPKernel,
    NNGPRegressor,
    ProportionalLimitRegressor,
    StudentTProcessRegressor,
)

RNG = np.random.default_rng(0)
X, Xt = RNG.normal(size=(12, 3)), RNG.normal(size=(4, 3))
Y = np.stack([np.sin(X).sum(axis=1), X[:, 0]], axis=1) + 0.1 * RNG.normal(size=(12, 2))
y = Y[:, 0]
DEEP = FullyConnected((10, 20), "relu", weight_precision=(1.0, 2.0, 0.5), bias_precision=4.0)
NESTED = (ConstantKernel(2.0, "fixed") * RBF([1.0, 2.0, 0.5])) ** 2 + Matern(nu=np.inf) + WhiteKernel(0.1, (1e-3, 1e1))


@pytest.mark.parametrize(
    ("regressor", "targets"),
    [
        (NNGPRegressor(DEEP, optimizer="fmin_l_bfgs_b"), y),
        (NNGPRegressor(temperature=0), Y),
        (ProportionalLimitRegressor(DEEP, closure="global"), y),
        (ProportionalLimitRegressor(FullyConnected((30,), outputs=2)), Y),
        (FiniteWidthRegressor(DEEP), y),
        (StudentTProcessRegressor(n_restarts_optimizer=1, random_state=3, optimize_temperature=True), y),
        (StudentTProcessRegressor(NESTED, noise="gaussian", normalize_y=True, optimize_df=True), Y),
        (StudentTProcessRegressor(NNGPKernel(DEEP, ["fixed", (0.1, 10.0), "fixed"]) * 2.0), y),
        (StudentTProcessRegressor(DEEP, parametrization="scale", df=1.5), y),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_read_predicts_as_what_was_saved(tmp_path, regressor, targets):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regressor.fit(X, targets)
    stpbnn.save(regressor, tmp_path / "model")
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    again = stpbnn.load(tmp_path / "model")
    assert repr(again) == repr(regressor)
    for ours, theirs in zip(again.predict(Xt, return_std=True), regressor.predict(Xt, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
    assert again.log_marginal_likelihood_ == pytest.approx(regressor.log_marginal_likelihood_, rel=1e-13)
    assert again.converged_ == regressor.converged_
    np.testing.assert_array_equal(again.sample_y(Xt, 2, 0), regressor.sample_y(Xt, 2, 0))
    if isinstance(regressor, StudentTProcessRegressor):
        np.testing.assert_array_equal(again.kernel_.theta, regressor.kernel_.theta)
        np.testing.assert_array_equal(again.kernel_.bounds, regressor.kernel_.bounds)
        np.testing.assert_allclose(again.log_marginal_likelihood(), regressor.log_marginal_likelihood(), rtol=1e-13)
    with pytest.raises(ValueError, match="features"):
        again.predict(Xt[:, :2])


@pytest.mark.long
def test_chains_are_not_sampled_a_second_time(tmp_path):
    model = FiniteWidthRegressor(FullyConnected((10,) * 4)).fit(X, y)
    stpbnn.save(model, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    np.testing.assert_allclose(again.predict(Xt), model.predict(Xt), rtol=1e-12)


def test_names_of_features_are_kept(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    stpbnn.save(NNGPRegressor().fit(frame, y), tmp_path / "model")
    again = stpbnn.load(tmp_path / "model")
    again.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[["b", "a", "c"]])


class OwnKernel(RBF):
    pass


@pytest.mark.parametrize(
    ("regressor", "message"),
    [
        (StudentTProcessRegressor(OwnKernel(), optimizer=None), "kernel: got .*cannot be told by names and numbers"),
        (StudentTProcessRegressor(1.0 * OwnKernel(), optimizer=None), "kernel.k2: got"),
        (StudentTProcessRegressor(random_state=np.random.RandomState(0), optimizer=None), "random_state: got"),
        (StudentTProcessRegressor(optimizer=lambda f, theta, bounds: (theta, f(theta)[0])), "optimizer: got"),
        (NNGPRegressor(FullyConnected(activation=Activation("own", jnp.arctan))), "'own', expected a registered one"),
    ],
)
@pytest.mark.filterwarnings("ignore:the search:sklearn.exceptions.ConvergenceWarning")  # that stays where it is
def test_what_numbers_and_names_cannot_tell_is_refused(tmp_path, regressor, message):
    regressor.fit(X, y)
    with pytest.raises(ValueError, match=message):
        stpbnn.save(regressor, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_other_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected one of .*NNGPRegressor"):
        stpbnn.save(Ridge().fit(X, y), tmp_path / "model")
    with pytest.raises(NotFittedError):
        stpbnn.save(NNGPRegressor(), tmp_path / "model")


def archive(path, **changes):
    """Save a regressor, with some entries of its header replaced."""
    stpbnn.save(NNGPRegressor().fit(X, y), path)
    with np.load(path) as file:
        contents = dict(file)
    contents["header"] = np.array(json.dumps(json.loads(str(contents["header"])) | changes))
    with open(path, "wb") as file:
        np.savez(file, **contents)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2, "version": "9.9"}, "got schema 2, written by stpbnn 9.9, expected 1"),
        ({"format": "other"}, "not a file that stpbnn.save wrote"),
        ({"class": "Ridge"}, "header of the file is damaged or unknown .*Ridge"),
        ({"class": "theory_grid"}, "damaged or unknown"),
        ({"parameters": {"depth": 3}}, "damaged or unknown .*depth"),
        ({"learned": {}}, "damaged or unknown"),
        ({"parameters": {"network": {"type": "os.system", "command": "true"}}}, "damaged or unknown .*os.system"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, changes, message):
    archive(tmp_path / "model", **changes)
    with pytest.raises(ValueError, match=message):
        stpbnn.load(tmp_path / "model")


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        stpbnn.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="expected a NumPy archive"):
        stpbnn.load(tmp_path / "text")
    np.savez(tmp_path / "other.npz", X=X)
    with pytest.raises(ValueError, match=r"not a file that stpbnn\.save wrote"):
        stpbnn.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", header=np.array([{}], dtype=object), X=X, y=y)
    with pytest.raises(ValueError, match=r"damaged .*pickle"):
        stpbnn.load(tmp_path / "pickle.npz")
    archive(tmp_path / "model")
    whole = (tmp_path / "model").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"expected a NumPy archive|damaged"):
        stpbnn.load(tmp_path / "half")
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 255
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        stpbnn.load(tmp_path / "damaged")
