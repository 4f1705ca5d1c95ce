"""Student's t-process regression: Gaussian-process regression with a random scale."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import MultiOutputMixin
from sklearn.exceptions import ConvergenceWarning

from stpbnn.kernels import Inputs, value_and_pullback
from stpbnn.predictive import Gaussian, Mixture, SideBySide, StudentT
from stpbnn.regressors.evidence_search import NOISE_DF_BOUNDS, Evidence
from stpbnn.regressors.kernel_objects import KernelHyperparameters, blocks_of
from stpbnn.regressors.learnable import Criterion, WithCriterion
from stpbnn.regressors.learnable_kernel import KernelOutliers
from stpbnn.regressors.outliers import OF_NOISE
from stpbnn.regressors.process_settings import DF_BOUNDS, check_process_settings
from stpbnn.regressors.solver import Solver, WithSolver
from stpbnn.scale import (
    ACCURACY,
    Columns,
    InverseGamma,
    NoiseBeside,
    NoiseInside,
    OrderParameterPosterior,
    Reduced,
    is_known,
    iterated_beside,
    iterated_inside,
    left_out_score,
)

__all__ = ["StudentTProcessRegressor"]


class StudentTProcessRegressor(WithSolver, MultiOutputMixin, WithCriterion[KernelHyperparameters], KernelOutliers):
    r"""Student's t-process regression: a Gaussian process whose overall scale r is random, and learned from the data.

    .. math:: f \mid r \sim GP(0, r K), \qquad r \sim \mathrm{InvGamma}(\tfrac\nu2, \tfrac{\nu-2}2), \qquad
              y \mid f, r \sim \begin{cases} N(f, r T) & \text{noise "scale"} \\ N(f, T) & \text{noise "gaussian"}
              \end{cases}

    The covariance of f is K, and ν → ∞ is the Gaussian process. Predictions have heavier tails than a Gaussian
    process's, and their variance reacts to the size of the targets, not to the inputs alone. The random scale is common
    to all points: an outlier widens the predictions everywhere, it is not ignored. With noise "scale" everything is in
    closed form (the multivariate t); with "gaussian" it is a one-dimensional quadrature over r, and what an infinite
    network of random readout precision has.

    Outliers are ignored by noise "student-t", T the square of its scale, by expectation propagation, and by "robust",
    the robust and conjugate Gaussian process. With both the function is a Gaussian process of covariance K and has no
    random scale: `df` and `parametrization` are not used. Where there may be outliers or not, "auto" finds out.

    Parameters
    ----------
    kernel : scikit-learn kernel, NNGPKernel, FullyConnected or None
        K: the covariance of f (see `parametrization`). The hyper-parameters of a kernel object are learned within their
        bounds; a FullyConnected is as given. None means ConstantKernel(1.0) * RBF(1.0), both learned, the constant
        within 1e-5 and 1e5, in units of one and of the mean square of the targets.
    df : float
        ν > 2, the degrees of freedom; where it is learned, the value to start from.
    temperature : float or array of shape (P,)
        T >= 0, the variance of the noise (relative to r for noise "scale"), which scikit-learn's Gaussian processes
        call `alpha`. It is seldom known: `optimize_temperature=True` learns it, from this value on. T = 0 interpolates,
        where the kernel is well conditioned. An array has the known variance of each training target.
    noise : {"scale", "gaussian", "student-t", "robust", "auto"}
        Whether the noise shares the random scale of f, is Gaussian and independent of it, has the tails of Student's t,
        or is Gaussian with examples that count the less the further they are from what the others make of them, under
        noise with those tails. "auto" fits "scale" and "student-t", which takes the time of both, and keeps that under
        which the targets given the others are the likelier.
    optimizer : "fmin_l_bfgs_b", callable or None
        How the criterion is maximised, in the convention of scikit-learn's Gaussian processes; None learns nothing.
        Where T is learned, one search begins with kernel and T rescaled to the targets; without outliers one as given.
    optimize_df : bool
        Whether to learn ν. It tells how far one data set's scale may be from the kernel's, of which a single data set
        says little: the search often ends on a bound, and says so.
    optimize_temperature : bool
        Whether to learn T. Where it is False T stays, and kernel and scale have to account for all noise beyond it: say
        True unless the noise is known. Where inputs with equal targets are repeated, which have no noise, T ends on its
        lower bound, under noise "student-t" a millionth of the targets' mean square about their median, without
        outliers, and a warning says so.
    n_restarts_optimizer : int
        How many further searches from random starts within the bounds.
    normalize_y : bool
        Whether to subtract the mean of the targets and divide by their standard deviation, output by output. K, T and
        the log evidence are then those of the normalised targets; predictions are in the units of y.
    trend : {"zero", "constant", "linear"}
        What is added to the process: nothing, a constant, or a linear function of the inputs, whose coefficients have a
        flat prior and are integrated over: the evidence is the restricted likelihood.
    solver : {"auto", "exact", "iterative"}
        Whether the kernel is factorised, P³ operations and 8 P² bytes for each of several matrices, or only multiplied
        with, P² operations for each of some thousand vectors and 2 P² bytes, or less: `numerical_errors_` says what
        that leaves open. "auto" factorises up to P = 10,000, as far as memory goes, and whatever the other cannot do.
    criterion : {"evidence", "leave-one-out"}
        What is maximised: the log evidence, or (noise "scale") the leave-one-out log score.
    parametrization : {"covariance", "scale"}
        Whether K (+ T) is the covariance of the process, which exists for ν > 2 only, or its scale matrix, for any
        ν > 0: r ~ InvGamma(ν/2, ν/2). They differ by the constant factor ν/(ν − 2).
    noise_df : float
        The degrees of freedom of the noise "student-t", given or to start from, and of that by which "robust" finds
        outliers. New targets have a variance where there are more than two.
    optimize_noise_df : bool
        Whether to learn them.
    contamination : float
        The part of Gaussian targets that the noise "robust" would have beyond its threshold.
    random_state : int, numpy Generator, RandomState or None
        Seed of the restarts.

    Attributes
    ----------
    kernel_ : scikit-learn kernel
        The kernel, as learned.
    df_, temperature_, noise_df_ : float
        ν, T and the degrees of freedom of the noise, learned or as given; the last is None for other noises.
    noise_, loo_log_scores_ : str, and dict of str to float or None
        The noise as given or chosen, and the leave-one-out log scores by which it was.
    log_marginal_likelihood_, log_marginal_likelihood_value_ : float
        log p(y), all outputs together; the second name is scikit-learn's. With noise "student-t" it is that of power
        expectation propagation, with "robust", which has none, the score of targets given those at other inputs.
    centre_ : array of shape (P,) or (P, D), or None
        What each target is compared with under noise "robust".
    noise_variances_ : array of shape (P,) or None
        Variances of the noise in units of T, where these differ: of an array T is the geometric mean.
    noise_variance_ : float or None
        Of a new target under noise "robust": T, or where T is learned that at which left out targets score highest.
    alpha_ : array of shape (P,) or (P, D)
        What the kernel with the training points is multiplied by to give the mean of targets as they are normalised.
    solver_, numerical_errors_ : str, and NumericalErrors or None
        The solver that was used, and the errors of the iterative one.
    scale_posterior_ : OrderParameterPosterior or None
        p(r | y) as nodes and weights, where the noise is beside the scale; None where all is in closed form.
    converged_ : bool
        Whether the gradient of the criterion vanishes along what was learned, but for what ended on a bound, which a
        warning names; and the quadrature over r has reached its accuracy. Where it is False a warning has said why.

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

    _learned = ("kernel_", "temperature_", "df_", "converged_", "solver_", "noise_variances_", *OF_NOISE)
    _kernels = 4
    _plain, _scored = "scale", ("scale",)
    _noises_of_weights = ("gaussian", "scale")

    def __init__(
        self,
        kernel: Any = None,
        *,
        df: float = 5.0,
        temperature: float = 0.01,
        noise: Literal["scale", "gaussian", "student-t", "robust", "auto"] = "scale",
        optimizer: Any = "fmin_l_bfgs_b",
        optimize_df: bool = False,
        optimize_temperature: bool = False,
        n_restarts_optimizer: int = 0,
        normalize_y: bool = False,
        trend: Literal["zero", "constant", "linear"] = "zero",
        solver: Solver = "auto",
        criterion: Criterion = "evidence",
        parametrization: Literal["covariance", "scale"] = "covariance",
        noise_df: float = 4.0,
        optimize_noise_df: bool = False,
        contamination: float = 0.1,
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
        self.trend = trend
        self.solver = solver
        self.criterion = criterion
        self.parametrization = parametrization
        self.noise_df = noise_df
        self.optimize_noise_df = optimize_noise_df
        self.contamination = contamination
        self.random_state = random_state

    def _check_settings(self) -> None:
        check_process_settings(self)
        super()._check_settings()

    def _bounds(self, start: KernelHyperparameters) -> Float[np.ndarray, "n 2"]:
        """Return the bounds of theta, those of T in the unit that it has: beside r that of the kernel, else of y."""
        unit = start.variance(self.X_train_) if self.noise_ == "scale" else self._unit
        lowest, highest = self._temperature_bounds
        own = {"temperature": (lowest * unit, highest * unit), "df": DF_BOUNDS[self.parametrization]}
        return start.bounds(own | {"noise_df": NOISE_DF_BOUNDS})

    @property
    def _at_bounds(self) -> dict[tuple[str, str], str]:
        return {**super()._at_bounds, ("df", "upper"): "the data do not tell the process from a Gaussian one: fix df"}

    def _start(self) -> KernelHyperparameters:
        """Return the hyper-parameters as given, but for a factor of kernel and T that suits the unit of the targets.

        That is the one at which the evidence of the closed form, n log c + (ν + n) log(1 + q/cs), is highest.
        """
        given, law, design = self._hyperparameters, self._scale_law(self.df_), self._design
        if "temperature" not in given.free:
            return given
        K, targets = design.reduced(self._matrix()).contrasts, design.targets(self._plausible)[1]
        try:
            process = NoiseInside.of(K, targets, law, self.temperature_)
        except np.linalg.LinAlgError:
            return given
        factor = law.df * process.quadratic / (law.excess * process.alpha.size)
        return given.scaled(factor, self.X_train_, beside=self.noise_ == "scale") if factor > 0 else given

    def _scale_law(self, df: float) -> InverseGamma:
        return InverseGamma(df, self.parametrization == "covariance")

    def _process_of(
        self, K: Float[np.ndarray, "P P"], at: KernelHyperparameters
    ) -> NoiseInside | NoiseBeside | Columns:
        """Return the process at a kernel matrix, of which the lower triangle is read; it is overwritten."""
        if self._outliers:
            return self._columns(K, at)
        kind = NoiseBeside if self.noise_ == "gaussian" and at.temperature > 0 else NoiseInside
        return kind.of(K, self._contrasts, self._scale_law(at.df), at.temperature)

    def _evidence(self, at: KernelHyperparameters | None, *, gradient: bool) -> Evidence:
        at = at or self._hyperparameters
        K, pullback = value_and_pullback(at.kernel, self._inputs)
        process = self._process_of(self._design.reduced(K).contrasts, at)
        value = process.log_evidence + self._jacobian
        if not gradient:
            return Evidence(value, np.empty(0))
        slopes = process.slopes
        free = [getattr(at, name) * getattr(slopes, name) for name in at.free]
        gradient_found = np.append(pullback(self._design.slopes(slopes.kernel)), free)
        return Evidence(value, gradient_found, process.error < ACCURACY or not self._outliers)

    @property
    def scale_posterior_(self) -> OrderParameterPosterior | None:
        """The posterior of the scale, where it is a quadrature."""
        return self._process.posterior if isinstance(self._process, NoiseBeside) else None

    def _only_exact(self, outputs: int) -> str | None:
        return f"noise={self.noise!r}, expected 'scale' or 'gaussian'" if self._outliers else None

    def _iterate(self) -> None:
        solve = iterated_beside if self.noise_ == "gaussian" else iterated_inside
        law, blocks = self._scale_law(self.df_), blocks_of(self.kernel_, self.X_train_)
        self._process, errors = solve(blocks, self._contrasts, law, self.temperature_)
        self._blocks = Reduced(*[np.empty((0, 0))] * 3)
        self.log_marginal_likelihood_ = self._process.log_evidence
        self.converged_ = self._known and self._process.error < ACCURACY
        self._take_up_errors(errors)

    def _left_out_score(self, at: KernelHyperparameters) -> tuple[float, np.ndarray]:
        K, pullback = value_and_pullback(at.kernel, self._inputs)
        law = self._scale_law(at.df)
        process = NoiseInside.of(self._design.reduced(K).contrasts, self._contrasts, law, at.temperature)
        score = left_out_score(process.factor, process.alpha, self._design, law, process.quadratic)
        return score.value, np.append(pullback(score.kernel), [getattr(at, k) * getattr(score, k) for k in at.free])

    def _factorise(self) -> None:
        blocks = self._design.reduced(self._matrix())
        self._blocks = blocks._replace(contrasts=np.empty((0, 0)))
        self._process = self._process_of(blocks.contrasts, self._hyperparameters)
        self.log_marginal_likelihood_ = self._process.log_evidence + self._jacobian
        self._inputs = Inputs(self.X_train_)  # without what the search has kept
        self.converged_ = self._known and self._process.error < ACCURACY

    @property
    def _known(self) -> bool:
        return is_known(self._process.lost, self.log_marginal_likelihood_)

    def _judge(self) -> None:
        if not self._known:
            found = (
                f"temperature: at {self.temperature_:.3g} the scale r of the kernel grows until r times the "
                f"rounding of the kernel counts: the log evidence is known to {self._process.lost:.1g} only; give a "
                "larger temperature, learn it with optimize_temperature=True, or take a rougher kernel"
            )
            warnings.warn(found, ConvergenceWarning, stacklevel=5)
        super()._judge()

    def _left_out(self) -> StudentT | SideBySide | Gaussian | Mixture:
        if self._outliers:
            return self._process.left_out(self._noise_of_new(True, joint=False), self._units)
        return self._process.left_out(self._targets, self._units, self._design)
