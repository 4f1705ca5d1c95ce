"""Settings of a first card that infinite width finds likeliest: the temperature of numbers, the spread of classes."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy import linalg

__all__ = ["Outliers", "likely_outliers", "likely_precision", "likely_temperature"]

TEMPERATURES = np.geomspace(1e-3, 1, 31)
PRECISIONS = (0.01, 0.03, 0.1, 0.3, 1.0)  # precisions of the readout
ROWS = 500  # rows that are looked at, times contrasts of classes
FAR = 6.0  # standard deviations of a target from what the others say, as the median target has them
QUARTILE = 0.6744897501960817  # of the standard normal law


class Outliers(NamedTuple):
    """How many targets, of how many that were looked at, are far from what the others say; T without them."""

    far: int
    rows: int
    temperature: float


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
    y = y[:ROWS].reshape(len(y[:ROWS]), -1)
    spectrum, modes = _spectrum(X[:ROWS])
    weights = np.sum((modes.T @ y) ** 2, axis=1)
    shifted = np.maximum(spectrum, 0)[:, None] + TEMPERATURES
    score = np.sum(weights[:, None] / shifted + y.shape[1] * np.log(shifted), axis=0)
    return float(f"{TEMPERATURES[score.argmin()]:.1g}")


def likely_outliers(X: np.ndarray, y: np.ndarray, temperature: float) -> Outliers | None:
    """Return what is known of outliers among the targets, or nothing where noise with heavy tails predicts no better.

    Targets are far from what the others say at infinite width, in units of what the median target is; and each given
    the others is likelier under Student's t noise, at the temperature that suits the rest.

    Parameters
    ----------
    X, y : arrays of shape (P, N_0) and (P,) or (P, D)
        Training set, of which the first 500 rows are looked at.
    temperature : float
        T > 0, that of Gaussian noise.

    Examples
    --------
    >>> x = np.linspace(-2, 2, 40)
    >>> y = np.tanh(x) + 0.1 * np.random.default_rng(0).normal(size=40)
    >>> y[5] += 4
    >>> likely_outliers(x[:, None], y, 0.3).far
    1
    """
    from stpbnn.network import FullyConnected
    from stpbnn.regressors import NNGPRegressor

    X, y = X[:ROWS], y[:ROWS].reshape(len(y[:ROWS]), -1)
    spectrum, modes = _spectrum(X)
    inverse = (modes / (np.maximum(spectrum, 0) + temperature)) @ modes.T
    away = np.abs(inverse @ y) / np.sqrt(np.diag(inverse))[:, None]
    far = (away > FAR / QUARTILE * np.median(away, axis=0)).any(axis=1)
    if not far.any():
        return None
    found = Outliers(int(far.sum()), len(X), likely_temperature(X[~far], y[~far]))
    net = FullyConnected((1,), "erf", y.shape[1], bias_precision=1.0)
    plain, tails = NNGPRegressor(net, temperature=temperature), NNGPRegressor(net, temperature=found.temperature)
    with warnings.catch_warnings(action="ignore"):
        tails.set_params(noise="student-t").fit(X, y)
        better = tails.converged_ and tails.loo_log_score() > plain.fit(X, y).loo_log_score()
    return found if better else None


def _spectrum(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of the kernel of a wide network at inputs."""
    from stpbnn.kernels import NNGPKernel
    from stpbnn.network import FullyConnected

    spectrum, modes = linalg.eigh(NNGPKernel(FullyConnected((1,), "erf", bias_precision=1.0))(X))
    return spectrum, modes


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
