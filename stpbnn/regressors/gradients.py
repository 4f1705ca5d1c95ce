"""The gradient of the function in the inputs: its mean and covariance at query points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stpbnn._precision import in_float64
from stpbnn._slices import slices
from stpbnn.kernels import InputSlopes
from stpbnn.regressors import predicting
from stpbnn.regressors.estimator import Estimator
from stpbnn.scale import Query

__all__ = ["WithGradient"]


class WithGradient(Estimator):
    """Estimators that predict the gradient of f; a model adds `_input_slopes` and `_gradient_law`."""

    def _input_slopes(self, X: np.ndarray) -> InputSlopes:
        """Return the derivatives of the kernel at checked query points."""
        raise NotImplementedError

    def _gradient_law(self, query: Query) -> Any:
        """Return the joint law of the derivatives at one query point, given their covariances."""
        raise NotImplementedError

    @in_float64
    def predict_gradient(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        r"""Return mean and covariance of the gradient of f in the inputs at query points.

        .. math:: E[\nabla f \mid y] = \partial_x k\, \alpha, \qquad
                  \mathrm{Cov}[\nabla f \mid y] = \partial_x \partial_{x'} k - \partial_x k\, A^{-1} \partial_{x'} k^T

        of a Gaussian process, with the trend where there is one; of a t-process the moments of the t law, or of the
        mixture over its scale.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.

        Returns
        -------
        mean : array of shape (n, N_0), or (n, N_0, D)
        covariance : array of shape (n, N_0, N_0), or (n, N_0, N_0, D)
            Between the components of the gradient at each point.

        Raises
        ------
        ValueError
            If X does not fit the training inputs, the kernel has no derivative that is known, or the gradient is out
            of the range of double precision.

        References
        ----------
        Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 9.4.

        Examples
        --------
        >>> from stpbnn import FullyConnected, NNGPRegressor
        >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
        >>> model = NNGPRegressor(FullyConnected((9,), "linear"), temperature=1e-4).fit(X, y)
        >>> mean, covariance = model.predict_gradient(X)
        >>> mean[:, 0].round(3), covariance[:, 0, 0].round(6)
        (array([2., 2., 2.]), array([7.e-06, 7.e-06, 7.e-06]))
        """
        X = self._query_points(X)
        self._needs_factors("predict_gradient")
        laws = []
        for rows in slices(len(X), predicting.CHUNK // (len(self.X_train_) * X.shape[1])):
            with np.errstate(all="ignore"):  # what overflows is refused
                found = self._input_slopes(X[rows])
            if not all(np.isfinite(part).all() for part in found):
                raise ValueError(
                    f"X: got query points up to {np.abs(X).max():.0e}, where the kernel has no finite derivatives; "
                    "scale the inputs down"
                )
            for cross, within in zip(found.cross_slopes, found.within, strict=True):
                laws.append(self._gradient_law(Query(cross, np.diag(within).copy(), within)))
        mean, covariance = np.stack([law.mean for law in laws]), np.stack([law.covariance for law in laws])
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            size = f"{np.abs(X).max():.0e}"
            raise ValueError(f"X: got inputs of the size {size}: out of the range of double precision; scale them down")
        return mean, covariance
