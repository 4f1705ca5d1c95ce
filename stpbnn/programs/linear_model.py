r"""The readout integrated out: evidence and posterior of a Gaussian linear layer, from one factorisation.

Given the features :math:`\Phi` (P, N_L) of the last hidden layer, the outputs are linear in the whitened readout
:math:`u = (v, b)`, so that readout and noise integrate exactly to

.. math::
    p(y \mid \Phi) = N(y;\, 0,\, \Psi\Psi^T + T\,1), \qquad
    \Psi = \Big[\frac{\Phi}{\sqrt{\lambda_L N_L}},\ \frac{1}{\sqrt{\lambda_b}}\Big]

With M columns in :math:`\Psi`, one Cholesky factorisation of the smaller of :math:`A = \Psi\Psi^T + T` (P, P) and
:math:`B = \Psi^T\Psi + T` (M, M) gives the density and its gradient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular

from stpbnn._random import standard_normal

__all__ = ["Conditioned", "design", "factorised_design", "log_evidence", "log_normal"]


def design(features: jax.Array, precision: float, bias_variance: float = 0.0) -> jax.Array:
    r"""Return :math:`\Psi` (P, M): scaled features, and a constant column where there is an output bias.

    Parameters
    ----------
    features : jax.Array of shape (P, N_L)
        Features of the last hidden layer.
    precision : float
        λ_L, the prior precision of the readout.
    bias_variance : float
        1/λ_b, the prior variance of the output bias; zero for none.
    """
    scaled = features * (precision * features.shape[-1]) ** -0.5
    if not bias_variance:
        return scaled
    return jnp.concatenate([scaled, jnp.full((len(features), 1), bias_variance**0.5, scaled.dtype)], axis=1)


class Conditioned(NamedTuple):
    r"""The linear model :math:`Y = \Psi u + \sqrt T\,\eta` after one factorisation, u and η standard normal."""

    design: jax.Array  # Ψ (P, M)
    temperature: jax.Array
    cholesky: jax.Array  # the factor of A where P <= M, of B otherwise

    @property
    def wide(self) -> bool:
        """Whether there are no more examples than features, so that A is the matrix factorised."""
        return self.design.shape[0] <= self.design.shape[1]

    def coefficients(self, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return α = A⁻¹Y (P, D) and the posterior mean w = Ψᵀα of u (M, D)."""
        if self.wide:
            alpha = cho_solve((self.cholesky, True), targets)
            return alpha, self.design.T @ alpha
        mean = cho_solve((self.cholesky, True), self.design.T @ targets)
        return (targets - self.design @ mean) / self.temperature, mean

    def variance(self, other: jax.Array) -> jax.Array:
        """Return the posterior variance of Ψ* u, (n,), at design points Ψ* (n, M)."""
        if self.wide:
            explained = solve_triangular(self.cholesky, self.design @ other.T, lower=True)
            return jnp.maximum(jnp.sum(other**2, axis=1) - jnp.sum(explained**2, axis=0), 0)
        return self.temperature * jnp.sum(solve_triangular(self.cholesky, other.T, lower=True) ** 2, axis=0)

    def draw(self, key: jax.Array, targets: jax.Array) -> jax.Array:
        """Return an exact draw of u (M, D): a prior draw, corrected by what it misses of the targets."""
        from_prior, noise = (
            standard_normal(k, (size, targets.shape[1]), self.design.dtype)
            for k, size in zip(jax.random.split(key), self.design.shape[::-1], strict=True)
        )
        missed = targets - self.design @ from_prior - jnp.sqrt(self.temperature) * noise
        return from_prior + self.coefficients(missed)[1]


