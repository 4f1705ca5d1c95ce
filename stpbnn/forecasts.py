"""Predictions of a finished run at new inputs: the posterior and every theory, in the units of the data."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import xarray as xr
from scipy.special import expit, softmax

from stpbnn import _validation as check
from stpbnn._interrupt import look
from stpbnn._version import __version__
from stpbnn.cards import Card
from stpbnn.catalogue import long_name
from stpbnn.comparison import classes_of, stored_labels
from stpbnn.datasets import Preparation, read_table
from stpbnn.predictive import Mixture
from stpbnn.theories import chosen, fitted

if TYPE_CHECKING:
    import pandas as pd


__all__ = ["POSTERIOR", "PROBABILITIES", "predict", "predict_file", "table"]

logger = logging.getLogger(__name__)

POSTERIOR = "posterior"
PROBABILITIES = (0.025, 0.25, 0.5, 0.75, 0.975)  # the median, and the intervals of 50 and of 95 %
SLOW = 20.0  # seconds


class FinishedRun(Protocol):
    """What predictions need of a finished run; `stpbnn.runs.Run` has it."""

    @property
    def folder(self) -> Path:
        """The run folder."""

    @property
    def card(self) -> Card:
        """The card."""

    @property
    def theory(self) -> xr.Dataset:
        """The predictions of the theories."""

    @property
    def posterior(self) -> xr.DataTree:
        """The draws."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What run.json says."""

    @property
    def preparation(self) -> Preparation | None:
        """What turned a table into inputs."""


def predict(run: FinishedRun, X: Any, *, noise: bool = False, theories: Sequence[str] | None = None) -> xr.Dataset:
    r"""Return what the posterior and the theories of a finished run predict at new inputs, in the units of the data.

    The posterior is the mixture of the laws of f given the hidden weights of the draws that kept their weights; where
    the readout was sampled, it is their values. The theories are conditioned on the training set of the run again; what
    the adaptive kernel took long to find is in the run folder, unless it is large or the folder older: then it is
    searched for again.

    Parameters
    ----------
    run : Run
        What `stpbnn.load_run` read.
    X : array of shape (n, N_0), or frame
        Inputs: a frame with the columns of the training table, or an array as the card loads it.
    noise : bool
        Whether the laws are those of new targets, with their noise T, in the place of the function f.
    theories : sequence of str, optional
        Names of some of them, an empty list for the posterior alone; by default all that the run solved.

    Returns
    -------
    xarray.Dataset
        `mean` and `std` (theory, test_point[, output]), and `quantiles` (theory, probability, test_point[, output]) at
        2.5, 25, 50, 75 and 97.5 %, where the first `theory` is "posterior"; it is left out where no weights were kept.
        The attributes say how many `draws` there are, and whether `noise` is added. Of classes there are `label`
        (theory, test_point), the most probable class, and `probability` (theory, test_point, class) in their place.

    Raises
    ------
    ValueError
        If the inputs are not those of the run, or a theory is not one of it, or nothing is left to predict with.
    """
    noise, of_classes = check.boolean("noise", noise), run.card.network.of_classes
    if noise and of_classes:
        raise ValueError("noise: got True with classes, whose probabilities are the law of new labels; leave it out")
    names = _names(run, theories)
    preparation = run.preparation
    inputs = _inputs(run, X, preparation)
    laws, draws = {}, 0
    if "weights" in run.posterior.children or "process" in run.posterior.attrs:
        laws[POSTERIOR] = _posterior(run, inputs, noise)
        draws = (
            run.posterior["weights"].sizes["draw"] * run.posterior["weights"].sizes["chain"]
            if of_classes
            else len(laws[POSTERIOR].weights)
        )
    elif not names:
        raise ValueError(f"{run.folder}: {_none_kept(run)}")
    else:
        warnings.warn(f"{run.folder}: {_none_kept(run)}; the theories alone predict", stacklevel=3)
    laws |= _theories(run, names, inputs, noise)
    about = {"card": run.card.name, "draws": draws, "noise": int(noise), "stpbnn_version": __version__}
    if preparation is not None:
        about["targets"] = list(preparation.target_names)
    if (classes := classes_of(run.posterior)) is not None:
        return _classified(laws, classes, _index(X, len(inputs)), about)
    shape = next(iter(laws.values())).mean.shape
    dims = ("test_point", "output")[: len(shape)]
    mean = np.stack([law.mean for law in laws.values()])
    std = np.stack([law.std for law in laws.values()])
    quantiles = np.stack([np.moveaxis(law.quantile(np.array(PROBABILITIES)), -1, 0) for law in laws.values()])
    if preparation is not None:
        mean, quantiles = preparation.in_units(mean), preparation.in_units(quantiles)
        std = preparation.spread_in_units(std)
    coords: dict[str, Any] = {"theory": list(laws), "probability": list(PROBABILITIES)}
    coords["test_point"] = _index(X, shape[0])
    if preparation is not None and len(shape) == 2:
        coords["output"] = list(preparation.target_names)
    data = {
        "mean": (("theory", *dims), mean),
        "std": (("theory", *dims), std),
        "quantiles": (("theory", "probability", *dims), quantiles),
    }
    return xr.Dataset(data, coords, about)


