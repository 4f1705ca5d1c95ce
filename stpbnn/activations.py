r"""Activations: the function, its dual kernel and its Gaussian mean; a registry by name.

For pre-activations :math:`(h, h') \sim N(0, [[a, c], [c, b]])` an activation :math:`\sigma` is known to the theory
through two expectations only,

.. math:: \kappa(a, b, c) = E[\sigma(h)\,\sigma(h')], \qquad m(a) = E[\sigma(h)].

Both act entry by entry on arrays of variances ``a``, ``b`` and covariances ``c``, in float32 and float64. Their
derivatives follow from Price's theorem,
:math:`\partial\kappa/\partial c = E[\sigma'(h)\sigma'(h')]`, and are given as such where differentiating the closed
form would divide zero by zero (x = x', parallel inputs, zero norm).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.special import erf as erf_function
from jaxtyping import Array, Float

from stpbnn._validation import one_of

__all__ = ["Activation", "available", "get", "register"]

Entries = Float[Array, "..."]


@dataclass(frozen=True)
class Activation:
    r"""An activation with its dual kernel :math:`\kappa` and its Gaussian mean :math:`m`.

    Parameters
    ----------
    name : str
        The name under which it may be registered and is stored with results.
    function : callable
        :math:`\sigma(h)`, entry by entry, in JAX.
    kernel : callable
        :math:`\kappa(a, b, c)`, entry by entry, in JAX; ``a`` and ``b`` are variances, ``c`` is the covariance.
    mean : callable or None
        :math:`m(a)`, entry by entry, in JAX. None for an odd activation, whose mean is zero.

    References
    ----------
    Theory notes, section 2. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> relu = get("relu")
    >>> variance = jnp.array(2.0)
    >>> float(relu.kernel(variance, variance, variance))  # half of the variance
    1.0
    >>> relu.odd, get("erf").odd
    (False, True)
    """

    name: str
    function: Callable[[Entries], Entries]
    kernel: Callable[[Entries, Entries, Entries], Entries]
    mean: Callable[[Entries], Entries] | None = None

    @property
    def odd(self) -> bool:
        """Whether σ(−h) = −σ(h), so that the Gaussian mean vanishes."""
        return self.mean is None


def _linear_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = c."""
    return c


def _discriminant(a: Entries, b: Entries, c: Entries) -> Entries:
    """(1 + 2a)(1 + 2b) − 4c², never below its value 1 + 2a + 2b at parallel inputs."""
    return 1 + 2 * (a + b) + 4 * jnp.maximum(a * b - c * c, 0)


@jax.custom_jvp
def _erf_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = (2/π) arcsin(2c / √((1+2a)(1+2b))), written with arctan2: no loss of digits near x = x'."""
    return (2 / jnp.pi) * jnp.arctan2(2 * c, jnp.sqrt(_discriminant(a, b, c)))


@_erf_kernel.defjvp
def _erf_kernel_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    a, b, c = primals
    da, db, dc = tangents
    slope = (4 / jnp.pi) / jnp.sqrt(_discriminant(a, b, c))
    return _erf_kernel(a, b, c), slope * (dc - c * (da / (1 + 2 * a) + db / (1 + 2 * b)))


def _root(x: Entries) -> Entries:
    """Return √x with derivative zero at x = 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _sine_and_angle(a: Entries, b: Entries, c: Entries) -> tuple[Entries, Entries]:
    """√(ab − c²) and the angle between two inputs: 0 or π where parallel to rounding, π/2 where one of them is zero."""
    scale = _root(a) * _root(b)
    gap = scale - jnp.abs(c)
    apart = gap > 4 * jnp.finfo(jnp.result_type(a, b, c)).eps * scale
    sine = jnp.where(apart, _root(jnp.where(apart, gap, 1)) * _root(scale + jnp.abs(c)), 0)
    along = jnp.where(scale > 0, jnp.where(c < 0, jnp.pi, 0), jnp.pi / 2)
    angle = jnp.where(apart, jnp.arctan2(jnp.where(apart, sine, 1), c), along)
    return sine, angle


@jax.custom_jvp
def _relu_kernel(a: Entries, b: Entries, c: Entries) -> Entries:
    """κ = [√(ab − c²) + c (π − θ)] / 2π with θ the angle between the inputs: the arc-cosine kernel of order one."""
    sine, angle = _sine_and_angle(a, b, c)
    return (sine + c * (jnp.pi - angle)) / (2 * jnp.pi)


@_relu_kernel.defjvp
def _relu_kernel_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    a, b, c = primals
    da, db, dc = tangents
    sine, angle = _sine_and_angle(a, b, c)
    da, db = (jnp.where(x > 0, dx / jnp.where(x > 0, x, 1), 0) for x, dx in ((a, da), (b, db)))
    return _relu_kernel(a, b, c), (sine / 2 * (da + db) + (jnp.pi - angle) * dc) / (2 * jnp.pi)


def _relu_mean(a: Entries) -> Entries:
    """Half of E|h|: √(a / 2π)."""
    return _root(a) / (2 * jnp.pi) ** 0.5


_REGISTRY: dict[str, Activation] = {}


def register(activation: Activation) -> Activation:
    """Make an activation known by its name.

    Parameters
    ----------
    activation : Activation
        The activation; its name must be free.

    Returns
    -------
    Activation
        The same activation.

    Raises
    ------
    ValueError
        If another activation has that name.

    Examples
    --------
    >>> register(get("erf")).name  # again the same one: allowed
    'erf'
    """
    if _REGISTRY.setdefault(activation.name, activation) != activation:
        raise ValueError(f"activation: {activation.name!r} is already registered; choose another name")
    return activation


def available() -> tuple[str, ...]:
    """Return the registered names.

    Examples
    --------
    >>> {"linear", "erf", "relu"} <= set(available())
    True
    """
    return tuple(_REGISTRY)


def get(activation: object) -> Activation:
    """Return the activation of that name, or the activation itself.

    Parameters
    ----------
    activation : str or Activation
        A registered name, or an activation.

    Raises
    ------
    ValueError
        If no activation has that name; the nearest one is suggested.

    Examples
    --------
    >>> get("relu").name
    'relu'
    """
    if isinstance(activation, Activation):
        return activation
    return _REGISTRY[one_of("activation", activation, available())]


register(Activation("linear", lambda h: h, _linear_kernel))
register(Activation("erf", erf_function, _erf_kernel))
register(Activation("relu", lambda h: jnp.maximum(h, 0), _relu_kernel, _relu_mean))
