r"""The chain of matrices over the positions of convolutional layers, with its derivatives.

Given the weights above, each layer of a linear network has a Wishart matrix about what the windows of the layer above
make of theirs, with M the map of `stpbnn.network.windows`,

.. math:: Q_l \mid Q_{l+1} \sim \mathrm{Wishart}(N_l,\ M Q_{l+1} / N_l), \qquad Q_L \sim \mathrm{Wishart}(N_L, 1/N_L)

or :math:`Q_l = S_l W_l S_l` with :math:`S_l = (M Q_{l+1})^{1/2}` and :math:`W_l \sim \mathrm{Wishart}(N_l, 1/N_l)`,
independent under the prior. As M moves eigenvectors, nothing is won by products, as in `wishart_chain`, the chain of
networks with several outputs, where M = 1. Derivatives of the roots follow from :math:`S\,dS + dS\,S = dM` and
:math:`S\,d^2S + d^2S\,S = d^2M - 2\,dS\,dS`.

References
----------
Aiudi, Pacelli et al., arXiv:2307.11807; theory notes, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn.network import Link

__all__ = ["Descent", "LocalChain", "Pull", "blocks", "joined"]

Matrices = Sequence[Float[np.ndarray, "... d d"]]  # one a layer, from the first on


def joined(matrices: Matrices) -> Float[np.ndarray, "... D D"]:
    """Return the block diagonal matrix of the matrices of all layers."""
    sizes = [len(matrix.T) for matrix in matrices]
    out, start = np.zeros((*matrices[0].shape[:-2], sum(sizes), sum(sizes))), 0
    for size, matrix in zip(sizes, matrices, strict=True):
        out[..., start : start + size, start : start + size] = matrix
        start += size
    return out


def blocks(matrix: Float[np.ndarray, "... D D"], positions: Sequence[int]) -> list[Float[np.ndarray, "... d d"]]:
    """Return the blocks of a block diagonal matrix, one for each layer.

    Examples
    --------
    >>> [block.tolist() for block in blocks(np.diag([1.0, 2.0, 3.0]), (1, 2))]
    [[[1.0]], [[2.0, 0.0], [0.0, 3.0]]]
    """
    ends = np.cumsum(positions)
    return [matrix[..., end - d : end, end - d : end] for d, end in zip(positions, ends, strict=True)]


class Root(NamedTuple):
    """The root S = V diag(s) V^T of a matrix, whose changes follow from those of the matrix."""

    s: Float[np.ndarray, "... d"]
    V: Float[np.ndarray, "... d d"]

    @classmethod
    def of(cls, M: Float[np.ndarray, "... d d"]) -> Root:
        """Return the root of M; rounding below zero is cut off."""
        squares, V = np.linalg.eigh(M)
        return cls(np.sqrt(np.maximum(squares, 0.0)), V)

    @property
    def matrix(self) -> Float[np.ndarray, "... d d"]:
        """S."""
        return (self.V * self.s[..., None, :]) @ np.swapaxes(self.V, -1, -2)

    def solved(self, right: Float[np.ndarray, "... d d"]) -> Float[np.ndarray, "... d d"]:
        """Return X with S X + X S = right."""
        turned = self.V.T @ right @ self.V / (self.s[:, None] + self.s)
        return self.V @ turned @ self.V.T


class Pull(NamedTuple):
    """The slopes of a function of all Q_l at one layer: in Q_l, in W_l, and in M Q_{l+1}."""

    outer: Float[np.ndarray, "d d"]
    inner: Float[np.ndarray, "d d"]
    above: Float[np.ndarray, "d d"]


@dataclass(frozen=True)
class Descent:
    """The chain at some W: the matrices Q_l, and the roots on which they stand, all from the first layer on."""

    links: tuple[Link, ...]
    W: list[Float[np.ndarray, "... d d"]]
    Q: list[Float[np.ndarray, "... d d"]]
    roots: list[Root]  # one for each layer but the last

    def pulled(self, slopes: Matrices) -> list[Pull]:
        """Return what the slopes of a function of all Q_l are in each layer."""
        found, above = [], slopes[0]
        for layer, W in enumerate(self.W):
            if layer == len(self.roots):
                found.append(Pull(above, above, np.zeros_like(above)))
                break
            root = self.roots[layer]
            of_root = W @ root.matrix @ above
            of_M = root.solved(of_root + of_root.T)
            found.append(Pull(above, root.matrix @ above @ root.matrix, of_M))
            above = slopes[layer + 1] + self.links[layer].up(of_M)
        return found

    def moved(self, dW: Matrices, pulls: list[Pull]) -> tuple[Matrices, Float[np.ndarray, "k k"]]:
        """Return how the Q_l move along coordinates of the W_l, and how a function of given slopes bends with them.

        Parameters
        ----------
        dW : list of arrays of shape (k_l, d_l, d_l)
            The changes of W_l along its own coordinates, k of them in all layers together.
        pulls : list of Pull
            The function.

        Returns
        -------
        list of arrays of shape (k, d_l, d_l)
            The changes of Q_l.
        array of shape (k, k)
            The second derivatives of the function, but for those that W_l has in its own coordinates.
        """
        sizes = [len(change) for change in dW]
        bent, found, above = np.zeros((sum(sizes),) * 2), [dW[-1]], dW[-1]
        for layer in range(len(self.roots) - 1, -1, -1):
            W, root, pull = self.W[layer], self.roots[layer], pulls[layer]
            S, dS = root.matrix, root.solved(self.links[layer].down(above))
            mixed = S @ pull.outer @ dS
            twice = (pull.outer @ dS @ W - pull.above @ dS).reshape(len(dS), -1) @ dS.reshape(len(dS), -1).T
            start = sum(sizes[:layer])
            own, upper = slice(start, start + sizes[layer]), slice(start + sizes[layer], None)
            cross = (mixed + np.swapaxes(mixed, 1, 2)).reshape(len(dS), -1) @ dW[layer].reshape(sizes[layer], -1).T
            bent[upper, upper] += twice + twice.T
            bent[upper, own] += cross
            bent[own, upper] += cross.T
            stretched = dS @ W @ S
            above = np.concatenate([S @ dW[layer] @ S, stretched + np.swapaxes(stretched, 1, 2)])
            found.insert(0, above)
        return [np.concatenate([np.zeros((len(bent) - len(Q), *Q.shape[1:])), Q]) for Q in found], bent


@dataclass(frozen=True)
class LocalChain:
    """The positions of all layers, from the first on, and the links between them.

    Examples
    --------
    Where each window looks at positions of its own, and W = 1 above, a layer has what its own W is.

    >>> link = Link(np.array([[0, 1]]), 2)
    >>> chain = LocalChain((2, 1), (link,))
    >>> chain.at([np.array([[3.0, 1.0], [1.0, 2.0]]), np.eye(1)]).Q[0].round(6).tolist()
    [[1.5, 0.5], [0.5, 1.0]]
    """

    positions: tuple[int, ...]
    links: tuple[Link, ...]

    def at(self, W: Matrices) -> Descent:
        """Return the chain at given W_l, or many of them."""
        Q, roots = [W[-1]], list[Root]()
        for layer in range(len(self.links) - 1, -1, -1):
            root = Root.of(self.links[layer].down(Q[0]))
            Q.insert(0, root.matrix @ W[layer] @ root.matrix)
            roots.insert(0, root)
        return Descent(self.links, list(W), Q, roots)
