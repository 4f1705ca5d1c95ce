"""The self-consistent neuron: a network of one hidden layer whose kernel adapts to the task."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from stpbnn import _validation as check
from stpbnn import adaptive, kernels
from stpbnn._precision import in_float64
from stpbnn.network import FullyConnected
from stpbnn.predictive import Gaussian, JointGaussian
from stpbnn.regressors.base import NetworkRegressor
from stpbnn.regressors.prediction import GeneralizationError
from stpbnn.regressors.proportional import ProportionalLimitRegressor

__all__ = ["AdaptiveKernelRegressor", "StandardError"]


class StandardError(NamedTuple):
    """Monte Carlo standard errors of the mean and of the variance of f."""

    mean: np.ndarray
    variance: np.ndarray


class AdaptiveKernelRegressor(NetworkRegressor):
    r"""Bayesian network of one hidden layer whose kernel adapts to the task, by a self-consistent hidden unit.

    .. math:: K_w = E[w\, \sigma\sigma^T], \qquad a = (K_w + T)^{-1} y, \qquad
              G = K_w + \tfrac1N \mathrm{Cov}[w c\, \sigma], \qquad R = (T + G)^{-1},

    where the mean is over a hidden unit in the fields a and R of all others,

    .. math:: p(h) \propto N(h; 0, C)\, w^{1/2} \exp(\tfrac{1}{2N} w c^2), \qquad
              c = a\cdot\sigma(h), \quad w = 1/(\lambda_1 + \sigma^T R \sigma/N).

    Particles represent its law. The theories that rescale the kernel of infinite width are its limit for Gaussian
    features; infinite width is N → ∞. One hidden layer, one output, T > 0. Predictive laws are Gaussian, with mean and
    variance of the theory.

    Parameters
    ----------
    network : FullyConnected or None
        The network, of one hidden layer and one output; None means FullyConnected((200,)).
    temperature : float
        T > 0, the variance of the Gaussian likelihood.
    particles : int
        How many hidden units are simulated; better twice the number of examples or more.
    reaction : bool
        Whether to correct for the reaction of the others on a unit itself, a relative 1/N.
    max_iter : int
        How many times particles may move before the search is given up.
    random_state : int, numpy RandomState or None
        Seed of the particles.

    Attributes
    ----------
    kernel_ : array of shape (P, P)
        K_w, the adapted kernel on the training inputs, without the output bias.
    tilt_ : float
        Mean of w c²/N over units, how far they have left the prior.
    readout_second_moment_ : float
        λ_1 E v², to be compared with the sampled readout norm λ_1 |v|²/N_1; one under the prior.
    history_ : array
        Relative residual of K_w a, one number for each update of a population.
    n_iter_ : int
        How many times the particles moved.
    drift_ : float
        Drift of the averages in their standard errors, when the search ended.
    acceptance_, autocorrelation_ : float
        Of the particles' moves: their mean acceptance, and the correlation of the tilt from one move to the next. Near
        one it tells of units that are stuck on one side of a barrier: error bars are then too small.
    converged_ : bool
        Whether the averages had stopped drifting.
    network_ : FullyConnected
        The network that was used.
    temperature_ : float
        The temperature that was used.
    seed_ : int
        The seed that was used.

    References
    ----------
    docs/adaptive.md, which derives it. A relative: Seroussi, Naveh, Ringel, Nat. Commun. 14, 908 (2023).

    Examples
    --------
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> net = FullyConnected((1000,), "linear")
    >>> model = AdaptiveKernelRegressor(net, temperature=1 / 3, particles=512, random_state=0).fit(X, y)
    >>> [round(value, 1) + 0.0 for value in model.predict(X).tolist()]
    [0.5, 0.0, -0.5]
    """

    _learned = (*NetworkRegressor._learned, "seed_")

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 0.01,
        particles: int = 4096,
        reaction: bool = True,
        max_iter: int = 300,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.particles = particles
        self.reaction = reaction
        self.max_iter = max_iter
        self.random_state = random_state

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.temperature == 0:
            raise ValueError(
                "temperature: got 0, expected a number greater than 0: the fields of a hidden unit are the residuals "
                "over T; give a small temperature, or use ProportionalLimitRegressor"
            )
        check.integer("particles", self.particles, minimum=16)
        check.integer("max_iter", self.max_iter, minimum=12)
        net = self.network
        if isinstance(net, FullyConnected) and (net.depth > 1 or net.outputs > 1):
            raise ValueError(
                f"network: got {net.depth} hidden layer(s) and {net.outputs} output(s), expected one of each: the "
                "self-consistent unit is known for one hidden layer and one output; fit one regressor an output, or "
                "use ProportionalLimitRegressor"
            )

    def _condition(self, X: np.ndarray, y: np.ndarray) -> None:
        self.seed_ = int(check_random_state(self.random_state).randint(2**31))
        self._solve(X, y)
        if self.particles < 2 * len(X):
            warnings.warn(
                f"particles: got {self.particles} for {len(X)} examples, expected at least {2 * len(X)}: fewer "
                "particles than twice the dimension of the kernel that they average leave it noisy",
                stacklevel=3,
            )
        if not self.converged_:
            warnings.warn(
                f"the self-consistent kernel has not settled after {self.max_iter} moves: its averages drift by "
                f"{self.drift_:.1f} standard errors, the residual is {self.history_[-1]:.1e}; give more particles or "
                "a larger max_iter; there may be no solution for so narrow a network or so low a temperature",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _solve(self, X: np.ndarray, y: np.ndarray) -> None:
        net = self.network_
        prior, features = net.prior, kernels.feature_map(net)
        space = adaptive.RowSpace.of(prior, X)
        problem = adaptive.Problem(
            y,
            space.root,
            np.array(kernels.cross_kernel(features, prior, X).entries),
            net.sigma.function,
            self.temperature_,
            net.widths[0],
            prior.precisions[1],
            prior.bias_variance,
            bool(self.reaction),
        )
        saddle = ProportionalLimitRegressor(net, temperature=self.temperature_, mean="drop").fit(X, y)
        found = adaptive.solve(problem, float(saddle.order_parameters_[0]), self.particles, self.seed_, self.max_iter)
        self._process = adaptive.AdaptiveProcess(net, X, problem, space, found.averages, found.snapshots, self.seed_)
        self.kernel_ = np.mean([a.K for a in found.averages], axis=0)
        self.tilt_, self.drift_, self.converged_ = found.tilt, found.drift, found.converged
        self.n_iter_ = found.moves
        self.history_, self.acceptance_, self.autocorrelation_ = found.history, found.acceptance, found.autocorrelation
        snapshots = [s for group in found.snapshots for s in group]
        second = np.mean([np.mean(s.variance + s.mean.astype(float) ** 2) for s in snapshots])
        self.readout_second_moment_ = float(second * prior.precisions[1])

    @property
    def _numbers(self) -> np.ndarray:
        return np.empty(0)  # a search that is lost says so by a warning

    def _recondition(self) -> None:
        self._solve(self.X_train_, self.y_train_)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        mean, covariance = self._process.predict(X, joint=joint)
        added = self.temperature_ if noise else 0.0
        if not joint:
            return Gaussian(mean, np.maximum(covariance, 0) + added)
        covariance = (covariance + covariance.T) / 2
        covariance[np.diag_indices_from(covariance)] = np.maximum(np.diag(covariance), 0) + added
        return JointGaussian(mean, np.diag(covariance).copy(), covariance)

    @in_float64
    def predict_populations(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return what each independent population of particles predicts alone: means and variances of f.

        Their spread is the Monte Carlo error of the prediction, and tells nothing of the error of the theory.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.

        Returns
        -------
        means, variances : arrays of shape (populations, n)
        """
        parts = [self._process.predict_apart(chunk) for chunk in self._chunks(X)]
        means, variances = (np.concatenate([[g[i] for g in groups] for groups in parts], axis=1) for i in range(2))
        return means, variances

    def standard_error(self, X: ArrayLike) -> StandardError:
        """Return Monte Carlo standard errors of the mean and of the variance of f, at query points (n, N_0)."""
        return StandardError(*(_standard_error(values) for values in self.predict_populations(X)))

    def generalization_error_standard_error(self, X: ArrayLike, y: ArrayLike) -> GeneralizationError:
        """Return the Monte Carlo standard error of the generalisation error, and of its two parts.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Test inputs.
        y : array of shape (n,)
            Test targets.
        """
        means, variances = self.predict_populations(X)
        y = check.targets("y", y, examples=means.shape[1], outputs=1)
        bias, variance = np.mean((y - means) ** 2, axis=1), np.mean(variances, axis=1)
        return GeneralizationError(*(float(_standard_error(part)) for part in (bias + variance, bias, variance)))


def _standard_error(populations: np.ndarray) -> np.ndarray:
    return np.std(populations, axis=0, ddof=1) / np.sqrt(len(populations))