def predict_file(
    run: FinishedRun, file: str | os.PathLike[str], *, noise: bool = False, theories: Sequence[str] | None = None
) -> xr.Dataset:
    """Return what a finished run predicts for a table in a file; its rows are called by the lines of the file.

    Parameters
    ----------
    run, noise, theories
        As for `predict`.
    file : path
        A table that `stpbnn.datasets.read_table` reads, with the columns of the inputs; others are left aside.
    """
    data = run.card.data
    table = read_table(file, separator=data.separator, decimal=data.decimal, encoding=data.encoding)
    try:
        return predict(run, table, noise=noise, theories=theories)
    except ValueError as error:
        if str(error).startswith(("column", "X")):
            raise ValueError(f"{file}: {error}") from None
        raise


def table(predictions: xr.Dataset) -> pd.DataFrame:
    """Return predictions as a table: a row for each input; mean, std and quantiles of the posterior and each theory.

    Of classes the most probable one, and the probability of each.

    Parameters
    ----------
    predictions : xarray.Dataset
        What `predict` returned.

    Examples
    --------
    >>> one = xr.DataArray([[0.5]], {"theory": ["posterior"], "test_point": [0]}, ("theory", "test_point"))
    >>> quantiles = one.expand_dims(probability=[0.975], axis=1)
    >>> table(xr.Dataset({"mean": one, "std": one, "quantiles": quantiles})).columns.tolist()
    ['posterior mean', 'posterior std', 'posterior 97.5 %']
    """
    import pandas as pd

    columns = {}
    for theory in predictions["theory"].to_numpy().tolist() if "label" in predictions else []:
        at = predictions.sel(theory=theory)
        columns[f"{theory} class"] = at["label"].to_numpy()
        columns |= {
            f"{theory} P({name})": at["probability"].sel({"class": name}).to_numpy() for name in at["class"].values
        }
    if columns:
        return pd.DataFrame(columns, index=pd.Index(predictions["test_point"].to_numpy(), name="row"))
    outputs = predictions["output"].to_numpy().tolist() if "output" in predictions.dims else [None]
    for theory in predictions["theory"].to_numpy().tolist():
        for output in outputs:
            at = predictions.sel(theory=theory) if output is None else predictions.sel(theory=theory, output=output)
            title = theory if output is None else f"{theory} {output}"
            columns[f"{title} mean"], columns[f"{title} std"] = at["mean"].to_numpy(), at["std"].to_numpy()
            for p in at["probability"].to_numpy().tolist():
                columns[f"{title} {100 * p:g} %"] = at["quantiles"].sel(probability=p).to_numpy()
    return pd.DataFrame(columns, index=pd.Index(predictions["test_point"].to_numpy(), name="row"))


def _classified(laws: Mapping[str, Any], classes: np.ndarray, index: Any, about: dict[str, Any]) -> xr.Dataset:
    """Return class probabilities by the name of their source, and the most probable classes."""
    probabilities = np.stack(list(laws.values()))
    data = {
        "label": (("theory", "test_point"), classes[probabilities.argmax(axis=2)]),
        "probability": (("theory", "test_point", "class"), probabilities),
    }
    return xr.Dataset(data, {"theory": list(laws), "test_point": index, "class": classes}, about)


