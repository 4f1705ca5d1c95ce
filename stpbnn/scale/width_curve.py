"""One hidden layer at many widths and temperatures: one diagonalisation of the kernel serves them all.

References
----------
Theory notes, section 4 (cost): a value of S costs O(P), the error on a test set two products with an (n, P) matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas

from stpbnn.kernels import cross_kernel, feature_map, symmetric_kernel
from stpbnn.network import FullyConnected
from stpbnn.scale.minima import minima_of_family, scan_points
from stpbnn.scale.priors import Gamma
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import TOLERANCE, gaussian_log_evidence
from stpbnn.scale.trapezoid import bracket

__all__ = ["WidthCurve"]

Solution = tuple[np.ndarray, np.ndarray, np.ndarray]  # order parameter, log evidence, converged: for every width


@dataclass(frozen=True)
class WidthCurve:
    """A training set and a test set in the eigenbasis of the kernel of one hidden layer with one output.

    Parameters
    ----------
    resolvent : Resolvent
        The kernel on the training set, with targets and variances.
    projected : array of shape (n, P)
        The kernel between test and training inputs, times the eigenvectors.
    squares : array of shape (P,)
        The mean over the test set of the squares of `projected`, all that the mean variance needs.
    variance : float
        The mean over the test set of the kernel of an input with itself.
    y_test : array of shape (n,)
        Test targets.
    """

    resolvent: Resolvent
    projected: Float[np.ndarray, "n P"]
    squares: Float[np.ndarray, " P"]
    variance: float
    y_test: Float[np.ndarray, " n"]

    @classmethod
    def of(
        cls,
        net: FullyConnected,
        X: Float[np.ndarray, "P N0"],
        y: Float[np.ndarray, " P"],
        X_test: Float[np.ndarray, "n N0"],
        y_test: Float[np.ndarray, " n"],
        temperature: float,
    ) -> WidthCurve:
        """Diagonalise the kernel of the training set."""
        features, prior = feature_map(net), net.prior
        K = symmetric_kernel(features, prior, X)
        resolvent = Resolvent.spectral(K, y[:, None], temperature, prior.bias_variance)
        cross = cross_kernel(features, prior, X_test, X)
        projected = blas.dgemm(1.0, cross.entries.T, resolvent.eigenvectors, trans_a=1)
        squares = np.einsum("qk,qk->k", projected, projected) / len(projected)
        return cls(resolvent, projected, squares, float(cross.left.mean()), y_test)

    def with_temperature(self, temperature: float) -> WidthCurve:
        """Return the same at another temperature."""
        return replace(self, resolvent=replace(self.resolvent, temperature=temperature))

    def infinite(self, widths: Float[np.ndarray, " n"]) -> Solution:
        """Return Q = 1 with its Gaussian evidence, the same for every width."""
        data = self.resolvent.at(np.zeros(1))
        evidence = gaussian_log_evidence(data.log_det[0], data.misfit[0], self.resolvent.size)
        same = np.ones(len(widths))
        return same, evidence * same, same > 0

    def lowest_minima(self, widths: Float[np.ndarray, " n"]) -> Solution:
        """Return the lowest minimum of the action (4.1) for every width, all of them at once."""
        of = self.resolvent
        laws = [Gamma(N) for N in (widths.min(), widths.max())]
        brackets = [bracket(of, law.slope, law.centre) for law in laws]
        grid = scan_points(float(np.min(brackets)), float(np.max(brackets)))
        forces = Gamma(widths[:, None]).slope(grid) + of.at(grid).slope
        u, place = minima_of_family(lambda u, N: Gamma(N).slope(u) + of.at(u).slope, forces, grid, widths)
        Q, N, data = np.exp(u), widths[place], of.at(u)
        action = N * (Q - u) + data.value
        residual = np.abs(N * np.expm1(u) + data.slope) / (N * (Q + 1))
        hessian = N * Q + data.curvature
        evidence = -(action - N + of.size * np.log(2 * np.pi)) / 2 + np.log(N / hessian) / 2
        if len(np.unique(place)) < len(widths) or not np.isfinite(action).all():
            raise OverflowError("the order parameters are out of the range of double precision")
        best = [min(np.flatnonzero(place == i), key=action.__getitem__) for i in range(len(widths))]
        return Q[best], evidence[best], (residual[best] < TOLERANCE) & (hessian[best] > 0)

    def error(self, scales: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        """Return squared bias and variance (4.2) at every scale, averaged over the test set."""
        at, b = self.resolvent.at(np.log(scales)), self.resolvent.bias
        r, alpha = at.scales[:, None], at.alpha[:, :, 0]
        means = r * blas.dgemm(1.0, self.projected, alpha.T).T
        explained = at.scales**2 * ((1 / at.shifted) @ self.squares)
        if b:
            p = 1 + at.overlap[:, None]
            means += b * (alpha @ self.resolvent.ones)[:, None]
            along = r * blas.dgemm(1.0, self.projected, at.g.T).T
            explained += b * np.mean(2 * along + (p - 1) - (along + (p - 1)) ** 2 / p, axis=1)
        spread = np.maximum(at.scales * self.variance + b - explained, 0)
        return np.stack([np.mean((means - self.y_test) ** 2, axis=1), spread], axis=1)
