"""Whole curves: the theories over widths, temperatures and numbers of training examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from stpbnn import _validation as check
from stpbnn import adaptive
from stpbnn._memory import refuse_beyond
from stpbnn._precision import in_float64
from stpbnn._random import random_numbers
from stpbnn.catalogue import THEORIES
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.regressors.errors import GeneralizationError, own_errors
from stpbnn.regressors.grid_points import GridPoints, shown, warn_of_unsolved
from stpbnn.regressors.learnable_network import NOISES
from stpbnn.regressors.of_theory import regressor_of
from stpbnn.regressors.solver import SOLVERS, Solver
from stpbnn.scale import TRENDS, ZERO_TARGETS, Mean, WidthCurve, by_layer, keeps_mean, refuse_singular

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["theory_grid"]

Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float, bool]  # as the names of `found` below
Found = tuple[tuple[int, int], Row | str]  # the point, and its numbers or the reason why there are none


@in_float64
def theory_grid(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    widths: Sequence[int | Sequence[int]],
    temperatures: Sequence[float],
    train: Sequence[int] | None = None,
    theories: Sequence[str] = ("infinite", "proportional"),
    particles: int = 4096,
    cluster: int | str = 1,
    random_state: Any = None,
    mean: Mean = "auto",
    df: float = 5.0,
    noise: str = "gaussian",
    noise_df: float = 4.0,
    trend: str = "zero",
    solver: Solver = "auto",
    progress: bool = False,
) -> xr.Dataset:
    r"""Return generalisation errors and order parameters over a grid of widths, temperatures and training sizes.

    With one hidden layer, one output and a zero-mean kernel, one eigendecomposition a training size serves all widths
    and temperatures: a point of the grid costs O(P) for its saddle point and two products of a vector with the
    (n, P) matrix of the test set. Elsewhere every point is solved by its regressor.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network; its own widths, or channels, are replaced.
    X, y : arrays of shape (P, N_0) and (P,) or (P, D)
        Training set.
    X_test, y_test : arrays of shape (n, N_0) and (n,) or (n, D)
        Test set.
    widths : sequence of int, or of sequences of int
        Widths (or channels) of all hidden layers, or N_1..N_L for each point.
    temperatures : sequence of float
        T, variances of the noise.
    train : sequence of int or None
        Training sizes: the first rows of the training set are taken. None means all of it.
    theories : sequence of {"infinite", "proportional", "zero-mean", "finite", "adaptive", "student-t"}
        Which theories, by these names or by those of tables, such as "infinite width".
        "zero-mean" is the proportional limit with ``mean="drop"``; "student-t" the network of infinite
        width whose readout has a random scale, with Gaussian noise beside it. The adaptive kernel is simulated, seconds
        to minutes for each point.
    particles : int
        How many hidden units the adaptive kernel simulates.
    cluster : int or "auto"
        How many of its units are sampled jointly; see `AdaptiveKernelRegressor`.
    random_state : int, numpy Generator, RandomState or None
        Seed of its particles.
    mean : {"auto", "keep", "drop"}
        What "proportional" and "finite" do with the Gaussian mean of the features of activations that are not odd.
    df : float
        ν > 2 of "student-t".
    noise : {"gaussian", "student-t", "robust", "auto"}
        The noise of "infinite"; see `NNGPRegressor`.
    noise_df : float
        The degrees of freedom of its noise "student-t".
    trend : {"zero", "constant", "linear"}
        What all but the adaptive kernel have beside the network.
    solver : {"auto", "exact", "iterative"}
        Whether those that are solved point by point, all but the adaptive kernel, factorise their kernels.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.Dataset
        `error` (theory, train, width, temperature, part) with the parts total, squared_bias and variance, and its
        standard error `theory_error_mcse`, zero for closed forms, which covers the Monte Carlo error and the part
        `theory_error_systematic`, what the last doubling of clusters changed (NaN where one size alone was solved);
        `order_parameters` (theory, train, width, temperature, layer), of a matrix Q its mean eigenvalue;
        `log_marginal_likelihood` and `converged` (theory, train, width, temperature). The adaptive kernel has no order
        parameters: NaN. At points that cannot be solved all numbers are NaN, and `converged` is False.

    Raises
    ------
    ValueError
        For bad data or settings; at T = 0 for a kernel that is singular, or targets that are all zero where the theory
        has no order parameter for them.

    Warns
    -----
    ConvergenceWarning
        If points cannot be solved: which, and why. For the adaptive kernel T = 0 and depth are such reasons.

    References
    ----------
    Theory notes, section 4.

    Examples
    --------
    >>> X, y = np.eye(4), np.array([1.0, -1.0, 1.0, -1.0])
    >>> grid = theory_grid(FullyConnected((9,), "linear"), X, y, X, y, widths=[5, 50], temperatures=[0.1, 1.0])
    >>> grid["error"].sel(theory="proportional", part="total", train=4).round(3).values.tolist()
    [[0.119, 0.843], [0.145, 0.84]]
    """
    check.instance("net", net, FullyConnected, Convolutional)
    X, X_test = check.inputs("X", X), check.inputs("X_test", X_test, features=np.shape(X)[-1])
    net.refuse_features("X", X.shape[1])
    y = check.targets("y", y, examples=len(X), outputs=net.outputs)
    y_test = check.targets("y_test", y_test, examples=len(X_test), outputs=net.outputs)
    points = GridPoints.of(
        net,
        len(X),
        widths=widths,
        temperatures=temperatures,
        train=train,
        theories=theories,
        known=THEORIES,
        zero=True,
    )
    check.room_for_kernels("X", max(points.train))
    kernels = f"X_test: got {len(X_test)} rows, whose kernels"
    refuse_beyond(16 * len(X_test) * max(points.train), kernels, "take fewer rows")
    random_numbers(random_state)
    progress = check.boolean("progress", progress)
    dense = isinstance(net, FullyConnected) and not keeps_mean(net, mean)
    beside: dict[str, Any] = {
        "noise": check.one_of("noise", noise, NOISES),
        "trend": check.one_of("trend", trend, TRENDS),
    }
    fast = dense and net.depth == 1 and net.outputs == 1 and beside == {"noise": "gaussian", "trend": "zero"}
    beside |= {"noise_df": check.number("noise_df", noise_df), "solver": check.one_of("solver", solver, SOLVERS)}
    particles, df = check.integer("particles", particles, minimum=16), check.number("df", df, minimum=2)
    cluster = adaptive.cluster_size(cluster)
    settings = {
        "particles": particles,
        "cluster": cluster,
        "random_state": random_state,
        "mean": mean,
        "df": df,
    } | beside

    if 0 in points.temperatures:
        for P in points.train:
            _refuse_singular(net, X[:P])

    found = {
        "error": np.full((*points.shape, 3), np.nan),
        "theory_error_mcse": np.full((*points.shape, 3), np.nan),
        "theory_error_systematic": np.full((*points.shape, 3), np.nan),
        "order_parameters": np.full((*points.shape, net.depth), np.nan),
        "log_marginal_likelihood": np.full(points.shape, np.nan),
        "converged": np.zeros(points.shape, dtype=bool),
    }
    failures = {}
    for place, theory in enumerate(points.keys):
        for at, P in enumerate(points.train):
            solve = _one_factorisation if fast and theory in ("infinite", "proportional") else _one_by_one
            rows = solve(theory, settings, points.nets, points.temperatures, X[:P], y[:P], X_test, y_test)
            for (i, j), row in shown(rows, progress, f"{theory}, P = {P}", math.prod(points.shape[2:])):
                if isinstance(row, str):
                    failures[points.named(place, at, i, j)] = row
                    continue
                for name, value in zip(found, row, strict=True):
                    found[name][place, at, i, j] = value
    warn_of_unsolved(failures, stacklevel=3)
    extra = dict.fromkeys(("error", "theory_error_mcse", "theory_error_systematic"), "part") | {
        "order_parameters": "layer"
    }
    return points.dataset(found, extra, {"part": list(GeneralizationError._fields)})


def _refuse_singular(net: Network, X: np.ndarray) -> None:
    try:
        refuse_singular(net, X, 0)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"temperatures: got 0 with a kernel that is singular to working precision for P = {len(X)} ({error}); "
            "remove repeated or linearly dependent inputs, or give larger temperatures"
        ) from None


def _one_by_one(
    theory: str,
    settings: Mapping[str, Any],
    nets: list[Any],
    temperatures: list[float],
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
) -> Iterator[Found]:
    """Solve each point with its regressor; infinite width only once a temperature."""
    for j, T in enumerate(temperatures):
        for i, net in enumerate(nets):
            if i == 0 or theory != "infinite":
                row = _solved(regressor_of(theory, net, T, **settings), X, y, X_test, y_test)
            yield (i, j), row


def _solved(model: Any, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray) -> Row | str:
    try:
        parts = np.array(model.fit(X, y).generalization_error(X_test, y_test))
        own = own_errors(model, X_test, y_test)
    except ValueError as error:
        if str(error) == ZERO_TARGETS:
            raise
        return str(error)
    Q = by_layer(getattr(model, "network_", None), getattr(model, "order_parameters_", np.array([np.nan])))
    return parts, *own, Q, getattr(model, "log_marginal_likelihood_", np.nan), model.converged_


def _one_factorisation(
    theory: str,
    settings: Mapping[str, Any],
    nets: list[Any],
    temperatures: list[float],
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
) -> Iterator[Found]:
    """Solve all points in the eigenbasis of the kernel of one hidden layer."""
    curve = WidthCurve.of(nets[0], X, y, X_test, y_test, min(temperatures))
    widths = np.array([float(n.widths[0]) for n in nets])
    for j, T in enumerate(temperatures):
        at = curve.with_temperature(T)
        try:
            Q, evidence, converged = at.infinite(widths) if theory == "infinite" else at.lowest_minima(widths)
        except (np.linalg.LinAlgError, OverflowError):  # each of its own, by factorisations or with the reason why not
            yield from (((i, j), row) for (i, _), row in _one_by_one(theory, settings, nets, [T], X, y, X_test, y_test))
            continue
        distinct, back = np.unique(Q, return_inverse=True)
        parts = at.error(distinct)
        for i in range(len(nets)):
            error = np.array([parts[back[i]].sum(), *parts[back[i]]])
            yield (i, j), (error, np.zeros(3), np.zeros(3), Q[i : i + 1], float(evidence[i]), bool(converged[i]))
