"""Activation: a function with its dual kernel and its Gaussian mean, refused where the theory could not use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stpbnn._backend import first_device
from stpbnn._validation import integer
from stpbnn.activations.quadrature import HermiteKernel, HermiteMean, elementwise_derivative

__all__ = ["Activation"]

Entries = Float[Array, "..."]
HALF = np.array([0.0, 0.01, 0.3, 1.0, 2.5, 8.0])
POINTS = np.stack([-HALF, HALF])  # where a function is tried


@dataclass(frozen=True)
class Activation:
    r"""An activation with its dual kernel :math:`\kappa` and its Gaussian mean :math:`m`.

    .. math:: \kappa(a, b, c) = E[\sigma(h)\,\sigma(h')], \qquad m(a) = E[\sigma(h)], \qquad
              (h, h') \sim N(0, [[a, c], [c, b]])

    Without a kernel of its own, an activation gets both by Gauss-Hermite quadrature: a series of `order` Hermite
    polynomials, whose truncation `kernel_error` estimates.

    Parameters
    ----------
    name : str
        The name under which it may be registered and is stored with results.
    function : callable
        :math:`\sigma(h)`, entry by entry, in JAX.
    kernel : callable or None
        :math:`\kappa(a, b, c)`, entry by entry, in JAX; ``a`` and ``b`` are variances, ``c`` is the covariance. None
        for quadrature.
    mean : callable or None
        :math:`m(a)`, entry by entry, in JAX. None for an odd activation, whose mean is zero, and for quadrature.
    order : int
        The number of quadrature nodes; no meaning where a kernel is given.

    Raises
    ------
    ValueError
        If the name is not text; if the function fails on arrays, changes their shape, mixes their entries, or returns
        anything but finite numbers; if JAX's derivative of it is not its derivative (quadrature only); if it is not odd
        and a kernel comes without a mean; if a mean comes without a kernel; if either does not act entry by entry.
    RuntimeError
        If JAX finds no device.

    Notes
    -----
    The error of quadrature falls like :math:`\exp(-2 d \sqrt{N / a})`, where d is the distance of the nearest
    singularity of σ from the real axis (π/2 for tanh, π for silu): large variances need many nodes. With the orders
    registered, κ(a, a, a) of tanh and silu is right to 1e-10 for variances from 1e-3 to 10; at variance 100 the
    relative error is 6e-4 for tanh and 1e-5 for silu. For functions with kinks it only falls like a power of N: see
    `kernel_error`, or give a closed form.

    References
    ----------
    Theory notes, section 2. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> variance = jnp.array(2.0)
    >>> softplus = Activation("softplus", jax.nn.softplus)
    >>> float(softplus.kernel(variance, variance, variance))
    1.3819
    >>> softplus.odd, Activation("arctan", jnp.arctan).odd
    (False, True)
    """

    name: str
    function: Callable[[Entries], Entries]
    kernel: Callable[[Entries, Entries, Entries], Entries] = None  # type: ignore[assignment]  # None: filled in below
    mean: Callable[[Entries], Entries] | None = None
    order: int = 256

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name: got {self.name!r}, expected a text such as 'softplus'")
        order = integer("order", self.order, minimum=2)
        for what, part in (("kernel", self.kernel), ("mean", self.mean)):
            if part is not None and not callable(part):
                raise ValueError(f"activation {self.name!r}: got the {what} {part!r}, expected a function in jax.numpy")
        odd = _try(self.name, self.function)
        if self.kernel is None:
            if self.mean is not None:
                raise ValueError(f"activation {self.name!r}: got a mean without a kernel; give both, or neither")
            _try_derivative(self.name, self.function)
            object.__setattr__(self, "kernel", HermiteKernel(self.function, order, odd))
            object.__setattr__(self, "mean", None if odd else HermiteMean(self.function, order))
        elif self.mean is None and not odd:
            raise ValueError(
                f"activation {self.name!r}: got a kernel without a mean, which is right for odd functions only; "
                "give its mean E[σ(h)] as a function of the variance"
            )
        else:
            _try_expectation(self.name, "kernel", self.kernel, (6, 1), (1, 2), (6, 2))
            if self.mean is not None:
                _try_expectation(self.name, "mean", self.mean, (6,))

    @classmethod
    def known(cls, name: str, **parts: Any) -> Activation:
        """Return an activation without testing its parts; the caller vouches for them."""
        activation = object.__new__(cls)
        for part, value in {"name": name, **parts}.items():
            object.__setattr__(activation, part, value)
        return activation

    def __deepcopy__(self, memo: dict[int, Any]) -> Activation:
        """Return the activation itself: it does not change, and what was compiled for it serves its copies as well."""
        return self

    @property
    def odd(self) -> bool:
        """Whether σ(−h) = −σ(h), so that the Gaussian mean vanishes."""
        return self.mean is None

    @property
    def linear(self) -> bool:
        """Whether σ is a multiple of h, as far as a few points tell."""
        with jax.ensure_compile_time_eval():
            values, slope = (np.asarray(self.function(jnp.asarray(at))) for at in (POINTS, np.ones(())))
        return bool(np.allclose(values, slope * POINTS, rtol=8 * np.finfo(values.dtype).eps, atol=0))

    def kernel_error(self, a: Entries, b: Entries, c: Entries) -> Entries:
        r"""Return an estimate of the quadrature error of κ(a, b, c); zero for closed forms.

        .. math:: 2\, |\kappa_{2N}(a, b, c) - \kappa_N(a, b, c)|

        Parameters
        ----------
        a, b, c : arrays
            Variances and covariance, as for `kernel`.

        Notes
        -----
        It covers the truncation error wherever doubling the order at least halves it. That holds for smooth
        functions as soon as the series converges. For functions with kinks the error falls slowly, like
        :math:`N^{-3/2}` at best, and fluctuates with the position of the nodes: there the estimate is an order of
        magnitude, and it says nothing about derivatives, which converge one power slower. The error is largest at
        parallel inputs and large variance: a look at κ(a, a, a) for the largest variance is enough.

        Examples
        --------
        >>> kinked = Activation("hard tanh", lambda h: jnp.clip(h, -1, 1))
        >>> a = jnp.array(1.0)
        >>> bool(kinked.kernel_error(a, a, a) > 1e-5), float(Activation("erf", jax.lax.erf).kernel_error(a, a, a))
        (True, 0.0)
        """
        if isinstance(self.kernel, HermiteKernel):
            return self.kernel.error(a, b, c)
        return jnp.zeros_like(a + b + c)


def _try(name: str, function: Callable[[Entries], Entries]) -> bool:
    """Refuse a function that JAX cannot apply entry by entry; otherwise return whether it is odd."""
    first_device()  # where there is none the function is not to blame

    def trial(points: Entries) -> tuple:
        return function(points), jax.vmap(jax.vmap(function))(points), elementwise_derivative(function)(points)

    try:
        jax.eval_shape(trial, jax.ShapeDtypeStruct(POINTS.shape, jnp.result_type(float)))  # as in compiled functions
        with jax.ensure_compile_time_eval():  # numbers, even if this is a compiled function
            values, entries, slopes = (np.asarray(array) for array in trial(jnp.asarray(POINTS)))
    except Exception as error:
        raise ValueError(
            f"activation {name!r}: the function fails on an array ({_told(error)}); "
            "write it entry by entry in jax.numpy, with jnp.where in the place of if"
        ) from error
    if values.shape != POINTS.shape:
        raise ValueError(
            f"activation {name!r}: the function turns shape {POINTS.shape} into {values.shape}; "
            "it must act entry by entry and keep the shape"
        )
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"activation {name!r}: the function returns {values.dtype}, expected real floating numbers")
    for what, array in (("value", values), ("derivative", slopes)):
        if not np.isfinite(array).all():
            where = POINTS[~np.isfinite(array)][0]
            raise ValueError(f"activation {name!r}: its {what} at h = {where:g} is NaN or infinite, expected a number")
    if not np.allclose(values, entries, rtol=1e-4, atol=1e-6):
        raise ValueError(
            f"activation {name!r}: applied to an array the function differs from its values entry by entry; "
            "it must not mix the entries"
        )
    tolerance = 8 * np.finfo(values.dtype).eps
    return bool(np.allclose(values[0], -values[1], rtol=tolerance, atol=0))


def _try_expectation(name: str, what: str, function: Callable[..., Entries], *shapes: tuple[int, ...]) -> None:
    """Refuse a kernel or a mean that JAX cannot apply entry by entry to variances and covariances."""
    expected = np.broadcast_shapes(*shapes)
    arrays = [jax.ShapeDtypeStruct(shape, jnp.result_type(float)) for shape in shapes]
    try:
        found = jax.eval_shape(function, *arrays)
    except Exception as error:
        raise ValueError(
            f"activation {name!r}: the {what} fails on arrays ({_told(error)}); write it entry by entry in jax.numpy"
        ) from error
    if getattr(found, "shape", None) != expected or not np.issubdtype(found.dtype, np.floating):
        raise ValueError(
            f"activation {name!r}: the {what} gives {found} from the shapes {', '.join(map(str, shapes))}, expected "
            f"real floating numbers of shape {expected}; it must act entry by entry"
        )


def _told(error: Exception) -> str:
    """Return kind and first line of an error."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _try_derivative(name: str, function: Callable[[Entries], Entries]) -> None:
    """Refuse a function whose JAX derivative misses a jump: E[σ'(z)] = E[z σ(z)] must hold, if only roughly."""
    with jax.ensure_compile_time_eval():
        z = jnp.asarray(np.linspace(-8, 8, 1601))
        weight = np.exp(-(np.asarray(z) ** 2) / 2)
        slope = np.asarray(elementwise_derivative(function)(z)) * weight
        moment = np.asarray(function(z)) * np.asarray(z) * weight
    if abs(np.sum(slope - moment)) > 0.05 * np.sum(np.abs(slope) + np.abs(moment)):
        raise ValueError(
            f"activation {name!r}: the derivative that JAX gives is not that of the function (does it jump, round, "
            "or stop gradients?); give its kernel and mean in closed form"
        )