def factorised_design(design: jax.Array, temperature: jax.Array | float) -> Conditioned:
    """Return the linear model with the smaller of A = ΨΨᵀ + T and B = ΨᵀΨ + T factorised.

    Parameters
    ----------
    design : jax.Array of shape (P, M)
        Ψ.
    temperature : float
        T, the variance of the noise.
    """
    temperature = jnp.asarray(temperature, design.dtype)
    gram = design @ design.T if design.shape[0] <= design.shape[1] else design.T @ design
    cholesky = jnp.linalg.cholesky(gram + temperature * jnp.eye(len(gram), dtype=gram.dtype), symmetrize_input=False)
    return Conditioned(design, temperature, cholesky)


@jax.custom_vjp
def log_normal(design: jax.Array, targets: jax.Array, temperature: jax.Array) -> jax.Array:
    """Return Σ_d log N(Y_d; 0, ΨΨᵀ + T)."""
    return _log_normal_forward(design, targets, temperature)[0]


def _log_normal_forward(design, targets, temperature):  # type: ignore[no-untyped-def]
    law = factorised_design(design, temperature)
    alpha, mean = law.coefficients(targets)
    # yᵀA⁻¹y as the extremum of a quadratic form in α, or in w: rounding errors of either enter squared
    if law.wide:
        quadratic = 2 * jnp.sum(targets * alpha) - temperature * jnp.sum(alpha**2) - jnp.sum(mean**2)
    else:
        quadratic = temperature * jnp.sum(alpha**2) + jnp.sum(mean**2)
    P, M = design.shape
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(law.cholesky))) + max(P - M, 0) * jnp.log(temperature)
    density = -(quadratic + targets.shape[1] * (log_det + P * math.log(2 * math.pi))) / 2
    return density, (law, alpha, mean)


def _log_normal_backward(residuals, slope):  # type: ignore[no-untyped-def]
    law, alpha, mean = residuals
    (P, M), D = law.design.shape, alpha.shape[1]
    half = solve_triangular(law.cholesky, jnp.eye(min(P, M), dtype=alpha.dtype), lower=True)
    Psi = law.design  # products are several times quicker than solving for all columns
    solved = half.T @ (half @ Psi) if law.wide else (Psi @ half.T) @ half  # A⁻¹Ψ = ΨB⁻¹
    of_design = alpha @ mean.T - D * solved
    trace = jnp.sum(half**2) + max(P - M, 0) / law.temperature  # compiled only for a random T
    return slope * of_design, -slope * alpha, slope * (jnp.sum(alpha**2) - D * trace) / 2


log_normal.defvjp(_log_normal_forward, _log_normal_backward)


def log_evidence(
    features: jax.Array,
    y: jax.Array,
    precision: float,
    bias_variance: float = 0.0,
    temperature: jax.Array | float = 0.01,
) -> jax.Array:
    r"""Return the log density of the targets given the features of the last hidden layer.

    .. math:: \log N\big(y;\, 0,\ \tfrac{\Phi\Phi^T}{\lambda_L N_L} + \tfrac{1 1^T}{\lambda_b} + T\,1\big)

    summed over outputs, which share the factorisation. The gradient with respect to features, targets and temperature
    is analytic and uses the same factorisation:
    :math:`\partial/\partial\Psi = \alpha w^T - D A^{-1}\Psi` with :math:`\alpha = A^{-1}y`, :math:`w = \Psi^T\alpha`.

    Parameters
    ----------
    features : jax.Array of shape (P, N_L)
        Φ, the features of the last hidden layer.
    y : jax.Array of shape (P,) or (P, D)
        Targets.
    precision : float
        λ_L, the prior precision of the readout.
    bias_variance : float
        1/λ_b, the prior variance of the output bias; zero for none.
    temperature : float
        T, the variance of the likelihood.

    References
    ----------
    Theory notes, section 1.

    Examples
    --------
    >>> float(log_evidence(jnp.zeros((2, 3)), jnp.zeros(2), 1.0, temperature=1.0))  # -log 2π
    -1.8379
    """
    targets = y[:, None] if y.ndim == 1 else y
    Psi = design(features, precision, bias_variance)
    return log_normal(Psi, targets.astype(Psi.dtype), jnp.asarray(temperature, Psi.dtype))
