"""Fitted regressors in files: numbers and names in a NumPy archive, without pickle.

The archive holds the training set and a header in JSON: class, parameters, and what was learned. Loading conditions on
the training set again, at the numbers that were learned: nothing is searched for or sampled a second time. What the
particles of the adaptive kernel found is in further arrays; a file without them takes as long as the first fit.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import warnings
import zipfile
from typing import Any, cast

import numpy as np
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn._version import __version__
from stpbnn.files import DAMAGE, destination, read_bytes, written_whole
from stpbnn.regressors.encoding import decoded, encode
from stpbnn.regressors.estimator import Estimator
from stpbnn.regressors.of_theory import CLASSES
from stpbnn.scale import OrderParameterPosterior, order_parameters_shape

__all__ = ["load", "save"]

FORMAT = "stpbnn regressor"
SCHEMA = 1
LATER = ("noise_variances_", "noise_df_", "centre_", "solver_", "loo_log_scores_")  # older files lack these
DENSEST = 1032  # bytes that one byte of a compressed member can stand for


def save(regressor: Estimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted regressor to a file, which appears whole.

    Parameters
    ----------
    regressor : fitted regressor
        Any of `stpbnn.regressors`.
    path : path
        The file, a NumPy archive whatever its name; its folder exists.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If it is no regressor of stpbnn, or holds what cannot be told by names and numbers: a kernel or an activation of
        one's own (unless the activation is registered), a callable optimizer, a random number generator; or if there
        can be no such file: its folder is not there, or it is a folder itself.

    Examples
    --------
    >>> import tempfile
    >>> from stpbnn import NNGPRegressor
    >>> model = NNGPRegressor(temperature=0.1).fit(np.eye(3), np.array([1.0, 0.0, -1.0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(model, f"{folder}/model.npz")
    ...     again = load(f"{folder}/model.npz")
    >>> bool(np.all(again.predict(np.eye(3)) == model.predict(np.eye(3))))
    True
    """
    if type(regressor) not in CLASSES.values():
        steps = "; save the last of its steps, pipeline[-1]" if hasattr(regressor, "steps") else ""
        raise ValueError(f"regressor: got a {type(regressor).__name__}, expected one of {', '.join(CLASSES)}{steps}")
    check_is_fitted(regressor, "X_train_")
    path = destination("path", path)
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "version": __version__,
        "class": type(regressor).__name__,
        "parameters": {name: encode(name, value) for name, value in regressor.get_params(deep=False).items()},
        "learned": {name: encode(name, getattr(regressor, name)) for name in regressor._learned},
        "feature_names": list(getattr(regressor, "feature_names_in_", [])),
    }
    text, arrays = np.array(json.dumps(header)), cast(dict[str, Any], regressor._arrays)
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=text, X=regressor.X_train_, y=regressor.y_train_, **arrays)


@in_float64
def load(path: str | os.PathLike[str]) -> Any:
    """Read a fitted regressor from a file that `save` wrote.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    regressor
        Fitted, with the hyper-parameters that were learned.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the file cannot be read.
    ValueError
        If the file is none of a regressor, is damaged, or was written in a schema that this version does not know; if
        its numbers are not finite or its fields do not match.
    """
    header, X, y, arrays = _read(check.path("path", path, "the path of a file that stpbnn.save wrote"))
    try:
        regressor = CLASSES[header["class"]](**decoded(header["parameters"]))
        learned = {name: None for name in regressor._learned if name in LATER}
        learned |= decoded(header["learned"])
        if set(learned) != set(regressor._learned):
            raise KeyError(f"learned: got {', '.join(learned)}")
        names = list(header["feature_names"])
        if len(names) not in (0, X.shape[1]):
            raise ValueError(f"{len(names)} names of {X.shape[1]} features")
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)!r}: the header of the file is damaged or unknown ({error})") from error
    for name, value in learned.items():
        setattr(regressor, name, value)
    regressor.X_train_, regressor.y_train_, regressor.n_features_in_ = X, y, X.shape[1]
    if names:
        regressor.feature_names_in_ = np.array(names, dtype=object)
    try:
        _check_learned(regressor, y)
        regressor._recondition(arrays)
        with warnings.catch_warnings(action="ignore"):
            shown = regressor.predict(X[:1], return_std=True)
        if (
            not all(np.isfinite(values).all() for values in shown)
            or len(shown[0]) != 1
            or shown[0].size * len(y) != y.size
        ):
            raise ValueError("it predicts what is no number, or another number of outputs")
    except (*DAMAGE, ArithmeticError) as error:
        told = " ".join(str(error).split())
        raise ValueError(f"{os.fspath(path)!r}: the fields of the file do not match ({told}); save it again") from error
    for name, value in learned.items():  # whether it had converged is remembered, not found out again
        setattr(regressor, name, value)
    return regressor


