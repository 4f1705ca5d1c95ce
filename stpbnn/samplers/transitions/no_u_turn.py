"""The no-U-turn sampler for whitened weights: NumPyro's trees over steps that are exact for the prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.infer.hmc_util import IntegratorState, build_tree, euclidean_kinetic_energy

from stpbnn._validation import integer
from stpbnn.samplers.transitions.gradient import ChainState, Gradient, Move
from stpbnn.samplers.transitions.hamiltonian import LARGEST_ANGLE, rotate_and_kick
from stpbnn.samplers.transitions.masses import SplitKernel

__all__ = ["SplitNUTS"]


class SplitNUTS(SplitKernel):
    r"""The no-U-turn sampler that integrates a standard normal prior exactly.

    Trajectories double until they turn back, as in `numpyro.infer.NUTS`, whose trees these are; a step of angle θ is
    the one of `SplitHMC`, as are its masses. No trajectory is longer than about half a
    turn, after which the prior would lead back: its depth is at most log₂(1 + π/θ), to the nearest integer. It is right
    for every potential, and made for U(z) = |z|²/2 + V(z): the whitened weights of a network.

    Parameters
    ----------
    model : callable or None
        A NumPyro model.
    potential_fn : callable or None
        U(z) in place of a model.
    step_size : float
        The angle θ of a step, or where its adaptation starts.
    max_tree_depth : int
        A trajectory has fewer than 2**max_tree_depth steps, whatever their size.
    target_accept_prob : float or None
        Acceptance rate to which the warm-up adapts the step size; None keeps the step size, and the masses.
    rows : sequence of str or None
        Sites of which each row has a mass of its own, learned in warm-up, as the weights of one input in W1; the other
        sites have one mass each. None means that all masses are one. The named samplers of `stpbnn.sample` have
        ("W1",).

    Raises
    ------
    ValueError
        For a step size, depth or rate out of range, and rows that are no names.

    References
    ----------
    M. Hoffman, A. Gelman, Journal of Machine Learning Research 15, 1593 (2014).
    B. Shahbaba, S. Lan, W. Johnson, R. Neal, Statistics and Computing 24, 339 (2014).

    Examples
    --------
    >>> from numpyro.infer import MCMC
    >>> from stpbnn import FullyConnected, programs
    >>> kernel = SplitNUTS(programs.marginal_network(FullyConnected((8,))))
    >>> mcmc = MCMC(kernel, num_warmup=20, num_samples=10, num_chains=2, chain_method="vectorized", progress_bar=False)
    >>> mcmc.run(jax.random.key(0), jnp.eye(4), jnp.ones(4), temperature=0.1)
    >>> mcmc.get_samples()["W1"].shape
    (20, 4, 8)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        potential_fn: Callable[[Any], jax.Array] | None = None,
        step_size: float = 0.3,
        max_tree_depth: int = 10,
        target_accept_prob: float | None = 0.8,
        rows: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            model,
            potential_fn=potential_fn,
            step_size=step_size,
            target_accept_prob=target_accept_prob,
            rows=rows,
            **settings,
        )
        self.max_tree_depth = integer("max_tree_depth", max_tree_depth)

    def _move(self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array, frequency: Any) -> Move:
        """Draw a momentum, and a point of a trajectory that ends where it turns back."""
        of_momentum, of_tree = jax.random.split(key)
        p = jax.random.normal(of_momentum, z.shape, z.dtype)
        angle = jnp.minimum(state.adapt_state.step_size, LARGEST_ANGLE)
        depth = jnp.clip(jnp.round(jnp.log2(1 + math.pi / angle)), 1, self.max_tree_depth).astype(int)

        def step(angle: jax.Array, _: Any, at: tuple) -> IntegratorState:
            z, p, _, slope = at
            return IntegratorState(*rotate_and_kick(gradient, angle * frequency, z, p, slope))

        tree = build_tree(
            step,
            euclidean_kinetic_energy,
            IntegratorState(z, p, state.potential_energy, state.z_grad),
            jnp.ones_like(z),
            angle,
            of_tree,
            max_tree_depth=(depth, self.max_tree_depth),
        )
        return Move(
            tree.z_proposal,
            tree.z_proposal_pe,
            tree.z_proposal_grad,
            tree.z_proposal_energy,
            tree.num_proposals,
            tree.sum_accept_probs / tree.num_proposals,
            tree.diverging,
        )
