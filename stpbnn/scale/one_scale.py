r"""One scale of one kernel: one hidden layer, and at any depth the global closure, in which only Π_l Q_l enters.

.. math:: S(Q) = \sum_l N_l (Q_l - \log Q_l) + \log\det A + y^T A^{-1} y, \qquad
          A = \rho K + b\, 11^T + T\,1, \quad \rho = \prod_l Q_l

In the global closure stationarity reads :math:`N_l (Q_l - 1) = c` with the same c for all layers, so that one number,
here :math:`u = \log Q` of the narrowest layer, runs through all candidates.

References
----------
Theory notes, eqs. (4.1) to (4.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_solve

from stpbnn._linalg import log_det_of
from stpbnn.kernels import feature_map, renormalised_map, symmetric_kernel
from stpbnn.network import Network
from stpbnn.scale.contrasts import Contrasts, RestrictedKernel
from stpbnn.scale.design import PLAIN, Design
from stpbnn.scale.factorised import FactorisedKernel, well_conditioned_cholesky
from stpbnn.scale.landscape import CLOSURE_ACTIONS, FEATURES, Landscape, kernel_slopes
from stpbnn.scale.leave_one_out import Resolved
from stpbnn.scale.minima import minima
from stpbnn.scale.posterior import OrderParameterPosterior
from stpbnn.scale.priors import Gamma, prior_action, prior_curvature, prior_slope
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.resolvent import Moments, Resolvent
from stpbnn.scale.response import Response, Slopes
from stpbnn.scale.saddle_point import SaddlePoint, laplace
from stpbnn.scale.trapezoid import NO_MINIMUM, bracket, scale_posterior

__all__ = ["Interpolation", "OneScale", "effective_action", "order_parameters", "saddle_points_of_scale"]


def order_parameters(u: Float[np.ndarray, ...] | float, widths: Float[np.ndarray, " L"]) -> Float[np.ndarray, "... L"]:
    """Return the Q of all layers that go with log Q = u of the narrowest: N_l (Q_l − 1) is the same for all."""
    share = widths.min() / widths
    return share * np.exp(u)[..., None] + (1 - share)


def effective_action(widths: Float[np.ndarray, " L"], u: Float[np.ndarray, " L"], data: Response) -> float:
    r"""Return S(Q) of one scale ρ = Π_l Q_l, eq. (4.1): the prior's part, and that of the data.

    .. math:: S(Q) = \sum_l N_l (Q_l - \log Q_l) + [\log\det A + y^T A^{-1} y]

    Parameters
    ----------
    widths : array of shape (L,)
        N_1..N_L.
    u : array of shape (L,)
        log Q.
    data : Response
        A^{-1} at ρ: `resolvent.at(u.sum(keepdims=True))`.
    """
    return float(prior_action(widths, u) + data.value[0])


def saddle_points_of_scale(resolvent: Resolvent, widths: Float[np.ndarray, " L"]) -> list[SaddlePoint]:
    """Return the minima of the action of the global closure, the lowest first.

    Parameters
    ----------
    resolvent : Resolvent
        The kernel without its output bias, targets and variances.
    widths : array of shape (L,)
        N_1..N_L.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A(Q) is singular, or S has no minimum (T = 0 only).
    """
    law = Gamma(float(widths.min()))

    def log_scale(u: Float[np.ndarray, ...] | float) -> Float[np.ndarray, ...]:
        return np.log(order_parameters(u, widths)).sum(axis=-1)

    def force(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return law.slope(u) + resolvent.at(log_scale(u)).slope

    found = minima(force, *bracket(resolvent, law.slope, law.centre, log_scale))
    if not found:
        raise np.linalg.LinAlgError("no minimum of the action where the kernel plus temperature is regular")
    points = [_at(resolvent, order_parameters(u, widths), widths) for u in found]
    return sorted(points, key=lambda point: point.action)


def _at(resolvent: Resolvent, Q: Float[np.ndarray, " L"], widths: Float[np.ndarray, " L"]) -> SaddlePoint:
    """Return S at Q, its gradient and its Hessian (4.1) as a SaddlePoint: one hidden layer, or the global closure."""
    u = np.log(Q)
    data = resolvent.at(u.sum(keepdims=True))
    gradient = prior_slope(widths, u) + data.slope
    hessian = prior_curvature(widths, u) + data.curvature
    action = effective_action(widths, u, data)
    residual = np.max(np.abs(gradient) / (widths * (Q + 1)))
    evidence = laplace(action, hessian, widths, float(widths.sum()), resolvent.size)
    return SaddlePoint(Q, action, float(residual), hessian, evidence)


@dataclass(frozen=True)
class OneScale(NetworkProblem):
    """A network whose order parameters enter as one scale.

    Parameters
    ----------
    resolvent : Resolvent
        The kernel of the features without the output bias, targets and variances.
    """

    resolvent: Resolvent

    @classmethod
    def of(
        cls,
        net: Network,
        X: np.ndarray,
        y: Float[np.ndarray, " P"],
        temperature: float,
        design: Design = PLAIN,
        *,
        spectral: bool,
    ) -> OneScale:
        """Reduce the kernel: to its eigenbasis where variances at many scales are wanted, else to tridiagonal form."""
        K = symmetric_kernel(feature_map(net), net.prior, X)
        contrasts, resolvent = Contrasts.of(
            design, K, y[:, None], temperature, net.prior.bias_variance, spectral=spectral
        )
        return cls(net, X, y, temperature, resolvent, contrasts=contrasts)

    ingredients = CLOSURE_ACTIONS["global"]

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the minima of the action, the lowest first."""
        return [self.of_targets(point) for point in saddle_points_of_scale(self.resolvent, self.widths)]

    def conditioned(self, point: SaddlePoint) -> FactorisedKernel:
        """Return the Gaussian process at a saddle point."""
        Q = point.order_parameters
        kernel = renormalised_map(self.net, Q, "global")
        if not self.design.plain:
            return RestrictedKernel.restricted(self.net.prior, self.X, self.y, kernel, self.temperature, self.design)
        alpha = self.resolvent.coefficients(float(np.log(Q).sum()))[:, 0]
        return FactorisedKernel(self.net.prior, self.X, kernel, alpha, self.temperature)

    def posterior(self, seed: int = 0) -> OrderParameterPosterior:
        """Return p(Q | y) of one hidden layer, by quadrature."""
        return self.of_targets(scale_posterior(self.resolvent, Gamma(float(self.widths[0]))))

    def moments(self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"], *, joint: bool) -> Moments:
        """Return mean and variance of f at query points for each node of the posterior; covariances if `joint`."""
        query = self.query(feature_map(self.net), X, joint=joint)
        projected, outside = self.resolvent.projected(query.cross, joint=joint)
        u = np.log(posterior.nodes[:, 0])
        found = self.resolvent.moments(u, projected, query.variances, query.within, outside).beside(query)
        return found._replace(means=found.means[:, :, 0])

    def resolved(self, posterior: OrderParameterPosterior) -> Resolved:
        """Return A^{-1} y and the diagonal of A^{-1} at each node of the posterior."""
        found = self.resolvent.resolved(np.log(posterior.nodes[:, 0]), self.design.expanded)
        return found._replace(alpha=found.alpha[:, :, 0])

    def _slopes(self, posterior: OrderParameterPosterior, frame: Float[np.ndarray, "q P"] | None = None) -> Slopes:
        at = self.resolvent.diagonalised.at(np.log(posterior.nodes[:, 0]))
        return at.slopes(posterior.weights, frame=frame)

    def lost(self, posterior: OrderParameterPosterior) -> float:
        """Return what the rounding of the kernel may have changed of the log evidence."""
        return self.resolvent.at(np.log(posterior.nodes[:, 0])).lost(posterior.weights)

    def posterior_gradient(self, posterior: OrderParameterPosterior) -> Float[np.ndarray, " m"]:
        """Return the gradient of the mixture's log evidence in the logarithms of precisions and temperature."""
        slopes = self._slopes(posterior)
        weight = self.design.slopes(slopes.kernel)
        of_kernel = kernel_slopes(Landscape.of(self.net, self.X, FEATURES), None, weight)
        return slopes.in_logarithms(of_kernel, self.temperature, self.resolvent.bias)

    def hidden_shift(
        self, posterior: OrderParameterPosterior, cross: Float[np.ndarray, "q P"]
    ) -> Float[np.ndarray, "q q"]:
        """Return the posterior mean of Q k (α α^T − A^{-1}) k^T, N_1 times what the kernel of the features moves by.

        The kernel k of query points is that with the contrasts.
        """
        return 2 * self._slopes(posterior, cross @ self.resolvent.diagonalised.eigenvectors).kernel


@dataclass(frozen=True)
class Interpolation(NetworkProblem):
    r"""One hidden layer without biases at T = 0: the closed form (4.3), by one Cholesky factorisation.

    .. math:: \bar Q = \tfrac12 [(1 - \alpha) + \sqrt{(1 - \alpha)^2 + 4 \alpha s}], \qquad s = y^T K_1^{-1} y / P

    Parameters
    ----------
    factor : array of shape (P, P)
        Lower Cholesky factor of K_1.
    coefficients : array of shape (P,)
        K_1^{-1} y.
    """

    factor: Float[np.ndarray, "P P"]
    coefficients: Float[np.ndarray, " P"]

    @classmethod
    def of(cls, net: Network, X: np.ndarray, y: Float[np.ndarray, " P"]) -> Interpolation:
        """Factorise K_1."""
        factor = well_conditioned_cholesky(symmetric_kernel(feature_map(net), net.prior, X))
        return cls(net, X, y, 0.0, factor, cho_solve((factor, True), y, check_finite=False))

    ingredients = CLOSURE_ACTIONS["nested"]

    def saddle_points(self) -> list[SaddlePoint]:
        """Return Q̄ at T = 0, eq. (4.3), the only minimum of the action."""
        (N,), P, quadratic = self.widths, len(self.y), float(self.y @ self.coefficients)
        gap = 1 - P / N
        root = np.hypot(gap, 2 * np.sqrt(quadratic / N))
        Q = (gap + root) / 2 if gap > 0 else 2 * quadratic / N / (root - gap)
        if not Q > 0:
            raise np.linalg.LinAlgError(NO_MINIMUM)
        log_det, u = log_det_of(self.factor), np.log(np.array([Q]))
        action = float(prior_action(self.widths, u) + P * u[0] + log_det + quadratic / Q)
        residual = float(abs(N * (Q - 1) + P - quadratic / Q) / (N * (Q + 1)))
        hessian = prior_curvature(self.widths, u) + quadratic / Q
        return [SaddlePoint(np.array([Q]), action, residual, hessian, laplace(action, hessian, self.widths, N, P))]

    def conditioned(self, point: SaddlePoint) -> FactorisedKernel:
        """Return the Gaussian process at the saddle point."""
        Q = point.order_parameters
        factor, alpha = self.factor * np.sqrt(Q), self.coefficients / Q
        return FactorisedKernel.factorised(self.net.prior, self.X, renormalised_map(self.net, Q), alpha, 0.0, factor)
