r"""Replica exchange: one chain as a ladder of replicas, from the posterior to the prior, that swap their places.

Replica k samples the power posterior of inverse temperature β_k,

.. math:: p_k(z) \propto p(z)\, p(y \mid z)^{\beta_k}, \qquad 1 = \beta_0 > \beta_1 > \dots > \beta_{K-1},

by Hamiltonian steps that are exact for the prior. After each trajectory neighbours swap with probability
min(1, exp[(β_k − β_{k+1})(V_k − V_{k+1})]), V = −log p(y | z), first the even pairs and then the odd ones: a walker
keeps its direction until a swap is refused, so that round trips take O(K) steps. During warm-up the gaps of the ladder
adapt until all pairs swap at the same rate. Down to β = 0 the ladder gives the evidence, by stepping stones:

.. math:: \log p(y) = \sum_k \log E_{k+1}\, p(y \mid z)^{\beta_k - \beta_{k+1}}
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import initialize_model, potential_energy
from numpyro.primitives import Message, Messenger
from numpyro.util import is_prng_key

from stpbnn._validation import integer, number, shown
from stpbnn.samplers.transitions.gradient import Adaptation, ChainState, GradientKernel, next_averaging, start_averaging
from stpbnn.samplers.transitions.hamiltonian import SplitHMC

__all__ = ["Tempered"]

REPLICAS = 12
JACOBIAN = re.compile("_.*_log_det")  # what NumPyro adds to the prior for a site with constraints
STEEPNESS = 5  # the ladder starts as β_k = (1 − k/(K − 1))^5: more replicas near the prior, where V changes most


class _Powered(Messenger):
    """A model whose likelihood is taken to a power; its prior stays."""

    def __init__(self, model: Callable[..., Any] | None, power: jax.Array) -> None:
        self.power = power
        super().__init__(model)

    def process_message(self, msg: Message) -> None:
        if msg["type"] == "sample" and msg["is_observed"] and not JACOBIAN.fullmatch(msg["name"]):
            msg["scale"] = self.power if msg.get("scale") is None else self.power * msg["scale"]


class Ladder(NamedTuple):
    """The replicas of a chain, the posterior's first; arrays (K, ...) lead with the rung."""

    z: jax.Array  # flat positions
    step_size: jax.Array
    averaging: Any  # the states of the step sizes' dual averaging
    log_gaps: jax.Array  # (K − 1,) logarithms of β_k − β_{k+1}, up to a common constant
    walker: jax.Array  # the walker at each rung
    was_hot: jax.Array  # of each walker: whether it has come from the last rung since it was at the first


class TemperedState(NamedTuple):
    """The state of a chain; what a ChainState has is that of the posterior's replica."""

    i: jax.Array
    z: Any
    potential_energy: jax.Array
    z_grad: jax.Array
    energy: jax.Array
    num_steps: jax.Array
    accept_prob: jax.Array
    mean_accept_prob: jax.Array
    diverging: jax.Array
    adapt_state: Adaptation
    rng_key: jax.Array
    ladder: Ladder
    power: jax.Array  # (K,) β
    swap_prob: jax.Array  # (K − 1,) probability of each swap, taken or not
    stepping_stone: jax.Array  # (K − 1,) (β_k − β_{k+1}) log p(y | z_{k+1})
    round_trips: jax.Array  # since the warm-up, over all walkers


