r"""Self-consistency: kernels that clusters average, and the fields that these kernels make.

A cluster of n units adds x to the output, of mean (n/N) K_w a and covariance V = (n/N) G. In place of each other
cluster stands a Gaussian of covariance Σ, that which has the moments of a cluster in the same fields (expectation
propagation):

.. math:: \Sigma = (V^{-1} - R)^{-1}, \qquad R = (T + (N/n - 1) \Sigma)^{-1}, \qquad
          (T + K_w - \tfrac nN T R K_w)\, a = y.

All of Σ, R and V have the same eigenvectors, so that Σ solves a quadratic equation for each eigenvalue. n = N gives
R = 1/T and a = y/T. Without reaction terms R = (T + G)^{-1} and a = (K_w + T)^{-1} y, the limit n/N → 0.

With D outputs the kernels are matrices of D × D blocks, one for each pair of outputs, and y is the targets of the first
output, then those of the second, and so on. An output bias is part of the noise: T + 1/λ_b 11^T stands for T.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stpbnn.adaptive.layers import Units, Upper, Whole
from stpbnn.adaptive.neuron import Drive

__all__ = ["Averages", "Below", "Fields", "Problem", "Response", "drive", "fields", "padded", "up"]

BUCKET = 64  # sizes are filled up to multiples: one compilation serves many of them


class Below(NamedTuple):
    """The layers below the last: inputs in their row space, the root of the kernel of the highest of them, σ, widths.

    `precisions` and `bias` are λ_1 to λ_(L−1) and the standard deviation of the biases of the layers above the first.
    """

    root: Float[np.ndarray, "P r"]
    kernel_root: Float[np.ndarray, "P P"]
    sigma: Callable[[jax.Array], jax.Array]
    widths: tuple[int, ...]
    precisions: tuple[float, ...]
    bias: float


@dataclass(frozen=True)
class Problem:
    """Targets, inputs in their row space, K_L of infinite width without the output bias, prior, temperature, width.

    For units of the last of several layers `root` is that of the kernel of the layer below, `below` tells of that one
    and those beneath, and `ratio` is N_L/N_(L−1).
    """

    y: Float[np.ndarray, " DP"]
    root: Float[np.ndarray, "P r"]
    kernel: Float[np.ndarray, "P P"]
    sigma: Units
    temperature: float
    width: float
    precision: float
    bias_variance: float = 0.0
    reaction: bool = True
    cluster: int = 1
    below: Below | None = None
    ratio: float = 1.0

    @property
    def outputs(self) -> int:
        """How many outputs the network has."""
        return len(self.y) // len(self.kernel)

    @property
    def above(self) -> bool:
        """Whether a cluster is a unit of the last of several layers."""
        return isinstance(self.sigma, Upper)

    def resized(self, cluster: int) -> Problem:
        """Return the problem of clusters of another size; of several hidden layers one unit, or all."""
        if self.below is None:
            return replace(self, cluster=cluster)
        root, kernel_root, sigma, widths, precisions, bias = self.below
        if cluster == self.width:
            whole = Whole(sigma, precisions, (*widths, cluster), bias)
            return replace(self, cluster=cluster, root=root, sigma=whole, ratio=cluster / widths[-1])
        if bias:
            kernel_root = np.column_stack([np.full(len(kernel_root), bias), kernel_root])
        return replace(self, cluster=cluster, root=kernel_root, sigma=Upper(sigma, bias), ratio=self.width / widths[-1])

    @property
    def coordinates(self) -> tuple[int, int]:
        """Rows of the coordinates of a cluster, and how many there are besides those of the inputs."""
        return (self.sigma.rows, self.sigma.links) if isinstance(self.sigma, Whole) else (self.cluster, 0)

    @property
    def part(self) -> float:
        """n/N, the part of all units that a cluster has."""
        return self.cluster / self.width

    @property
    def reacting(self) -> float:
        """n/N where reaction terms are taken into account, 0 elsewhere."""
        return self.part if self.reaction else 0.0

    @cached_property
    def stiffness(self) -> Float[np.ndarray, " r"]:
        r"""How the likelihood of a network of typical weights curves along the coordinates z of a unit, h = B z.

        .. math:: c_k = \sum_\mu B_{\mu k}^2 / (N_1 T \lambda_1 \cdots \lambda_L)
        """
        widths, between = (self.sigma.widths, self.sigma.precisions) if isinstance(self.sigma, Whole) else ((), ())
        first = float(widths[0]) if widths else self.width
        return np.sum(self.root**2, axis=0) / (first * self.temperature * self.precision * math.prod(between))

    @cached_property
    def noise(self) -> Float[np.ndarray, "DP DP"]:
        """T and the output bias: what the units do not explain."""
        noise = np.kron(np.eye(self.outputs), np.full_like(self.kernel, self.bias_variance))
        noise[np.diag_indices_from(noise)] += self.temperature
        return noise

    @cached_property
    def whitening(self) -> Float[np.ndarray, "DP DP"]:
        """The inverse square root of the noise."""
        values, U = np.linalg.eigh(self.noise)
        return (U / np.sqrt(values)) @ U.T


class Fields(NamedTuple):
    """The fields of one cluster: a, that of its cavity where there are reaction terms, and R."""

    a: Float[np.ndarray, " DP"]
    R: Float[np.ndarray, "DP DP"]


class Averages(NamedTuple):
    """K_w, N/n E[xx^T] and √(N/n) E[x] of a cluster, over particles and iterations.

    In deep networks `screened` is what the response of the layer below takes away from the second, and `across` what it
    takes away in directions that the training inputs do not span, in units of the kernel of that layer.
    """

    K: Float[np.ndarray, "DP DP"]
    second: Float[np.ndarray, "DP DP"]
    mean: Float[np.ndarray, " DP"]
    screened: Any = 0.0
    across: Any = 0.0

    def covariance(self) -> Float[np.ndarray, "DP DP"]:
        """Return G, the covariance of a cluster times N/n, without the output bias."""
        return self.second - np.outer(self.mean, self.mean) - self.screened

    def screening(self, R: Float[np.ndarray, "DP DP"], below: Float[np.ndarray, "P P"]) -> float:
        """Return what is screened in units of the kernel of the layer below, as R weighs both."""
        return float(np.sum(R * self.screened) / np.sum(R * below))

    def symmetric(self) -> Averages:
        """Return them without what rounding left of unequal halves."""
        return self._replace(K=(self.K + self.K.T) / 2, second=(self.second + self.second.T) / 2)

    @classmethod
    def of(cls, several: list[Averages]) -> Averages:
        """Return the mean of several."""
        return cls(*(np.mean([each[i] for each in several], axis=0) for i in range(5)))


class Response(NamedTuple):
    """Eigenvalues g of G and r of R in the coordinates Φ, in which the noise is one: R = Φ r Φ^T."""

    g: Float[np.ndarray, " DP"]
    r: Float[np.ndarray, " DP"]
    vectors: Float[np.ndarray, "DP DP"]

    @classmethod
    def of(cls, problem: Problem, G: Float[np.ndarray, "DP DP"]) -> Response:
        """Return it for a covariance, which noise may have left a little negative."""
        if problem.bias_variance:
            g, U = eigh(problem.whitening @ G @ problem.whitening, driver="evd")
            vectors = problem.whitening @ U
        else:
            g, vectors = eigh(G / problem.temperature, driver="evd")
            vectors /= np.sqrt(problem.temperature)
        g, others = np.maximum(g, 0), 1 - problem.reacting
        rest = (g - 1 + np.sqrt((g - 1) ** 2 + 4 * others * g)) / 2  # the variance of the others
        return cls(g, 1 / (1 + rest) if others > 0 else np.ones_like(g), vectors)

    def matrix(self, values: Float[np.ndarray, " DP"]) -> Float[np.ndarray, "DP DP"]:
        """Return Φ diag(values) Φ^T."""
        return (self.vectors * values) @ self.vectors.T


def fields(problem: Problem, K: Float[np.ndarray, "DP DP"], response: Response) -> Fields:
    """Return the fields that kernels make."""
    R = response.matrix(response.r)
    A = K + problem.noise
    if problem.reacting:
        A -= problem.reacting * (problem.noise @ R @ K if problem.bias_variance else problem.temperature * (R @ K))
    return Fields(np.linalg.solve(A, problem.y), R)


def drive(problem: Problem, found: Fields, share: float = 1.0) -> Drive:
    """Return what a cluster feels in a share of the fields, in single precision."""
    D, P, N = problem.outputs, len(problem.kernel), problem.width
    with np.errstate(over="ignore"):
        field = padded((share / np.sqrt(N) * found.a).reshape(D, P), D, up(P))
        if problem.reacting == 1 and not problem.bias_variance:
            response = padded(np.asarray(share / (N * problem.temperature)))
        else:
            response = padded((share / N * found.R).reshape(D, P, D, P), D, up(P), D, up(P))
    return Drive(field, response, padded(np.asarray(problem.precision)), speed=speed(problem, share))


def speed(problem: Problem, share: float) -> Any:
    """Return how fast each coordinate of a network turns in a share of the fields; None for smaller clusters.

    A move takes as many rotations as the stiffest coordinate asks for. Images have one direction that sticks out, their
    mean: it turns as with a mass of its own, that by which it is stiffer than the next.
    """
    if problem.reacting != 1:
        return None
    stiff, links = 1 + share * problem.stiffness, problem.coordinates[1]
    next_to_most = np.sort(stiff)[-2:][0]
    out = np.ones(links + up(len(stiff)), np.float32)
    out[links : links + len(stiff)] = np.sqrt(np.minimum(next_to_most / stiff, 1))
    return out


def padded(array: np.ndarray, *shape: int, dtype: Any = np.float32) -> Any:
    """Return a NumPy array filled up with zeros, in single precision unless said; compiled functions take it."""
    out = np.zeros(shape, dtype=dtype)
    out[tuple(slice(n) for n in array.shape)] = array
    return out


def up(number: int) -> int:
    """Return a size filled up to a multiple of the bucket."""
    return -(-number // BUCKET) * BUCKET
