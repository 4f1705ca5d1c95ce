"""Regressors with a log evidence: leave-one-out in closed form, and what hyper-parameters are learned by."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.regressors.errors import explained
from stpbnn.regressors.estimator import Estimator
from stpbnn.regressors.evidence_search import Evidence, EvidenceSearch, Hyperparameters

__all__ = ["Criterion", "Learnable", "WithCriterion"]

Criterion = Literal["evidence", "leave-one-out"]
CRITERIA = ("evidence", "leave-one-out")


class ClosedForm(Estimator):
    """Estimators whose laws of each target given the others are known; a model adds `_left_out`."""

    def _left_out(self) -> Any:
        raise NotImplementedError

    @in_float64
    def leave_one_out(self) -> Any:
        r"""Return the predictive law of each training target given all other examples, noise included.

        .. math:: y_i \mid y_{-i} \sim N\big(y_i - \alpha_i / d_i,\; 1/d_i\big), \qquad
                  \alpha = A^{-1} y, \quad d = \mathrm{diag}\, A^{-1}

        for a Gaussian process; a Student's t law of ν + (P − 1) D degrees of freedom for a t-process, and a mixture
        whose weights are divided by the densities of the target left out where a scale is averaged over. It costs as
        much as one more fit, not P of them. Hyper-parameters (and the saddle point of the proportional limit, and the
        units of `normalize_y`) stay as they are fitted to all examples.

        Returns
        -------
        law
            A frozen distribution of `stpbnn.predictive`, with one entry an example and output. All outputs of an
            example are left out at once.

        References
        ----------
        Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 5.4.2.

        Examples
        --------
        >>> import numpy as np
        >>> from stpbnn import FullyConnected, NNGPRegressor
        >>> X, y = np.array([[1.0], [1.0], [-1.0]]), np.array([1.0, 2.0, -1.0])
        >>> model = NNGPRegressor(FullyConnected((10,), "linear"), temperature=1.0).fit(X, y)
        >>> model.leave_one_out().mean.round(4), round(model.loo_log_score(), 4)
        (array([ 1.    ,  0.6667, -1.    ]), -3.855)
        """
        check_is_fitted(self, "X_train_")
        self._needs_factors("leave_one_out")
        return self._left_out()

    def loo_log_score(self) -> float:
        """Return the leave-one-out log score: the sum over targets of log p(y_i | all other examples).

        The higher the better. It judges predictions alone, whereas the log evidence, which is the sum of log p(y_i |
        the examples before it), judges the prior as well.
        """
        return float(self.leave_one_out().logpdf(self.y_train_).sum())


class Learnable[H: Hyperparameters](EvidenceSearch[H], ClosedForm):
    """Regressors whose hyper-parameters are learned by their evidence; a model adds the means that it fits."""

    def _check_settings(self) -> None:
        super()._check_settings()
        self._check_search()

    def _fitted(self) -> Float[np.ndarray, "P ..."]:
        """Return the means of f at the training inputs, as targets are modelled."""
        raise NotImplementedError

    @property
    def _remedy(self) -> str:
        """What else may help where nothing is explained, for the end of a message."""
        return ""

    def _explained(self) -> float:
        """Return R² at the training inputs."""
        return explained(self._modelled, self._fitted())

    @property
    def _modelled(self) -> Float[np.ndarray, "P ..."]:
        """The targets as they are modelled."""
        return self.y_train_

    @property
    def _plausible(self) -> Float[np.ndarray, "P ..."]:
        """The targets by which their size is judged."""
        return self._modelled


class WithCriterion[H: Hyperparameters](Learnable[H]):
    """Estimators that may be searched by their predictions of examples left out; a model adds that score."""

    criterion: str
    _scored: ClassVar[tuple[str, ...]] = ("gaussian",)  # the noises of which the score is known

    def _check_settings(self) -> None:
        check.one_of("criterion", self.criterion, CRITERIA)
        if self.criterion != "evidence" and (noise := self.noise) not in self._scored:
            raise ValueError(
                f"criterion: got {self.criterion!r} with noise={noise!r}, expected 'evidence', or noise="
                f"{' or '.join(map(repr, self._scored))}"
            )
        super()._check_settings()

    def _objective(self, at: H) -> Evidence:
        if self.criterion == "evidence":
            return super()._objective(at)
        return Evidence(*self._left_out_score(at))

    def _left_out_score(self, at: H) -> tuple[float, np.ndarray]:
        """Return the leave-one-out log score at other hyper-parameters, and its gradient in theta."""
        raise NotImplementedError
