"""Kernel objects under noise that may have outliers: what is learned, and the kernel at it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from stpbnn.kernels import value_and_pullback
from stpbnn.regressors.kernel_hyperparameters import KernelHyperparameters
from stpbnn.regressors.learnable_kernel import LearnableKernel
from stpbnn.regressors.outliers import WithOutliers

__all__ = ["KernelOutliers"]


class KernelOutliers(WithOutliers[KernelHyperparameters], LearnableKernel):
    """Regressors on a kernel object with noise "student-t" or "robust" among their settings."""

    def _kernel_at(self, at: KernelHyperparameters) -> Float[np.ndarray, "P P"]:
        return value_and_pullback(at.kernel, self._inputs)[0]

    @property
    def _free(self) -> tuple[str, ...]:
        return super()._free + ("noise_df",) * bool(self.optimize_noise_df)

    @property
    def _hyperparameters(self) -> KernelHyperparameters:
        return replace(super()._hyperparameters, noise_df=self.noise_df_ or self.noise_df)
