"""Kernel objects whose hyper-parameters are learned by maximising the log evidence, with trend and known noise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning

from stpbnn._precision import in_float64
from stpbnn.kernels import Inputs, InputSlopes, kernel_slopes, value_and_pullback
from stpbnn.network import Network
from stpbnn.regressors.errors import NOTHING_EXPLAINED
from stpbnn.regressors.gradients import WithGradient
from stpbnn.regressors.kernel_objects import (
    KernelHyperparameters,
    kernel_of,
    query,
    refuse_indefinite,
    refuse_no_kernel,
    unrelated,
)
from stpbnn.regressors.learnable import Learnable
from stpbnn.regressors.noise import WithWeights, split
from stpbnn.regressors.noise_choice import WithChosenNoise
from stpbnn.scale import Design, Query, Reduced, Units

__all__ = ["KernelOutliers", "LearnableKernel"]

LOOKED_AT = 1000  # inputs, where there are too many for all


class LearnableKernel(WithGradient, WithWeights, Learnable[KernelHyperparameters]):
    """Regressors on a kernel object; a model adds the evidence, and the process on the contrasts of the targets."""

    kernel: Any
    df: float
    normalize_y: bool
    trend: str
    optimize_df: bool
    optimize_temperature: bool
    _process: Any
    _blocks: Reduced
    __metadata_request__fit: ClassVar = {"sample_weight": None}  # for `set_fit_request`: no signature names it

    @in_float64
    def fit(self, X: Any, y: Any, **weights: Any) -> Any:
        """Condition on the training set, at the hyper-parameters of highest evidence where these are learned.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,) or (P, D)
            Targets; a network as the kernel has as many outputs.
        **weights
            sample_weight, an array of shape (P,) or None: w >= 0, with which the noise of an example has the variance
            T/w, relative to the random scale as T is. Examples of weight zero are left out. A weight of two is the mean
            of two measurements; with noise "scale" that is not the same example twice, which scikit-learn would take
            for granted of a weight that the signature names.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As for the other regressors; for weights that are negative, all zero, of a wrong length, beside T = 0 or an
            array of temperatures, or under noise "student-t" or "robust".
        TypeError
            For any other word.
        """
        if other := next((word for word in weights if word != "sample_weight"), None):
            raise TypeError(f"{type(self).__name__}.fit() got an unexpected keyword argument {other!r}")
        return self._fit(X, y, weights.get("sample_weight"))

    def _outputs(self, given: int) -> int:
        return self.kernel.outputs if isinstance(self.kernel, Network) else given

    def _prepare(self) -> None:
        self._take_up_noise()
        self._take_in()
        self.kernel_ = kernel_of(self.kernel, 1.0 if self.optimizer is None else self._unit)
        self.temperature_, self.df_ = split(self.temperature)[0], float(self.df)
        seen = self._looked_at(self.X_train_)
        refuse_no_kernel(self.kernel_, np.asarray(self.kernel_(seen)), len(seen))

    def _looked_at(self, X: np.ndarray) -> np.ndarray:
        """Return the training inputs between which the kernel is looked at."""
        return X if self._factorised else X[:LOOKED_AT]

    def _take_in(self) -> None:
        """Set the targets as they are normalised, their mean square, and what kernels need of the inputs."""
        self._units = Units.of(self.y_train_) if self.normalize_y else Units()
        self._targets = self._units.normalised(self.y_train_)
        self._inputs = Inputs(self.X_train_)
        self._design = Design.of(self.X_train_, self.trend, self.noise_variances_)
        self._shared, self._contrasts = self._design.targets(self._targets)
        self._unit = float(np.mean(self._contrasts**2)) or 1.0

    def _matrix(self) -> Float[np.ndarray, "P P"]:
        """Return the lower triangle of the kernel in Fortran's order, with the same digits as in the search."""
        return value_and_pullback(self.kernel_, self._inputs)[0]

    @property
    def _free(self) -> tuple[str, ...]:
        """What is learned beside the kernel."""
        return ("temperature",) * bool(self.optimize_temperature) + ("df",) * bool(self.optimize_df)

    @property
    def _hyperparameters(self) -> KernelHyperparameters:
        return KernelHyperparameters(self.kernel_, self.temperature_, self.df_, self._free)

    def _take_up(self, found: KernelHyperparameters) -> None:
        self.kernel_, self.temperature_, self.df_ = found.kernel, found.temperature, found.df

    @property
    def alpha_(self) -> Float[np.ndarray, "P ..."]:
        """The coefficients of the mean."""
        return self._design.expanded(self._process.alpha)

    @property
    def _jacobian(self) -> float:
        return self._design.log_jacobian * self._targets.size / len(self._targets)

    @property
    def _numbers(self) -> np.ndarray:
        return np.append(self.alpha_, self.log_marginal_likelihood_)

    def _refuse_kernel(self) -> None:
        seen = self._looked_at(self.X_train_)
        refuse_indefinite(self.kernel_, self.kernel_(seen))

    def _singular(self, error: Exception, X: np.ndarray, y: np.ndarray) -> ValueError:
        refuse_indefinite(self.kernel_, self.kernel_(self._looked_at(X)))
        return super()._singular(error, X, y)

    def _recondition(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._take_up_noise()  # older files lack it
        self._take_in()
        self._condition()

    @property
    def _modelled(self) -> Float[np.ndarray, "P ..."]:
        return self._targets

    def _judge(self) -> None:
        if self._searched and (found := self._nothing_explained()):
            advice = "standardise the inputs, or start from other length scales"
            if not self.optimize_temperature:
                advice += f"; T = {self.temperature_:.3g} is fixed: optimize_temperature=True learns it"
            warnings.warn(f"kernel: {self.kernel_!r} {found}; {advice}", ConvergenceWarning, stacklevel=8)

    def _fitted(self) -> Float[np.ndarray, "P ..."]:
        fitted: Float[np.ndarray, "P ..."] = self._process.mean(self._query(self.X_train_))
        return fitted

    def _nothing_explained(self) -> str:
        """Return what the kernel that was found fails to do, or nothing."""
        if unrelated(self._matrix()):
            return "relates no two of the training inputs, and predicts nothing between them"
        if self._explained() < NOTHING_EXPLAINED:
            return "explains nothing of the targets, and takes them as noise"
        return ""

    def _query(self, X: np.ndarray, *, joint: bool = False) -> Query:
        found = query(self.kernel_, X, self.X_train_, joint)
        return self._design.query(found, self._design.basis(X), self._blocks, self._shared, self.temperature_)

    def _mean(self, X: np.ndarray) -> np.ndarray:
        return self._units.restored(self._process.mean(self._query(X)))

    def _input_slopes(self, X: np.ndarray) -> InputSlopes:
        return kernel_slopes(self.kernel_, X, self.X_train_)

    def _gradient_law(self, query: Query) -> Any:
        query = self._design.query(query, self._design.basis_slopes, self._blocks, self._shared, self.temperature_)
        return self._process.predictive(query, 0.0, Units(size=self._units.size))


class KernelOutliers(WithChosenNoise[KernelHyperparameters], LearnableKernel):
    """Regressors on a kernel object with noise "student-t" or "robust" among their settings."""

    def _kernel_at(self, at: KernelHyperparameters) -> Float[np.ndarray, "P P"]:
        return value_and_pullback(at.kernel, self._inputs)[0]

    @property
    def _free(self) -> tuple[str, ...]:
        return super()._free + ("noise_df",) * bool(self.optimize_noise_df)

    @property
    def _hyperparameters(self) -> KernelHyperparameters:
        return replace(super()._hyperparameters, noise_df=self.noise_df_ or self.noise_df)
