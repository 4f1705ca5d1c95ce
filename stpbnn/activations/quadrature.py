r"""Dual kernels by Gauss-Hermite quadrature, for activations without a closed form.

With :math:`p_n` the Hermite polynomials, orthonormal under :math:`z \sim N(0, 1)`, Mehler's formula separates the two
variances from the correlation:

.. math::
    \kappa(a, b, c) = \sum_{n<N} s_n(a)\, s_n(b)\, \rho^n, \qquad \rho = c / \sqrt{ab}, \qquad
    s_n(a) = E[\sigma(\sqrt a z)\, p_n(z)].

The coefficients are N numbers for each *input* (a one-dimensional quadrature with N nodes), and a matrix of kernels is
a power series in the matrix of correlations: no array is larger than the matrix, or than N numbers for each variance
given. The kernel is symmetric and positive semidefinite by construction. At parallel inputs the truncated series is
the N-point Gauss-Hermite rule itself; elsewhere it is closer, by :math:`\rho^N`.

Derivatives are again such expectations (Price's theorem):
:math:`\kappa_{ij} = E[\sigma^{(i)}(h)\,\sigma^{(j)}(h')]` has
:math:`\partial_c \kappa_{ij} = \kappa_{i+1,j+1}` and :math:`\partial_a \kappa_{ij} = \tfrac12 \kappa_{i+2,j}`.
The first derivative of σ is JAX's; beyond it the Hermite coefficients are shifted,
:math:`\sqrt a\, E[g'(h)\, p_n] = \sqrt{n+1}\, E[g(h)\, p_{n+1}]`, so kinks of σ are differentiated correctly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import eigvalsh_tridiagonal

__all__ = ["HermiteKernel", "HermiteMean", "elementwise_derivative"]

Entries = Float[Array, "..."]
Function = Callable[[Entries], Entries]
REACH = 13.5  # nodes beyond it weigh less than 1e-40


@dataclass(frozen=True)
class HermiteKernel:
    r"""κ of any activation, as a series of Hermite polynomials.

    Parameters
    ----------
    function : callable
        σ, entry by entry, in JAX.
    order : int
        N, the number of polynomials and of quadrature nodes.
    odd : bool
        Whether σ is odd: the even half of the series vanishes and is left out.

    Notes
    -----
    Pass variances as they are, (n, 1) and (1, m), rather than broadcast: N numbers are kept for each.

    Examples
    --------
    >>> kernel = HermiteKernel(jnp.sin, 64)
    >>> a = jnp.array(1.0)
    >>> float(kernel(a, a, a))  # (1 − exp(−2)) / 2
    0.43233
    """

    function: Function
    order: int
    odd: bool = False

    def __call__(self, a: Entries, b: Entries, c: Entries) -> Entries:
        """κ(a, b, c), entry by entry."""
        dtype = jnp.result_type(a, b, c, float)
        return _expectation(self, 0, 0, *(jnp.asarray(x, dtype) for x in (a, b, c)))

    def error(self, a: Entries, b: Entries, c: Entries) -> Entries:
        """Twice the change of κ when the order is doubled: covers the error wherever doubling at least halves it."""
        finer = HermiteKernel(self.function, 2 * self.order, self.odd)
        return 2 * jnp.abs(finer(a, b, c) - self(a, b, c))


@dataclass(frozen=True)
class HermiteMean:
    """The Gaussian mean m of any activation, by quadrature with `order` nodes."""

    function: Function
    order: int

    def __call__(self, a: Entries) -> Entries:
        """m(a), entry by entry."""
        return _average(self, 0, jnp.asarray(a, jnp.result_type(a, float)))


@cache
def _rule(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes z_k within reach, and the table of w_k p_n(z_k), of shape (order, nodes)."""
    nodes = eigvalsh_tridiagonal(np.zeros(order), np.sqrt(np.arange(1, order)))
    nodes = (nodes - nodes[::-1]) / 2  # symmetric to the last digit
    nodes = nodes[np.abs(nodes) < REACH]
    half = np.exp(-(nodes**2) / 4)
    functions = np.empty((order, len(nodes)))  # p_n(z) exp(−z²/4)
    functions[0], functions[1] = half, nodes * half
    for n in range(1, order - 1):
        functions[n + 1] = (nodes * functions[n] - n**0.5 * functions[n - 1]) / (n + 1) ** 0.5
    return nodes, functions * half / np.sum(functions**2, axis=0)


