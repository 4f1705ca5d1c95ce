"""Student's t-process regression: Gaussian-process regression with a random scale."""

from __future__ import annotations

import warnings
from reprlib import repr as short
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import Kernel
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.kernels.contraction import Inputs, value_and_pullback
from stpbnn.network import FullyConnected
from stpbnn.regressors.hyperparameters import (
    Hyperparameters,
    kernel_of,
    refuse_indefinite,
    refuse_no_kernel,
    refuse_not_finite,
)
from stpbnn.regressors.optimise import check_optimizer, minimise
from stpbnn.regressors.prediction import NOTHING_EXPLAINED, PredictiveRegressor, explained
from stpbnn.scale import ACCURACY, InverseGamma, OrderParameterPosterior, is_known, well_conditioned_cholesky
from stpbnn.scale.student_t import NoiseBeside, NoiseInside, Query, Units

__all__ = ["StudentTProcessRegressor"]

NOISES = ("scale", "gaussian")
PARAMETRIZATIONS = ("covariance", "scale")
TEMPERATURE_BOUNDS = (1e-10, 1e5)  # in units of the mean square of the targets; of the kernel's variance beside r
DF_BOUNDS = {"covariance": (2.01, 1e5), "scale": (0.1, 1e5)}
UNRELATED = 1e-3  # correlation of two inputs below which one tells nothing of the other
AT_BOUNDS = {
    ("df", "upper"): "the data do not tell the process from a Gaussian one: fix df, or take a Gaussian process",
}