def _check_learned(regressor: Any, y: np.ndarray) -> None:
    """Refuse settings, and what was learned, where they are of another kind than `fit` leaves."""
    regressor._check_settings()
    variances = getattr(regressor, "noise_variances_", None)
    if variances is not None and not (np.shape(variances) == (len(y),) and np.min(variances) > 0):
        raise ValueError(f"noise_variances_: got shape {np.shape(variances)}, expected {len(y)} positive numbers")
    check.number("temperature_", regressor.temperature_, minimum=0, inclusive=True)
    check.boolean("converged_", regressor.converged_)
    outputs = 1 if y.ndim == 1 else y.shape[1]
    network, kernel = getattr(regressor, "network_", None), getattr(regressor, "kernel_", None)
    if network is not None and check.instance("network_", network, *regressor._networks).outputs != outputs:
        raise ValueError(f"network_: got {network.outputs} outputs for targets of {outputs}")
    if (network is None) == (kernel is None) or not (kernel is None or isinstance(kernel, Kernel)):
        raise ValueError("got neither a network nor a kernel")
    if kernel is not None:
        check.number("df_", regressor.df_)
    if "noise_df_" in regressor._learned:
        _check_noise(regressor, y)
    law = getattr(regressor, "order_parameter_posterior_", None)
    if law is not None and not (
        isinstance(law, OrderParameterPosterior)
        and network is not None
        and law.nodes.shape == (len(law.weights), *order_parameters_shape(network))
        and (law.amplitudes is None or law.amplitudes.shape == law.weights.shape)
        and np.isfinite(law.nodes).all()
        and math.isclose(law.weights.sum(), 1, rel_tol=1e-6)
    ):
        raise ValueError("order_parameter_posterior_: nodes and weights do not fit the network")


def _check_noise(regressor: Any, y: np.ndarray) -> None:
    """Refuse what was learned of the noise, where it is of another kind than `fit` leaves."""
    scores = regressor.loo_log_scores_
    expected = set(regressor._candidates) if regressor.noise == "auto" else set()
    if set(scores or ()) != expected or not all(
        type(score) is float and score < np.inf for score in (scores or {}).values()
    ):
        raise ValueError(f"loo_log_scores_: got {scores!r} for noise={regressor.noise!r}")
    noise, df, centre = regressor.noise_, regressor.noise_df_, regressor.centre_
    if (df is None) == (noise == "student-t"):
        raise ValueError(f"noise_df_: got {df!r} for noise={noise!r}")
    if df is not None:
        check.number("noise_df_", df)
    if (centre is None) == (noise == "robust") or np.shape(y if centre is None else centre) != y.shape:
        raise ValueError(f"centre_: got shape {np.shape(centre)} for noise={noise!r}")


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    name = os.fspath(path)
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        missing = "there is no such file; expected one that stpbnn.save wrote"
        raise FileNotFoundError(errno.ENOENT, missing, name) from None
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError(f"{name!r}: not a file that stpbnn.save wrote; expected a NumPy archive")
    try:
        _refuse_false_sizes(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            contents = {key: archive[key] for key in archive}
        header = json.loads(str(contents.get("header", "null")), parse_constant=_constant)
    except DAMAGE as error:
        raise ValueError(f"{name!r}: the file is damaged ({error}); save the model again") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT or not {"X", "y"} <= set(contents):
        raise ValueError(f"{name!r}: not a file that stpbnn.save wrote: there is no header of the format {FORMAT!r}")
    if header.get("schema") != SCHEMA:
        raise ValueError(
            f"{name!r}: got schema {header.get('schema')!r}, written by stpbnn {header.get('version')}, expected "
            f"{SCHEMA}; read it with that version, or save it again"
        )
    X, y = contents.pop("X"), contents.pop("y")
    arrays = {name: array for name, array in contents.items() if name != "header"}
    if X.dtype != np.float64 or y.dtype != np.float64 or X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y):
        raise ValueError(f"{name!r}: the training set is damaged: X has shape {X.shape} and y {y.shape}")
    try:
        y = check.targets("y", y, examples=len(X), outputs=max(1, y[:1].size))
        return header, check.inputs("X", X), y, arrays
    except ValueError as error:
        raise ValueError(f"{name!r}: the training set is damaged: {error}") from None


def _refuse_false_sizes(content: bytes) -> None:
    """Refuse an archive whose arrays claim more than is in it, before anything is expanded."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = read[version](file)
                claimed = math.prod(shape) * dtype.itemsize + file.tell()
            if dtype.hasobject:  # NumPy refuses it
                continue
            if claimed != member.file_size or claimed > DENSEST * len(content):
                raise ValueError(
                    f"{member.filename} claims an array of shape {shape}, of {claimed:.0e} bytes, in a file of "
                    f"{len(content)}"
                )


def _constant(name: str) -> float:
    """Return infinity, which some settings may be; what is no number is no setting."""
    if name == "NaN":
        raise ValueError("its header holds NaN, expected numbers")
    return float(name)
