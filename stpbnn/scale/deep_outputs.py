r"""Several outputs of a deep network in any closure: a matrix a layer, all of the same eigenvectors.

With :math:`W_l = V \mathrm{diag}(w_{l1}..w_{lD}) V^T` the outputs f V decouple, each a deep network of one output,

.. math:: S(V, w) = \sum_a S_1(\log w_{\cdot a};\ y v_a), \qquad
          S_1 = \sum_l N_l (w_l - \log w_l) + \log\det A(w) + y^T A(w)^{-1} y

so that nothing larger than P by P is made. Where layers enter by their product alone the minimum over all matrices of a
`WishartChain` lies there; in other closures the common eigenvectors, those of :math:`Q_1`, are part of the closure: an
output sees of the layers above how they stretch its own direction, :math:`v^T Q_l v / v^T Q_{l+1} v`. Then V enters by
the targets alone, and the parts of :math:`Q_2..Q_L` between two eigenvectors by the prior alone.

References
----------
Theory notes, sections 3 and 4; Pacelli et al. (2023); Baglioni et al., arXiv:2412.15911.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import blas, block_diag, expm, lapack

from stpbnn._linalg import mirrored
from stpbnn.kernels import Closure, Tile, feature_map, input_tiles, lower_triangle, map_tiles, renormalised_map
from stpbnn.predictive import Gaussian, IndependentOutputs, JointGaussian
from stpbnn.scale.factorised import FactorisedKernel, refuse_ill_conditioned
from stpbnn.scale.layered import LayeredAction, LayeredEvaluation
from stpbnn.scale.matrix import matrix_saddle_points, of_layers, of_product
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.resolvent import Resolvent
from stpbnn.scale.saddle_point import SaddlePoint, laplace
from stpbnn.scale.steps import descended
from stpbnn.scale.wishart_chain import WishartChain, eliminated

__all__ = ["DeepOutputs"]

MAX_STEPS = 100
FULLY_CONVERGED = 1e-12
CURVATURE = 1e-6  # smallest one of a Newton step, relative to that of the prior
SAME_SCALE = 1e-4  # difference of log q below which a rotation of two outputs moves nothing


class _Point(NamedTuple):
    """S at log w (D, L) and V, with gradient and Hessian in log w and, after them, the angles of rotations of V."""

    log_w: Float[np.ndarray, "D L"]
    V: Float[np.ndarray, "D D"]
    value: float
    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]
    residual: float
    rounding: float
    outputs: list[LayeredEvaluation]


@dataclass(frozen=True)
class DeepOutputs(NetworkProblem):
    """A deep network with D outputs.

    Parameters
    ----------
    closure : {"nested", "global", "wishart"}
        How the order parameters enter the kernel.
    """

    closure: Closure

    @cached_property
    def _rotations(self) -> Float[np.ndarray, "m D D"]:
        """A basis of the antisymmetric matrices: one for each pair of outputs."""
        D = self.y.shape[1]
        pairs = [np.outer(a, b) - np.outer(b, a) for a, b in combinations(np.eye(D), 2)]
        return np.reshape(pairs, (-1, D, D))

    @cached_property
    def _minima(self) -> list[tuple[SaddlePoint, _Point]]:
        """The minima that were found, the lowest first; those of the global closure are the starts."""
        net, tiles = self.net, input_tiles(self.net.prior, self.X)
        K = np.tril(lower_triangle(map_tiles(feature_map(net), tiles), len(self.X)))
        resolvent = Resolvent.spectral(mirrored(K), self.y, self.temperature, net.prior.bias_variance)
        found: list[tuple[SaddlePoint, _Point]] = []
        for start in matrix_saddle_points(resolvent, self.widths):
            q, V = of_product(start.order_parameters)
            point = self._descend(tiles, np.log(WishartChain(self.widths).layers(np.log(q))).T, V)
            if not any(np.isclose(point.value, other.value, rtol=1e-9) for _, other in found):
                found.append((self._saddle_point(point), point))
        return sorted(found, key=lambda pair: pair[0].action)

    def _at(self, tiles: list[Tile], log_w: Float[np.ndarray, "D L"], V: Float[np.ndarray, "D D"]) -> _Point:
        (D, L), turned = log_w.shape, self.y @ V
        R, outputs, rounding = self._rotations, [], 0.0
        m = len(R)
        hessian, of_angles = np.zeros((D * L + m, D * L + m)), np.zeros(m)
        for a in range(D):
            action = LayeredAction(self.net, tiles, np.ascontiguousarray(turned[:, a]), self.temperature, self.closure)
            at = action.at(log_w[a])
            outputs.append(at)
            rounding = max(rounding, action.rounding(at))
            own = slice(a * L, (a + 1) * L)
            hessian[own, own] = action.hessian(at)
            solved, _ = lapack.dpotrs(at.factor, turned, lower=1)
            G = turned.T @ solved  # output a has the element (a, a) of it, whatever V turns it to
            of_angles += 2 * R[:, :, a] @ G[a]
            bent = R[:, :, a] @ G @ R[:, :, a].T + (G[a] @ R) @ R[:, :, a].T
            hessian[D * L :, D * L :] += bent + bent.T
            for layer in range(L):
                slopes = (tile._replace(values=dK[layer]) for tile, dK in zip(tiles, at.tangents, strict=True))
                slope = lower_triangle(slopes, len(turned))
                mixed = -2 * R[:, :, a] @ (solved.T @ blas.dsymv(1.0, slope, at.alpha, lower=1))
                hessian[a * L + layer, D * L :] += mixed
                hessian[D * L :, a * L + layer] += mixed
        gradient = np.concatenate([*(at.gradient for at in outputs), of_angles])
        angle = np.abs(of_angles).max(initial=0.0) / (2 * self.widths.min())
        residual = max(angle, *(at.residual for at in outputs))
        value = sum(at.value for at in outputs)
        return _Point(log_w, V, value, gradient, hessian, residual, rounding, outputs)

    def _descend(self, tiles: list[Tile], log_w: Float[np.ndarray, "D L"], V: Float[np.ndarray, "D D"]) -> _Point:
        def moved(here: _Point, step: Float[np.ndarray, " k"]) -> _Point:
            of_scales, angles = np.split(step, [log_w.size])
            turn = expm(np.tensordot(angles, self._rotations, axes=1))
            return self._at(tiles, here.log_w + of_scales.reshape(log_w.shape), here.V @ turn)

        return descended(
            self._at(tiles, log_w, V),
            moved,
            lambda at: at.hessian,
            smallest=CURVATURE * float(self.widths.min()),
            scale=float(self.widths.sum()) * len(log_w),
            steps=MAX_STEPS,
            settled=lambda at: at.residual < max(FULLY_CONVERGED, at.rounding),
        )

    def _saddle_point(self, at: _Point) -> SaddlePoint:
        """Return the minimum with its evidence: the Hessian is that in the invariant coordinates of all matrices."""
        (D, L), widths, w = at.log_w.shape, self.widths, np.exp(at.log_w).T
        first, second = np.triu_indices(D, 1)
        apart = at.log_w.sum(axis=1)[second] - at.log_w.sum(axis=1)[first]
        volume = np.sqrt(8) * np.abs(np.sinh(apart / 2))  # volume of an angle in orthonormal coordinates of log Q_1
        together = np.abs(apart) < SAME_SCALE
        units = np.concatenate([np.ones(D * L), 1 / np.where(together, np.inf, volume)])
        hessian = at.hessian * units * units[:, None]
        # where two outputs have one scale, the coordinate stretches one and shrinks the other
        for pair in np.flatnonzero(together):
            blocks = [slice(a * L, (a + 1) * L) for a in (first[pair], second[pair])]
            stretch = np.mean([at.hessian[block, block] for block in blocks], axis=0)
            hessian[D * L + pair, D * L + pair] = 1 / np.linalg.solve(stretch, np.ones(L)).sum()
        tops = np.concatenate([widths[:1, None] * w[:1], np.diff(widths)[:, None] + widths[:-1, None] * w[:-1]])
        pivots = eliminated(widths, tops, w)[1:, first, second].ravel()
        prior = np.concatenate([np.tile(widths, D), np.full(len(first), widths[0]), np.repeat(widths[1:], len(first))])
        hessian = block_diag(hessian, np.diag(pivots))
        evidence = laplace(at.value, hessian, prior, float(widths.sum() * D), self.y.size)
        return SaddlePoint(of_layers(w, at.V), at.value, max(at.residual, at.rounding), hessian, evidence)

    def saddle_points(self) -> list[SaddlePoint]:
        """Return the minima of the action that were found, the lowest first."""
        return [point for point, _ in self._minima]

    def conditioned(self, point: SaddlePoint) -> TurnedOutputs:
        """Return the Gaussian processes at a saddle point, with the factorisations of the last step."""
        (at,) = (at for other, at in self._minima if other is point)
        processes = []
        for log_w, output in zip(at.log_w, at.outputs, strict=True):
            refuse_ill_conditioned(output.factor)
            kernel = renormalised_map(self.net, np.exp(log_w), self.closure)
            given = self.net.prior, self.X, kernel, output.alpha, self.temperature, output.factor
            processes.append(FactorisedKernel.factorised(*given))
        return TurnedOutputs(processes, at.V)

    def saddle_gradient(self, point: SaddlePoint) -> Float[np.ndarray, " m"]:
        """Refuse: the gradient of this evidence is not known."""
        raise ValueError(
            f"optimizer: got a search for a network of {self.net.outputs} outputs and {self.net.depth} hidden layers "
            f"with the closure {self.closure!r}; learn with closure='global', and give its network_ and temperature_"
        )


@dataclass(frozen=True)
class TurnedOutputs:
    """Outputs that are independent after a rotation V: g = f V, each with a kernel of its own."""

    processes: list[FactorisedKernel]
    rotation: Float[np.ndarray, "D D"]

    def mean(self, X: Float[np.ndarray, "n N0"]) -> Float[np.ndarray, "n D"]:
        """Return the mean of f at query points."""
        return np.stack([process.mean(X) for process in self.processes], axis=-1) @ self.rotation.T

    def law(self, X: Float[np.ndarray, "n N0"], *, joint: bool, noise: bool) -> Gaussian:
        """Return the law of f, or of a new target, at query points."""
        laws = [process.law(X, joint=joint, noise=noise) for process in self.processes]
        if not joint:
            return self._turned(laws)
        covariances = [law.covariance for law in laws if isinstance(law, JointGaussian)]
        error = max(law.error for law in laws if isinstance(law, JointGaussian))
        return IndependentOutputs.joint(
            np.stack([law.mean for law in laws], axis=-1), covariances, self.rotation, error
        )

    def left_out(self, y: Float[np.ndarray, "P D"]) -> Gaussian:
        """Return the law of each target given the others; the outputs of an example are left out together."""
        targets = (y @ self.rotation).T
        return self._turned([process.left_out(t) for process, t in zip(self.processes, targets, strict=True)])

    def _turned(self, laws: list[Gaussian]) -> Gaussian:
        mean, variance = (
            np.stack(parts, axis=-1) for parts in zip(*((law.mean, law.variance) for law in laws), strict=True)
        )
        return Gaussian(mean @ self.rotation.T, variance @ self.rotation.T**2)
