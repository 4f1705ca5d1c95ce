r"""Closed-form regressors with scikit-learn's interface: infinite width and the proportional limit.

Both predict with the Gaussian-process formulas on a kernel :math:`K^R` of the network,

.. math::
    \bar f(x) = k^R_x \cdot A^{-1} y, \qquad \sigma^2(x) = k^R_{xx} - k^R_x \cdot A^{-1} k^R_x, \qquad A = K^R + T\,1,

and differ in the order parameters at which the kernel is taken: one for infinite width, the saddle point of the
effective action in the proportional limit.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn._precision import in_float64
from stpbnn.action import SaddlePoint, gaussian_log_evidence, saddle_points
from stpbnn.network import FullyConnected
from stpbnn.predictive import Gaussian, JointGaussian

__all__ = ["GeneralizationError", "NNGPRegressor", "ProportionalLimitRegressor"]

_input_gram = jax.jit(kernels.input_gram)
_renormalised = jax.jit(kernels.renormalised, static_argnums=(0, 4))


class GeneralizationError(NamedTuple):
    """Mean over test rows of (y − f̄)² + σ²: the sum, and its two parts."""

    total: float
    squared_bias: float
    variance: float


class _NetworkRegressor(RegressorMixin, BaseEstimator):
    """Gaussian-process regression on the kernel of a network at given order parameters."""

    def __init__(self, network: FullyConnected | None = None, *, temperature: float = 0.01) -> None:
        self.network = network
        self.temperature = temperature

    @in_float64
    def fit(self, X: Any, y: Any) -> Any:
        """Condition on the training set.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,) or (P, D)
            Targets, D being the network's number of outputs.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data are not finite numbers of matching shapes, a setting is out of range, or the kernel plus
            temperature is singular to working precision.
        """
        X, y = self._validated(X, y)
        gram = _input_gram(self.network_.prior, X)
        try:
            self._condition(gram, y)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"temperature: got {self.temperature!r} with a kernel that is singular to working precision ({error}); "
                "remove repeated or linearly dependent inputs, or give a larger temperature"
            ) from None
        self.X_train_ = X
        return self

    def _validated(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Check settings and data; set network_."""
        temperature = check.number("temperature", self.temperature, minimum=0, inclusive=True)
        if not (self.network is None or isinstance(self.network, FullyConnected)):
            raise ValueError(f"network: got {self.network!r}, expected a stpbnn.FullyConnected or None")
        several = get_tags(self).target_tags.multi_output
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=several, y_numeric=True)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        self.network_ = FullyConnected(outputs=outputs) if self.network is None else self.network
        y = check.targets("y", y, examples=len(X), outputs=self.network_.outputs)
        self._temperature = temperature
        return X, y.astype(np.float64)

    def _condition(self, gram: kernels.Gram, y: np.ndarray) -> None:
        """Set the order parameters and everything that follows from them."""
        raise NotImplementedError

    def _solve(self, gram: kernels.Gram, y: np.ndarray, Q: np.ndarray, closure: kernels.Closure = "nested") -> float:
        """Factorise A at the order parameters, set the weights α = A^{-1} y, and return log det A."""
        A = np.array(_renormalised(self.network_.sigma, self.network_.prior, gram, Q, closure).entries)
        A[np.diag_indices_from(A)] += self._temperature
        self.L_ = _well_conditioned_cholesky(A)
        self.alpha_ = cho_solve((self.L_, True), y, check_finite=False)
        self.order_parameters_ = Q
        self._closure: kernels.Closure = closure
        return float(2 * np.log(np.diag(self.L_)).sum())

    def _kernel(self, X1: np.ndarray, X2: np.ndarray | None = None) -> kernels.Gram:
        gram = _input_gram(self.network_.prior, X1, X2)
        net, Q = self.network_, self.order_parameters_
        return jax.tree.map(np.asarray, _renormalised(net.sigma, net.prior, gram, Q, self._closure))

    @in_float64
    def _law(self, X: Any, *, joint: bool = False, noise: bool = False) -> Gaussian:
        """Return the predictive law at X: mean and variance, and the covariance for the joint law."""
        check_is_fitted(self, "X_train_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        cross = self._kernel(X, self.X_train_)
        mean = cross.entries @ self.alpha_
        explained = solve_triangular(self.L_, cross.entries.T, lower=True, check_finite=False)
        variance = np.maximum(cross.left - np.sum(explained**2, axis=0), 0)
        noise_variance = self._temperature if noise else 0.0
        spread = np.broadcast_to((variance + noise_variance).reshape((-1,) + (1,) * (mean.ndim - 1)), mean.shape)
        if not joint:
            return Gaussian(mean, spread.copy())
        covariance = self._kernel(X).entries - explained.T @ explained
        covariance = (covariance + covariance.T) / 2 + noise_variance * np.eye(len(X))
        return JointGaussian(mean, spread.copy(), covariance)

    def predictive(self, X: ArrayLike, noise: bool = False, *, joint: bool = False) -> Gaussian:
        """Return the predictive distribution at query points: of the function f, or of a new target.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        noise : bool
            Whether to add the noise of variance T, which gives the law of a new target.
        joint : bool
            Whether to couple the query points; otherwise the law is that of each of them alone.

        Returns
        -------
        Gaussian or JointGaussian
            The frozen distribution.
        """
        return self._law(X, joint=joint, noise=noise)

    def predict(self, X: ArrayLike, return_std: bool = False, return_cov: bool = False) -> Any:
        """Return the posterior mean of f at query points, and its standard deviation or covariance where asked.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        return_std : bool
            Whether to return also the standard deviation of f, of the shape of the mean.
        return_cov : bool
            Whether to return also the covariance of f between the query points, (n, n), or (n, n, D).

        Raises
        ------
        ValueError
            If both are asked for at once, or X does not fit the training inputs.
        """
        if return_std and return_cov:
            raise ValueError("return_std, return_cov: got both, expected at most one of them; ask twice")
        law = self._law(X, joint=return_cov)
        if return_std:
            return law.mean, law.std
        if isinstance(law, JointGaussian):
            covariance = law.covariance
            return law.mean, covariance if law.mean.ndim == 1 else np.stack([covariance] * law.mean.shape[1], axis=-1)
        return law.mean

    def sample_y(self, X: ArrayLike, n_samples: int = 1, random_state: Any = 0) -> np.ndarray:
        """Draw functions from the posterior at query points: shape (n, n_samples), or (n, D, n_samples).

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.
        n_samples : int
            How many functions.
        random_state : int, numpy RandomState or None
            Seed of the draws.
        """
        return np.moveaxis(self._law(X, joint=True).sample(n_samples, random_state), 0, -1)

    def generalization_error(self, X: ArrayLike, y: ArrayLike) -> GeneralizationError:
        r"""Return the generalisation error of f against the targets, and its two parts.

        .. math:: \epsilon = \langle (y - \bar f(x))^2 + \sigma^2(x) \rangle

        averaged over rows and, for D outputs, summed over outputs.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Test inputs.
        y : array of shape (n,) or (n, D)
            Test targets.

        References
        ----------
        Theory notes, eq. (4.2); Pacelli et al. (2023).
        """
        law = self._law(X)
        y = check.targets("y", y, examples=len(law.mean), outputs=self.network_.outputs)
        rows = 1 / len(law.mean)
        squared_bias, variance = float(np.sum((y - law.mean) ** 2) * rows), float(np.sum(law.variance) * rows)
        return GeneralizationError(squared_bias + variance, squared_bias, variance)


class NNGPRegressor(MultiOutputMixin, _NetworkRegressor):
    r"""Infinite-width limit of a Bayesian network: Gaussian-process regression on the NNGP kernel.

    .. math:: A = K_L + T\,1, \qquad \bar f(x) = k_x \cdot A^{-1} y, \qquad \sigma^2(x) = k_{xx} - k_x \cdot A^{-1} k_x

    Parameters
    ----------
    network : FullyConnected or None
        The network, whose widths do not matter here; None means FullyConnected((200,)) with as many outputs as y.
    temperature : float
        T >= 0, the variance of the Gaussian likelihood. T = 0 interpolates, where the kernel is well conditioned.

    Attributes
    ----------
    order_parameters_ : array of shape (L,)
        Ones.
    action_ : float
        The effective action S(Q = 1).
    log_marginal_likelihood_ : float
        log N(y; 0, A), summed over outputs.
    converged_ : bool
        Always True: there is nothing to solve for.
    network_ : FullyConnected
        The network that was used.

    References
    ----------
    Theory notes, section 2. Lee et al., ICLR 2018; Matthews et al., ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> NNGPRegressor(FullyConnected((10,), "linear"), temperature=1 / 3).fit(X, y).predict(X)
    array([ 0.5,  0. , -0.5])
    """

    def _condition(self, gram: kernels.Gram, y: np.ndarray) -> None:
        widths = np.asarray(self.network_.widths, dtype=np.float64)
        log_det = self._solve(gram, y, np.ones(len(widths)))
        log_det, quadratic = log_det * self.network_.outputs, float(np.vdot(y, self.alpha_))
        self.action_ = float(widths.sum()) * self.network_.outputs + log_det + quadratic
        self.log_marginal_likelihood_ = gaussian_log_evidence(log_det, quadratic, y.size)
        self.converged_ = True


class ProportionalLimitRegressor(_NetworkRegressor):
    r"""Proportional limit of a Bayesian network: the renormalised kernel at the saddle point of the effective action.

    .. math:: \bar Q = \arg\min_Q \sum_l N_l (Q_l - \log Q_l) + \log\det A(Q) + y^T A(Q)^{-1} y,
              \qquad A(Q) = K^R(Q) + T\,1

    Relu and other activations that are not odd are treated in the zero-mean form that the paper uses in its numerics.
    One output.

    Parameters
    ----------
    network : FullyConnected or None
        The network; None means FullyConnected((200,)).
    temperature : float
        T >= 0, the variance of the Gaussian likelihood. T = 0 interpolates, where the kernel is well conditioned.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel: "nested" is the paper's. All agree for one hidden
        layer.

    Attributes
    ----------
    order_parameters_ : array of shape (L,)
        Q̄_1..Q̄_L at the lowest minimum.
    action_ : float
        S(Q̄).
    log_marginal_likelihood_ : float
        Log evidence at the saddle point, with the Gaussian fluctuation of log Q.
    converged_ : bool
        Whether the gradient of S vanishes to a relative 1e-8 at a minimum.
    saddle_points_ : list of SaddlePoint
        All minima that were found, the lowest first.
    network_ : FullyConnected
        The network that was used.

    References
    ----------
    Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023); theory notes, sections 3 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> model = ProportionalLimitRegressor(FullyConnected((10,), "linear"), temperature=0.1).fit(X, y)
    >>> model.order_parameters_.round(4), model.converged_
    (array([1.1008]), True)
    """

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 0.01,
        closure: kernels.Closure = "nested",
    ) -> None:
        super().__init__(network, temperature=temperature)
        self.closure = closure

    def _validated(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        check.one_of("closure", self.closure, kernels.CLOSURES)
        if isinstance(self.network, FullyConnected) and self.network.outputs > 1:
            raise ValueError(
                f"network: got {self.network.outputs} outputs, expected 1: the proportional limit of several outputs "
                "has a matrix order parameter; fit one regressor an output, or use NNGPRegressor"
            )
        return super()._validated(X, y)

    def _condition(self, gram: kernels.Gram, y: np.ndarray) -> None:
        net = self.network_
        if self._temperature == 0:  # a kernel that is singular to rounding has no meaningful saddle point
            _well_conditioned_cholesky(np.array(kernels.nngp(net.sigma, net.prior, gram).entries))
        points = saddle_points(net.sigma, net.prior, gram, y, net.widths, self._temperature, self.closure)
        self.saddle_points_: list[SaddlePoint] = points
        best = points[0]
        self._solve(gram, y, best.order_parameters, self.closure)
        self.action_ = best.action
        self.log_marginal_likelihood_ = best.log_evidence
        self.converged_ = best.converged
        if not best.converged:
            warnings.warn(
                f"the saddle point of the effective action was not reached: relative gradient {best.residual:.1e}; "
                "raise the temperature or try another closure",
                ConvergenceWarning,
                stacklevel=4,
            )


def _well_conditioned_cholesky(A: np.ndarray) -> np.ndarray:
    """Return the lower Cholesky factor of A; LinAlgError where A is singular to working precision."""
    norm = np.abs(A).sum(axis=0).max()
    factor = cholesky(A, lower=True, overwrite_a=True, check_finite=False)
    reciprocal, _ = lapack.dpocon(factor, norm, uplo="L")
    if reciprocal < np.finfo(np.float64).eps:
        raise np.linalg.LinAlgError(f"condition number above {1 / max(reciprocal, 1e-300):.0e}")
    return factor
