"""What a Student's t-process learns, as one vector of logarithms: its kernel, temperature and degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Product, Sum, WhiteKernel

__all__ = ["KernelHyperparameters"]


@dataclass(frozen=True)
class KernelHyperparameters:
    """Kernel, temperature and degrees of freedom, and which of the last two are learned beside the kernel's.

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
        kernel, free = np.split(theta, [self.kernel.n_dims])
        values: dict[str, Any] = dict(zip(self.free, np.exp(free).tolist(), strict=True))
        return replace(self, kernel=self.kernel.clone_with_theta(kernel), **values)

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
