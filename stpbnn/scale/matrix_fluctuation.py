r"""The gradient of the log evidence for several outputs: as in `fluctuation`, over symmetric matrices.

The matrices of all layers and their product Q are polynomials of one matrix C, :math:`W_l = 1 + C / N_l` and
:math:`Q = \prod_l W_l`, as they are at the minimum (`wishart_chain`): derivatives in C need no eigenvectors.

In the eigenbasis of K the action is a sum over P problems of size D, :math:`M_p = k_p Q + T`, and an output bias a term
of rank D, with :math:`C = 1 + b \sum_p u_p^2 M_p^{-1}`. A change of K by G, in that basis a full matrix, changes it by

.. math::
    \langle A^{-1} - \alpha\alpha^T, Q \otimes G \rangle = \sum_p G_{pp}\, \mathrm{tr}\, Q M_p^{-1}
    - b\, \mathrm{tr}\, C^{-1} \sum_{pq} u_p u_q G_{pq} M_q^{-1} Q M_p^{-1} - \sum_{pq} G_{pq}\, \alpha_p^T Q \alpha_q,

a function of Q alone, whose derivatives in Q are JAX's.

References
----------
Theory notes, section 4; Baglioni et al., arXiv:2412.15911.
"""

from __future__ import annotations

from functools import partial, reduce
from itertools import combinations_with_replacement
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stpbnn.scale.design import PLAIN, Design
from stpbnn.scale.landscape import Landscape, along, directional_kernel
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.wishart_chain import WishartChain, eliminated

__all__ = ["matrix_saddle_gradient", "symmetric_basis"]


def symmetric_basis(D: int) -> Float[np.ndarray, "k D D"]:
    """Return an orthonormal basis of the symmetric D by D matrices."""
    basis = []
    for a, b in combinations_with_replacement(range(D), 2):
        element = np.zeros((D, D))
        element[a, b] = element[b, a] = 1.0 if a == b else 0.5**0.5
        basis.append(element)
    return np.array(basis)


class _Setting(NamedTuple):
    """K = diag(k), targets (P, D) and ones in its basis; C = diag(c) at x = 0, and the basis of the coordinates."""

    k: Array
    Y: Array
    u: Array
    c: Array
    basis: Array
    widths: Array
    temperature: Array
    bias: Array


def _layers(setting: _Setting, x: Array) -> Array:
    """Return W_l of every layer at C = diag(c) + Σ x_k basis_k."""
    C = jnp.diag(setting.c) + jnp.tensordot(x, setting.basis, axes=1)
    return jnp.eye(len(C)) + C / setting.widths[:, None, None]


def _product(layers: Array) -> Array:
    """Return Q, the product of matrices that commute."""
    return reduce(jnp.matmul, layers)


@jax.custom_jvp
def _inverse(M: Array) -> Array:
    """Return M^{-1}, whose derivatives are products: they compile faster than those of a solver."""
    return jnp.linalg.inv(M)


@_inverse.defjvp
def _inverse_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    B = _inverse(primals[0])
    return B, -B @ tangents[0] @ B


@jax.custom_jvp
def _log_det(M: Array) -> Array:
    return jnp.linalg.slogdet(M)[1].sum()


@_log_det.defjvp
def _log_det_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    return _log_det(primals[0]), jnp.einsum("...ab,...ba->", _inverse(primals[0]), tangents[0])


def _solve(setting: _Setting, Q: Array) -> tuple[Array, Array, Array, Array]:
    """Return M_p, its inverse, C and C^{-1} Σ u_p M_p^{-1} Y_p."""
    M = setting.k[:, None, None] * Q + setting.temperature * jnp.eye(len(Q))
    inverse = _inverse(M)
    C = jnp.eye(len(Q)) + setting.bias * jnp.tensordot(setting.u**2, inverse, axes=1)
    return M, inverse, C, _inverse(C) @ jnp.einsum("p,pab,pb->a", setting.u, inverse, setting.Y)


def _action(setting: _Setting, x: Array) -> Array:
    """Return S, up to a constant."""
    layers = _layers(setting, x)
    Q = _product(layers)
    M, inverse, C, drawn = _solve(setting, Q)
    rest = setting.Y - setting.bias * setting.u[:, None] * drawn
    quadratic = jnp.einsum("pa,pab,pb->", setting.Y, inverse, rest)
    prices = [N * (jnp.trace(W) - _log_det(W[None])) for N, W in zip(setting.widths, layers, strict=True)]
    return sum(prices, start=_log_det(M) + _log_det(C) + quadratic)


def _response(setting: _Setting, G: Array, x: Array) -> Array:
    """Return the slope of S when K moves by G."""
    Q = _product(_layers(setting, x))
    _, inverse, C, drawn = _solve(setting, Q)
    alpha = jnp.einsum("pab,pb->pa", inverse, setting.Y - setting.bias * setting.u[:, None] * drawn)
    weighted = setting.u[:, None, None] * inverse
    crossed = jnp.einsum("qab,bc,qcd->ad", jnp.tensordot(G, weighted, axes=1), Q, weighted)
    of_log_det = jnp.einsum("p,pab,ba->", jnp.diag(G), inverse, Q) - setting.bias * jnp.vdot(_inverse(C), crossed.T)
    return of_log_det - jnp.vdot(alpha @ Q, G @ alpha)


