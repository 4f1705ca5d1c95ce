"""Fitted regressors in files: numbers and names in a NumPy archive, without pickle.

The archive holds the training set and a header in JSON: class, parameters, and what was learned. Loading conditions on
the training set again, at the numbers that were learned: nothing is searched for or sampled a second time. The adaptive
kernel is the exception: its particles are simulated again, with the seed of the first time, which takes as long.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.gaussian_process import kernels as sklearn_kernels
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted

import stpbnn
from stpbnn import activations, regressors
from stpbnn._precision import in_float64
from stpbnn.files import written_whole
from stpbnn.kernels.nngp_kernel import NNGPKernel
from stpbnn.network import FullyConnected
from stpbnn.regressors.prediction import PredictiveRegressor
from stpbnn.scale import OrderParameterPosterior

__all__ = ["load", "save"]

FORMAT = "stpbnn regressor"
SCHEMA = 1
KERNELS = {
    name: getattr(sklearn_kernels, name)
    for name in (
        "ConstantKernel",
        "DotProduct",
        "ExpSineSquared",
        "Exponentiation",
        "Matern",
        "PairwiseKernel",
        "Product",
        "RBF",
        "RationalQuadratic",
        "Sum",
        "WhiteKernel",
    )
} | {"NNGPKernel": NNGPKernel}


def save(regressor: PredictiveRegressor, path: str | os.PathLike[str]) -> None:
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
        one's own (unless the activation is registered), a callable optimizer, a random number generator.

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
    if type(regressor) not in _classes().values():
        raise ValueError(f"regressor: got {regressor!r}, expected one of {', '.join(_classes())}")
    check_is_fitted(regressor, "X_train_")
    header = {
        "format": FORMAT,
        "schema": SCHEMA,
        "version": stpbnn.__version__,
        "class": type(regressor).__name__,
        "parameters": {name: _encode(name, value) for name, value in regressor.get_params(deep=False).items()},
        "learned": {name: _encode(name, getattr(regressor, name)) for name in regressor._learned},
        "feature_names": list(getattr(regressor, "feature_names_in_", [])),
    }
    text = np.array(json.dumps(header))
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=text, X=regressor.X_train_, y=regressor.y_train_)


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
    ValueError
        If the file is none of a regressor, is damaged, or was written in a schema that this version does not know.
    """
    header, X, y = _read(path)
    try:
        regressor = _classes()[header["class"]](**_decoded(header["parameters"]))
        learned = _decoded(header["learned"])
        if set(learned) != set(regressor._learned):
            raise KeyError(f"learned: got {', '.join(learned)}")
        names = header["feature_names"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)!r}: the header of the file is damaged or unknown ({error})") from error
    for name, value in learned.items():
        setattr(regressor, name, value)
    regressor.X_train_, regressor.y_train_, regressor.n_features_in_ = X, y, X.shape[1]
    if names:
        regressor.feature_names_in_ = np.array(names, dtype=object)
    regressor._recondition()
    for name, value in learned.items():  # whether it had converged is remembered, not found out again
        setattr(regressor, name, value)
    return regressor


def _classes() -> dict[str, type[PredictiveRegressor]]:
    """Return the regressors by name."""
    public = {name: getattr(regressors, name) for name in regressors.__all__}
    return {
        name: kind for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, PredictiveRegressor)
    }


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    name = os.fspath(path)
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{name!r}: not a file that stpbnn.save wrote; expected a NumPy archive")
    try:
        with np.load(path, allow_pickle=False) as archive:
            contents = {key: archive[key] for key in ("header", "X", "y") if key in archive}
        header = json.loads(str(contents.get("header", "null")))
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name!r}: the file is damaged ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT or len(contents) != 3:
        raise ValueError(f"{name!r}: not a file that stpbnn.save wrote: there is no header of the format {FORMAT!r}")
    if header.get("schema") != SCHEMA:
        raise ValueError(
            f"{name!r}: got schema {header.get('schema')!r}, written by stpbnn {header.get('version')}, expected "
            f"{SCHEMA}; read it with that version, or save it again"
        )
    X, y = contents["X"], contents["y"]
    if X.dtype != np.float64 or y.dtype != np.float64 or X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y):
        raise ValueError(f"{name!r}: the training set is damaged: X has shape {X.shape} and y {y.shape}")
    return header, X, y


def _encode(what: str, value: Any) -> Any:
    """Return a value in numbers, strings, lists and dictionaries with the key "type"."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, OrderParameterPosterior):
        return {"type": "OrderParameterPosterior", **{key: _encode(key, item) for key, item in value._asdict().items()}}
    if isinstance(value, np.ndarray):
        return {"type": "array", "values": value.tolist()}
    if isinstance(value, list | tuple):
        return {"type": type(value).__name__, "values": [_encode(f"{what}[{i}]", v) for i, v in enumerate(value)]}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"type": "dict", "values": {key: _encode(f"{what}[{key!r}]", item) for key, item in value.items()}}
    if isinstance(value, FullyConnected):
        name = value.sigma.name
        if name not in activations.available() or activations.get(name) != value.sigma:
            raise ValueError(
                f"{what}: got the activation {name!r}, expected a registered one: a file holds its name only; "
                "call stpbnn.activations.register before saving and before loading"
            )
        return {"type": "FullyConnected", **value.to_dict()}
    if isinstance(value, Kernel) and KERNELS.get(type(value).__name__) is type(value):
        parameters = value.get_params(deep=False)
        return {"type": type(value).__name__, **{key: _encode(f"{what}.{key}", v) for key, v in parameters.items()}}
    raise ValueError(
        f"{what}: got {value!r}, which cannot be told by names and numbers; expected numbers, strings, networks, or "
        f"kernels of {', '.join(sorted(KERNELS))}"
    )


def _decode(code: Any) -> Any:
    if not isinstance(code, dict):
        return code
    fields = {key: value for key, value in code.items() if key != "type"}
    kind = code["type"]
    if kind == "array":
        return np.array(fields["values"], dtype=np.float64)
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](map(_decode, fields["values"]))
    if kind == "dict":
        return _decoded(fields["values"])
    if kind == "OrderParameterPosterior":
        return OrderParameterPosterior(**_decoded(fields))
    if kind == "FullyConnected":
        return FullyConnected(**fields)
    return KERNELS[kind](**_decoded(fields))


def _decoded(codes: dict[str, Any]) -> dict[str, Any]:
    return {name: _decode(code) for name, code in codes.items()}
