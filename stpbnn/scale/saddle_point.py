"""A stationary point of the effective action, and the log evidence there (theory notes, section 4).

The order parameters are one scale, those of several layers, a matrix, or a scale with its conjugate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

__all__ = ["TOLERANCE", "SaddlePoint", "gaussian_log_evidence", "laplace"]

TOLERANCE = 1e-8


class SaddlePoint(NamedTuple):
    """Order parameters at which the action is stationary, its value, gradient and curvature there.

    `order_parameters` is Q̄ of shape (L,), or (D, D) for several outputs; `residual` is the size of the gradient
    relative to N (Q + 1); `hessian` is that in log Q, or in (q, Q) where there is a `conjugate` order parameter q;
    `log_evidence` is log p(y) with the Gaussian fluctuation about this point.
    """

    order_parameters: Float[np.ndarray, ...]
    action: float
    residual: float
    hessian: Float[np.ndarray, "k k"]
    log_evidence: float
    conjugate: float | None = None

    @property
    def converged(self) -> bool:
        """Whether the gradient vanishes to a relative 1e-8 at a minimum, in (q, Q) at a saddle."""
        eigenvalues = np.linalg.eigvalsh(self.hessian)
        stable = eigenvalues[0] > 0 if self.conjugate is None else eigenvalues[0] < 0 < eigenvalues[-1]
        return self.residual < TOLERANCE and bool(stable)


def laplace(
    action: float,
    hessian: Float[np.ndarray, "k k"],
    prior: Float[np.ndarray, " k"],
    lowest: float,
    examples: int,
) -> float:
    r"""Return log p(y) at a saddle point, with the Gaussian fluctuation of log Q.

    .. math::
        \log Z = -\tfrac12 [S(\bar Q) - S_0 + P \log 2\pi] + \tfrac12 \log\frac{\det H_0}{\det H}

    Parameters
    ----------
    action : float
        S(Q̄).
    hessian : array of shape (k, k)
        H, the Hessian of S in log Q.
    prior : array of shape (k,)
        The diagonal of H_0, the Hessian of the prior's part of S at its minimum Q = 1: widths.
    lowest : float
        S_0, the value of the prior's part of S there.
    examples : int
        P, the number of targets.
    """
    _, log_det = np.linalg.slogdet(hessian)
    return float(-(action - lowest + examples * np.log(2 * np.pi)) / 2 + (np.log(prior).sum() - log_det) / 2)


def gaussian_log_evidence(log_det: float, quadratic: float, examples: int) -> float:
    """Return log N(y; 0, A) = −½ [log det A + y^T A^{-1} y + P log 2π]."""
    return float(-(log_det + quadratic + examples * np.log(2 * np.pi)) / 2)
