r"""The prior of the matrices of several layers: a chain of Wishart laws, and its action at a given product.

In a linear network with D outputs the readout gives the last layer a matrix, and each layer below one of its own,

.. math:: Q_l \mid Q_{l+1} \sim \mathrm{Wishart}_D(N_l,\ Q_{l+1} / N_l), \qquad Q_{L+1} = 1, \qquad
          \mathrm{vec}(f) \mid Q_1 \sim N(0,\ Q_1 \otimes K_L)

With :math:`W_l = Q_{l+1}^{-1/2} Q_l Q_{l+1}^{-1/2}` the chain's part of the action is
:math:`\sum_l N_l (\mathrm{tr}\,W_l - \log\det W_l)`. At fixed product :math:`Q_1 = V \mathrm{diag}(q) V^T` it is
lowest where all :math:`W_l` have these eigenvectors (Horn's inequalities), and eigenvalues with
:math:`\prod_l w_l = q` and the same :math:`N_l (w_l - 1)` in every layer. About such a point, in the invariant
coordinates :math:`Q_l^{1/2} \exp(X_l) Q_l^{1/2}`, its second derivatives couple neighbouring layers alone, one pair
(a, b) of eigenvectors at a time.

References
----------
Theory notes, section 4; Baglioni et al., arXiv:2412.15911 and arXiv:2605.29684.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

__all__ = ["WishartChain", "eliminated"]

NEWTON_STEPS = 60


class WishartChain(NamedTuple):
    """The matrices of L layers of N_1..N_L units, reduced to their product.

    Examples
    --------
    Two layers of one width share a product q = 4 as 2 and 2; the price is that of both.

    >>> chain = WishartChain(np.array([10.0, 10.0]))
    >>> chain.layers(np.log([4.0])).ravel().tolist(), round(float(chain.value(np.log([4.0]))), 6)
    ([2.0, 2.0], 26.137056)
    """

    widths: Float[np.ndarray, " L"]

    @property
    def narrowest(self) -> float:
        """The smallest width."""
        return float(self.widths.min())

    def _log_narrowest(self, s: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
        """Return log w of the narrowest layer at log q = s: Newton's method on a rising convex function."""
        u = np.array(s, dtype=np.float64)
        for _ in range(NEWTON_STEPS):
            w = self._layers(u)
            share = self.narrowest / self.widths[:, None] * np.exp(u) / w
            step = (np.log(w).sum(axis=0) - s) / share.sum(axis=0)
            u -= step
            if not np.any(np.abs(step) > 4 * np.finfo(np.float64).eps * (1 + np.abs(u))):
                break
        return u

    def _layers(self, u: Float[np.ndarray, " D"]) -> Float[np.ndarray, "L D"]:
        share = (self.narrowest / self.widths)[:, None]
        return share * np.exp(u) + (1 - share)

    def layers(self, s: Float[np.ndarray, " D"]) -> Float[np.ndarray, "L D"]:
        """Return the eigenvalues w of every layer at those log q = s of the product."""
        return self._layers(self._log_narrowest(s))

    def value(self, s: Float[np.ndarray, " D"]) -> float:
        """Return the prior's part of the action at log q = s."""
        w = self.layers(s)
        return float(self.widths @ (w.sum(axis=1) - np.log(w).sum(axis=1)))

    def slope(self, s: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
        """Return its derivatives in s: N_l (w_l - 1), the same number for all layers."""
        return self.narrowest * np.expm1(self._log_narrowest(s))

    def curvatures(self, s: Float[np.ndarray, " D"]) -> Float[np.ndarray, "L D D"]:
        """Return the pivots of the second derivatives, layer by layer from above, for every pair of eigenvectors.

        The first is the curvature of the product's own coordinate once the layers above have been eliminated.
        """
        w = self.layers(s)
        return eliminated(self.widths, self.widths[:, None] * w, w)


def eliminated(widths: Any, tops: Any, w: Any, xp: ModuleType = np) -> Any:
    """Return the pivots (L, D, D) of the chain's second derivatives, from the last layer down to the first.

    Parameters
    ----------
    widths : array of shape (L,)
        N_1..N_L.
    tops : array of shape (L, D)
        The curvature of a layer's own term in its coordinate: N_l w_l at a stationary point of a chain that enters by
        its product alone.
    w : array of shape (L, D)
        Eigenvalues of the W_l.
    xp : module
        The array library: numpy or jax.numpy.
    """
    half = (tops[:, :, None] + tops[:, None, :]) / 2
    pulls = widths[:, None, None] * (w[:, :, None] + w[:, None, :]) / 2
    links = widths[:, None, None] * xp.sqrt(w[:, :, None] * w[:, None, :])
    pivots = [half[-1] + (pulls[-2] if len(widths) > 1 else 0.0)]
    for layer in range(len(widths) - 2, -1, -1):
        below = pulls[layer - 1] if layer else 0.0
        pivots.append(half[layer] + below - links[layer] ** 2 / pivots[-1])
    return xp.stack(pivots[::-1])
