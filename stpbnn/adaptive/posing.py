"""The problem of a network: what its clusters are made of, and where their coordinates lie at new inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn import kernels
from stpbnn.adaptive.fields import Below, Problem
from stpbnn.adaptive.particles import RowSpace, whitened_inputs
from stpbnn.network import FullyConnected

__all__ = ["Coordinates", "coordinates", "posed"]


def posed(
    net: FullyConnected, X: Float[np.ndarray, "P N0"], y: np.ndarray, T: float, space: RowSpace, reaction: bool
) -> Problem:
    """Return the problem of single units of the last hidden layer."""
    prior = net.prior
    kernel = np.array(kernels.cross_kernel(kernels.feature_map(net), prior, X).entries)
    sigma, width, bias = net.sigma.function, net.widths[-1], prior.bias_variance
    problem = Problem(y.T.ravel(), space.root, kernel, sigma, T, width, prior.precisions[-1], bias, reaction)
    if net.depth == 1:
        return problem
    lower = without_last_layer(net)
    values, vectors = np.linalg.eigh(kernels.cross_kernel(kernels.feature_map(lower), lower.prior, X).entries)
    root = (vectors * np.sqrt(np.maximum(values, NEGLIGIBLE * values[-1]))) @ vectors.T
    below = Below(space.root, root, sigma, tuple(net.widths[:-1]), tuple(prior.precisions[1:-1]), float(np.sqrt(bias)))
    return replace(problem, below=below).resized(1 if net.depth == 2 else width)


NEGLIGIBLE = 1e-10  # eigenvalues below this part of the largest are raised to it


def without_last_layer(net: FullyConnected) -> FullyConnected:
    """Return the network of all hidden layers but the last."""
    return replace(net, widths=net.widths[:-1], weight_precision=net.precisions[:-1])


class Coordinates(NamedTuple):
    """New inputs as combinations of the coordinates of a cluster, and of free ones: (n, r) each, or deviations (n,).

    Of units of the last of several layers also the kernel of the layer below, or its diagonal.
    """

    along: Float[np.ndarray, "n r"]
    across: Float[np.ndarray, "n ..."]
    within: Float[np.ndarray, "n ..."] | None = None


def coordinates(
    net: FullyConnected, X_train: np.ndarray, X: np.ndarray, problem: Problem, space: RowSpace, *, joint: bool
) -> Coordinates:
    """Return those of new inputs; where only variances are asked for, each may be free by itself."""
    if problem.above:
        assert problem.below is not None
        lower, root = without_last_layer(net), problem.below.kernel_root
        features = kernels.feature_map(lower)
        cross = kernels.cross_kernel(features, lower.prior, X, X_train)
        linked = np.linalg.solve(root, np.asarray(cross.entries).T).T
        bias = np.full((len(X), int(problem.below.bias > 0)), problem.below.bias)
        along = np.column_stack([bias, linked])
        if not joint:
            within = np.asarray(cross.left)
            return Coordinates(along, np.sqrt(np.maximum(within - np.sum(linked**2, axis=1), 0)), within)
        within = np.asarray(kernels.cross_kernel(features, lower.prior, X).entries)
        values, vectors = np.linalg.eigh(within - linked @ linked.T)
        return Coordinates(along, vectors * np.sqrt(np.maximum(values, 0)), within)
    x = whitened_inputs(net.prior, X)
    along = x @ space.directions
    across = x - along @ space.directions.T
    if np.abs(across).max() <= 1e-6 * np.abs(x).max():
        across = across[:, :0]
    return Coordinates(along, across)
