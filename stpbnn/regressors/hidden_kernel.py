r"""What the hidden kernel has learned: its posterior mean, one hidden layer and one output.

.. math::
    E[\hat K \mid y, Q] = K_1 + \frac{Q}{N_1} K_1 (\alpha\alpha^T - A^{-1}) K_1, \qquad \alpha = A^{-1} y,

with :math:`\hat K = \sigma(h)\sigma(h)^T / (\lambda_1 N_1)`: exact given Q for linear networks, otherwise under the
Gaussian ansatz. It is a diagnostic, not a predictor: put back into the prediction it leads away from the exact one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from stpbnn import _validation as check
from stpbnn._memory import refuse_beyond
from stpbnn.kernels import cross_kernel, feature_map
from stpbnn.network import Convolutional
from stpbnn.scale import Columns, FactorisedKernel, MeanKept, OneScale

__all__ = ["kernel_overlap", "posterior_hidden_kernel"]


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


def posterior_hidden_kernel(model: Any, X: np.ndarray) -> np.ndarray:
    """Return the posterior mean of the kernel of the hidden features at checked inputs, of a fitted regressor."""
    net = model.network_
    problem, process = getattr(model, "_problem", None), getattr(model, "_process", None)
    if net.depth > 1 or net.outputs > 1 or isinstance(problem, MeanKept) or isinstance(net, Convolutional):
        raise ValueError(
            f"network: got a {type(net).__name__} of {check.plural(net.depth, 'hidden layer')}, "
            f"{check.plural(net.outputs, 'output')} and the activation {net.sigma.name!r}, expected a "
            "FullyConnected of one hidden layer, one output and a kernel without a mean of its own (mean='drop')"
        )
    if isinstance(process, Columns):
        raise ValueError(f"noise: got {model.noise!r}, expected 'gaussian', under which alone the mean is known")
    refuse_beyond(3 * 8 * len(X) ** 2, f"X: got {len(X)} inputs, whose kernels", "take fewer at once")
    features = feature_map(net)
    cross = cross_kernel(features, net.prior, X, model.X_train_).entries
    cross = model._design.targets(np.asarray(cross).T)[1].T
    K = cross_kernel(features, net.prior, X).entries
    if isinstance(process, FactorisedKernel):
        mean = cross @ process.alpha
        explained = solve_triangular(process.factor, cross.T, lower=True, check_finite=False)
        return K + model.order_parameters_[0] / net.widths[0] * (np.outer(mean, mean) - explained.T @ explained)
    assert isinstance(problem, OneScale)
    return K + problem.hidden_shift(model.order_parameter_posterior_, cross) / net.widths[0]
