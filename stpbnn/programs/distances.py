"""Distances between inputs, whose first and second derivatives are right where inputs coincide."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from stpbnn.programs.traced import lengths, points

__all__ = ["distance"]


def distance(X1: jax.Array, X2: jax.Array, lengthscale: Any = 1.0) -> jax.Array:
    r"""Return the Euclidean distances between two sets of inputs, with derivative zero where they vanish.

    .. math:: r_{ij} = \sqrt{\textstyle\sum_k (x_{ik} - x'_{jk})^2 / \ell_k^2}

    Kernels written with it have finite gradients at x = x', in single precision too. So are the second derivatives in
    the inputs of a kernel that has them, such as :math:`\exp(-r^2/2)` or Matérn's of ν > 1: of derivative
    observations, :math:`\partial^2 k / \partial x\, \partial x'`.

    Parameters
    ----------
    X1, X2 : arrays of shape (n, N_0) and (m, N_0)
        Inputs.
    lengthscale : number or array of shape (N_0,)
        ℓ > 0, in the units of the inputs.

    Raises
    ------
    ValueError
        For what is no such numbers; under a JAX transformation only the shape of the inputs is checked.

    Notes
    -----
    The distance has no second derivative at zero, where a smooth kernel of it has one. So that the chain rule gives
    it, a second differentiation in the inputs, and nothing else, meets :math:`\sqrt\epsilon` in the place of a zero,
    :math:`\epsilon` the precision of the machine: second derivatives at x = x' have half of its digits. They grow
    without bound for a kernel that has none, such as :math:`\exp(-r)`. For fourth derivatives write the kernel in
    squares of differences.

    Examples
    --------
    >>> distance(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0], [0.0, 0.0]]))
    Array([[5., 0.]], dtype=float32)
    >>> kernel = lambda x, z: jnp.exp(-(distance(x[None, None], z[None, None], 0.5)[0, 0] ** 2) / 2)
    >>> float(jax.grad(jax.grad(kernel, 0), 1)(1.0, 1.0))  # 1/ℓ²
    4.0
    """
    X1 = points("X1", X1)
    X2, lengthscale = points("X2", X2, X1.shape[1]), lengths("lengthscale", lengthscale, X1.shape[1])
    dtype = jnp.result_type(X1, X2, lengthscale, float)
    return _distance(*(jnp.asarray(part, dtype) for part in (X1, X2, lengthscale)))


def _squares(X1: jax.Array, X2: jax.Array, lengthscale: jax.Array) -> jax.Array:
    return jnp.sum(((X1[:, None, :] - X2[None, :, :]) / lengthscale) ** 2, axis=-1)


def _softened(squares: jax.Array) -> jax.Array:
    """Return the root of squares, that of the machine's epsilon where they vanish."""
    return jnp.sqrt(squares + jnp.where(squares > 0, 0, jnp.finfo(squares.dtype).eps))


@jax.custom_jvp
def _distance(X1: jax.Array, X2: jax.Array, lengthscale: jax.Array) -> jax.Array:
    squares = _squares(X1, X2, lengthscale)
    return jnp.where(squares > 0, _softened(squares), 0)


@jax.custom_jvp
def _distance_once_differentiated(X1: jax.Array, X2: jax.Array, lengthscale: jax.Array) -> jax.Array:
    return _distance(X1, X2, lengthscale)


def _slope(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Return the softened distances and their derivatives, which vanish with the distance."""
    squares, change = jax.jvp(_squares, primals, tangents)
    root = _softened(squares)
    return root, change / (2 * root)


def _first(primals, tangents):  # type: ignore[no-untyped-def]
    still = all(isinstance(tangent, jax.custom_derivatives.SymbolicZero) for tangent in tangents[:2])
    value = (_distance if still else _distance_once_differentiated)(*primals)
    filled = [
        jnp.zeros_like(primal) if isinstance(tangent, jax.custom_derivatives.SymbolicZero) else tangent
        for primal, tangent in zip(primals, tangents, strict=True)
    ]
    return value, _slope(primals, tuple(filled))[1]


_distance.defjvp(_first, symbolic_zeros=True)
_distance_once_differentiated.defjvp(_slope)
