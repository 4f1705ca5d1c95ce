"""Whole curves of classes: the closed forms over widths, temperatures and numbers of training examples."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from stpbnn import _validation as check
from stpbnn._labels import class_labels, fitting_classes, refuse_unknown_labels
from stpbnn.catalogue import known_theories
from stpbnn.class_scores import ClassScores, class_scores
from stpbnn.classifiers import classifier_of
from stpbnn.network import FullyConnected
from stpbnn.regressors import GridPoints, shown, warn_of_unsolved

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
    check.instance("net", net, FullyConnected)
    if net.likelihood == "gaussian":
        raise ValueError("net: got the likelihood 'gaussian', expected one of classes; take stpbnn.theory_grid")
    X, X_test = check.inputs("X", X), check.inputs("X_test", X_test, features=np.shape(X)[-1])
    y, y_test = class_labels("y", y), class_labels("y_test", y_test)
    refuse_unknown_labels("y_test", y_test, fitting_classes("y", y, net))
    points = GridPoints.of(
        net,
        len(X),
        widths=widths,
        temperatures=temperatures,
        train=train,
        theories=theories,
        known=list(known_theories(net).values()),
        zero=False,
    )
    found = {
        "scores": np.full((*points.shape, 4), np.nan),
        "order_parameters": np.full((*points.shape, net.depth), np.nan),
        "log_marginal_likelihood": np.full(points.shape, np.nan),
        "converged": np.zeros(points.shape, dtype=bool),
    }
    failures = {}
    places = list(itertools.product(*map(range, points.shape)))
    for i, at, j, k in shown(places, check.boolean("progress", progress), None):
        theory, P = points.keys[i], points.train[at]
        if theory == "infinite" and j > 0:
            for values in found.values():
                values[i, at, j, k] = values[i, at, 0, k]
            continue
        model = classifier_of(theory, points.nets[j], points.temperatures[k])
        try:
            model.fit(X[:P], y[:P])
            scores = class_scores(model.predict_proba(X_test), y_test, model.classes_)
        except ValueError as error:
            failures[points.named(i, at, j, k)] = str(error)
            continue
        row = (scores, model.order_parameters_, model.log_marginal_likelihood_, model.converged_)
        for name, value in zip(found, row, strict=True):
            found[name][i, at, j, k] = value
    warn_of_unsolved(failures, stacklevel=2)
    extra = {"scores": "score", "order_parameters": "layer", "error": "part"}
    coords = {"score": list(ClassScores._fields), "part": ["total"]}
    return points.dataset(found | {"error": found["scores"][..., :1]}, extra, coords)
