"""Kernel objects of scikit-learn: which one is taken, whether it is a covariance, and what of it is learned."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from sklearn.base import clone
from sklearn.gaussian_process.kernels import (
    RBF,
    CompoundKernel,
    ConstantKernel,
    Kernel,
    Matern,
    Product,
    Sum,
    WhiteKernel,
)

from stpbnn._linalg import lower_cholesky
from stpbnn.iterative import Blocks
from stpbnn.kernels import NNGPKernel
from stpbnn.network import Network
from stpbnn.scale import INDEFINITE, Query

__all__ = [
    "KernelHyperparameters",
    "blocks_of",
    "kernel_of",
    "query",
    "refuse_indefinite",
    "refuse_no_kernel",
    "unrelated",
]

NUMBERS = {RBF: "length_scale", Matern: "length_scale", ConstantKernel: "constant_value", WhiteKernel: "noise_level"}
UNRELATED = 1e-3  # correlation of two inputs below which one tells nothing of the other
SMOOTH = 20.0  # ν of finite Matern kernels from which on scikit-learn returns NaN for inputs that coincide


def kernel_of(kernel: Any, unit: float = 1.0) -> Kernel:
    """Return a kernel object: a clone of the given one, the NNGP kernel of a network, or the default for None.

    The variance of the default kernel may reach the unit, that of the squared targets.

    Raises
    ------
    ValueError
        For anything else.
    """
    if kernel is None:
        return ConstantKernel(1.0, (1e-5 * min(unit, 1.0), 1e5 * max(unit, 1.0))) * RBF(1.0)
    if isinstance(kernel, Network):
        return NNGPKernel(kernel, weight_precision_bounds="fixed", bias_precision_bounds="fixed")
    if not isinstance(kernel, Kernel) or isinstance(kernel, CompoundKernel):
        raise ValueError(
            f"kernel: got {kernel!r}, expected a kernel of sklearn.gaussian_process.kernels (one that returns one "
            "matrix), a stpbnn.NNGPKernel, a network such as stpbnn.FullyConnected, or None"
        )
    return clone(kernel)


def query(kernel: Kernel, X: Float[np.ndarray, "q N0"], X_train: Float[np.ndarray, "P N0"], joint: bool) -> Query:
    """Return the kernel at query points; refuse numbers that are not finite."""
    with np.errstate(all="ignore"):  # what overflows is refused
        variances, cross, within = kernel.diag(X), kernel(X, X_train), kernel(X) if joint else None
    refuse_not_finite(kernel, variances, "the query point {} and itself")
    if within is not None:
        refuse_not_finite(kernel, within, "the query points {} and {}")
    refuse_not_finite(kernel, cross, "the query point {} and the training input {}")
    return Query(cross, variances, within)


def blocks_of(kernel: Kernel, X: Float[np.ndarray, "P N0"]) -> Blocks:
    """Return the function that makes a block of the kernel of the training inputs, given its rows and columns."""
    return lambda rows, columns: kernel(X[rows]) if rows == columns else kernel(X[rows], X[columns])


def unrelated(K: Float[np.ndarray, "P P"]) -> bool:
    """Return whether a kernel, whose lower triangle is read, relates hardly any of its inputs to another."""
    off_diagonal = np.tril(np.abs(K), -1)
    nearest = np.maximum.reduce([off_diagonal.max(axis=axis) for axis in (0, 1)])
    return len(K) > 1 and bool(np.median(nearest) < UNRELATED * np.abs(np.diag(K)).max())


def refuse_no_kernel(kernel: Kernel, K: Float[np.ndarray, ...], examples: int) -> None:
    """Raise ValueError for what is no kernel: a matrix K(X, X) of another shape, not finite, or not symmetric."""
    if K.shape != (examples, examples):
        raise ValueError(f"kernel: {kernel!r} returned shape {K.shape} for {examples} inputs, expected a square matrix")
    refuse_not_finite(kernel, K, "the inputs {} and {}")
    if np.abs(K - K.T).max() > 1e-8 * np.abs(K).max():
        raise ValueError(f"kernel: {kernel!r} is not symmetric: k(x, x') and k(x', x) differ; correct the kernel")


def refuse_not_finite(kernel: Kernel, K: Float[np.ndarray, ...], between: str) -> None:
    """Raise ValueError for a kernel that is NaN or infinite, `between` saying what its rows and columns are."""
    if not np.isfinite(K).all():
        where = (int(i) for i in np.argwhere(~np.isfinite(K))[0])
        advice = "rescale the inputs or give other hyper-parameters"
        if any(isinstance(part, Matern) and SMOOTH <= part.nu < np.inf for part in _parts(kernel)):
            advice = f"Matern of finite nu >= {SMOOTH:g} overflows where inputs coincide: give nu=np.inf or nu=2.5"
        raise ValueError(f"kernel: {kernel!r} is NaN or infinite between {between.format(*where)}; {advice}")


def _parts(kernel: Kernel) -> list[Kernel]:
    """Return the kernels that sums, products and powers are made of."""
    inner = [
        getattr(kernel, name) for name in ("k1", "k2", "kernel") if isinstance(getattr(kernel, name, None), Kernel)
    ]
    return [part for one in inner for part in _parts(one)] or [kernel]


def refuse_indefinite(kernel: Kernel, K: Float[np.ndarray, "P P"]) -> None:
    """Raise ValueError for a kernel that has a negative eigenvalue between its inputs; the lower triangle is read."""
    rounding = INDEFINITE * np.diag(K).max()
    if rounding > 0 and not lower_cholesky(np.tril(K) + rounding * np.eye(len(K)), clean=False)[1]:
        return
    eigenvalues = np.linalg.eigvalsh(K)
    if eigenvalues[0] < -INDEFINITE * np.abs(eigenvalues).max():
        raise ValueError(
            f"kernel: {kernel!r} is not positive definite: its smallest eigenvalue between the training inputs is "
            f"negative, {eigenvalues[0]:.2g}; give a kernel that is a covariance for inputs of this dimension"
        )


@dataclass(frozen=True)
class KernelHyperparameters:
    """Kernel, temperature, degrees of freedom of process and noise, and which are learned beside the kernel's.

    Examples
    --------
    >>> from sklearn.gaussian_process.kernels import RBF
    >>> start = KernelHyperparameters(2.0 * RBF(0.5, "fixed"), temperature=0.1, df=5.0, free=("df",))
    >>> start.names, start.theta.round(4)
    (['k1__constant_value', 'df'], array([0.6931, 1.6094]))
    >>> round(start.at(np.log([2.0, 7.0])).df, 4)
    7.0
    """

    kernel: Kernel
    temperature: float
    df: float
    free: tuple[str, ...]
    noise_df: float = 4.0

    @property
    def names(self) -> list[str]:
        """What is learned, in the order of theta."""
        kernel = [
            parameter.name if parameter.n_elements == 1 else f"{parameter.name}[{i}]"
            for parameter in self.kernel.hyperparameters
            if not parameter.fixed
            for i in range(parameter.n_elements)
        ]
        return [*kernel, *self.free]

    @property
    def theta(self) -> Float[np.ndarray, " n"]:
        """The logarithms of what is learned."""
        return np.append(self.kernel.theta, np.log([getattr(self, name) for name in self.free]))

    def bounds(self, own: dict[str, tuple[float, float]]) -> Float[np.ndarray, "n 2"]:
        """Return the bounds of theta, given those of temperature and degrees of freedom themselves."""
        free = np.log([own[name] for name in self.free]).reshape(-1, 2)
        return np.vstack([self.kernel.bounds.reshape(-1, 2), free])

    def at(self, theta: Float[np.ndarray, " n"]) -> Self:
        """Return the same at other values of what is learned."""
        kernel, free = _moved(self.kernel, theta)
        values: dict[str, Any] = dict(zip(self.free, np.exp(free).tolist(), strict=True))
        return replace(self, kernel=kernel, **values)

    def variance(self, X: Float[np.ndarray, "P N0"]) -> float:
        """Return the mean variance of the kernel at inputs, or one where it is zero."""
        return float(np.mean(self.kernel.diag(X))) or 1.0

    def scaled(self, factor: float, X: Float[np.ndarray, "P N0"], beside: bool) -> Self:
        """Return the same with kernel and temperature times a factor, as far as they are learned.

        Temperatures beside the random scale are relative to the kernel: they move as far as the kernel does.
        """
        kernel = _scaled(self.kernel, factor) or self.kernel
        reached = replace(self, kernel=kernel).variance(X) / self.variance(X)
        return replace(self, kernel=kernel, temperature=self.temperature * (reached if beside else factor))


def _moved(kernel: Kernel, theta: Float[np.ndarray, " n"]) -> tuple[Kernel, Float[np.ndarray, " m"]]:
    """Return a kernel with the first of these logarithms for its own, and the rest of them.

    scikit-learn's `clone_with_theta` looks through all attributes of a kernel several times.
    """
    if type(kernel) in (Sum, Product):
        one, theta = _moved(kernel.k1, theta)
        two, theta = _moved(kernel.k2, theta)
        return type(kernel)(one, two), theta
    if (name := NUMBERS.get(type(kernel))) is None:
        n = kernel.n_dims
        return kernel.clone_with_theta(theta[:n]), theta[n:]
    moved = copy(kernel)
    if isinstance(getattr(kernel, f"{name}_bounds"), str):  # fixed
        return moved, theta
    n = np.size(getattr(kernel, name))
    setattr(moved, name, np.exp(theta[:n] if n > 1 else theta[0]))
    return moved, theta[n:]


def _scaled(kernel: Kernel, factor: float) -> Kernel | None:
    """Return a kernel times a factor, within the bounds of its hyper-parameters; None where they do not say that."""
    if isinstance(kernel, Sum):
        one, two = _scaled(kernel.k1, factor), _scaled(kernel.k2, factor)
        return one + two if one and two else None
    if isinstance(kernel, Product):
        one = _scaled(kernel.k1, factor)
        return one * kernel.k2 if one else (two := _scaled(kernel.k2, factor)) and kernel.k1 * two
    if type(kernel) in (ConstantKernel, WhiteKernel) and kernel.n_dims:
        return kernel.clone_with_theta(np.clip(kernel.theta + np.log(factor), *kernel.bounds.T))
    return None