def elementwise_derivative(function: Function, times: int = 1) -> Function:
    """Return the derivative of a function that acts entry by entry."""
    if times == 0:
        return function
    below = elementwise_derivative(function, times - 1)
    return lambda h: jax.jvp(below, (h,), (jnp.ones_like(h),))[1]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _moments(function: Function, order: int, base: int, a: Entries) -> Entries:
    """E[σ^(base)(√a z) p_n(z)] along a new first axis."""
    nodes, table = (array.astype(a.dtype) for array in _rule(order))
    values = elementwise_derivative(function, base)(jnp.sqrt(jnp.maximum(a, 0))[..., None] * nodes)
    return jnp.tensordot(table, values.astype(a.dtype), axes=(1, -1), precision="highest")


def _coefficients(function: Function, order: int, i: int, a: Entries) -> Entries:
    """E[σ^(i)(√a z) p_n(z)] along a new first axis; at zero variance σ^(i)(0) for n = 0 alone."""
    shift = max(i - 1, 0)
    moments = _moments(function, order, i - shift, a)
    if shift == 0:
        return moments
    positive = a > 0
    steps = np.arange(order - shift)[:, None] + np.arange(1, shift + 1)
    growth = np.sqrt(np.prod(steps, axis=1, dtype=float)).astype(a.dtype).reshape(-1, *[1] * a.ndim)
    moments = growth * moments[shift:] * jnp.where(positive, 1 / jnp.sqrt(jnp.where(positive, a, 1)), 0) ** shift
    still = elementwise_derivative(function, i)(jnp.zeros_like(a))
    return moments.at[0].set(jnp.where(positive, moments[0], still))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
@partial(jax.jit, static_argnums=(0, 1, 2))
def _expectation(rule: HermiteKernel, i: int, j: int, a: Entries, b: Entries, c: Entries) -> Entries:
    """κ_ij = E[σ^(i)(h) σ^(j)(h')] = Σ s_n^(i)(a) s_n^(j)(b) ρ^n, by Horner's scheme."""
    left = _coefficients(rule.function, rule.order, i, a)
    right = _coefficients(rule.function, rule.order, j, b)
    scale = jnp.sqrt(jnp.maximum(a, 0)) * jnp.sqrt(jnp.maximum(b, 0))
    correlation = jnp.where(scale > 0, c / jnp.where(scale > 0, scale, 1), 0)
    terms = min(len(left), len(right))
    first, step = ((i + 1) % 2, 2) if rule.odd else (0, 1)
    power = correlation**step

    def horner(total: Entries, pair: tuple[Entries, Entries]) -> tuple[Entries, None]:
        return total * power + pair[0] * pair[1], None

    series = (left[first:terms:step], right[first:terms:step])
    return jax.lax.scan(horner, jnp.zeros_like(power), series, reverse=True, unroll=8)[0] * correlation**first


@_expectation.defjvp
def _expectation_jvp(rule, i, j, primals, tangents):  # type: ignore[no-untyped-def]
    da, db, dc = tangents
    slope = _expectation(rule, i + 1, j + 1, *primals) * dc
    slope += (_expectation(rule, i + 2, j, *primals) * da + _expectation(rule, i, j + 2, *primals) * db) / 2
    return _expectation(rule, i, j, *primals), slope


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
@partial(jax.jit, static_argnums=(0, 1))
def _average(rule: HermiteMean, i: int, a: Entries) -> Entries:
    """E[σ^(i)(h)]."""
    return _coefficients(rule.function, rule.order, i, a)[0]


@_average.defjvp
def _average_jvp(rule, i, primals, tangents):  # type: ignore[no-untyped-def]
    return _average(rule, i, *primals), _average(rule, i + 2, *primals) * tangents[0] / 2