def _volume(c: Array, widths: Array) -> Array:
    """Return what log det of the Hessian in C leaves out: the layers above Q, and the change of coordinates."""
    w = 1 + c / widths[:, None]
    above = jnp.log(eliminated(widths, widths[:, None] * w, w, jnp)[1:]).sum(axis=0)
    ones = jnp.ones((1, len(c)))
    below, beyond = (
        jnp.concatenate([ones, jnp.cumprod(w, axis=0)]),
        jnp.concatenate([ones, jnp.cumprod(w[::-1], axis=0)]),
    )
    terms = below[:-1, :, None] * beyond[-2::-1, None, :] / widths[:, None, None]
    step = terms.sum(axis=0) / jnp.sqrt(below[-1][:, None] * below[-1])  # (q_a − q_b)/(c_a − c_b)/√(q_a q_b)
    return (above - 2 * jnp.log(step))[jnp.triu_indices(len(c))].sum()


_volume_slope = jax.jit(jax.grad(_volume))


@jax.jit
def _hessian(setting: _Setting) -> Array:
    at = jnp.zeros(len(setting.basis))
    return jax.lax.map(lambda e: along(jax.grad(partial(_action, setting)), e)(at), jnp.eye(len(at)))


@jax.jit
def _third(setting: _Setting, directions: Array, signs: Array) -> Array:
    """Return Σ s_k ∂D_k² S."""
    at, action = jnp.zeros(len(setting.basis)), partial(_action, setting)

    def term(pair: tuple[Array, Array]) -> Array:
        return pair[1] * jax.grad(along(along(action, pair[0]), pair[0]))(at)

    return jax.lax.map(term, (directions, signs)).sum(axis=0)


@jax.jit
def _slope(setting, directions, signs, w, G, numbers):  # type: ignore[no-untyped-def]
    """∂S + Σ s_k ∂D_k² S − ∂D_w S, for changes of K and of (temperature, bias)."""
    at = jnp.zeros(len(setting.basis))

    def change(x: Array) -> Array:
        def of_numbers(temperature: Array, bias: Array) -> Array:
            return _action(setting._replace(temperature=temperature, bias=bias), x)

        return _response(setting, G, x) + jax.jvp(of_numbers, (setting.temperature, setting.bias), numbers)[1]

    curvatures = jax.lax.map(lambda v: along(along(change, v), v)(at), directions)
    return change(at) + signs @ curvatures - along(change, w)(at)


def matrix_saddle_gradient(
    landscape: Landscape,
    resolvent: Resolvent,
    product: tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D D"]],
    widths: Float[np.ndarray, " L"],
    design: Design = PLAIN,
) -> Float[np.ndarray, " m"]:
    """Return the gradient of the log evidence at a minimum of the action, in θ and, last, in log T.

    Parameters
    ----------
    landscape : Landscape
        The kernel of the features on the training inputs.
    resolvent : Resolvent
        That kernel in its eigenbasis, with the targets.
    product : pair of arrays of shape (D,) and (D, D)
        Eigenvalues and eigenvectors of Q at the minimum.
    widths : array of shape (L,)
        N_1..N_L.
    design : Design
        A trend, and variances of the noise in units of T, of whose contrasts the kernel is.
    """
    q, V = product
    chain, s = WishartChain(widths), np.log(q)
    c, root = chain.slope(s), np.sqrt(np.diag(chain.curvatures(s)[0]))
    basis = root[:, None] * symmetric_basis(len(q)) * root  # in which C moves as log Q does
    k, U, T, bias = resolvent.eigenvalues, resolvent.eigenvectors, resolvent.temperature, resolvent.bias
    numbers = (k, resolvent.columns @ V, resolvent.ones, c, basis, widths, T, bias)
    setting = _Setting(*map(jnp.asarray, numbers))
    curvatures, axes = np.linalg.eigh(hessian := np.asarray(_hessian(setting)))
    directions, signs = (axes / np.sqrt(np.abs(curvatures))).T, np.sign(curvatures)
    of_volume = np.einsum("kaa,a->k", basis, np.asarray(_volume_slope(setting.c, setting.widths)))
    w = np.linalg.solve(hessian, np.asarray(_third(setting, directions, signs)) + of_volume)

    def slope(G: Float[np.ndarray, "P P"], of_temperature: float, of_bias: float) -> float:
        return float(_slope(setting, directions, signs, w, G, (of_temperature, of_bias)))

    gradient = []
    for index, direction in enumerate(np.eye(len(landscape.theta))):
        G = U.T @ design.reduced(directional_kernel(landscape, direction)).contrasts @ U
        is_bias = bias > 0 and index == len(landscape.theta) - 1
        gradient.append(slope(G, 0.0, -bias if is_bias else 0.0))
    gradient.append(slope(np.zeros((len(k), len(k))), T, 0.0))
    return -np.array(gradient) / 2
