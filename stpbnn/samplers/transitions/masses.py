r"""Masses of whitened weights, learned in warm-up: rows of W1 that the data pin down move slower than the others.

Steps are limited by the stiffest directions of the likelihood V. For images these are the weights of the input that
spreads most: on CIFAR-10 their mean curvature is ten times that of the next (analysis/README.md). With masses m_i the
energy is

.. math:: H = \tfrac12 |z|^2 + V(z) + \sum_i \frac{p_i^2}{2 m_i}

and the prior's flow turns coordinate i with the frequency :math:`\omega_i = m_i^{-1/2}`. Masses are mean curvatures,
which gradients alone give, since under the law exp(−U)

.. math:: E[(\partial_i U)^2] = E[\partial_i^2 U], \qquad U = \tfrac12 |z|^2 + V.

Units are exchangeable: the entries of a row share a mass. (Where few units carry the fit, it is theirs, and the others
move less in a trajectory: replica exchange, which lives on such moves, keeps unit masses.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import tree_map_with_path

from stpbnn._validation import shown
from stpbnn.samplers.transitions.gradient import Adaptation, ChainState, Gradient, GradientKernel, Move, start_averaging

__all__ = ["SplitKernel"]

ENDS = (0.1, 0.25, 0.5)  # parts of the warm-up at whose ends masses are set anew, from the gradients since the last end


class Masses(NamedTuple):
    """Frequencies by site, and the gradients gathered since they were set."""

    frequency: Any  # ω = m^{-1/2}: (rows, 1) for a site with a mass for each row, else one number, in as many axes
    squares: Any  # sums of (∂U)², of the same shapes
    gathered: jax.Array  # of how many gradients


class SplitKernel(GradientKernel):
    r"""A kernel of steps that are exact for a standard normal prior, with masses that its warm-up learns.

    .. math:: m = \max(1, \overline{(\partial U)^2})

    over the gradients of a window and the entries that share the mass.

    Parameters
    ----------
    model : callable or None
        A NumPyro model.
    rows : sequence of str or None
        Sites of which each row has a mass of its own, as W1, a row an input; the other sites have one each. None means
        that all masses are one.
    **settings
        As in `GradientKernel`.

    Raises
    ------
    ValueError
        For rows that are not names, and as `GradientKernel`.
    """

    statistics = (*GradientKernel.statistics, "energy")

    def __init__(
        self, model: Callable[..., Any] | None = None, *, rows: Sequence[str] | None = None, **settings: Any
    ) -> None:
        super().__init__(model, **settings)
        names = isinstance(rows, (list, tuple)) and all(isinstance(name, str) for name in rows)
        if rows is not None and not names:
            raise ValueError(
                f"rows: got {shown(rows)}, expected names of sites, such as ('W1',), or None for unit masses"
            )
        self._rows = None if rows is None else tuple(rows)

    @abstractmethod
    def _move(self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array, frequency: Any) -> Move:
        """Return where a trajectory leads whose coordinates turn with these frequencies."""

    def transition(self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array) -> Move:
        """Return where a trajectory leads."""
        masses: Masses | None = state.adapt_state.extra
        if masses is None:
            return self._move(key, gradient, state, z, 1.0)
        of_each = jax.tree.map(lambda w, x: jnp.broadcast_to(w, x.shape), masses.frequency, state.z)
        return self._move(key, gradient, state, z, ravel_pytree(of_each)[0])

    def adapt_extra(self, state: ChainState, move: Move) -> Masses | None:
        """Return the masses after the gradient at the new point: set anew where a window ends."""
        if self._rows is None:
            return None
        before: Masses = state.adapt_state.extra
        slope = ravel_pytree(state.z)[1](move.z_grad)
        squares = jax.tree.map(jnp.add, before.squares, self._shared(jax.tree.map(jnp.square, slope)))
        gathered = before.gathered + 1
        frequency = jax.tree.map(lambda s: 1 / jnp.sqrt(jnp.maximum(s / gathered, 1)), squares)
        anew = Masses(frequency, jax.tree.map(jnp.zeros_like, squares), jnp.zeros_like(gathered))
        return jax.tree.map(partial(jnp.where, self._ends(state.i)), anew, Masses(before.frequency, squares, gathered))

    def _initial_extra(self, z: Any) -> Masses | None:
        if self._rows is None:
            return None
        one = self._shared(jax.tree.map(jnp.ones_like, z))
        return Masses(one, jax.tree.map(jnp.zeros_like, one), jnp.zeros((), int))

    def _shared(self, tree: Any) -> Any:
        """Return means over the entries that share a mass, with as many axes."""

        def mean(path: tuple, x: jax.Array) -> jax.Array:
            by_row = bool(path) and getattr(path[-1], "key", None) in (self._rows or ()) and x.ndim > 1
            return jnp.mean(x, axis=tuple(range(int(by_row), x.ndim)), keepdims=True)

        return tree_map_with_path(mean, tree)

    def _ends(self, i: jax.Array) -> jax.Array:
        """Return whether a window of the warm-up ends with step i, counted from 0."""
        return jnp.isin(i + 1, jnp.asarray([max(int(part * self._num_warmup), 1) for part in ENDS]))

    def _adapt(self, missed: jax.Array, state: ChainState, move: Move) -> Adaptation:
        adapted = super()._adapt(missed, state, move)
        if self._rows is None:
            return adapted
        afresh = start_averaging(jnp.log(adapted.step_size))
        averaging = jax.tree.map(partial(jnp.where, self._ends(state.i)), afresh, adapted.averaging)
        return adapted._replace(averaging=averaging)
