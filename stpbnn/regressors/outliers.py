"""Regressors whose noise may have outliers: settings, search, and laws of new targets, clean ones or any."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning

from stpbnn import _validation as check
from stpbnn._linalg import mirrored
from stpbnn.regressors.evidence_search import Hyperparameters
from stpbnn.regressors.learnable import Learnable
from stpbnn.scale import ACCURACY, Columns, Downweighted, OutlierMoments, StudentNoise, Units, noise_of_new

__all__ = ["AUTO", "OF_NOISE", "OUTLIER_NOISES", "TAILS", "Noisy", "WithOutliers"]

TAILS, AUTO = "student-t", "auto"
OUTLIER_NOISES = (TAILS, "robust")
OF_NOISE = ("noise_df_", "centre_", "loo_log_scores_")  # what is learned of it
CORE = 3.0  # standard deviations about the median beyond which a target says nothing of the size of the others
FAR = 2.0  # times as far, beyond which it may be an outlier
OF_SEARCH = 1e-5  # accuracy of moments, of which the square is that of the evidence
LEAST_NOISE = 1e-6  # of the mean squared spread of the plausible targets, below which a search matches no moments
MATCHED = 1e-7  # relative accuracy of an evidence that is found by iteration
QUARTILE = 0.6744897501960817  # of the standard normal law


class Noisy(Hyperparameters, Protocol):
    """Hyper-parameters with those of the noise among them."""

    @property
    def temperature(self) -> float:
        """T."""

    @property
    def noise_df(self) -> float:
        """The degrees of freedom of the noise."""

    @property
    def free(self) -> tuple[str, ...]:
        """What is learned beside the kernel."""


class WithOutliers[H: Noisy](Learnable[H]):
    """Regressors with noise "student-t" or "robust" among their settings, or with the choice of the first.

    A model adds its kernel at hyper-parameters, and the units of its targets.
    """

    noise: str
    loo_log_scores_: dict[str, float] | None = None  # of the noises that were to choose from
    trend: str
    noise_df: float
    contamination: float
    optimize_noise_df: bool
    noise_df_: float | None
    centre_: Float[np.ndarray, "P ..."] | None
    _visited: list[tuple[np.ndarray, list[np.ndarray]]] | None = None  # theta of a search, and the sites there
    _process: Any
    _query: Any
    _units: Units
    _noises_of_weights: tuple[str, ...] = ("gaussian",)

    def _kernel_at(self, at: H) -> Float[np.ndarray, "P P"]:
        """Return the kernel of the training set at hyper-parameters; its lower triangle is read."""
        raise NotImplementedError

    @property
    def noise_(self) -> str:
        """The noise of the fit: as given, or of "auto" that of the highest leave-one-out log score."""
        scores = self.loo_log_scores_
        return max(scores, key=scores.__getitem__) if scores else self.noise

    @property
    def _outliers(self) -> bool:
        """Whether the noise has outliers."""
        return self.noise_ in OUTLIER_NOISES

    def _check_settings(self) -> None:
        check.number("noise_df", self.noise_df)
        check.number("contamination", self.contamination)
        if self.contamination >= 0.5:
            raise ValueError(f"contamination: got {self.contamination!r}, expected a number between 0 and 0.5")
        if self.optimize_noise_df and self.noise not in (TAILS, AUTO):
            raise ValueError(f"optimize_noise_df: got True with noise={self.noise!r}, expected noise='student-t'")
        if self.noise in (*OUTLIER_NOISES, AUTO):
            self._check_outlier_settings()
        super()._check_settings()

    def _check_outlier_settings(self) -> None:
        """Refuse what the noises with outliers do not have."""
        here = f"with noise={self.noise!r}"
        if getattr(self, "optimize_df", False) and self.noise != AUTO:
            raise ValueError(
                f"optimize_df: got True {here}, whose function is a Gaussian process without df; say False"
            )
        if self.trend != "zero":
            raise ValueError(
                f"trend: got {self.trend!r} {here}, expected 'zero'; add a ConstantKernel or a DotProduct to the "
                "kernel, or give the network biases"
            )
        if np.ndim(self.temperature) or self.temperature == 0:
            given = "an array" if np.ndim(self.temperature) else 0
            raise ValueError(f"temperature: got {given} {here}, expected a number greater than 0")

    def _refuse_weights(self) -> None:
        plain = " or ".join(map(repr, self._noises_of_weights))
        raise ValueError(f"sample_weight: got weights with noise={self.noise!r}, expected noise={plain}")

    def _weighted(self, X: np.ndarray, y: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, np.ndarray]:
        if self._outliers:
            self._refuse_weights()
        return super()._weighted(X, y, sample_weight)

    def _take_up(self, found: H) -> None:
        super()._take_up(found)
        self.noise_df_ = found.noise_df if self.noise_ == TAILS else None

    @property
    def _at_bounds(self) -> dict[tuple[str, str], str]:
        return {("noise_df", "upper"): "the data have no outliers: take noise='gaussian'"}

    @property
    def _tolerance(self) -> float:
        return MATCHED if self.noise_ == TAILS else super()._tolerance

    @property
    def _temperature_bounds(self) -> tuple[float, float]:
        lowest, highest = super()._temperature_bounds
        if self.noise_ != TAILS:
            return lowest, highest
        spread = float(np.mean((self._plausible - self._core[0]) ** 2) / (np.mean(self._modelled**2) or 1.0))
        return LEAST_NOISE * (spread or 1.0), highest

    def _columns(self, K: Float[np.ndarray, "P P"], at: H) -> Columns:
        """Return the process at a kernel matrix, of which the lower triangle is read."""
        K, T = mirrored(K), at.temperature
        outputs = self._modelled.reshape(len(K), -1).T
        if self.noise_ == TAILS:
            return Columns(tuple(self._matched(K, outputs, at)), self._modelled.shape)
        assert self.centre_ is not None
        centres = self._units.normalised(self.centre_).reshape(len(K), -1).T
        settings = self.contamination, self._repeated
        columns = (Downweighted.of(K, y, T, centre, *settings) for y, centre in zip(outputs, centres, strict=True))
        return Columns(tuple(columns), self._modelled.shape)

    @property
    def _repeated(self) -> list[np.ndarray]:
        """Which training examples have one input, of the inputs that have several."""
        X = self.X_train_.reshape(len(self.X_train_), -1)
        _, input_of, times = np.unique(X, axis=0, return_inverse=True, return_counts=True)
        order = np.split(np.argsort(input_of, kind="stable"), np.cumsum(times)[:-1])
        return [examples for examples in order if len(examples) > 1]

    def _matched(self, K: np.ndarray, outputs: np.ndarray, at: H) -> list[OutlierMoments]:
        """Match moments: of a search to less accuracy, beginning where those of the nearest place ended."""
        noise = StudentNoise(at.temperature, at.noise_df)
        if self._visited is None:
            return [OutlierMoments.of(K, y, noise) for y in outputs]
        away = [float(np.linalg.norm(theta - at.theta)) for theta, _ in self._visited]
        near = self._visited[int(np.argmin(away))][1] if away else [None] * len(outputs)
        starts = zip(outputs, near, strict=True)
        found = [OutlierMoments.of(K, y, noise, near=start, accuracy=OF_SEARCH) for y, start in starts]
        if all(one.converged for one in found):
            self._visited.append((at.theta, [one.gentle.learnt for one in found]))
        return found

    def _starts(self) -> list[H]:
        """Return where searches start: without outliers also at the values as given, which may lead higher."""
        return super()._starts() + [self._hyperparameters] * (not self._outliers)

    def _search(self) -> bool:
        """Search; under robust noise twice, with weights that follow what the first search led to."""
        if self.noise_ != "robust":
            self._visited = []
            try:
                return super()._search()
            finally:
                self._visited = None
        found = self._centre_at(self._start() if self._searched else self._hyperparameters)
        settled = super()._search()
        if self._searched:
            found = self._centre_at(self._hyperparameters)
            settled = super()._search()
        if not found:
            warnings.warn(
                "noise: what the other targets say of each one was not found, and targets count by their distance from "
                "what was known before; raise the temperature, or take noise='student-t'",
                ConvergenceWarning,
                stacklevel=4,
            )
        return settled and found

    def _centre_at(self, at: H) -> bool:
        """Compare each target with its mean given the others under Student's t noise; return whether that was found."""
        K, noise = mirrored(self._kernel_at(at)), StudentNoise(at.temperature, self.noise_df)
        fits = [OutlierMoments.of(K, y, noise) for y in self._modelled.reshape(len(K), -1).T]
        found = all(fit.converged for fit in fits)
        if found:
            means = np.stack([fit.left_out()[0] for fit in fits], axis=-1).reshape(self._modelled.shape)
            self.centre_ = self._units.restored(means)
        return found

    def _prepare(self) -> None:
        self.noise_df_ = float(self.noise_df) if self.noise_ == TAILS else None
        middle = np.median(self.y_train_, axis=0)
        self.centre_ = np.broadcast_to(middle, self.y_train_.shape) if self.noise_ == "robust" else None
        super()._prepare()

    @property
    def _plausible(self) -> Float[np.ndarray, "P ..."]:
        """The targets, those far from the median moved nearer, where there may be outliers."""
        if not self._outliers:
            return super()._plausible
        middle, reach = self._core
        return np.clip(self._modelled, middle - reach, middle + reach)

    @property
    def _core(self) -> tuple[np.ndarray, np.ndarray]:
        """The medians of the targets, and how far from these they say something of the size of the others."""
        middle = np.median(self._modelled, axis=0)
        reach = CORE / QUARTILE * np.median(np.abs(self._modelled - middle), axis=0)
        return middle, np.where(reach > 0, reach, np.inf)  # most targets are equal

    @property
    def _remedy(self) -> str:
        middle, reach = self._core
        far = not self._outliers and (np.abs(self._modelled - middle) > FAR * reach).any()
        return "; some targets are far from all others: if they are outliers, take noise='student-t'" if far else ""

    def _explained(self) -> float:
        """Return R² at the training inputs, with medians in place of means where there may be outliers."""
        if not self._outliers:
            return super()._explained()
        rest = self._modelled - self._fitted()
        spread = np.median(np.abs(self._modelled - np.median(self._modelled, axis=0)))
        return 1 - float(np.median(np.abs(rest)) / spread) ** 2 if spread > 0 else 1.0

    def _judge(self) -> None:
        if self._outliers and not self._process.error < ACCURACY:
            warnings.warn(
                "noise: the moments of the function were not found; give a larger temperature or more noise_df",
                ConvergenceWarning,
                stacklevel=7,
            )
        super()._judge()

    @property
    def noise_variance_(self) -> float | None:
        """The variance of the noise of a new target under noise "robust": T, or where T is learned that of the score.

        In the units of targets as they are modelled; None under other noises.
        """
        if self.noise_ != "robust":
            return None
        learned = self._searched and "temperature" in self._hyperparameters.free
        return noise_of_new(self._process.columns) if learned else self.temperature_

    def _moments(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._process.moments(self._query(X), self._units) if self._outliers else super()._moments(X)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: Any) -> Any:
        return self._process.predictive(self._query(X, joint=joint), self._noise_of_new(noise, joint), self._units)

    def _checked_noise(self, noise: Any) -> Any:
        if (self._outliers or self.noise == AUTO) and isinstance(noise, str):
            if noise != "clean":
                raise ValueError(f"noise: got {check.shown(noise)}, expected True, False or 'clean'")
            return noise if self._outliers else True
        return check.boolean("noise", noise)

    def _noise_of_new(self, noise: Any, joint: bool) -> Any:
        """Return what is added to f: a variance, or weights and variances of a mixture."""
        if not noise:
            return 0.0
        if self.noise_ != TAILS:
            return self.noise_variance_ if self.noise_ == "robust" else self.temperature_
        assert self.noise_df_ is not None
        law = StudentNoise(self.temperature_, self.noise_df_)
        if noise == "clean":
            return law.clean_variance
        if joint:
            raise ValueError(
                "joint: got True with noise=True, of which the joint law has no closed form under noise='student-t'; "
                "give noise='clean' or False, or joint=False"
            )
        return law.mixture
