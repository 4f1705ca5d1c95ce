r"""Activations that are not odd, one hidden layer: Q scales the fluctuating kernel, p the direction of the mean.

With m the Gaussian mean of the features, :math:`\tilde K = K_1 - m m^T` and :math:`p = 1/(1 + q)`,

.. math::
    S(q, Q) = N_1 [-qQ + \log(1 + q)] + E(Q, p), \qquad E = \log\det A + y^T A^{-1} y, \qquad
    A = Q \tilde K + p\, m m^T + b\, 11^T + T\,1

is stationary, not minimal, in (q, Q). Given Q, stationarity in q is a cubic equation for p; along its solution the
derivative in Q is a function of one variable, at O(P) a value after one tridiagonalisation of :math:`\tilde K`.

References
----------
Theory notes, sections 3 (3.3) and 4; Pacelli et al. (2023), who use the zero-mean form in their numerics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn.kernels import feature_means, fluctuation_map, mean_map, symmetric_kernel
from stpbnn.network import FullyConnected
from stpbnn.scale.contrasts import Contrasts, conditioned_kernel
from stpbnn.scale.design import PLAIN, Design
from stpbnn.scale.factorised import FactorisedKernel
from stpbnn.scale.landscape import FLUCTUATIONS, MEAN_KEPT, OUTER_MEAN, Landscape, kernel_slopes
from stpbnn.scale.leave_one_out import Resolved
from stpbnn.scale.mean_integral import mean_moments, mean_posterior
from stpbnn.scale.minima import minima
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.priors import Gamma
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.resolvent import Moments, Resolvent
from stpbnn.scale.response import Response
from stpbnn.scale.saddle_point import SaddlePoint
from stpbnn.scale.trapezoid import bracket

__all__ = ["MeanKept", "MeanTerms", "mean_scale", "mean_terms", "stationary_points"]


class MeanTerms(NamedTuple):
    """E(Q, p) with its first and second derivatives."""

    value: float
    Q: float
    p: float
    QQ: float
    Qp: float
    pp: float


def mean_terms(at: Response, p: float) -> MeanTerms:
    """Return E(Q, p) and its derivatives from the resolvent of B = A − p m m^T, whose columns are y and m."""
    Q = float(at.scales[0])
    (f, nu), (_, mu) = at.quadratic[0]
    (g, g_ym), (_, g_mm) = at.pull[0] / Q
    (c, c_ym), (_, c_mm) = at.bend[0] / Q**2
    trace, trace_squared = at.freedom[0] / Q, at.freedom_squared[0] / Q**2
    d = 1 + p * mu
    a, r = nu / d, p / d  # a = m^T A^{-1} y
    return MeanTerms(
        value=at.log_det[0] + np.log(d) + f - p * nu * a,
        p=mu / d - a**2,
        Q=trace - g - r * g_mm + 2 * p * a * g_ym - (p * a) ** 2 * g_mm,
        pp=-((mu / d) ** 2) + 2 * a**2 * mu / d,
        Qp=(-g_mm / d + 2 * a * g_ym - 2 * p * a**2 * g_mm) / d,
        QQ=-trace_squared
        + 2 * c
        + 2 * r * c_mm
        - (r * g_mm) ** 2
        - 2 * r * g_ym**2
        - 4 * p * a * c_ym
        + 4 * p * a * r * g_ym * g_mm
        + 2 * (p * a) ** 2 * c_mm
        - 2 * (p * a) ** 2 * r * g_mm**2,
    )


def mean_scale(width: float, Q: float, at: Response) -> float:
    """Return p that makes S stationary in q at given Q: N (p − Q) = p² ∂E/∂p.

    With μ = m^T B^{-1} m and ν = m^T B^{-1} y this is N (p − Q)(1 + pμ)² = p² [μ (1 + pμ) − ν²]: a cubic, whose
    largest positive root is the one that goes to Q for wide networks. A single unit may have none.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no positive p is stationary.
    """
    mu, nu = float(at.quadratic[0, 1, 1]), float(at.quadratic[0, 0, 1])
    square = [mu * mu, 2 * mu, 1.0]  # (1 + pμ)²
    left = width * np.polysub(np.polymul([1.0, 0.0], square), np.multiply(Q, square))
    cubic = np.polysub(left, [mu * mu, mu - nu * nu, 0.0, 0.0])
    if mu * Q > 1:
        roots = np.roots(cubic)
    else:  # two roots are far out, near −1/μ, where the third would lose its digits: solve for 1/p
        inverse = np.roots(cubic[::-1])
        roots = 1 / inverse[inverse != 0]
    real = roots.real[(np.abs(roots.imag) <= 1e-7 * np.abs(roots)) & (roots.real > 0)]
    if not len(real):
        raise np.linalg.LinAlgError("no scale of the mean is stationary")
    p = float(real.max())
    for _ in range(3):  # the roots of a polynomial lose digits
        p -= float(np.polyval(cubic, p) / np.polyval(np.polyder(cubic), p))
    return p


def stationary_points(resolvent: Resolvent, width: int) -> list[SaddlePoint]:
    """Return the stationary points of S(q, Q) where its derivative in Q rises, the lowest action first.

    Parameters
    ----------
    resolvent : Resolvent
        K̃ = K_1 − m m^T with the columns y and m, T and b.
    width : int
        N_1.

    Returns
    -------
    list of SaddlePoint
        `order_parameters` is (Q,), `conjugate` is q, and the Hessian is that in (q, Q): indefinite by nature.
    """
    N = float(width)

    def state(u: float) -> tuple[float, MeanTerms]:
        at = resolvent.at(np.array([u]))
        p = mean_scale(N, float(at.scales[0]), at)
        return p, mean_terms(at, p)

    def force(u: float) -> float:
        p, E = state(u)
        return float(np.exp(u) * (N * (1 - 1 / p) + E.Q))

    lower, upper = _bounds(resolvent, N)
    margin = np.log1p(1 / N) + upper / 2 + 1  # p/Q lies between N/(N + y^T B^{-1} y/4) and N/(N − 1)
    points = []
    for u in minima(lambda u: np.array([force(v) for v in u]), lower - margin, upper + margin):
        Q, (p, E) = float(np.exp(u)), state(u)
        q = 1 / p - 1
        gradient = np.array([N * (p - Q) - p**2 * E.p, Q * (E.Q - N * q)])
        hessian = np.array(
            [
                [p**2 * (p**2 * E.pp + 2 * p * E.p - N), -N - p**2 * E.Qp],
                [-N - p**2 * E.Qp, E.QQ],
            ]
        )
        action = N * (-q * Q - np.log(p)) + E.value
        residual = float(np.abs(gradient).max() / (N * (Q + 1)))
        # the Gaussian integral over Q and imaginary q; for m = 0 it is that over log Q
        fluctuation = np.log(N) - np.log(np.abs(np.linalg.det(hessian))) / 2
        evidence = float(fluctuation - (action + len(resolvent.ones) * np.log(2 * np.pi)) / 2)
        points.append(SaddlePoint(np.array([Q]), float(action), residual, hessian, evidence, conjugate=q))
    return sorted(points, key=lambda point: point.action)


def _bounds(resolvent: Resolvent, N: float) -> tuple[float, float]:
    """Return bounds of log Q that hold every minimum of the action without the mean, and leave room for it."""
    targets, law = resolvent.with_columns(resolvent.columns[:, :1]), Gamma(N)
    if resolvent.temperature == 0:
        return bracket(targets, law.slope, law.centre)
    # y^T A^{-1} QK A^{-1} y <= |y|²/T, and tr A^{-1} QK <= Q tr K / T
    trace = resolvent.eigenvalues.sum() / resolvent.temperature
    square = float(np.vdot(targets.columns, targets.columns))
    lower = min(0.5, N / (2 * trace)) if trace > 0 else 0.5
    return float(np.log(lower)), float(np.log1p(square / resolvent.temperature / N))


@dataclass(frozen=True)
class MeanKept(NetworkProblem):
    """A network of one hidden layer, the Gaussian mean of whose features is kept.

    Parameters
    ----------
    resolvent : Resolvent
        K̃ = K_1 − m m^T with the columns y and m, and the variances.
    """

    resolvent: Resolvent

    @classmethod
    def of(
        cls,
        net: FullyConnected,
        X: np.ndarray,
        y: Float[np.ndarray, " P"],
        temperature: float,
        design: Design = PLAIN,
        *,
        spectral: bool,
    ) -> MeanKept:
        """Reduce K̃: to its eigenbasis where variances at many scales are wanted, else to tridiagonal form."""
        K, columns = symmetric_kernel(fluctuation_map(net), net.prior, X), np.stack([y, feature_means(net, X)], axis=1)
        bias = net.prior.bias_variance
        contrasts, resolvent = Contrasts.of(design, K, columns, temperature, bias, spectral=spectral)
        return cls(net, X, y, temperature, resolvent, contrasts=contrasts)

    ingredients = MEAN_KEPT

    def coordinates(self, point: SaddlePoint) -> Float[np.ndarray, " 2"]:
        """Return (q, Q)."""
        return np.append(float(point.conjugate or 0), point.order_parameters)

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the stationary points of S(q, Q), the lowest first."""
        points = [self.of_targets(point) for point in stationary_points(self.resolvent, self.net.widths[0])]
        if not points:
            raise ValueError(
                f"network: got width {self.net.widths[0]}, at which the action with the mean of the features kept has "
                "no stationary point; use mean='drop', or FiniteWidthRegressor"
            )
        return points

    def conditioned(self, point: SaddlePoint) -> FactorisedKernel:
        """Return the Gaussian process with the kernel Q (K_1 − m m^T) + m m^T/(1 + q)."""
        kernel = mean_map(self.net, float(point.order_parameters[0]), 1 / (1 + float(point.conjugate or 0)))
        return conditioned_kernel(self.net.prior, self.X, self.y, kernel, self.temperature, self.design)

    def posterior(self, seed: int = 0) -> OrderParameterPosterior:
        """Return p(Q, a | y), by quadrature."""
        return self.of_targets(mean_posterior(self.resolvent, self.net.widths[0]))

    def moments(self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Moments:
        """Return mean and variance of f at query points for each node of the posterior; covariances if `joint`."""
        query = self.query(fluctuation_map(self.net), X, joint=joint)
        trend, of_mean = np.broadcast_to(query.trend, (len(X), 2)).T
        projected = query.cross @ self.resolvent.diagonalised.eigenvectors
        mean = feature_means(self.net, X) - of_mean
        found = mean_moments(self.resolvent, posterior, projected, query.variances, mean, query.within)
        return found.beside(query._replace(trend=trend))

    def _at_nodes(self, posterior: OrderParameterPosterior) -> tuple[Response, np.ndarray, np.ndarray]:
        """Return the resolvent at the distinct Q, which of them a node has, and α = A^{-1} (y − a m) at each node."""
        assert posterior.amplitudes is not None
        Q, node = np.unique(posterior.nodes[:, 0], return_inverse=True)
        at = self.resolvent.diagonalised.at(np.log(Q))
        return at, node, at.alpha[node, :, 0] - posterior.amplitudes[:, None] * at.alpha[node, :, 1]

    def resolved(self, posterior: OrderParameterPosterior) -> Resolved:
        """Return A^{-1} (y − a m) and the diagonal of A^{-1} at each node of the posterior."""
        assert posterior.amplitudes is not None
        Q, node = np.unique(posterior.nodes[:, 0], return_inverse=True)
        alpha, diagonal = self.resolvent.resolved(np.log(Q), self.design.expanded)
        of_targets, of_mean = np.moveaxis(alpha[node], 2, 0)
        return Resolved(of_targets - posterior.amplitudes[:, None] * of_mean, diagonal[node])

    def lost(self, posterior: OrderParameterPosterior) -> float:
        """Return what the rounding of the kernel may have changed of the log evidence."""
        at, node, alpha = self._at_nodes(posterior)
        mass = np.bincount(node, posterior.weights)
        squares = np.bincount(node, posterior.weights * np.sum(alpha**2, axis=1)) / np.where(mass > 0, mass, 1)
        return at.lost(mass, squares)

    def posterior_gradient(self, posterior: OrderParameterPosterior) -> Float[np.ndarray, " m"]:
        """Return the gradient of the mixture's log evidence; the mean adds the slope a α·∂m to that of the kernel."""
        at, node, alpha = self._at_nodes(posterior)
        of, w = self.resolvent.diagonalised, posterior.weights
        slopes = at.slopes(np.bincount(node, w), (alpha, w, at.scales[node]))
        weight = self.design.slopes(slopes.kernel)
        of_kernel = kernel_slopes(Landscape.of(self.net, self.X, FLUCTUATIONS), None, weight)
        m, pull = of.eigenvectors @ of.columns[:, 1], of.eigenvectors @ ((w * posterior.amplitudes) @ alpha)
        if (size := m @ m) > 0:  # <V, ∂(m m^T)> is pull·∂m where 2 V m = pull
            V = (np.outer(pull, m) + np.outer(m, pull) - np.outer(m, m) * (pull @ m) / size) / (2 * size)
            weight = self.design.slopes(V)
            of_kernel = of_kernel + kernel_slopes(Landscape.of(self.net, self.X, OUTER_MEAN), None, weight)
        return slopes.in_logarithms(of_kernel, self.temperature, self.resolvent.bias)
