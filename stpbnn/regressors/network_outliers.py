"""Networks of infinite width under noise that may have outliers: what is learned, and the process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from stpbnn import _validation as check
from stpbnn.kernels import nngp_map, symmetric_kernel
from stpbnn.regressors.learnable_network import LearnableNetwork, NetworkHyperparameters
from stpbnn.regressors.noise_choice import WithChosenNoise
from stpbnn.regressors.outliers import AUTO, OUTLIER_NOISES
from stpbnn.scale import Columns, Query, Units, infinite_slopes, query_of

__all__ = ["NOISES", "NetworkOutliers"]

NOISES = ("gaussian", *OUTLIER_NOISES, AUTO)


class NetworkOutliers(WithChosenNoise[NetworkHyperparameters], LearnableNetwork):
    """Regressors on the kernel of infinite width, with noise "student-t" or "robust" among their settings."""

    _units = Units()

    def _check_settings(self) -> None:
        check.one_of("noise", self.noise, NOISES)
        if check.boolean("optimize_noise_df", self.optimize_noise_df) and self.optimizer is None:
            raise ValueError("optimize_noise_df: got True with optimizer=None; give an optimizer")
        super()._check_settings()

    def _kernel_at(self, at: NetworkHyperparameters) -> Float[np.ndarray, "P P"]:
        return symmetric_kernel(nngp_map(at.network), at.network.prior, self.X_train_)

    @property
    def _hyperparameters(self) -> NetworkHyperparameters:
        noise_df = self.noise_df_ or self.noise_df
        return replace(super()._hyperparameters, noise_df=noise_df, noise_df_free=bool(self.optimize_noise_df))

    @property
    def hyperparameters_(self) -> dict[str, float]:
        """Precisions and temperature by name, as given or learned, and degrees of freedom that were learned."""
        own = {"noise_df": self._hyperparameters.noise_df} if self.optimize_noise_df else {}
        return super().hyperparameters_ | own

    def _conditioned_columns(self) -> Columns:
        """Return the process, output by output."""
        at = self._hyperparameters
        return self._columns(self._kernel_at(at), at)

    def _columns_gradient(self) -> Float[np.ndarray, " n"]:
        """Return the gradient of its log evidence in theta."""
        at, slopes = self._hyperparameters, self._process.slopes
        of_kernel = infinite_slopes(at.network, self.X_train_, slopes.kernel)
        return np.append(of_kernel, [getattr(at, name) * getattr(slopes, name) for name in at.free])

    def _query(self, X: np.ndarray, *, joint: bool = False) -> Query:
        return query_of(nngp_map(self.network_), self.network_.prior, X, self.X_train_, joint=joint)