class StudentTProcessRegressor(MultiOutputMixin, PredictiveRegressor):
    r"""Student's t-process regression: a Gaussian process whose overall scale r is random, and learned from the data.

    .. math:: f \mid r \sim GP(0, r K), \qquad r \sim \mathrm{InvGamma}(\tfrac\nu2, \tfrac{\nu-2}2), \qquad
              y \mid f, r \sim \begin{cases} N(f, r T) & \text{noise "scale"} \\ N(f, T) & \text{noise "gaussian"}
              \end{cases}

    The covariance of f is K, and ν → ∞ is the Gaussian process. Predictions have heavier tails than a Gaussian
    process's, and their variance reacts to the size of the targets, not to the inputs alone. The random scale is common
    to all points: an outlier widens the predictions everywhere, it is not ignored. With noise "scale" everything is in
    closed form (the multivariate t); with "gaussian" it is a one-dimensional quadrature over r, and what an infinite
    network of random readout precision has.

    There is no `partial_fit`, by design: the closed form needs the whole training set at once, and with new points the
    hyper-parameters move as well. Fit again.

    Parameters
    ----------
    kernel : scikit-learn kernel, NNGPKernel, FullyConnected or None
        K: the covariance of f (see `parametrization`). The hyper-parameters of a kernel object are learned within their
        bounds; a FullyConnected is taken as it is given. None means ConstantKernel(1.0) * RBF(1.0), both learned, the
        constant within 1e-5 and 1e5, in units of one and of the mean square of the targets.
    df : float
        ν > 2, the degrees of freedom; where it is learned, the value to start from.
    temperature : float
        T >= 0, the variance of the noise (relative to r for noise "scale"), which scikit-learn's Gaussian processes
        call `alpha`. It is seldom known: `optimize_temperature=True` learns it, from this value on. T = 0 interpolates,
        where the kernel is well conditioned.
    noise : {"scale", "gaussian"}
        Whether the noise shares the random scale of f, or is independent of it.
    optimizer : "fmin_l_bfgs_b", callable or None
        How the log evidence is maximised, in the convention of scikit-learn's Gaussian processes; None learns nothing.
        Where T is learned, the search begins with kernel and T times the factor that suits the size of the targets.
    optimize_df : bool
        Whether to learn ν, the degrees of freedom. They tell how far one data set's scale may be from the kernel's, of
        which a single data set says little: the search often ends on a bound, and says so.
    optimize_temperature : bool
        Whether to learn T, the variance of the noise. Where it is False T stays as given, and kernel and scale have to
        account for all noise beyond it: say True unless the noise is known.
    n_restarts_optimizer : int
        How many further searches from random starts within the bounds.
    normalize_y : bool
        Whether to subtract the mean of the targets and divide by their standard deviation, output by output. K, T and
        the log evidence are then those of the normalised targets; predictions are in the units of y.
    parametrization : {"covariance", "scale"}
        Whether K (+ T) is the covariance of the process, which exists for ν > 2 only, or its scale matrix, for any
        ν > 0: r ~ InvGamma(ν/2, ν/2). They differ by the constant factor ν/(ν − 2).
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    kernel_ : scikit-learn kernel
        The kernel with what was learned.
    df_, temperature_ : float
        ν and T, learned or as given.
    log_marginal_likelihood_, log_marginal_likelihood_value_ : float
        log p(y), all outputs together; the second name is scikit-learn's.
    alpha_ : array of shape (P,) or (P, D)
        What the kernel with the training points is multiplied by to give the mean: the mean of r A(r)^{-1} y over the
        posterior of r, A(r) = r K + T or r (K + T), for targets as they are normalised.
    scale_posterior_ : OrderParameterPosterior or None
        p(r | y) as nodes and weights, where the noise is beside the scale; None where all is in closed form.
    converged_ : bool
        Whether the gradient of the log evidence vanishes along what was learned and is not on a bound, and the
        quadrature over r has reached its accuracy. Where it is False a warning has said why.

    References
    ----------
    Theory notes, section 5. Shah, Wilson, Ghahramani, AISTATS 2014; Lee et al., ICLR 2022.

    Examples
    --------
    >>> from sklearn.gaussian_process.kernels import RBF
    >>> X, y = np.linspace(0, 1, 8)[:, None], np.sin(6 * np.linspace(0, 1, 8))
    >>> model = StudentTProcessRegressor(RBF(0.3), df=4.0, optimizer=None).fit(X, y)
    >>> model.predict([[0.5]]).round(2), model.predictive([[0.5]]).df
    (array([0.14]), 12.0)
    """

    _learned = ("kernel_", "temperature_", "df_", "converged_")

    def __init__(
        self,
        kernel: Any = None,
        *,
        df: float = 5.0,
        temperature: float = 0.01,
        noise: Literal["scale", "gaussian"] = "scale",
        optimizer: Any = "fmin_l_bfgs_b",
        optimize_df: bool = False,
        optimize_temperature: bool = False,
        n_restarts_optimizer: int = 0,
        normalize_y: bool = False,
        parametrization: Literal["covariance", "scale"] = "covariance",
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.df = df
        self.temperature = temperature
        self.noise = noise
        self.optimizer = optimizer
        self.optimize_df = optimize_df
        self.optimize_temperature = optimize_temperature
        self.n_restarts_optimizer = n_restarts_optimizer
        self.normalize_y = normalize_y
        self.parametrization = parametrization
        self.random_state = random_state

    @in_float64
    def fit(self, X: Any, y: Any) -> Any:
        """Condition on the training set, at the hyper-parameters of highest evidence.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,) or (P, D)
            Targets. D outputs share the random scale and the kernel.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the data are not finite numbers of matching shapes, a setting is out of range, the kernel is none
            (not finite, not symmetric, not positive definite), or kernel plus temperature is singular to working
            precision, or out of its range.

        Warns
        -----
        ConvergenceWarning
            If a hyper-parameter ends on a bound, the search or the quadrature does not converge, or the kernel that was
            found explains nothing.
        """
        self._check_settings()
        X, y = self._training_set(X, y)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        expected = self.kernel.outputs if isinstance(self.kernel, FullyConnected) else outputs
        y = check.targets("y", y, examples=len(X), outputs=expected)
        with np.errstate(over="ignore"):
            if not np.isfinite(np.square(y).sum()):
                raise check.out_of_range(self.temperature, X, y)
        check.room_for_kernels("X", len(X), matrices=4)
        self.X_train_, self.y_train_ = X, y
        self._prepare()
        unit = 1.0 if self.optimizer is None else self._unit
        self.kernel_, self.temperature_, self.df_ = (
            kernel_of(self.kernel, unit),
            float(self.temperature),
            float(self.df),
        )
        refuse_no_kernel(self.kernel_, np.asarray(self.kernel_(X)), len(X))
        searched = self.optimizer is not None and len(self._learnable.theta) > 0
        try:
            settled = not searched or self._maximise()
            self._settle()
        except OverflowError:
            raise check.out_of_range(self.temperature, X, y) from None
        except np.linalg.LinAlgError as error:
            refuse_indefinite(self.kernel_, self.kernel_(X))
            raise ValueError(
                f"temperature: got {self.temperature!r} with a kernel that is singular to working precision ({error}); "
                "remove repeated or linearly dependent inputs, or give a larger temperature"
            ) from None
        if not (np.isfinite(self.log_marginal_likelihood_) and np.isfinite(self.alpha_).all()):
            raise check.out_of_range(self.temperature, X, y)
        refuse_indefinite(self.kernel_, self.kernel_(X))
        known = is_known(self._process.lost, self.log_marginal_likelihood_)
        if not known:
            warnings.warn(
                f"temperature: at {self.temperature_:.3g} the scale r of the kernel grows until r times the "
                f"rounding of the kernel counts: the log evidence is known to {self._process.lost:.1g} only; give a "
                "larger temperature, learn it with optimize_temperature=True, or take a rougher kernel",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.converged_ = bool(settled and known and self._process.error < ACCURACY)
        self._inputs = Inputs(X)  # without what the search has kept
        if searched:
            self._warn_of_no_explanation()
        return self

    def _check_settings(self) -> None:
        check.one_of("noise", self.noise, NOISES)
        check.one_of("parametrization", self.parametrization, PARAMETRIZATIONS)
        check.number("df", self.df)
        if self.df <= 2 and self.parametrization == "covariance":
            raise ValueError(
                f"df: got {self.df!r}, expected a number greater than 2: a Student's t law of two degrees of freedom "
                "or fewer has no covariance for the kernel to be; give more, or say parametrization='scale', where the "
                "kernel is the scale matrix"
            )
        check.number("temperature", self.temperature, minimum=0, inclusive=True)
        check.integer("n_restarts_optimizer", self.n_restarts_optimizer, minimum=0)
        check.boolean("normalize_y", self.normalize_y)
        for name in ("optimize_df", "optimize_temperature"):
            check.boolean(name, getattr(self, name))
            if getattr(self, name) and self.optimizer is None:
                raise ValueError(f"{name}: got {getattr(self, name)!r} with optimizer=None; give an optimizer")
        if self.optimize_temperature and self.temperature == 0:
            raise ValueError("temperature: got 0 with optimize_temperature=True, expected a number greater than 0")
        if self.optimizer is not None:
            check_optimizer(self.optimizer)

    _units: Units
    _inputs: Inputs

    def _prepare(self) -> None:
        """Set the units of the targets, and what kernels need of the inputs."""
        self._units = Units.of(self.y_train_) if self.normalize_y else Units()
        self._inputs = Inputs(self.X_train_)

    @property
    def _targets(self) -> np.ndarray:
        """The targets as they are normalised."""
        return self._units.normalised(self.y_train_)

    @property
    def _unit(self) -> float:
        """The mean square of the targets, or one where they are zero."""
        return float(np.mean(self._targets**2)) or 1.0

    def _matrix(self, kernel: Kernel) -> Float[np.ndarray, "P P"]:
        """Return the lower triangle of the kernel between the training inputs, in the order of Fortran.

        The same to the last digit wherever it is asked for: where it is nearly singular, the search and what follows it
        agree.
        """
        return value_and_pullback(kernel, self._inputs)[0]

    @property
    def _learnable(self) -> Hyperparameters:
        free = ("temperature",) * bool(self.optimize_temperature) + ("df",) * bool(self.optimize_df)
        return Hyperparameters(self.kernel_, self.temperature_, self.df_, free)

    @property
    def _bounds(self) -> Float[np.ndarray, "n 2"]:
        """Bounds of what is learned, those of T in the unit that it has: beside r that of the kernel, else of y."""
        unit = self._learnable.variance(self.X_train_) if self.noise == "scale" else self._unit
        lowest, highest = TEMPERATURE_BOUNDS
        own = {"temperature": (lowest * unit, highest * unit), "df": DF_BOUNDS[self.parametrization]}
        return self._learnable.bounds(own)

    def _start(self) -> Hyperparameters:
        """Return the hyper-parameters as given, but for a common factor of kernel and temperature.

        That is the one at which the evidence of the closed form, n log c + (ν + n) log(1 + q/cs), is highest. Hence a
        search does not depend on the unit of the targets.
        """
        given, law = self._learnable, self._scale_law(self.df_)
        if "temperature" not in given.free:
            return given
        try:
            A = self._matrix(self.kernel_)
            A[np.diag_indices_from(A)] += self.temperature_
            process = NoiseInside.of(well_conditioned_cholesky(A), self._targets, law, self.temperature_)
        except np.linalg.LinAlgError:
            return given
        factor = law.df * process.quadratic / (law.excess * process.alpha.size)
        return given.scaled(factor, self.X_train_, beside=self.noise == "scale") if factor > 0 else given

    def _scale_law(self, df: float) -> InverseGamma:
        return InverseGamma(df, self.parametrization == "covariance")

    def _condition(self, K: Float[np.ndarray, "P P"], temperature: float, df: float) -> NoiseInside | NoiseBeside:
        """Return the process at a kernel matrix, of which the lower triangle is read; it is overwritten."""
        y, law = self._targets, self._scale_law(df)
        if self.noise == "gaussian" and temperature > 0:
            return NoiseBeside.of(K, y, law, temperature)
        K[np.diag_indices_from(K)] += temperature
        return NoiseInside.of(well_conditioned_cholesky(K), y, law, temperature)

    def _value_and_gradient(self, theta: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        at = self._learnable.at(theta)
        K, pullback = value_and_pullback(at.kernel, self._inputs)
        process = self._condition(K, at.temperature, at.df)
        slopes = process.slopes
        free = [getattr(at, name) * getattr(slopes, name) for name in at.free]
        return process.log_evidence, np.append(pullback(slopes.kernel), free)

    @property
    def log_marginal_likelihood_value_(self) -> float:
        """The log evidence, under the name that it has in scikit-learn."""
        return self.log_marginal_likelihood_

    @property
    def scale_posterior_(self) -> OrderParameterPosterior | None:
        """The posterior of the scale, where it is a quadrature."""
        return self._process.posterior if isinstance(self._process, NoiseBeside) else None

    @property
    def alpha_(self) -> Float[np.ndarray, "P ..."]:
        """The coefficients of the mean."""
        return self._process.alpha

    def _settle(self) -> None:
        """Condition on the training set, at what was learned."""
        self._process = self._condition(self._matrix(self.kernel_), self.temperature_, self.df_)
        self.log_marginal_likelihood_ = self._process.log_evidence

    def _recondition(self) -> None:
        self._prepare()
        self._settle()
        self._inputs = Inputs(self.X_train_)

    def _maximise(self) -> bool:
        """Set what is learned, and return whether the search converged."""

        def objective(theta: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
            with warnings.catch_warnings():  # of the quadrature at points that are passed through
                warnings.simplefilter("ignore", ConvergenceWarning)
                value, gradient = self._value_and_gradient(theta)
            return -value, -gradient

        start = self._start()
        self.kernel_, self.temperature_ = start.kernel, start.temperature
        theta, _, converged = minimise(
            objective,
            start.theta,
            self._bounds,
            start.names,
            optimizer=self.optimizer,
            n_restarts=self.n_restarts_optimizer,
            random_state=self.random_state,
            at_bounds=AT_BOUNDS,
        )
        found = start.at(theta)
        self.kernel_, self.temperature_, self.df_ = found.kernel, found.temperature, found.df
        return converged

    def _warn_of_no_explanation(self) -> None:
        """Warn where the kernel that was found predicts nothing."""
        K = np.abs(self._matrix(self.kernel_))
        nearest = np.maximum.reduce([np.tril(K, -1).max(axis=axis) for axis in (0, 1)])
        if len(K) > 1 and np.median(nearest) < UNRELATED * np.diag(K).max():
            found = f"kernel: {self.kernel_!r} relates no two of the training inputs, and predicts nothing between them"
        elif explained(self._targets, self._process.mean(self._between(self.X_train_))) < NOTHING_EXPLAINED:
            found = f"kernel: {self.kernel_!r} explains nothing of the targets, and takes them as noise"
        else:
            return
        advice = "standardise the inputs, or start from other length scales"
        if not self.optimize_temperature:
            advice += f"; T = {self.temperature_:.3g} is fixed: optimize_temperature=True learns it"
        warnings.warn(f"{found}; {advice}", ConvergenceWarning, stacklevel=4)

    @in_float64
    def log_marginal_likelihood(self, theta: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """Return the log evidence log p(y), and where asked its gradient.

        Parameters
        ----------
        theta : array of shape (n,) or None
            Logarithms: the kernel's hyper-parameters as in `kernel_.theta`, then T and ν where they are learned. None
            means what was learned.
        eval_gradient : bool
            Whether to return also the derivatives in theta.

        Returns
        -------
        float, and where asked an array of shape (n,)
            Minus infinity, with a gradient of zeros, where kernel plus temperature is not positive definite, or out of
            the range of double precision.

        Raises
        ------
        ValueError
            If theta has the wrong length, or is not finite.
        """
        check_is_fitted(self, "X_train_")
        learnable = self._learnable
        eval_gradient = check.boolean("eval_gradient", eval_gradient)
        theta = learnable.theta if theta is None else check.numeric("theta", theta)
        if theta.shape != learnable.theta.shape:
            raise ValueError(
                f"theta: got shape {theta.shape}, expected {learnable.theta.shape}: logarithms of "
                f"{', '.join(learnable.names)}"
            )
        if not np.isfinite(theta).all():
            raise ValueError(
                f"theta: got {short(theta.tolist())}, expected finite numbers: logarithms of "
                f"{', '.join(learnable.names)}"
            )
        at = learnable.at(theta)
        try:
            if eval_gradient:
                return self._value_and_gradient(theta)
            return self._condition(self._matrix(at.kernel), at.temperature, at.df).log_evidence
        except (np.linalg.LinAlgError, OverflowError):
            return (-np.inf, np.zeros_like(theta)) if eval_gradient else -np.inf

    def _between(self, X: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):  # what overflows is refused
            return self.kernel_(X, self.X_train_)

    def _cross(self, X: np.ndarray) -> np.ndarray:
        K = self._between(X)
        refuse_not_finite(self.kernel_, K, "the query point {} and the training input {}")
        return K

    def _query(self, X: np.ndarray, joint: bool) -> Query:
        variances, within = self.kernel_.diag(X), self.kernel_(X) if joint else None
        refuse_not_finite(self.kernel_, variances, "the query point {} and itself")
        if within is not None:
            refuse_not_finite(self.kernel_, within, "the query points {} and {}")
        return Query(self._cross(X), variances, within)

    def _mean(self, X: np.ndarray) -> np.ndarray:
        refuse_not_finite(self.kernel_, self.kernel_.diag(X), "the query point {} and itself")
        return self._units.restored(self._process.mean(self._cross(X)))

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        added = self.temperature_ if noise else 0.0
        return self._process.predictive(self._query(X, joint), added, self._units)
