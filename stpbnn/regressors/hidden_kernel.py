r"""What the hidden kernel has learned: its posterior mean, one hidden layer and one output.

.. math::
    E[\hat K \mid y, Q] = K_1 + \frac{Q}{N_1} K_1 (\alpha\alpha^T - A^{-1}) K_1, \qquad \alpha = A^{-1} y,

with :math:`\hat K = \sigma(h)\sigma(h)^T / (\lambda_1 N_1)`: exact given Q for linear networks, otherwise under the
Gaussian ansatz. It is a diagnostic, not a predictor: put back into the prediction it leads away from the exact one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn._memory import refuse_beyond
from stpbnn._precision import in_float64
from stpbnn.kernels import cross_kernel, feature_map
from stpbnn.regressors.learning import EvidenceRegressor
from stpbnn.scale import FactorisedKernel, MeanKept, OneScale, OrderParameterPosterior

__all__ = ["HiddenKernelRegressor", "kernel_overlap"]


def kernel_overlap(K1: ArrayLike, K2: ArrayLike) -> float:
    r"""Return the overlap of two kernels on the same inputs: the cosine between them as vectors.

    .. math:: \frac{\mathrm{tr}\, K_1 K_2}{\|K_1\|_F\, \|K_2\|_F}

    Parameters
    ----------
    K1, K2 : arrays of shape (n, n)
        Symmetric kernels on the same inputs, neither of them zero; the kernel of the task itself is y y^T.

    Returns
    -------
    float
        One for kernels that are proportional to each other.

    Raises
    ------
    ValueError
        If they are not two finite square matrices of one shape, or one is zero.

    References
    ----------
    Theory notes, section 4 (posterior mean of the hidden kernel).

    Examples
    --------
    The hidden layer turns from its prior, K_1 = 1/4, towards the task.

    >>> from stpbnn import FiniteWidthRegressor, FullyConnected
    >>> X, y = np.eye(4), np.array([1.0, 1.0, -1.0, -1.0])
    >>> learned = FiniteWidthRegressor(FullyConnected((5,), "linear"), temperature=0.1).fit(X, y).posterior_kernel()
    >>> [round(kernel_overlap(K, np.outer(y, y)), 2) for K in (np.eye(4) / 4, learned)]
    [0.5, 0.83]
    """
    K1, K2 = check.array("K1", K1), check.array("K2", K2)
    if K1.shape != K2.shape or K1.ndim != 2 or K1.shape[0] != K1.shape[1]:
        raise ValueError(f"K1, K2: got shapes {K1.shape} and {K2.shape}, expected two square matrices of one shape")
    norms = np.linalg.norm(K1), np.linalg.norm(K2)
    if not (np.isfinite(norms).all() and min(norms) > 0):
        raise ValueError(f"K1, K2: got matrices of norms {norms[0]:g} and {norms[1]:g}, expected finite ones, not zero")
    return float(np.vdot(K1 / norms[0], K2 / norms[1]))


class HiddenKernelRegressor(EvidenceRegressor):
    """Regressors that know the posterior mean of the kernel of one hidden layer."""

    order_parameter_posterior_: OrderParameterPosterior

    @in_float64
    def posterior_kernel(self, X: ArrayLike | None = None) -> np.ndarray:
        r"""Return the posterior mean of the kernel of the hidden features.

        .. math:: E[\hat K \mid y] = K_1 + \frac{Q}{N_1} K_1 (\alpha\alpha^T - A^{-1}) K_1,
                  \qquad \hat K = \sigma(h)\sigma(h)^T / (\lambda_1 N_1)

        at the order parameter that was learned, or averaged over its posterior. A change of relative order 1/N_1: a
        diagnostic of what the hidden layer has learned, not to be put back into the prediction.

        Parameters
        ----------
        X : array of shape (n, N_0) or None
            Inputs; None means the training inputs.

        Returns
        -------
        array of shape (n, n)
            The kernel, in the units of K_1 = κ(C)/λ_1 (without the output bias).

        Raises
        ------
        ValueError
            For several hidden layers, several outputs, or an activation whose mean is kept.

        References
        ----------
        Theory notes, section 4.
        """
        check_is_fitted(self, "X_train_")
        net = self.network_
        problem, process = getattr(self, "_problem", None), getattr(self, "_process", None)
        if net.depth > 1 or net.outputs > 1 or isinstance(problem, MeanKept):
            raise ValueError(
                f"network: got {net.depth} hidden layer(s), {net.outputs} output(s) and activation {net.sigma.name!r}, "
                "expected one hidden layer, one output and a kernel without a mean of its own (mean='drop')"
            )
        inputs = self.X_train_ if X is None else self._query_points(X)
        refuse_beyond(3 * 8 * len(inputs) ** 2, f"X: got {len(inputs)} inputs, whose kernels", "take fewer at once")
        features = feature_map(net)
        cross = cross_kernel(features, net.prior, inputs, self.X_train_).entries
        K = cross_kernel(features, net.prior, inputs).entries
        if isinstance(process, FactorisedKernel):
            mean = cross @ process.alpha
            explained = solve_triangular(process.factor, cross.T, lower=True, check_finite=False)
            return K + self.order_parameters_[0] / net.widths[0] * (np.outer(mean, mean) - explained.T @ explained)
        assert isinstance(problem, OneScale)
        return K + problem.hidden_shift(self.order_parameter_posterior_, cross) / net.widths[0]
