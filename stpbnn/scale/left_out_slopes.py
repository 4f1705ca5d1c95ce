r"""The leave-one-out log score of a Gaussian or Student's t-process, and its derivatives in the kernel.

With R the precision of the targets (A^{-1}, or what a trend leaves of it), α = R y, d = diag R and q = y^T R y, the law
of a target given the others depends on α_i, d_i and, of a t-process, on

.. math:: w_i = s + q - \alpha_i^2 / d_i .

Since R changes by −R ∂A R, the score has the derivative G in A with

.. math:: -G = \mathrm{sym}(R\, g_\alpha \alpha^T) + R\, \mathrm{diag}(g_d) R + g_q\, \alpha\alpha^T .

References
----------
Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 5.4.2; theory notes, section 5.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from stpbnn._linalg import mirrored
from stpbnn._special import log_gamma_ratio
from stpbnn.scale.design import Design
from stpbnn.scale.priors import InverseGamma

__all__ = ["LeftOutScore", "left_out_score"]


class LeftOutScore(NamedTuple):
    """Σ log p(y_i | the others), and its derivatives in the entries of K, in T and in ν (0 of a Gaussian process)."""

    value: float
    kernel: Float[np.ndarray, "P P"]
    temperature: float
    df: float = 0.0


class _Parts(NamedTuple):
    """The score as a function of α, of d and of s + q, with its partial derivatives, and that in ν alone."""

    value: float
    alpha: Float[np.ndarray, "P D"]
    diagonal: Float[np.ndarray, " P"]
    quadratic: float = 0.0
    df: float = 0.0


def left_out_score(
    factor: Float[np.ndarray, "c c"],
    alpha: Float[np.ndarray, "c ..."],
    design: Design,
    law: InverseGamma | None = None,
    quadratic: float = 0.0,
) -> LeftOutScore:
    """Return the leave-one-out log score of a process on the contrasts of a design, with its derivatives.

    Parameters
    ----------
    factor : array of shape (c, c)
        Lower Cholesky factor of A of the contrasts.
    alpha : array of shape (c,) or (c, D)
        A^{-1} times the contrasts of the targets. Outputs of one example are left out together, and scored one by one.
    design : Design
        Trend and noise.
    law : InverseGamma, optional
        The law of the scale of a t-process; a Gaussian process by default.
    quadratic : float
        q, of a t-process.

    Examples
    --------
    Two targets of covariance 1/2 and variance 1, each with mean half the other and variance 3/4:

    >>> from scipy.stats import norm
    >>> A, y = np.array([[1.0, 0.5], [0.5, 1.0]]), np.array([1.0, 2.0])
    >>> score = left_out_score(np.linalg.cholesky(A), np.linalg.solve(A, y), Design.of(np.eye(2), "zero"))
    >>> bool(np.isclose(score.value, norm.logpdf(y, y[::-1] / 2, np.sqrt(0.75)).sum()))
    True
    """
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse = mirrored(inverse)
    R = inverse if design.plain else design.expanded(design.expanded(inverse).T)
    alpha = design.expanded(alpha).reshape(len(R), -1)
    d = np.diag(R)
    parts = (
        _gaussian(alpha, d)
        if law is None
        else _student_t(alpha, d, quadratic, law, (len(inverse) - 1) * alpha.shape[1])
    )
    turned = R @ parts.alpha @ alpha.T
    G = -(turned + turned.T) / 2 - (R * parts.diagonal) @ R - parts.quadratic * (alpha @ alpha.T)
    noise = np.diag(G) if design.root is None else np.diag(G) / design.root**2
    return LeftOutScore(parts.value, G, float(noise.sum()), parts.df)


def _gaussian(alpha: Float[np.ndarray, "P D"], d: Float[np.ndarray, " P"]) -> _Parts:
    squares, outputs = np.sum(alpha**2, axis=1), alpha.shape[1]
    value = (outputs * (np.log(d) - np.log(2 * np.pi)) - squares / d).sum() / 2
    return _Parts(float(value), -alpha / d[:, None], (outputs / d + squares / d**2) / 2)


def _student_t(
    alpha: Float[np.ndarray, "P D"], d: Float[np.ndarray, " P"], q: float, law: InverseGamma, others: int
) -> _Parts:
    w = law.excess + q - np.sum(alpha**2, axis=1) / d
    a = (law.df + others) / 2
    ratio, ratio_slope = log_gamma_ratio(a, 0.5)
    z = alpha**2 / (d * w)[:, None]
    tail = (a + 0.5) / (1 + z)
    value = ratio + (np.log(a / np.pi) - np.log(w / d))[:, None] / 2 - (a + 0.5) * np.log1p(z)
    of_w = (tail * z - 0.5).sum(axis=1) / w
    of_alpha = -2 * (tail / w[:, None] + of_w[:, None]) * alpha / d[:, None]
    of_d = (0.5 + tail * z).sum(axis=1) / d + of_w * np.sum(alpha**2, axis=1) / d**2
    of_df = alpha.size * (ratio_slope + 0.5 / a) / 2 - np.log1p(z).sum() / 2 + of_w.sum()
    return _Parts(float(value.sum()), of_alpha, of_d, float(of_w.sum()), float(of_df))
