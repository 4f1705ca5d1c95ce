"""Two rules that enclose quadratic forms of the inverse of a large matrix, from few products with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

__all__ = ["enclosed"]

NOTHING = 1e-12  # size, relative to a product, below which nothing is left for the next step


def enclosed(
    product: Callable[[Float[np.ndarray, "P m"]], Float[np.ndarray, "P m"]],
    V: Float[np.ndarray, "P m"],
    lowest: float,
    steps: int,
) -> Float[np.ndarray, "2 m"]:
    r"""Return a lower and an upper bound of :math:`v \cdot A^{-1} v` for each column v.

    The rule of Gauss is the lower bound, that of Gauss and Radau with a node at the lowest eigenvalue the upper one.

    Parameters
    ----------
    product : callable
        From (P, m) to A times it.
    V : array of shape (P, m)
        The columns.
    lowest : float
        A number above zero that is below all eigenvalues of A.
    steps : int
        How many products are taken.

    References
    ----------
    Golub and Meurant, Matrices, Moments and Quadrature (2010), chapter 6.

    Examples
    --------
    >>> A = np.diag([1.0, 2.0, 4.0])
    >>> enclosed(lambda V: A @ V, np.ones((3, 1)), 0.9, 2).ravel().round(3).tolist()
    [1.686, 1.764]
    """
    size = np.linalg.norm(V, axis=0)
    q, last, beta = V / np.where(size > 0, size, 1), np.zeros_like(V), np.zeros(V.shape[1])
    alphas, betas = [], []
    for _ in range(steps):
        w = product(q) - beta * last
        alpha = np.maximum(np.einsum("pm,pm->m", q, w), lowest)
        w -= alpha * q
        beta = np.linalg.norm(w, axis=0)
        beta = np.where(beta > NOTHING * alpha, beta, 0.0)
        last, q = q, w / np.where(beta > 0, beta, 1)
        alphas.append(alpha)
        betas.append(beta)
    pivot, before = np.ones_like(size), np.zeros_like(size)  # pivots of the tridiagonal matrix minus `lowest`
    for alpha, beta in zip(alphas, betas, strict=True):
        pivot = np.maximum(alpha - lowest - before / pivot, NOTHING * alpha)
        before = beta**2
    bounds = []
    for tail in (np.full_like(size, np.inf), lowest + before / pivot):
        for alpha, beta in zip(reversed(alphas), reversed(betas), strict=True):
            tail = alpha - beta**2 / tail
        bounds.append(size**2 / tail)
    return np.array(bounds)
