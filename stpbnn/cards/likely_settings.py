"""Settings of a first card that infinite width finds likeliest: the temperature of numbers, the spread of classes."""

from __future__ import annotations

import numpy as np
from scipy import linalg

__all__ = ["likely_precision", "likely_temperature"]

TEMPERATURES = np.geomspace(1e-3, 1, 31)
PRECISIONS = (0.01, 0.03, 0.1, 0.3, 1.0)  # precisions of the readout
ROWS = 500  # rows that are looked at, times contrasts of classes


def likely_temperature(X: np.ndarray, y: np.ndarray) -> float:
    r"""Return the temperature at which infinite width explains the targets best, of a few between 0.001 and 1.

    .. math:: -2 \log p(y) = y^T (K + T)^{-1} y + \log\det(K + T) + P \log 2\pi

    Parameters
    ----------
    X : array of shape (P, N_0)
        Inputs; the first 500 rows are looked at.
    y : array of shape (P,) or (P, D)
        Targets.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> 0.03 <= likely_temperature(X, X[:, 0] + rng.normal(scale=0.3, size=200)) <= 0.3
    True
    """
    from stpbnn.kernels import NNGPKernel
    from stpbnn.network import FullyConnected

    X, y = X[:ROWS], y[:ROWS].reshape(len(y[:ROWS]), -1)
    K = NNGPKernel(FullyConnected((1,), "erf", bias_precision=1.0))(X)
    spectrum, modes = linalg.eigh(K)
    weights = np.sum((modes.T @ y) ** 2, axis=1)
    shifted = np.maximum(spectrum, 0)[:, None] + TEMPERATURES
    score = np.sum(weights[:, None] / shifted + y.shape[1] * np.log(shifted), axis=0)
    return float(f"{TEMPERATURES[score.argmin()]:.1g}")


def likely_precision(X: np.ndarray, labels: np.ndarray) -> float:
    """Return the precision of readout weights at which infinite width explains class labels best, of a few up to one.

    The latent function has the variance 1/precision and more: at one, probabilities stay far from zero and one.

    Parameters
    ----------
    X : array of shape (P, N_0)
        Inputs; the first 500 rows are looked at, fewer for many classes.
    labels : array of shape (P,)
        Class labels.

    Examples
    --------
    >>> X = np.linspace(-2, 2, 60)[:, None]
    >>> likely_precision(X, X[:, 0] > 0) < likely_precision(X, np.arange(60) % 2)
    True
    """
    from stpbnn.classifiers import NNGPClassifier
    from stpbnn.network import FullyConnected

    classes = len(np.unique(labels))
    outputs, rows = 1 if classes == 2 else classes, ROWS // (classes - 1)
    X, labels = X[:rows], labels[:rows]
    if len(np.unique(labels)) < classes:
        return 0.1

    def score(precision: float) -> float:
        net = FullyConnected((1,), "erf", outputs, weight_precision=(1.0, precision), bias_precision=1.0)
        return float(NNGPClassifier(net, approximation="ep").fit(X, labels).log_marginal_likelihood_)

    return max(PRECISIONS, key=score)
