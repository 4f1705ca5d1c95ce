"""The errors of simulated theories: those of too few particles, and those of too small clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from stpbnn import _validation as check
from stpbnn import adaptive
from stpbnn._blas import one_thread
from stpbnn._precision import in_float64
from stpbnn.regressors.errors import GeneralizationError, StandardError, error_parts, finite_error

if TYPE_CHECKING:
    from stpbnn.network import FullyConnected

__all__ = ["ParticleErrors"]


class ParticleErrors:
    """The Monte Carlo error and the systematic error of what populations of clusters predict."""

    network_: FullyConnected
    y_train_: np.ndarray
    cluster_: int
    _process: adaptive.AdaptiveProcess
    _smaller: list[adaptive.AdaptiveProcess]
    _halved: adaptive.AdaptiveProcess | None
    _chunks: Any
    drift_: float
    particle_bias_: float
    acceptance_: float
    autocorrelation_: float

    def _told(self, failed: str) -> str:
        """Return what a check that failed says, and what helps."""
        return {
            "drift": f"its averages drift by {self.drift_:.1f} standard errors; give more particles, a larger max_iter "
            "or other clusters: there may be no solution for so narrow a network or so low a temperature",
            "particles": f"half of the particles change it by {self.particle_bias_:.1f} standard errors; give more",
            "acceptance": f"of the moves {self.acceptance_:.0%} are accepted; give a larger max_iter",
            "lost": "its kernels grew beyond all bounds: there is no solution; take larger clusters",
            "stuck": f"its units hardly move (autocorrelation {self.autocorrelation_:.3f}), and their agreement shows "
            "nothing; give larger clusters or cluster='auto', or sample the network",
            "clusters": "larger clusters, which would show whether the prediction still moves with their size, do not "
            "fit into memory; give fewer particles or a machine with more memory",
        }[failed]

    @in_float64
    def predict_populations(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return what each independent population of particles predicts alone: means and variances of f.

        Their spread is the Monte Carlo error of the prediction, and tells nothing of the error of the theory.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Query points.

        Returns
        -------
        means, variances : arrays of shape (populations, n), or (populations, n, D)
        """
        return self._apart(self._process, X)

    def _apart(self, process: adaptive.AdaptiveProcess, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        chunks = self._chunks(X)
        with one_thread(max(sum(map(len, chunks)), self.y_train_.size)):
            parts = [process.predict_apart(chunk) for chunk in chunks]
        means = np.concatenate([[group.mean for group in groups] for groups in parts], axis=1)
        variances = np.concatenate([[group.covariance.T for group in groups] for groups in parts], axis=1)
        return (means[..., 0], variances[..., 0]) if self.network_.outputs == 1 else (means, variances)

    def _pooled(self, process: adaptive.AdaptiveProcess, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        means, variances = self._apart(process, X)
        return np.mean(means, axis=0), np.mean(variances, axis=0)

    @in_float64
    def _of_half(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return what the populations of half the size predict; of older files none."""
        return (np.empty(0), np.empty(0)) if self._halved is None else self._apart(self._halved, X)

    @in_float64
    def _by_size(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return means and variances, over populations, of clusters of half the size (NaN if unknown) and of this size.

        A cluster that is the network counts as both.
        """
        here = self._pooled(self._process, X)
        if self.cluster_ == self.network_.widths[-1]:
            before = here
        elif self._smaller:
            before = self._pooled(self._smaller[0], X)
        else:
            before = np.full_like(here[0], np.nan), np.full_like(here[1], np.nan)
        return np.array([before[0], here[0]]), np.array([before[1], here[1]])

    def standard_error(self, X: ArrayLike) -> StandardError:
        """Return Monte Carlo standard errors of the mean and of the variance of f, at query points (n, N_0).

        What half of the particles change beyond the noise is part of it.
        """
        pairs = zip(self.predict_populations(X), self._of_half(X), strict=True)
        return StandardError(*(adaptive.monte_carlo_error(whole, halved) for whole, halved in pairs))

    def systematic_error(self, X: ArrayLike) -> StandardError:
        """Return how mean and variance of f depend on the size of clusters, at query points (n, N_0).

        It is what the last doubling of the clusters changed; zero where a cluster is the network, NaN where only one
        size was solved.
        """
        return StandardError(*(np.abs(np.diff(part, axis=0)[0]) for part in self._by_size(X)))

    def generalization_error_standard_error(self, X: ArrayLike, y: ArrayLike) -> GeneralizationError:
        """Return the Monte Carlo standard error of the generalisation error, and of its two parts.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Test inputs.
        y : array of shape (n,) or (n, D)
            Test targets.
        """
        whole, halved = self.predict_populations(X), self._of_half(X)
        y = check.targets("y", y, examples=whole[0].shape[1], outputs=self.network_.outputs)
        with np.errstate(over="ignore", invalid="ignore"):  # refused
            less = error_parts(*halved, y) if len(halved[0]) else ([], [], [])
            pairs = zip(error_parts(*whole, y), less, strict=True)
            return finite_error((adaptive.monte_carlo_error(*pair) for pair in pairs), y)

    def generalization_error_systematic_error(self, X: ArrayLike, y: ArrayLike) -> GeneralizationError:
        """Return how the generalisation error, and its two parts, depend on the size of clusters.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Test inputs.
        y : array of shape (n,) or (n, D)
            Test targets.
        """
        means, variances = self._by_size(X)
        y = check.targets("y", y, examples=means.shape[1], outputs=self.network_.outputs)
        with np.errstate(over="ignore", invalid="ignore"):  # refused
            return finite_error((np.abs(np.diff(part)[0]) for part in error_parts(means, variances, y)), y)
