"""Self-consistent clusters of units: a network whose kernel adapts to the task."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from sklearn.base import MultiOutputMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check
from stpbnn import adaptive
from stpbnn._blas import one_thread
from stpbnn._memory import fits, refuse_beyond
from stpbnn._precision import in_float64
from stpbnn._random import random_numbers, seed_of
from stpbnn.network import FullyConnected
from stpbnn.regressors.network_regressor import NetworkRegressor
from stpbnn.regressors.particle_errors import ParticleErrors
from stpbnn.regressors.proportional import ProportionalLimitRegressor

__all__ = ["AdaptiveKernelRegressor"]


class AdaptiveKernelRegressor(MultiOutputMixin, ParticleErrors, NetworkRegressor):
    r"""Bayesian network whose kernel adapts to the task, by self-consistent clusters.

    .. math:: p(h_1 \dots h_n) \propto \prod_i N(h_i; 0, C)\, |w|^{1/2} e^{c^T w c/2}, \qquad
              c_i = a\cdot\sigma_i/\sqrt N, \quad w = (\lambda_1 + \sigma_i^T R\, \sigma_j / N)^{-1},

    in the fields a and R of all other units. With :math:`K_w = \tfrac1n E \sum_{ij} w_{ij} \sigma_i \sigma_j^T`,
    :math:`(T + K_w - \tfrac nN T R K_w)\, a = y`, and R follows from the covariance of what a cluster adds to f.
    Clusters of one unit are the self-consistent neuron; one of all N units is the posterior. Particles represent
    their law. Theories that rescale the kernel of infinite width are n = 1 with Gaussian features; infinite width is
    N → ∞. T > 0. Predictive laws are Gaussian, with mean and variance of the theory. D outputs share
    the units: kernels are matrices of D × D blocks, and predictive laws keep the covariance within each output.

    Parameters
    ----------
    network : FullyConnected or None
        The network; None means FullyConnected((200,)) with as many outputs as y. Of more than two hidden layers, or of
        two and several outputs, only the whole as one cluster is known.
    temperature : float
        T > 0, the variance of the Gaussian likelihood.
    particles : int
        How many hidden units the four populations simulate, four clusters each at least; two further populations of
        half the size come on top. Better twice the number of examples or more.
    cluster : int or "auto"
        How many units n are sampled jointly, a divisor of the width. "auto" doubles n until the prediction moves by
        less than its standard error, or a cluster is the network, which comes next where units are stuck. Of several
        hidden layers the width of the last is known, for all units of all layers, which "auto" takes, and of two and
        one output also 1.
    reaction : bool
        Whether to correct for the reaction of the others on a cluster itself, a relative n/N.
    second_start : bool
        Whether to search once more, from strongly tilted units, which takes as long again. Of two fixed points that
        have settled, or of two that have not, that of the larger log evidence is taken.
    max_iter : int
        How many times particles may move before a search is given up; each size of clusters is a search.
    random_state : int, numpy Generator, RandomState or None
        Seed of the particles.

    Attributes
    ----------
    kernel_ : array of shape (P, P), or (D, D, P, P)
        K_w, the adapted kernel on the training inputs, without the output bias.
    cluster_, clusters_ : int, list of int
        The size of the clusters, and all sizes that were solved.
    tilt_ : float
        Mean of c^T w c/n over clusters, how far units have left the prior.
    readout_second_moment_ : float or array of shape (D, D)
        λ_1 E v v^T, to be compared with the sampled readout norm λ_1 |v|²/N_1; one under the prior.
    log_marginal_likelihood_ : float
        Log evidence, a Bethe free energy. It is computed when it is first asked for: a third of the time of the fit.
        NaN for single units of two hidden layers.
    fixed_points_ : list of FixedPoint
        What both searches found, where there were two, the solution that is used first.
    history_ : array
        Relative residual of K_w a, one number for each update of a population.
    n_iter_ : int
        How many times the particles moved, in the search for this size.
    drift_, particle_bias_ : float
        Drift of the averages, and what half of the particles change, in their standard errors, when the search ended.
    acceptance_, autocorrelation_ : float
        Of the particles' moves: their mean acceptance, and the correlation of the tilt from one move to the next. Near
        one it tells of units that are stuck on one side of a barrier.
    converged_, failed_checks_ : bool, tuple of str
        Whether the search had settled, and which of its checks failed: "drift", "particles", "acceptance",
        "lost", "clusters", "stuck".
    network_, temperature_, seed_ : FullyConnected, float, int
        What was used.

    References
    ----------
    docs/adaptive.md, which derives it. A relative: Seroussi, Naveh, Ringel, Nat. Commun. 14, 908 (2023).

    Examples
    --------
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> net = FullyConnected((1000,), "linear")
    >>> model = AdaptiveKernelRegressor(net, temperature=1 / 3, particles=512, random_state=0).fit(X, y)
    >>> [round(value, 1) + 0.0 for value in model.predict(X).tolist()]
    [0.5, 0.0, -0.5]
    """

    fixed_points_: list[adaptive.FixedPoint]

    _learned = (*NetworkRegressor._learned, "seed_")

    def __init__(
        self,
        network: FullyConnected | None = None,
        *,
        temperature: float = 0.01,
        particles: int = 4096,
        cluster: int | str = 1,
        reaction: bool = True,
        second_start: bool = False,
        max_iter: int = 300,
        random_state: Any = None,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.particles = particles
        self.cluster = cluster
        self.reaction = reaction
        self.second_start = second_start
        self.max_iter = max_iter
        self.random_state = random_state

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.temperature == 0:
            raise ValueError(
                "temperature: got 0, expected a number greater than 0: the fields of a hidden unit are the residuals "
                "over T; give a small temperature, or use ProportionalLimitRegressor"
            )
        for name in ("reaction", "second_start"):
            check.boolean(name, getattr(self, name))
        random_numbers(self.random_state)
        check.integer("particles", self.particles, minimum=16)
        check.integer("max_iter", self.max_iter, minimum=12)
        adaptive.cluster_size(self.cluster)
        net = self.network
        if not self.reaction and (self.cluster != 1 or (net is not None and net.widths[-1] == 1)):
            raise ValueError(
                f"cluster: got {self.cluster!r} with reaction=False, expected 1 of several units: clusters react"
            )
        if net is None or net.depth == 1:
            return
        adaptive.refuse_unknown("cluster", self.cluster, net.depth, net.outputs, net.widths[-1])
        if self.second_start:
            raise ValueError(
                f"second_start: got True for {net.depth} hidden layers, expected False: one layer alone has it"
            )

    def _condition(self) -> None:
        X, net = self.X_train_, self.network_
        check.room_for_kernels("X", len(X), matrices=50 * net.outputs**2)
        smallest = adaptive.smallest_size(net.depth, net.outputs, net.widths[-1])
        self._refuse_beyond_memory(smallest if self.cluster == "auto" else self._divisor())
        self.seed_ = seed_of(self.random_state)
        self._solve()
        if self.cluster not in (self.cluster_, "auto"):
            warnings.warn(
                f"cluster: got {self.cluster}, no divisor of the width {net.widths[-1]}; {self.cluster_} is taken",
                stacklevel=5,
            )
        if self.particles < 2 * len(X):
            warnings.warn(
                f"particles: got {self.particles} for {len(X)} examples, expected at least {2 * len(X)}: fewer "
                "particles than twice the dimension of the kernel that they average leave it noisy",
                stacklevel=5,
            )
        if not self.converged_:
            warnings.warn(
                f"the self-consistent kernel has not settled after {self.n_iter_} moves, clusters of {self.cluster_}: "
                f"{'; '.join(self._told(name) for name in self.failed_checks_)}",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _divisor(self) -> int:
        """Return the number of units in a cluster, which divides the width."""
        N, n = self.network_.widths[-1], int(self.cluster)
        if n > N:
            raise ValueError(f'cluster: got {n} units, expected at most {N}, the width; or "auto"')
        if N % n == 0:
            return n
        return adaptive.nearest_divisor(n, N)

    def _refuse_beyond_memory(self, cluster: int) -> None:
        """Refuse clusters whose features and readouts, with those of their twins, do not fit into memory."""
        what = f"particles: got {self.particles}, in clusters of {cluster}, whose features"
        refuse_beyond(self._needed(cluster), what, "take fewer particles, or smaller clusters")

    def _needed(self, cluster: int) -> int:
        """Return the bytes that clusters of a size take."""
        units, outputs = adaptive.units_of(int(self.particles), cluster), self.network_.outputs
        units_below = sum(self.network_.widths[:-1]) if cluster == self.network_.widths[-1] else 0  # in one network
        links = 4 * (units // cluster) * max(self.network_.widths) * units_below
        return 4 * (2 * units * len(self.X_train_) + 4 * units * cluster * outputs**2 + links)

    def _solve(self, arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Search for the fixed point, or take what an earlier search found."""
        net, X, y = self.network_, self.X_train_, self.y_train_
        known = adaptive.unpacked(arrays, len(X), y.size) if arrays else None  # None: an older file
        space = adaptive.RowSpace.of(net.prior, X) if known is None else known[0]
        problem = adaptive.posed(net, X, y, self.temperature_, space, bool(self.reaction))
        self._sizes, self.fixed_points_ = self._searched(problem) if known is None else known[1:]
        found, points = self._sizes[0], self.fixed_points_
        self._evidence = points[0].log_evidence if points else float("nan") if found.lost else None

        def process(some: adaptive.Populations) -> adaptive.AdaptiveProcess:
            here = problem.resized(some.cluster)
            return adaptive.AdaptiveProcess(net, X, here, space, some.averages, some.snapshots, self.seed_)

        self._process, self._smaller = process(found.whole), [process(each.whole) for each in self._sizes[1:]]
        self._halved = process(found.halved) if found.halved.averages else None
        self.cluster_, self.clusters_ = found.whole.cluster, [each.whole.cluster for each in self._sizes[::-1]]
        blocks = adaptive.Averages.of(found.whole.averages).K.reshape(net.outputs, len(X), net.outputs, len(X))
        self.kernel_ = blocks[0, :, 0] if net.outputs == 1 else blocks.transpose(0, 2, 1, 3)
        self.tilt_, self.drift_, self.particle_bias_, self.n_iter_ = found.tilt, found.drift, found.bias, found.moves
        self.converged_, self.failed_checks_ = found.converged, found.failed
        self.history_, self.acceptance_, self.autocorrelation_ = found.history, found.acceptance, found.autocorrelation
        second = found.second_moment * problem.precision
        self.readout_second_moment_ = second.item() if net.outputs == 1 else second

    def _searched(self, problem: adaptive.Problem) -> tuple[list[adaptive.Solution], list[adaptive.FixedPoint]]:
        """Return what is found from the prior or, where asked, from tilted units: that of the larger evidence."""
        net, K = self.network_, np.kron(np.eye(self.network_.outputs), problem.kernel)
        if net.depth == 1 or net.outputs == 1:
            saddle = ProportionalLimitRegressor(net, temperature=self.temperature_, mean="drop")
            Q = np.asarray(saddle.fit(self.X_train_, self.y_train_).order_parameters_)
            K = np.kron(np.atleast_2d(Q.squeeze() if net.depth == 1 else np.prod(Q)), problem.kernel)
        settings = self.particles, self.seed_, self.max_iter
        if self.cluster == "auto":
            sizes = adaptive.doubled(problem, adaptive.Start(K, K), *settings, lambda n: fits(self._needed(n)))
        else:
            problem = problem.resized(self._divisor())
            sizes = [adaptive.solve(problem, adaptive.Start(K, K), *settings)]
        if self.second_start:
            problem = problem.resized(sizes[0].whole.cluster)
            other = adaptive.solve(problem, adaptive.Start(K, K, self._tilted(problem, sizes[0])), *settings)
            too_small = tuple(check for check in sizes[0].failed if check == "clusters")  # whatever the start
            other = other._replace(failed=(*other.failed, *too_small))
            both = {"prior": sizes[0], "tilted": other}
            points = [(self._fixed_point(problem, *pair), pair[1]) for pair in both.items()]
            points.sort(key=lambda point: (not point[0].converged, -np.nan_to_num(point[0].log_evidence, nan=-np.inf)))
            return [points[0][1], *sizes[1:]], [point for point, _ in points]
        return sizes, []

    def _tilted(self, problem: adaptive.Problem, found: adaptive.Solution) -> jax.Array:
        """Return units that feel twice the fields of a solution."""
        averages = adaptive.Averages.of(found.whole.averages)
        a, R = adaptive.fields(problem, averages.K, adaptive.Response.of(problem, averages.covariance()))
        return adaptive.anneal(problem, adaptive.Fields(2 * a, R), self.particles, self.seed_).units

    def _log_evidence(self, problem: adaptive.Problem, averages: list[adaptive.Averages]) -> float:
        whole = adaptive.Averages.of(averages)
        with one_thread(len(problem.y)), contextlib.suppress(np.linalg.LinAlgError):
            there = adaptive.fields(problem, whole.K, adaptive.Response.of(problem, whole.covariance()))
            log_z = adaptive.anneal(problem, there, max(self.particles, 16 * problem.cluster), self.seed_).log_z
            return adaptive.log_evidence(problem, whole, log_z)
        return float("nan")  # where a search was lost its kernels may be of no use

    def _fixed_point(self, problem: adaptive.Problem, start: str, found: adaptive.Solution) -> adaptive.FixedPoint:
        second = np.trace(found.second_moment) * problem.precision / problem.outputs
        evidence = float("nan") if found.lost else self._log_evidence(problem, found.whole.averages)
        return adaptive.FixedPoint(start, evidence, float(second), found.tilt, found.converged)

    @property
    def log_marginal_likelihood_(self) -> float:  # type: ignore[override]
        """Log evidence, computed when it is first asked for."""
        check_is_fitted(self, "seed_")
        if self._process.problem.above:
            return float("nan")  # not known
        if self._evidence is None:
            self._evidence = in_float64(self._log_evidence)(self._process.problem, self._process.averages)
        return self._evidence

    @property
    def _numbers(self) -> np.ndarray:
        return np.empty(0)  # a search that is lost says so by a warning

    @property
    def _arrays(self) -> dict[str, np.ndarray]:  # type: ignore[override]
        return adaptive.packed(self._process.space, self._sizes, self.fixed_points_)

    def _recondition(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._solve(arrays)

    def _predictive(self, X: np.ndarray, *, joint: bool, noise: bool) -> Any:
        return self._process.predict(X, joint=joint).law(self.temperature_ if noise else 0.0)
