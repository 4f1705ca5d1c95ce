"""Whole curves of classes: the closed forms over widths, temperatures and numbers of training examples."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from stpbnn import _validation as check
from stpbnn._labels import class_labels, fitting_classes
from stpbnn.catalogue import known_theories, short_name
from stpbnn.class_scores import ClassScores, class_scores
from stpbnn.classifiers import classifier_of
from stpbnn.network import FullyConnected

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["class_grid"]


def class_grid(
    net: FullyConnected,
    X: ArrayLike,
    y: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    widths: Sequence[int | Sequence[int]],
    temperatures: Sequence[float],
    train: Sequence[int] | None = None,
    theories: Sequence[str] = ("infinite", "proportional"),
    progress: bool = False,
) -> xr.Dataset:
    r"""Return scores and order parameters of classifiers over a grid of widths, temperatures and training sizes.

    .. math:: -\frac1n \sum_\mu \log p(c_\mu \mid x_\mu)

    is the error, beside the other scores of `class_scores`. Every point is fitted, of two classes by expectation
    propagation; infinite width once a temperature.

    Parameters
    ----------
    net : FullyConnected
        The network, with a likelihood of classes; its own widths are replaced.
    X, y : arrays of shape (P, N_0) and (P,)
        Training inputs and class labels.
    X_test, y_test : arrays of shape (n, N_0) and (n,)
        Test inputs and labels.
    widths : sequence of int, or of sequences of int
        Widths of all hidden layers, or N_1..N_L for each point.
    temperatures : sequence of float
        T: the likelihood is taken to the power 1/T.
    train : sequence of int or None
        Training sizes: the first rows of the training set are taken. None means all of it.
    theories : sequence of {"infinite", "proportional", "finite"}
        Which theories, by these names or by those of tables.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.Dataset
        `error` (theory, train, width, temperature, part), whose one part "total" is the negative log likelihood, and
        `scores` (..., score); `order_parameters` (..., layer), `log_marginal_likelihood` and `converged` (theory,
        train, width, temperature). Points that cannot be solved are NaN.

    Raises
    ------
    ValueError
        For bad data or settings, such as test labels that the training set lacks, and a theory that is not known for
        the network.

    Warns
    -----
    ConvergenceWarning
        If points cannot be solved: which, and why.

    References
    ----------
    Theory notes, section 4.

    Examples
    --------
    >>> X, y = np.eye(4), [0, 1, 0, 1]
    >>> net = FullyConnected((9,), "linear", weight_precision=0.1, likelihood="bernoulli")
    >>> grid = class_grid(net, X, y, X, y, widths=[5, 50], temperatures=[0.1, 1.0])
    >>> grid["error"].sel(theory="proportional", part="total", train=4).round(3).values.tolist()
    [[0.042, 0.172], [0.042, 0.172]]
    """
    import xarray as xr

    check.instance("net", net, FullyConnected)
    if net.likelihood == "gaussian":
        raise ValueError("net: got the likelihood 'gaussian', expected one of classes; take stpbnn.theory_grid")
    X, X_test = check.inputs("X", X), check.inputs("X_test", X_test, features=np.shape(X)[-1])
    y, y_test = class_labels("y", y), class_labels("y_test", y_test)
    check.refuse_unknown_labels("y_test", y_test, fitting_classes("y", y, net))
    given = {"widths": widths, "temperatures": temperatures, "theories": theories}
    listed = {name: _listed(name, values) for name, values in given.items()}
    sizes = [len(X)] if train is None else [_size(i, P, len(X)) for i, P in enumerate(_listed("train", train))]
    nets = [replace(net, widths=(w,) * net.depth if np.ndim(w) == 0 else tuple(w)) for w in listed["widths"]]
    kelvins = [check.number(f"temperatures[{i}]", T) for i, T in enumerate(listed["temperatures"])]
    known = list(known_theories(net).values())
    kinds = [check.one_of("theories", short_name(t) if isinstance(t, str) else t, known) for t in listed["theories"]]
    shape = (len(kinds), len(sizes), len(nets), len(kelvins))
    found = {
        "scores": np.full((*shape, 4), np.nan),
        "order_parameters": np.full((*shape, net.depth), np.nan),
        "log_marginal_likelihood": np.full(shape, np.nan),
        "converged": np.zeros(shape, dtype=bool),
    }
    failures = []
    for i, at, j, k in _shown(list(itertools.product(*map(range, shape))), check.boolean("progress", progress)):
        if kinds[i] == "infinite" and j > 0:
            for values in found.values():
                values[i, at, j, k] = values[i, at, 0, k]
            continue
        model, P = classifier_of(kinds[i], nets[j], kelvins[k]), sizes[at]
        try:
            model.fit(X[:P], y[:P])
            scores = class_scores(model.predict_proba(X_test), y_test, model.classes_)
        except ValueError as error:
            widths_here = ", ".join(map(str, nets[j].widths))
            failures.append(f"{kinds[i]}, P = {P}, width {widths_here}, T = {kelvins[k]:g}: {error}")
            continue
        row = (scores, model.order_parameters_, model.log_marginal_likelihood_, model.converged_)
        for name, value in zip(found, row, strict=True):
            found[name][i, at, j, k] = value
    if failures:
        told = "\n".join(failures)
        warnings.warn(
            f"{len(failures)} point(s) of the grid could not be solved and are NaN:\n{told}",
            ConvergenceWarning,
            stacklevel=2,
        )
    dims = ("theory", "train", "width", "temperature")
    extra = {"scores": ("score",), "order_parameters": ("layer",)}
    data = {name: (dims + extra.get(name, ()), values) for name, values in found.items()}
    data["error"] = ((*dims, "part"), found["scores"][..., :1])
    labels: list[Any] = [n.widths[0] if len(set(n.widths)) == 1 else "-".join(map(str, n.widths)) for n in nets]
    labels = labels if all(isinstance(label, int) for label in labels) else [str(label) for label in labels]
    coords = {"theory": listed["theories"], "train": sizes, "width": labels, "temperature": kelvins, "part": ["total"]}
    return xr.Dataset(data, coords | {"score": list(ClassScores._fields), "layer": np.arange(1, net.depth + 1)})


def _listed(what: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not np.iterable(values) or not len(listed := list(values)):
        raise ValueError(f"{what}: got {check.shown(values)}, expected a list with at least one entry")
    return listed


def _size(i: int, P: Any, available: int) -> int:
    if check.integer(f"train[{i}]", P) > available:
        raise ValueError(f"train[{i}]: got {P}, expected at most the {available} examples of the training set")
    return int(P)


def _shown(places: list[Any], progress: bool) -> Any:
    if not progress:
        return places
    from tqdm.auto import tqdm

    return tqdm(places)
