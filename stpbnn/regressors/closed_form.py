"""What closed forms tell of a fitted model beside its predictions: leave-one-out."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from stpbnn._precision import in_float64
from stpbnn.regressors.estimator import Estimator

__all__ = ["ClosedForm"]


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