def _names(run: FinishedRun, theories: Sequence[str] | None) -> dict[str, str]:
    """Return the chosen theories among those that the run has solved, by their long and short names."""
    solved = run.theory["mean"].notnull().any([dim for dim in run.theory["mean"].dims if dim != "theory"])
    there = {name: kind for name, kind in chosen(run.card).items() if name in run.theory["theory"]}
    there = {name: kind for name, kind in there.items() if bool(solved.sel(theory=name))}
    if theories is None:
        return there
    if isinstance(theories, str):
        raise ValueError(f"theories: got {check.shown(theories)}, expected a list of names, such as [{theories!r}]")
    if not isinstance(theories, Iterable):
        raise ValueError(f"theories: got {check.shown(theories)}, expected a list of names, or None for all of them")
    found = [long_name(check.one_of("theories", name, [*there, *there.values()])) for name in theories]
    return {name: kind for name, kind in there.items() if name in found}


def _inputs(run: FinishedRun, X: Any, preparation: Preparation | None) -> np.ndarray:
    """Return the inputs as the network takes them."""
    features = run.posterior["constant_data"]["X"].sizes["feature"]
    if preparation is not None:
        return check.inputs("X", preparation.transform(X), features=features)
    return check.inputs("X", X.to_numpy() if hasattr(X, "to_numpy") else X, features=features)


def _index(X: Any, rows: int) -> Any:
    """Return what the rows of a frame are called, or their numbers."""
    index = getattr(X, "index", None)
    return np.arange(rows) if index is None or callable(index) else np.asarray(index)


def _none_kept(run: FinishedRun) -> str:
    asked = run.card.sampler.keep_draws
    if not asked:
        return "no weights of the posterior were kept, as sampler.keep_draws = 0 says"
    weights = "they have more than 8 MB, or the run is older than sampler.keep_draws: remove the folder to sample anew"
    return f"no weights of the posterior were kept ({weights})"


def _posterior(run: FinishedRun, X: np.ndarray, noise: bool) -> Any:
    """Return the law of f, or of new targets, under the draws of the posterior; of classes their probabilities."""
    from stpbnn.samplers import functions

    found = functions(run.posterior, X).stack(sample=("chain", "draw"), create_index=False).transpose("sample", ...)
    means = found["f_mean" if "f_mean" in found else "f"].to_numpy()
    if run.card.network.of_classes:
        of_draws = softmax(means, axis=2) if means.ndim == 3 else np.stack([expit(-means), expit(means)], axis=2)
        return of_draws.mean(axis=0)
    variances = found["f_variance"].to_numpy() if "f_variance" in found else np.zeros_like(means)
    T = run.card.posterior.temperature if noise else 0.0
    return Mixture(np.full(len(means), 1 / len(means)), means, variances + T)


def _theories(run: FinishedRun, names: dict[str, str], X: np.ndarray, noise: bool) -> dict[str, Any]:
    """Return the laws of the theories, from the run folder or fitted again to the training set of the run."""
    y = stored_labels(run.posterior, "observed_data", "y")
    y = run.posterior["observed_data"]["y"].to_numpy() if y is None else y
    train = run.posterior["constant_data"]["X"].to_numpy(), y
    seconds = float(run.record.get("seconds", {}).get("theory", 0.0))
    if seconds > SLOW and "adaptive" in names.values() and not (run.folder / "adaptive.npz").exists():
        logger.info("solving the theories again, which took %.0f s in the run; --theory takes some of them", seconds)
    laws = {}
    for name, kind in names.items():
        look()
        start = time.perf_counter()
        model, found = fitted(run.card, kind, *train, run.folder)
        laws[name] = model.predict_proba(X) if run.card.network.of_classes else model.predictive(X, noise=noise)
        logger.debug("%s: %.1f s%s", name, time.perf_counter() - start, ", from the run folder" if found else "")
    return laws
