"""Any closure at any depth: the effective action by Cholesky factorisation, its gradient and Hessian in log Q."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve, cholesky, lapack
from scipy.optimize import minimize

from stpbnn.action.point import SaddlePoint, laplace
from stpbnn.activations import Activation
from stpbnn.kernels import Closure, Gram, renormalised
from stpbnn.network import Prior

__all__ = ["LayeredAction", "descend"]


def _kernel(sigma: Activation, closure: Closure, prior: Prior, gram: Gram, log_q: jax.Array) -> jax.Array:
    return renormalised(sigma, prior, gram, jnp.exp(log_q), closure).entries


@partial(jax.jit, static_argnums=(0, 1))
def _value(sigma, closure, prior, gram, log_q):  # type: ignore[no-untyped-def]
    return _kernel(sigma, closure, prior, gram, log_q)


@partial(jax.jit, static_argnums=(0, 1))
def _weighted_gradient(sigma, closure, prior, gram, log_q, weight):  # type: ignore[no-untyped-def]
    """Return <weight, ∂K/∂log Q_l> for every layer."""
    return jax.grad(lambda q: jnp.vdot(weight, _kernel(sigma, closure, prior, gram, q)))(log_q)


@partial(jax.jit, static_argnums=(0, 1))
def _derivatives(sigma, closure, prior, gram, log_q, weight):  # type: ignore[no-untyped-def]
    """Return ∂K/∂log Q_l, stacked, and <weight, ∂²K/∂log Q_l ∂log Q_m>."""
    kernel = partial(_kernel, sigma, closure, prior, gram)
    tangents = jax.vmap(lambda e: jax.jvp(kernel, (log_q,), (e,))[1])(jnp.eye(len(log_q)))
    return tangents, jax.hessian(lambda q: jnp.vdot(weight, kernel(q)))(log_q)


@dataclass(frozen=True)
class LayeredAction:
    r"""S(log Q) for one training set: value, gradient and Hessian.

    With :math:`\alpha = A^{-1} y`, the gradient is
    :math:`N_l (Q_l - 1) + \mathrm{tr}[(A^{-1} - \alpha\alpha^T)\, \partial K^R / \partial\log Q_l]`.
    """

    sigma: Activation
    prior: Prior
    gram: Gram
    y: Float[np.ndarray, " P"]
    widths: Float[np.ndarray, " L"]
    temperature: float
    closure: Closure

    def _factor(self, log_q: Float[np.ndarray, " L"]) -> Float[np.ndarray, "P P"]:
        A = np.array(_value(self.sigma, self.closure, self.prior, self.gram, log_q))
        A[np.diag_indices_from(A)] += self.temperature
        return cholesky(A, lower=True, overwrite_a=True, check_finite=False)

    def _prior_term(self, log_q: Float[np.ndarray, " L"]) -> float:
        return float(self.widths @ (np.exp(log_q) - log_q))

    def _weight(self, factor: Float[np.ndarray, "P P"]) -> tuple[Float[np.ndarray, "P P"], Float[np.ndarray, " P"]]:
        """A^{-1} − αα^T, and α."""
        alpha = cho_solve((factor, True), self.y, check_finite=False)
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        return inverse - np.outer(alpha, alpha), alpha

    def value_and_gradient(self, log_q: Float[np.ndarray, " L"]) -> tuple[float, Float[np.ndarray, " L"]]:
        """Return S and ∂S/∂log Q.

        Raises
        ------
        numpy.linalg.LinAlgError
            If A(Q) is not positive definite.
        """
        factor = self._factor(log_q)
        weight, alpha = self._weight(factor)
        value = self._prior_term(log_q) + 2 * np.log(np.diag(factor)).sum() + self.y @ alpha
        slope = _weighted_gradient(self.sigma, self.closure, self.prior, self.gram, log_q, weight)
        return float(value), self.widths * np.expm1(log_q) + np.asarray(slope)

    def hessian(self, log_q: Float[np.ndarray, " L"]) -> Float[np.ndarray, "L L"]:
        """Return ∂²S/∂log Q²."""
        factor = self._factor(log_q)
        weight, alpha = self._weight(factor)
        tangents, second = _derivatives(self.sigma, self.closure, self.prior, self.gram, log_q, weight)
        tangents = np.asarray(tangents)
        solved = [cho_solve((factor, True), tangent, check_finite=False) for tangent in tangents]
        pulled = tangents @ alpha
        trace = np.array([[np.vdot(a.T, b) for b in solved] for a in solved])
        mixed = pulled @ cho_solve((factor, True), pulled.T, check_finite=False)
        return np.diag(self.widths * np.exp(log_q)) + np.asarray(second) - trace + 2 * mixed

    def rounding(self, log_q: Float[np.ndarray, " L"]) -> float:
        """Return the size of the rounding error of the gradient, in the units of the residual.

        The entries of K^R are known to a relative ε; where they are nearly singular, α feels that as |α|² ε |K^R|.
        """
        factor = self._factor(log_q)
        alpha = cho_solve((factor, True), self.y, check_finite=False)
        size = np.finfo(np.float64).eps * float(np.sum(factor**2, axis=1).max() * (alpha @ alpha))
        return float(np.max(size / (self.widths * (np.exp(log_q) + 1))))

    def residual(self, log_q: Float[np.ndarray, " L"], gradient: Float[np.ndarray, " L"]) -> float:
        """Return the largest |∂S/∂log Q_l| relative to N_l (Q_l + 1)."""
        return float(np.max(np.abs(gradient) / (self.widths * (np.exp(log_q) + 1))))


def descend(action: LayeredAction, start: Float[np.ndarray, " L"]) -> SaddlePoint:
    """Return the minimum of S in whose valley `start` lies: quasi-Newton steps, then Newton steps to rounding.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A(Q) is not positive definite where the search begins or ends.
    """

    def objective(log_q: Float[np.ndarray, " L"]) -> tuple[float, Float[np.ndarray, " L"]]:
        try:
            return action.value_and_gradient(log_q)
        except np.linalg.LinAlgError:  # outside of the region where A(Q) is positive definite
            return np.inf, np.full_like(log_q, np.nan)

    action.value_and_gradient(start)
    inverse = np.diag(1 / (action.widths * (np.exp(start) + 1)))
    log_q = minimize(objective, start, jac=True, method="BFGS", options={"hess_inv0": inverse, "gtol": 1e-6}).x
    value, gradient = action.value_and_gradient(log_q)
    hessian = action.hessian(log_q)
    for _ in range(10):
        candidate = log_q - np.linalg.lstsq(hessian, gradient)[0]
        lower, trial = objective(candidate)
        falls = lower <= value + 1e-12 * (abs(value) + action.widths.sum())
        if not (falls and action.residual(candidate, trial) < action.residual(log_q, gradient)):
            break
        log_q, value, gradient = candidate, lower, trial
    residual = max(action.residual(log_q, gradient), action.rounding(log_q))
    evidence = laplace(value, hessian, action.widths, float(action.widths.sum()), len(action.y))
    return SaddlePoint(np.exp(log_q), value, residual, hessian, evidence)
