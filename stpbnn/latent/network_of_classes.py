r"""Order parameters of a network whose targets are classes: Laplace's evidence in the place of the Gaussian one.

.. math::
    S(Q) = \sum_l N_l (Q_l - \log Q_l) - 2 \log Z(Q), \qquad
    Z(Q) \simeq \int p(y \mid f)^{1/T}\, N(f; 0, K^R(Q))\, df

Up to a constant that is -2 log p(log Q, y), as for regression: one hidden layer has the exact prior law of its scale.
The minima of S are the saddle points; the posterior of Q is a quadrature.

C outputs of one hidden layer have an order parameter of C rows and columns. The classes can be exchanged a priori, and
one common scale is the first order: its mean tr Q/C, whose prior law is Gamma(NC/2, NC/2), so that N C is the width.

References
----------
Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023); theory notes, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from stpbnn.kernels import cross_kernel, feature_map
from stpbnn.latent.classes_action import FIRST, SECOND, SECOND_CENTRE, STENCIL, ClassesAction, Scales
from stpbnn.latent.probabilities import each_output
from stpbnn.predictive import Mixture
from stpbnn.scale import (
    Gamma,
    OrderParameterPosterior,
    SaddlePoint,
    bracket_end,
    descended,
    laplace,
    lattice_posterior,
    minima_of_slope,
    posterior_of_action,
    prior_slope,
)

__all__ = ["ClassesOfNetwork"]

SCAN_STEP = 0.5  # in log Q: the data's part of S is smoother than that of regression
FARTHEST = 60.0  # largest |log Q|
RISE = 50.0  # height of S above its minimum at which the integrand, e^-25, is dropped
TOLERANCE = 1e-7  # change of evidence and mean in the last step of the quadrature; the error is about its square
NEGLIGIBLE = 1e-8  # weights, relative to the largest, of nodes that add nothing to a probability
MAX_STEPS = 50


class ClassesOfNetwork(ClassesAction):
    """A network on a training set of classes: its saddle points, the posterior of its order parameters, its laws."""

    def _along_diagonal(self) -> list[float]:
        """Return the minima of S where all log Q_l are equal."""
        ones = np.ones(self.net.depth)

        def slope(t: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
            return np.array([self.slopes(each * ones).gradient.sum() for each in t])

        def outweighed(t: float) -> bool:
            """Return whether the prior's part of the slope is twice that of the data or more."""
            prior = float(prior_slope(self.widths, t * ones).sum())
            return abs(prior) > 2 * abs(float(slope(np.array([t]))[0]) - prior)

        refusal = np.linalg.LinAlgError("the effective action has no minimum in the range of double precision")
        lower, upper = (bracket_end(step, step, outweighed, FARTHEST, refusal) for step in (-SCAN_STEP, SCAN_STEP))
        return minima_of_slope(slope, lower, upper, SCAN_STEP)

    def _descend(self, z: Scales) -> Scales:
        """Return the minimum in whose valley z lies."""
        return descended(
            self.slopes(z),
            lambda here, step: self.slopes(here.z + step),
            lambda here: self.hessian(here.z),
            smallest=1e-10 * float(self.widths.min()),
            scale=float(self.widths.sum()),
            steps=MAX_STEPS,
        ).z

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the minima of S that were found, the lowest first.

        Of one hidden layer that is all of them; of several, those in whose valleys the minima over one common scale
        lie.
        """
        found: list[SaddlePoint] = []
        for t in self._along_diagonal():
            z = t * np.ones(self.net.depth)
            z = z if self.net.depth == 1 else self._descend(z)
            if not any(np.allclose(np.exp(z), other.order_parameters, rtol=1e-6) for other in found):
                found.append(self._point(z))
        if not found:
            raise np.linalg.LinAlgError("no minimum of the effective action was found")
        return sorted(found, key=lambda point: point.action)

    def _point(self, z: Scales) -> SaddlePoint:
        at, hessian = self.slopes(z), self.hessian(z)
        evidence = laplace(at.value, hessian, self.widths, float(self.widths.sum()), 0)
        return SaddlePoint(np.exp(z), at.value, at.residual, hessian, evidence)

    def saddle_gradient(self, point: SaddlePoint) -> Float[np.ndarray, " n"]:
        """Return the gradient of the log evidence at a saddle point in the logarithms of the precisions.

        Derivatives in the precisions are analytic, those in log Q beyond the first are differences.
        """
        z = np.log(point.order_parameters)
        curvatures, directions = np.linalg.eigh(point.hessian)
        centre = self.slopes(z)
        trace, pull, moves = np.zeros_like(centre.precisions), np.zeros_like(z), []
        for curvature, v in zip(curvatures, directions.T, strict=True):
            step = STENCIL / np.sqrt(1 + float(self.widths.max()) / 100)
            found = self.stencil(z, v, step)
            g, slopes = np.stack([at.precisions for at in found]), np.stack([at.gradient for at in found])
            trace -= 2 * (SECOND @ g + SECOND_CENTRE * centre.precisions) / step**2 / curvature
            pull += (SECOND @ slopes + SECOND_CENTRE * centre.gradient) / step**2 / curvature
            moves.append(2 * np.outer(v, FIRST @ g / step) / curvature)
        return centre.precisions - (trace + pull @ np.sum(moves, axis=0)) / 2

    def posterior(self) -> OrderParameterPosterior:
        """Return p(Q | y), by the trapezoidal rule for one hidden layer and on a lattice for two or three."""
        points, known = self.saddle_points(), {}

        def value(z: Scales) -> float:
            if (place := z.tobytes()) not in known:
                prior = sum(float(Gamma(N).value(u)) for N, u in zip(self.widths, z, strict=True))
                known[place] = prior - 2 * self.at(z).log_evidence
            return known[place]

        if self.net.depth > 1:
            return lattice_posterior(lambda places: np.array([value(z) for z in places]), points, 0)
        lowest = [float(np.log(point.order_parameters[0])) for point in points]

        def values(u: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
            return np.array([value(each[None]) for each in u])

        return posterior_of_action(values, lowest, rise=RISE, tolerance=TOLERANCE)

    def posterior_gradient(self, posterior: OrderParameterPosterior) -> Float[np.ndarray, " n"]:
        """Return the gradient of the mixture's log evidence in the logarithms of the precisions (Fisher's identity)."""
        kept = self._kept(posterior)
        return sum(w * self.slopes(np.log(Q)).precisions for Q, w in zip(kept.nodes, kept.weights, strict=True))

    def law(self, point: SaddlePoint, X: Float[np.ndarray, "n N0"]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (covariances) of the latent functions at query points, at a saddle point."""
        z = np.log(point.order_parameters)
        return self.at(z).law(*self._crossing(X)(z))

    def _crossing(self, X: Float[np.ndarray, "n N0"]) -> Callable[[Scales], tuple[np.ndarray, np.ndarray]]:
        """Return the function from log Q to the kernel between query and training points, and of each query point."""
        net = self.net
        if net.depth > 1:
            return lambda z: cross_kernel(self._map(z), net.prior, X, self.X)[:2]
        plain, b = cross_kernel(feature_map(net), net.prior, X, self.X), net.prior.bias_variance
        return lambda z: (np.exp(z[0]) * plain.entries + b, np.exp(z[0]) * plain.left + b)

    def laws(
        self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"]
    ) -> tuple[Float[np.ndarray, " m"], list[tuple[np.ndarray, np.ndarray]]]:
        """Return the weights of the nodes of the order parameters, and `law` at each of them."""
        kept, crossing = self._kept(posterior), self._crossing(X)
        return kept.weights, [self.at(z).law(*crossing(z)) for z in np.log(kept.nodes)]

    def mixture(self, posterior: OrderParameterPosterior, X: Float[np.ndarray, "n N0"]) -> Mixture:
        """Return the law of each latent function at query points, a mixture over the order parameters."""
        weights, laws = self.laws(posterior, X)
        means, variances = (np.stack(part) for part in zip(*(each_output(*law) for law in laws), strict=True))
        return Mixture(weights, means, variances)

    def _kept(self, posterior: OrderParameterPosterior) -> OrderParameterPosterior:
        """Return the posterior without nodes whose weight is negligible."""
        some = posterior.weights > NEGLIGIBLE * posterior.weights.max()
        weights = posterior.weights[some]
        return posterior._replace(nodes=posterior.nodes[some], weights=weights / weights.sum())
