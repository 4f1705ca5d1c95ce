r"""Masses of whitened weights, learned in warm-up: rows of W1 that the data pin down move slower than the others.

Steps are limited by the stiffest directions of the likelihood V. For images these are the weights of the input that
spreads most: their curvature is ten times that of the next and hundreds of times that of most. With masses m_i the
energy is

.. math:: H = \tfrac12 |z|^2 + V(z) + \sum_i \frac{p_i^2}{2 m_i}

and the prior's flow turns coordinate i with the frequency :math:`\omega_i = m_i^{-1/2}`. Masses are mean curvatures,
which gradients alone give, since under the law exp(−U)

.. math:: E[(\partial_i U)^2] = E[\partial_i^2 U], \qquad U = \tfrac12 |z|^2 + V.

Units are exchangeable: the entries of a row share a mass.
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
from numpyro.infer.hmc_util import dual_averaging

from stpbnn._validation import shown
from stpbnn.samplers.transitions.gradient import Adaptation, ChainState, Gradient, GradientKernel, Move

__all__ = ["Masses", "SplitKernel", "after", "first_masses", "frequencies", "named_rows", "restarted", "window_ends"]

ENDS = (0.1, 0.25, 0.5)  # parts of the warm-up at whose ends masses are set anew, from the gradients since the last end


class Masses(NamedTuple):
    """Frequencies by site, and the gradients gathered since they were set."""

    frequency: (
        Any  # ω = m^{-1/2}: (rows, 1) for a site with a mass for each row, or one number in as many axes as it has
    )
    squares: Any  # sums of (∂U)², of the same shapes
    count: jax.Array


def named_rows(rows: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names as a tuple; ValueError for anything else.

    Parameters
    ----------
    rows : sequence of str or None
        Sites whose rows have a mass each.
    """
    if rows is None:
        return None
    if isinstance(rows, str) or not isinstance(rows, Sequence) or not all(isinstance(name, str) for name in rows):
        raise ValueError(f"rows: got {shown(rows)}, expected names of sites, such as ('W1',), or None for unit masses")
    return tuple(rows)


def _pooled(rows: tuple[str, ...], path: tuple, x: jax.Array) -> jax.Array:
    """Return means over the entries that share a mass, with as many axes."""
    apart = bool(path) and getattr(path[-1], "key", None) in rows and x.ndim > 1
    return jnp.mean(x, axis=tuple(range(int(apart), x.ndim)), keepdims=True)


def first_masses(rows: tuple[str, ...], z: Any) -> Masses:
    """Return unit masses for sites of these shapes.

    Parameters
    ----------
    rows : tuple of str
        Sites whose rows have a mass each; any other site has one.
    z : mapping of str to array
        Positions by site.
    """
    one = tree_map_with_path(partial(_pooled, rows), jax.tree.map(jnp.ones_like, z))
    return Masses(one, jax.tree.map(jnp.zeros_like, one), jnp.zeros((), int))


def frequencies(masses: Masses, z: Any) -> jax.Array:
    """Return ω of every coordinate, flat.

    Parameters
    ----------
    masses : Masses
        The masses.
    z : mapping of str to array
        Positions by site.
    """
    return ravel_pytree(jax.tree.map(lambda w, x: jnp.broadcast_to(w, x.shape), masses.frequency, z))[0]


def after(rows: tuple[str, ...], masses: Masses, slope: Any, ends: jax.Array) -> Masses:
    r"""Return the masses after one more gradient, set anew where a window ends.

    .. math:: m = \max(1, \overline{(\partial U)^2})

    Parameters
    ----------
    rows : tuple of str
        Sites whose rows have a mass each.
    masses : Masses
        The masses before.
    slope : mapping of str to array
        The gradient of U by site.
    ends : jax.Array
        Whether a window ends here.
    """
    new = tree_map_with_path(partial(_pooled, rows), jax.tree.map(jnp.square, slope))
    squares, count = jax.tree.map(jnp.add, masses.squares, new), masses.count + 1
    set_anew = jax.tree.map(lambda s: 1 / jnp.sqrt(jnp.maximum(s / count, 1)), squares)
    reset = Masses(set_anew, jax.tree.map(jnp.zeros_like, squares), jnp.zeros_like(count))
    return jax.tree.map(partial(jnp.where, ends), reset, Masses(masses.frequency, squares, count))


def window_ends(i: jax.Array, num_warmup: int) -> jax.Array:
    """Return whether a window of the warm-up, of this many steps, ends with step i, counted from 0.

    Parameters
    ----------
    i : jax.Array
        The step.
    num_warmup : int
        Steps of the warm-up.
    """
    return jnp.isin(i + 1, jnp.asarray([max(int(part * num_warmup), 1) for part in ENDS]))


def restarted(ends: jax.Array, step_size: jax.Array, averaging: Any) -> Any:
    """Return the state of the step size's dual averaging, begun anew at this step size where a window ends.

    Parameters
    ----------
    ends : jax.Array
        Whether a window ends here.
    step_size : jax.Array
        The step size.
    averaging : tuple
        The state before.
    """
    return jax.tree.map(partial(jnp.where, ends), dual_averaging()[0](jnp.log(step_size)), averaging)


class SplitKernel(GradientKernel):
    """A kernel of steps that are exact for a standard normal prior, with masses that its warm-up learns.

    Parameters
    ----------
    model : callable or None
        A NumPyro model.
    rows : sequence of str or None
        Sites of which each row has a mass of its own, as W1, a row an input; the other sites have one each. None means
        that all masses are one.
    **settings
        As in `GradientKernel`.
    """

    statistics = (*GradientKernel.statistics, "energy")

    def __init__(
        self, model: Callable[..., Any] | None = None, *, rows: Sequence[str] | None = None, **settings: Any
    ) -> None:
        super().__init__(model, **settings)
        self._rows = named_rows(rows)

    @abstractmethod
    def move(
        self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array, frequency: jax.Array | float
    ) -> Move:
        """Return where a trajectory leads whose coordinates turn with these frequencies."""

    def transition(self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array) -> Move:
        """Return where a trajectory leads."""
        masses = state.adapt_state.extra
        return self.move(key, gradient, state, z, 1.0 if masses is None else frequencies(masses, state.z))

    def _initial_extra(self, z: Any) -> Masses | None:
        return None if self._rows is None else first_masses(self._rows, z)

    def adapt_extra(self, state: ChainState, move: Move) -> Masses | None:
        """Return the masses after the gradient at the new point."""
        if self._rows is None:
            return None
        slope = ravel_pytree(state.z)[1](move.z_grad)
        return after(self._rows, state.adapt_state.extra, slope, window_ends(state.i, self._num_warmup))

    def _adapt(self, missed: jax.Array, state: ChainState, move: Move) -> Adaptation:
        adapted = super()._adapt(missed, state, move)
        if self._rows is None:
            return adapted
        ends = window_ends(state.i, self._num_warmup)
        return adapted._replace(averaging=restarted(ends, adapted.step_size, adapted.averaging))
