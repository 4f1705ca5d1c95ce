r"""The effective action of a network whose targets are classes: an approximate evidence in place of the Gaussian one.

.. math::
    S(Q) = \sum_l N_l (Q_l - \log Q_l) - 2 \log Z(Q), \qquad
    Z(Q) \simeq \int p(y \mid f)^{1/T}\, N(f; 0, K^R(Q))\, df

A value of S costs a few Cholesky factorisations, its derivatives little more: they are weights on those of the kernel.
Derivatives beyond the first are differences of the fourth order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from stpbnn.kernels import Closure, KernelMap, feature_map, renormalised_map, symmetric_kernel
from stpbnn.latent.approximations import Approximation, approximate
from stpbnn.latent.bernoulli import Bernoulli
from stpbnn.latent.categorical import Categorical
from stpbnn.latent.laplace import Laplace
from stpbnn.latent.propagation import Propagated
from stpbnn.network import FullyConnected
from stpbnn.scale import (
    CLOSURE_ACTIONS,
    Landscape,
    kernel_slopes,
    order_slopes,
    prior_action,
    prior_slope,
)

__all__ = ["FIRST", "SECOND", "SECOND_CENTRE", "STENCIL", "ClassesAction", "Scales"]

STENCIL = 0.03  # in standard deviations of log Q or less: differences of the fourth order
REMEMBERED = 64  # modes, from which the next search starts

Scales = Float[np.ndarray, " L"]
OFFSETS = np.array([-2.0, -1.0, 1.0, 2.0])
FIRST = np.array([1.0, -8.0, 8.0, -1.0]) / 12  # derivatives from values at the offsets, and at the centre
SECOND, SECOND_CENTRE = np.array([-1.0, 16.0, 16.0, -1.0]) / 12, -2.5


@dataclass(frozen=True)
class Slopes:
    """S at z = log Q, its gradient, and the derivatives of log Z in the logarithms of the precisions."""

    z: Scales
    value: float
    gradient: Scales
    precisions: Float[np.ndarray, " n"]
    residual: float


@dataclass(frozen=True, eq=False)
class ClassesAction:
    """S of a network on a training set of classes: of one output and two of them, or of one hidden layer and C of them.

    Parameters
    ----------
    net : FullyConnected
        The network.
    X : array of shape (P, N_0)
        Training inputs.
    likelihood : Bernoulli or Categorical
        Labels and temperature.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel.
    approximation : {"auto", "laplace", "ep"}
        How the posterior of the latent function is approximated at given order parameters.
    """

    net: FullyConnected
    X: Float[np.ndarray, "P N0"]
    likelihood: Bernoulli | Categorical
    closure: Closure = "nested"
    approximation: Approximation = "auto"
    _modes: deque[tuple[Scales, Any]] = field(default_factory=lambda: deque(maxlen=REMEMBERED), repr=False)

    @property
    def widths(self) -> Scales:
        """N_1..N_L, times the number of outputs that share the scale."""
        return self.net.outputs * np.asarray(self.net.widths, dtype=np.float64)

    @cached_property
    def _features(self) -> Float[np.ndarray, "P P"]:
        """The kernel of one hidden layer without scale and output bias."""
        return symmetric_kernel(feature_map(self.net), self.net.prior, self.X)

    @cached_property
    def _landscape(self) -> Landscape:
        return Landscape.of(self.net, self.X, CLOSURE_ACTIONS[self.closure])

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: no compiled functions."""
        return {name: value for name, value in self.__dict__.items() if name != "_landscape"}

    def _map(self, z: Scales) -> KernelMap:
        return renormalised_map(self.net, np.exp(z), self.closure)

    def _kernel(self, z: Scales) -> Float[np.ndarray, "P P"]:
        if self.net.depth > 1:
            return symmetric_kernel(self._map(z), self.net.prior, self.X)
        K = np.exp(z[0]) * self._features
        K += self.net.prior.bias_variance
        return K

    def at(self, z: Scales) -> Laplace | Propagated:
        """Return the approximation at log Q = z."""
        known = min(self._modes, key=lambda mode: float(np.abs(mode[0] - z).sum()), default=None)
        found = approximate(self.likelihood, self._kernel(z), self.approximation, None if known is None else known[1])
        self._modes.append((z, found.start))
        return found

    def action(self, z: Scales) -> float:
        """Return S, without the parts of it that are constant."""
        return float(prior_action(self.widths, z)) - 2 * self.at(z).log_evidence

    def slopes(self, z: Scales) -> Slopes:
        """Return S at z and its derivatives."""
        at = self.at(z)
        weights = at.kernel_weights()
        if self.net.depth > 1:
            of_data = order_slopes(self._landscape, z, weights)
        else:
            of_data = np.exp(z) * np.vdot(weights, self._features)
        gradient = prior_slope(self.widths, z) - 2 * of_data
        size = self.widths * (np.exp(z) + 1)
        value = float(prior_action(self.widths, z)) - 2 * at.log_evidence
        return Slopes(
            z, value, gradient, kernel_slopes(self._landscape, z, weights), float(np.abs(gradient / size).max())
        )

    def stencil(self, z: Scales, direction: Scales, step: float) -> list[Slopes]:
        """Return S and its derivatives at the `OFFSETS` about z, in units of a step along a direction."""
        return [self.slopes(z + step * offset * direction) for offset in OFFSETS]

    def hessian(self, z: Scales) -> Float[np.ndarray, "L L"]:
        """Return the second derivatives of S at z."""
        rows = []
        for axis, width in zip(np.eye(len(z)), self.widths, strict=True):
            step = STENCIL / np.sqrt(1 + width / 100)
            found = self.stencil(z, axis, step)
            rows.append(FIRST @ np.stack([at.gradient for at in found]) / step)
        hessian = np.array(rows)
        return (hessian + hessian.T) / 2
