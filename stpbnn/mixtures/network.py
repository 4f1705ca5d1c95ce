"""A network conditioned on a training set: the method by depth, and the predictive mixture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stpbnn import kernels
from stpbnn._precision import in_float64
from stpbnn.action import saddle_points
from stpbnn.mixtures import chains, layers, mean, scale
from stpbnn.mixtures.laws import Gamma
from stpbnn.mixtures.posterior import OrderParameterPosterior
from stpbnn.network import FullyConnected
from stpbnn.predictive import JointMixture, Mixture

__all__ = ["Conditioned", "condition", "lost", "predictive"]

LATTICE_DEPTH = 3  # the number of nodes of a lattice is exponential in the depth


class Conditioned(NamedTuple):
    """A network, its training inputs (P, N_0), the problem that they pose, and the posterior of Q that solves it."""

    net: FullyConnected
    X: Float[np.ndarray, "P N0"]
    problem: scale.ScaleProblem | mean.MeanProblem | layers.LayeredProblem
    posterior: OrderParameterPosterior


@in_float64
def condition(
    net: FullyConnected,
    X: Float[np.ndarray, "P N0"],
    y: Float[np.ndarray, " P"],
    temperature: float,
    closure: kernels.Closure = "nested",
    seed: int = 0,
    keep_mean: bool = False,
    posterior: OrderParameterPosterior | None = None,
) -> Conditioned:
    """Return the posterior of the order parameters of a network with one output.

    One hidden layer: quadrature to a relative 1e-10 in evidence and moments, after one eigendecomposition; with the
    mean of the features also over its amplitude. Two or three: a lattice about the saddle points, to about 1e-6, at one
    Cholesky factorisation a node. More: draws of NUTS, with the log evidence of the saddle point.

    Parameters
    ----------
    net : FullyConnected
        The network.
    X, y : float64 arrays of shape (P, N_0) and (P,)
        Training set.
    temperature : float
        T, the variance of the noise. T = 0 needs a kernel that is well conditioned.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel.
    seed : int
        Seed of the chains of networks with more than three hidden layers.
    keep_mean : bool
        Whether the Gaussian mean of the features is kept, eq. (3.3), which is known for one hidden layer; otherwise
        activations that are not odd are treated in the zero-mean form.
    posterior : OrderParameterPosterior, optional
        The posterior, where it is known already.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the kernel plus temperature is singular, or p(Q | y) cannot be normalised (T = 0 only).

    References
    ----------
    Theory notes, sections 3 and 4.

    Examples
    --------
    >>> fitted = condition(FullyConnected((10,), "linear"), np.eye(3), np.array([1.0, 0.0, -1.0]), 0.1)
    >>> fitted.posterior.mean.round(4)
    array([1.1156])
    """
    if net.depth == 1 and keep_mean:
        m = kernels.feature_means(net, X)
        K = kernels.symmetric_kernel(kernels.fluctuation_map(net), net.prior, X)
        data = scale.diagonalise(K, y, temperature, net.prior.bias_variance)
        kept = mean.MeanProblem(data, m @ data.eigenvectors, net.widths[0])
        return Conditioned(net, X, kept, posterior or mean.posterior(kept))
    if net.depth == 1:
        K = kernels.symmetric_kernel(kernels.feature_map(net), net.prior, X)
        problem = scale.diagonalise(K, y, temperature, net.prior.bias_variance)
        return Conditioned(net, X, problem, posterior or scale.posterior(problem, Gamma(float(net.widths[0]))))
    layered = layers.LayeredProblem(net, X, y, temperature, closure)
    if posterior is not None:
        return Conditioned(net, X, layered, posterior)
    points = saddle_points(net, X, y, temperature, closure)
    if net.depth <= LATTICE_DEPTH:
        return Conditioned(net, X, layered, layers.posterior(layered, points))
    return Conditioned(net, X, layered, chains.posterior(net, X, y, temperature, closure, points, seed))


def lost(conditioned: Conditioned) -> float:
    """Return what the rounding of the kernel may have changed of the log evidence; known for one hidden layer."""
    problem, posterior = conditioned.problem, conditioned.posterior
    data = problem.fluctuation if isinstance(problem, mean.MeanProblem) else problem
    if isinstance(data, layers.LayeredProblem):
        return 0.0
    scales, g, _, alpha = scale.inverse(data, np.log(posterior.nodes[:, 0]))
    if isinstance(problem, mean.MeanProblem) and posterior.amplitudes is not None:
        of_mean = scale.inverse(data._replace(targets=problem.mean), np.log(posterior.nodes[:, 0])).alpha
        alpha = alpha - posterior.amplitudes[:, None] * of_mean
    squares = np.sum(alpha**2, axis=1)
    return scale.rounding_error(float(data.eigenvalues.max()), scales[:, 0], posterior.weights, g, squares)


@in_float64
def predictive(
    conditioned: Conditioned, X: Float[np.ndarray, "n N0"], *, noise: bool = False, joint: bool = False
) -> Mixture:
    """Return the mixture over the nodes of Gaussian laws of f at query points.

    One hidden layer: two matrix products for all nodes together. Otherwise one Cholesky factorisation a node.

    Parameters
    ----------
    conditioned : Conditioned
        Network and training set.
    X : float64 array of shape (n, N_0)
        Query points.
    noise : bool
        Whether to add the noise of variance T, which gives the law of a new target.
    joint : bool
        Whether to couple the query points: one (n, n) covariance a node is kept.

    Examples
    --------
    >>> fitted = condition(FullyConnected((10,), "linear"), np.eye(3), np.array([1.0, 0.0, -1.0]), 0.1)
    >>> predictive(fitted, np.eye(3)).mean.round(4)
    array([ 0.7681,  0.    , -0.7681])
    """
    net, problem, posterior = conditioned.net, conditioned.problem, conditioned.posterior
    if isinstance(problem, scale.ScaleProblem):
        features = kernels.feature_map(net)
        k = kernels.cross_kernel(features, net.prior, X, conditioned.X)
        within = kernels.cross_kernel(features, net.prior, X).entries if joint else None
        moments = scale.moments(problem, posterior.nodes[:, 0], k.entries @ problem.eigenvectors, k.left, within)
    elif isinstance(problem, mean.MeanProblem):
        fluctuations = kernels.fluctuation_map(net)
        k = kernels.cross_kernel(fluctuations, net.prior, X, conditioned.X)
        within = kernels.cross_kernel(fluctuations, net.prior, X).entries if joint else None
        projected = k.entries @ problem.fluctuation.eigenvectors
        moments = mean.moments(problem, posterior, projected, k.left, kernels.feature_means(net, X), within)
    else:
        moments = layers.moments(problem, posterior.nodes, X, joint=joint)
    added = problem.temperature if noise else 0.0
    if moments.covariances is None:
        return Mixture(posterior.weights, moments.means, moments.variances + added)
    covariances = moments.covariances + added * np.eye(len(X))
    return JointMixture.of(posterior.weights, moments.means, covariances, error=moments.error(added))
