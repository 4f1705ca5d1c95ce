"""Networks beside a trend, and with noise that differs between examples."""

from __future__ import annotations

from typing import Any

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn.regressors.network_regressor import NetworkRegressor
from stpbnn.regressors.noise import check_noise
from stpbnn.regressors.weighted import WithWeights
from stpbnn.scale import TRENDS, Design

__all__ = ["WithDesign"]


class WithDesign(WithWeights, NetworkRegressor):
    """Regressors on a network with `trend` among their settings, and a temperature or a weight for each example."""

    trend: str

    def _check_noise(self) -> None:
        check_noise(self.temperature)
        check.one_of("trend", self.trend, TRENDS)

    @in_float64
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Condition on the training set, at the hyper-parameters of highest evidence where these are learned.

        Parameters
        ----------
        X : array of shape (P, N_0)
            Inputs.
        y : array of shape (P,) or (P, D)
            Targets, of as many outputs as the network has.
        sample_weight : array of shape (P,) or None
            w >= 0: the noise of an example has the variance T/w. Examples of weight zero are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As for the other regressors; for weights that are negative, all zero, of a wrong length, or beside T = 0;
            for a trend of as many coefficients as examples, or of columns that depend on each other.
        """
        return self._fit(X, y, sample_weight)

    def _prepare(self) -> None:
        super()._prepare()
        self._take_up_noise()
        _ = self._design  # a trend that the inputs do not determine is refused

    @property
    def _design(self) -> Design:
        """Trend and noise on the training set."""
        return Design.of(self.X_train_, self.trend, self.noise_variances_)
