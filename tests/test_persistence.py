"""Regressors that are saved and read again: the same predictions, and one clear message for every other file."""

import io
import json
import warnings
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stpbnn
from stpbnn import (
    Activation,
    AdaptiveKernelRegressor,
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


@pytest.mark.parametrize(
    ("what", "change", "message"),
    [
        ("X", lambda X: np.where(X.max() == X, np.nan, X), "training set is damaged: X: got 1 NaN or infinite value"),
        ("y", lambda y: np.where(y == y.max(), np.inf, y), "training set is damaged: y: got 1 NaN or infinite value"),
        ("X", lambda X: X[:, :0], "training set is damaged"),
        ("y", lambda y: np.stack([y, y], axis=1), "do not match .*1 outputs for targets of 2"),
        ("temperature_", lambda T: float("nan"), "damaged .*header holds NaN"),
        ("temperature_", lambda T: float("inf"), "temperature_: got inf, expected a finite number"),
        ("temperature_", lambda T: -1.0, "temperature_: got -1.0"),
        ("temperature_", lambda T: "warm", "temperature_: got 'warm'"),
        ("converged_", lambda found: 3, "converged_: got 3"),
        ("network_", lambda net: None, "fields of the file do not match"),
        ("feature_names", lambda names: ["a"], "1 names of 3 features"),
    ],
)
def test_numbers_that_are_none_and_fields_that_do_not_match_are_refused(tmp_path, what, change, message):
    stpbnn.save(NNGPRegressor(FullyConnected((10,), "linear")).fit(X, y), tmp_path / "model")
    with np.load(tmp_path / "model") as file:
        contents = dict(file)
    header = json.loads(str(contents["header"]))
    if what in contents:
        contents[what] = change(contents[what])
    elif what in header:
        header[what] = change(header[what])
    else:
        header["learned"][what] = change(header["learned"][what])
    with open(tmp_path / "model", "wb") as file:
        np.savez(file, **contents | {"header": np.array(json.dumps(header))})
    with pytest.raises(ValueError, match=message) as caught:
        stpbnn.load(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_arrays_that_claim_more_than_the_file_has_are_not_expanded(tmp_path):
    """A header of 40,000,000 x 40,000,000 numbers, stored and compressed, over a few zeros."""
    head = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (40_000_000, 40_000_000)}
    np.lib.format.write_array_header_1_0(head, claim)
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "model", "w", kind) as archive:
            for name in ("header", "X", "y"):
                archive.writestr(f"{name}.npy", head.getvalue() + bytes(10**6))
        with pytest.raises(ValueError, match=r"damaged \(header.npy claims an array of shape \(40000000, 40000000\)"):
            stpbnn.load(tmp_path / "model")


def test_paths_that_cannot_be_are_refused_in_one_line(tmp_path):
    model = NNGPRegressor(FullyConnected((10,), "linear")).fit(X, y)
    for path, message in [
        (tmp_path / "none" / "model", "path: got .*there is no folder"),
        (tmp_path, "path: got .*which is a folder"),
        (tmp_path / ("a" * 300), "of 300 bytes"),
        (None, "path: got None"),
    ]:
        with pytest.raises(ValueError, match=message):
            stpbnn.save(model, path)
    with pytest.raises(ValueError, match="path: got 3, expected the path of a file"):
        stpbnn.load(3)
    with pytest.raises(FileNotFoundError, match=r"no such file; expected one that stpbnn\.save wrote"):
        stpbnn.load(tmp_path / "model")
    with pytest.raises(IsADirectoryError, match="cannot be read now"):
        stpbnn.load(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_pipeline_is_refused_in_one_line(tmp_path):
    pipeline = make_pipeline(StandardScaler(), NNGPRegressor(FullyConnected((10,), "linear"))).fit(X, y)
    with pytest.raises(ValueError, match=r"regressor: got a Pipeline, expected one of .*pipeline\[-1\]") as caught:
        stpbnn.save(pipeline, tmp_path / "model")
    assert "\n" not in str(caught.value)
    stpbnn.save(pipeline[-1], tmp_path / "model")


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


@pytest.mark.long
def test_particles_are_not_moved_a_second_time(tmp_path, monkeypatch):
    kind = AdaptiveKernelRegressor(FullyConnected((10,)), particles=24, max_iter=12, random_state=1, second_start=True)
    with warnings.catch_warnings(action="ignore"):
        model = kind.fit(X, y)
    stpbnn.save(model, tmp_path / "model")

    def search(*_):
        raise RuntimeError("searched")

    monkeypatch.setattr(stpbnn.adaptive, "solve", search)
    again = stpbnn.load(tmp_path / "model")
    for ours, theirs in zip(again.predict(Xt, return_cov=True), model.predict(Xt, return_cov=True), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.predict_populations(Xt), model.predict_populations(Xt))
    np.testing.assert_array_equal(again.kernel_, model.kernel_)
    assert again.fixed_points_ == model.fixed_points_
    assert (again.drift_, again.n_iter_, again.converged_) == (model.drift_, model.n_iter_, model.converged_)
    assert again.log_marginal_likelihood_ == model.log_marginal_likelihood_
    with np.load(tmp_path / "model") as file:
        contents = {name: file[name] for name in file}
    np.savez(tmp_path / "other.npz", **contents | {"root": contents["root"][:5]})
    with pytest.raises(ValueError, match="the fields of the file do not match"):
        stpbnn.load(tmp_path / "other.npz")
    np.savez(tmp_path / "older.npz", **{name: contents[name] for name in ("header", "X", "y")})
    with pytest.raises(ValueError, match="searched"):  # as earlier versions wrote them
        stpbnn.load(tmp_path / "older.npz")