class Tempered(GradientKernel):
    r"""Replica exchange around `SplitHMC`, for posteriors of several modes; gives the evidence too.

    Parameters
    ----------
    model : callable
        A NumPyro model; its observed sites are the likelihood, which must not vanish anywhere.
    replicas : int
        K, the number of replicas. Neighbours should swap in 20 to 40 % of the tries; take more replicas where they do
        not. The hotter a replica, the fewer steps its trajectory has; on a GPU, where all move in step, a transition
        costs K trajectories of the posterior.
    lowest : float
        β of the last replica, from 0 (the prior, which the evidence needs) to below 1.
    step_size : float
        The angle of a step, where the adaptation of each replica starts.
    trajectory_length : float
        Mean length of a trajectory as an angle; shorter than that of one chain alone, for swaps between them.
    target_accept_prob : float or None
        Acceptance rate of trajectories to which the step sizes are adapted.
    **settings
        `init_strategy`, as in `GradientKernel`.

    Raises
    ------
    ValueError
        If there is no model, or for settings out of range.

    References
    ----------
    S. Syed, A. Bouchard-Côté, G. Deligiannidis, A. Doucet, Journal of the Royal Statistical Society B 84, 321 (2022):
    even and odd swaps, rates that are equal. W. Xie et al., Systematic Biology 60, 150 (2011): stepping stones.

    Examples
    --------
    >>> from stpbnn import FullyConnected, programs
    >>> kernel = Tempered(programs.marginal_network(FullyConnected((8,))), replicas=16)
    >>> kernel.statistics[-4:]
    ('power', 'swap_prob', 'stepping_stone', 'round_trips')
    """

    statistics = (*GradientKernel.statistics, "energy", "power", "swap_prob", "stepping_stone", "round_trips")

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        replicas: int = REPLICAS,
        lowest: float = 0.0,
        step_size: float = 0.3,
        trajectory_length: float = math.pi / 5,
        target_accept_prob: float | None = 0.8,
        **settings: Any,
    ) -> None:
        if model is None or "potential_fn" in settings:
            given = "None" if model is None else "a potential"
            raise ValueError(f"model: got {given}, expected a NumPyro model: only its observed sites are tempered")
        super().__init__(model, step_size=step_size, target_accept_prob=target_accept_prob, **settings)
        self._replicas = integer("replicas", replicas, minimum=2)
        self._lowest = number("lowest", lowest, inclusive=True)
        if not self._lowest < 1:
            raise ValueError(f"lowest: got {shown(lowest)}, expected an inverse temperature from 0 to below 1")
        self._length = number("trajectory_length", trajectory_length)
        self._within = SplitHMC(model, trajectory_length=self._length, target_accept_prob=target_accept_prob)

    def transition(self, key: jax.Array, gradient: Any, state: ChainState, z: jax.Array) -> Any:
        """Return what a trajectory of one replica leads to."""
        return self._within.transition(key, gradient, state, z)

    def init(self, rng_key: jax.Array, num_warmup: int, init_params: Any, model_args: tuple, model_kwargs: dict) -> Any:
        """Return the first state, every replica at a draw of the prior; or a batch of them for a batch of keys."""
        self._num_warmup = integer("num_warmup", num_warmup, minimum=0)
        if init_params is not None:
            raise ValueError("init_params: got a start, expected None: every replica starts at a draw of the prior")
        if is_prng_key(rng_key):
            return jax.tree.map(
                lambda x: x[0], self.init(rng_key[None], num_warmup, init_params, model_args, model_kwargs)
            )
        keys = jax.vmap(partial(jax.random.split, num=1 + self._replicas))(rng_key)
        starts, _, self._postprocess, _ = initialize_model(
            keys[:, 1:].ravel(),
            self.model,
            dynamic_args=True,
            init_strategy=self._init_strategy,
            model_args=model_args,
            model_kwargs=model_kwargs,
        )
        of_chains = jax.tree.map(lambda x: x.reshape(len(keys), self._replicas, *x.shape[1:]), tuple(starts))
        return jax.vmap(self._start)(keys[:, 0], *of_chains)

    def sample(self, state: Any, model_args: tuple, model_kwargs: dict) -> Any:
        """Return the state after a trajectory of every replica and a round of swaps; or a batch of them."""
        step = partial(self._step, model_args, dict(model_kwargs or {}))
        return (step if is_prng_key(state.rng_key) else jax.vmap(step))(state)

    def _start(self, key: jax.Array, starts: Any, energies: jax.Array, slopes: Any) -> TemperedState:
        z = jax.vmap(lambda tree: ravel_pytree(tree)[0])(starts)
        cold = jax.tree.map(lambda x: x[0], starts)
        K, dtype = self._replicas, z.dtype
        step_size = jnp.full(K, self._step_size, dtype)
        betas = jnp.linspace(1, 0, K, dtype=dtype) ** STEEPNESS
        averaging = jax.vmap(start_averaging)(jnp.log(step_size))
        log_gaps = jnp.log(betas[:-1] - betas[1:])
        ladder = Ladder(z, step_size, averaging, log_gaps, jnp.arange(K), jnp.zeros(K, bool))
        zero, none, pairs = jnp.zeros((), dtype), jnp.zeros((), int), jnp.zeros(K - 1, dtype)
        U, slope = energies[0], ravel_pytree(jax.tree.map(lambda x: x[0], slopes))[0]
        adaptation = Adaptation(step_size[0], None)
        now = (none, cold, U, slope, U, none, zero, zero, jnp.array(False), adaptation, key)
        return TemperedState(*now, ladder, betas, pairs, pairs, none)

    def _powers(self, log_gaps: jax.Array) -> jax.Array:
        """Return β_0 = 1 to β_{K-1}, the lowest, with these gaps."""
        above = jnp.cumsum(jax.nn.softmax(log_gaps)[::-1])[-2::-1]  # the gaps below β_1, β_2, ..
        ends = jnp.ones(1, log_gaps.dtype), jnp.full(1, self._lowest, log_gaps.dtype)
        return jnp.concatenate([ends[0], self._lowest + (1 - self._lowest) * above, ends[1]])

    def _step(self, model_args: tuple, model_kwargs: dict, state: TemperedState) -> TemperedState:
        unravel, ladder = ravel_pytree(state.z)[1], state.ladder
        key, of_moves, of_swaps = jax.random.split(state.rng_key, 3)
        powers = self._powers(ladder.log_gaps)

        def energy(z: jax.Array, power: jax.Array) -> jax.Array:
            return potential_energy(_Powered(self.model, power), model_args, model_kwargs, unravel(z))

        def move(key: jax.Array, z: jax.Array, power: jax.Array, step_size: jax.Array) -> tuple[Any, jax.Array]:
            gradient = jax.value_and_grad(lambda z: energy(z, power))
            U, slope = gradient(z)
            none = jnp.zeros(())
            here = ChainState(state.i, None, U, slope, U, none, none, none, none, Adaptation(step_size, None), key)
            found = self.transition(key, gradient, here, z)
            return found, jax.grad(energy, argnums=1)(found.z, power)

        each = (jax.random.split(of_moves, self._replicas), ladder.z, powers, ladder.step_size)
        in_step = jax.default_backend() != "cpu"  # on a CPU one by one: hot replicas take fewer steps
        moved, V = jax.vmap(move)(*each) if in_step else jax.lax.map(lambda replica: move(*replica), each)
        places, swap_prob = _swapped(of_swaps, powers, V)
        z, walker = moved.z[places], ladder.walker[places]
        was_hot = ladder.was_hot.at[walker[-1]].set(True)
        back = was_hot[walker[0]]

        i, warm = state.i + 1, state.i < self._num_warmup
        step_size, averaging, log_gaps = self._adapted(state.i, ladder, moved.accept_prob, swap_prob)
        kept = (ladder.step_size, ladder.averaging, ladder.log_gaps)
        step_size, averaging, log_gaps = jax.tree.map(partial(jnp.where, warm), (step_size, averaging, log_gaps), kept)
        ladder = Ladder(z, step_size, averaging, log_gaps, walker, was_hot.at[walker[0]].set(False))
        first = jax.tree.map(lambda x: x[0], moved)
        U, slope = jax.value_and_grad(energy)(z[0], powers[0])
        n = jnp.where(warm, i, i - self._num_warmup)
        mean = state.mean_accept_prob + (first.accept_prob - state.mean_accept_prob) / n
        return TemperedState(
            *(i, unravel(z[0]), U, slope, U - first.potential_energy + first.energy, first.num_steps),
            *(first.accept_prob, mean, first.diverging, Adaptation(step_size[0], None), key, ladder),
            *(powers, swap_prob, jnp.diff(powers) * V[1:], jnp.where(warm, 0, state.round_trips + back)),
        )

    def _adapted(self, i: jax.Array, ladder: Ladder, accept_prob: jax.Array, swap_prob: jax.Array) -> tuple:
        """Return step sizes, the states of their averaging, and gaps: smaller where swaps are refused more often."""
        step_size, averaging = ladder.step_size, ladder.averaging
        if self._target is not None:
            averaging = jax.vmap(next_averaging)(self._target - accept_prob, averaging)
            step_size = jnp.exp(jnp.where(i == self._num_warmup - 1, averaging[1], averaging[0]))
        rate = 1 / (1 + i) ** 0.6
        return step_size, averaging, ladder.log_gaps + rate * (swap_prob - swap_prob.mean())


def _swapped(key: jax.Array, powers: jax.Array, V: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return which replica each rung has after a round of swaps of even pairs and one of odd pairs, and their rates."""
    replicas, pairs = jnp.arange(len(V)), jnp.arange(len(V) - 1)
    places, rates = replicas, jnp.zeros_like(V[1:])
    for parity, of_round in enumerate(jax.random.split(key)):
        rise = jnp.diff(powers) * jnp.diff(V[places])
        swap_prob = jnp.exp(jnp.minimum(jnp.where(jnp.isnan(rise), -jnp.inf, rise), 0))
        tried = pairs % 2 == parity
        taken = (tried & (jax.random.uniform(of_round, pairs.shape) < swap_prob)).astype(int)
        places = places[replicas + jnp.append(taken, 0) - jnp.append(0, taken)]
        rates = jnp.where(tried, swap_prob, rates)
    return places, rates
