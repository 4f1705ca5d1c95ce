"""What gradient-based NumPyro kernels share: a state, starts from the prior, batches of chains, an adapted step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from numpyro.infer import init_to_sample
from numpyro.infer.hmc_util import dual_averaging
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import initialize_model
from numpyro.util import identity, is_prng_key

from stpbnn._validation import integer, number

__all__ = ["Adaptation", "ChainState", "GradientKernel", "Move", "next_averaging", "start_averaging"]

Gradient = Callable[[jax.Array], tuple[jax.Array, jax.Array]]

# Dual averaging of log step sizes: γ = 0.3 where Hoffman and Gelman have 0.05, with which they wander by factors of ten
# on digits and CIFAR-10. Of chains side by side the smallest step sets the pace: their warm-up took twice as many.
start_averaging, next_averaging = dual_averaging(gamma=0.3)


class Adaptation(NamedTuple):
    """The step size, the state of its dual averaging, and what else a kernel adapts."""

    step_size: jax.Array
    averaging: Any
    extra: Any = None


class ChainState(NamedTuple):
    """The state of a chain; names as in NumPyro's Hamiltonian kernels, for `extra_fields`."""

    i: jax.Array
    z: Any  # unconstrained sites by name
    potential_energy: jax.Array
    z_grad: jax.Array  # flat
    energy: jax.Array
    num_steps: jax.Array
    accept_prob: jax.Array
    mean_accept_prob: jax.Array
    diverging: jax.Array
    adapt_state: Adaptation
    rng_key: jax.Array


class Move(NamedTuple):
    """Where a transition leads, in flat coordinates, and how it came about."""

    z: jax.Array
    potential_energy: jax.Array
    z_grad: jax.Array
    energy: jax.Array
    num_steps: jax.Array
    accept_prob: jax.Array
    diverging: jax.Array


class GradientKernel(MCMCKernel):
    r"""A NumPyro kernel whose transitions use the gradient of the potential U = −log p(z) on unconstrained space.

    Chains start from draws of the prior; draws of infinite density are drawn again. During warm-up the step size is
    adapted to an acceptance rate by dual averaging, where a rate is given.

    Parameters
    ----------
    model : callable or None
        A NumPyro model.
    potential_fn : callable or None
        U(z) in place of a model; `MCMC.run` then needs `init_params`.
    step_size : float
        The step size, or where its adaptation starts.
    target_accept_prob : float or None
        The mean acceptance probability to which the step size is adapted; None keeps the step size.
    init_strategy : callable
        NumPyro's strategy for the start of a model.

    Raises
    ------
    ValueError
        If not exactly one of model and potential_fn is given, or for a step size or rate out of range.
    """

    sample_field = "z"
    default_fields = ("z", "diverging")
    statistics: tuple[str, ...] = ("potential_energy", "accept_prob", "num_steps", "diverging", "adapt_state.step_size")

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        potential_fn: Callable[[Any], jax.Array] | None = None,
        step_size: float,
        target_accept_prob: float | None,
        init_strategy: Callable[..., Any] = init_to_sample,
    ) -> None:
        if (model is None) == (potential_fn is None):
            raise ValueError("model, potential_fn: expected one of the two; give a NumPyro model or its potential")
        if target_accept_prob is not None and not number("target_accept_prob", target_accept_prob) < 1:
            raise ValueError(f"target_accept_prob: got {target_accept_prob}, expected a number between 0 and 1")
        self.model, self._potential_fn = model, potential_fn
        self._step_size = number("step_size", step_size)
        self._target, self._init_strategy = target_accept_prob, init_strategy
        self._potential_of: Callable[..., Any] | None = None
        self._postprocess: Callable[..., Any] | None = None
        self._num_warmup = 0

    @abstractmethod
    def transition(self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array) -> Move:
        """Return the next point of a chain at z (flat), with U and its gradient as `gradient` gives them."""

    def init(
        self, rng_key: jax.Array, num_warmup: int, init_params: Any, model_args: tuple, model_kwargs: dict
    ) -> ChainState:
        """Return the first state, or a batch of them for a batch of keys."""
        self._num_warmup = integer("num_warmup", num_warmup, minimum=0)
        split = jax.random.split if is_prng_key(rng_key) else jax.vmap(jax.random.split)
        keys = split(rng_key)
        of_chain, of_start = (keys[0], keys[1]) if is_prng_key(rng_key) else (keys[:, 0], keys[:, 1])
        if self.model is not None:
            start, self._potential_of, self._postprocess, _ = initialize_model(
                of_start,
                self.model,
                dynamic_args=True,
                init_strategy=self._init_strategy,
                model_args=model_args,
                model_kwargs=model_kwargs,
            )
            if init_params is None:
                return (self._first if is_prng_key(rng_key) else jax.vmap(self._first))(of_chain, *start)
        elif init_params is None:
            raise ValueError("init_params: a kernel of a potential needs them; give MCMC.run a start for each chain")
        known = jax.value_and_grad(self._potential(model_args, model_kwargs))
        first = lambda key, z: self._first(key, z, *known(z))  # noqa: E731
        return (first if is_prng_key(rng_key) else jax.vmap(first))(of_chain, init_params)

    def sample(self, state: ChainState, model_args: tuple, model_kwargs: dict) -> ChainState:
        """Return the state after one transition, or a batch of them for a batch of states."""
        step = partial(self._next, self._potential(model_args, model_kwargs))
        return (step if is_prng_key(state.rng_key) else jax.vmap(step))(state)

    def postprocess_fn(self, model_args: tuple, model_kwargs: dict) -> Callable[[Any], Any]:
        """Return the map from unconstrained to constrained sites."""
        return identity if self._postprocess is None else self._postprocess(*model_args, **(model_kwargs or {}))

    def get_diagnostics_str(self, state: ChainState) -> str:
        """Return steps, step size and acceptance for the progress bar."""
        step_size = state.adapt_state.step_size
        return f"{state.num_steps} steps of size {step_size:.2e}. acc. prob={state.mean_accept_prob:.2f}"

    def adapt_extra(self, state: ChainState, move: Move) -> Any:
        """Return what else is adapted during warm-up; nothing here."""
        return state.adapt_state.extra

    def _potential(self, model_args: tuple, model_kwargs: dict | None) -> Callable[[Any], jax.Array]:
        if self._potential_of is None:
            return self._potential_fn  # type: ignore[return-value]
        return self._potential_of(*model_args, **(model_kwargs or {}))

    def _initial_extra(self, z: Any) -> Any:
        return None

    def _first(self, key: jax.Array, z: Any, U: jax.Array, slope: Any) -> ChainState:
        """Return the first state at z, with U and its gradient there."""
        (flat, _), (slope, _) = ravel_pytree(z), ravel_pytree(slope)
        zero, none = jnp.zeros((), flat.dtype), jnp.zeros((), int)
        step_size = jnp.asarray(self._step_size, flat.dtype)
        averaging = start_averaging(jnp.log(step_size))
        adaptation = Adaptation(step_size, averaging, self._initial_extra(z))
        return ChainState(none, z, U, slope, U, none, zero, zero, jnp.array(False), adaptation, key)

    def _next(self, potential: Callable[[Any], jax.Array], state: ChainState) -> ChainState:
        flat, unravel = ravel_pytree(state.z)
        key, of_move = jax.random.split(state.rng_key)
        move = self.transition(of_move, jax.value_and_grad(lambda z: potential(unravel(z))), state, flat)
        i, warm = state.i + 1, state.i < self._num_warmup
        adaptation = state.adapt_state
        if self._target is not None:
            adapted = self._adapt(self._target - move.accept_prob, state, move)
            adaptation = jax.tree.map(partial(jnp.where, warm), adapted, adaptation)
        n = jnp.where(warm, i, i - self._num_warmup)
        mean = state.mean_accept_prob + (move.accept_prob - state.mean_accept_prob) / n
        return ChainState(i, unravel(move.z), *move[1:6], mean, move.diverging, adaptation, key)

    def _adapt(self, missed: jax.Array, state: ChainState, move: Move) -> Adaptation:
        averaging = next_averaging(missed, state.adapt_state.averaging)
        last = state.i == self._num_warmup - 1
        step_size = jnp.exp(jnp.where(last, averaging[1], averaging[0]))
        return Adaptation(step_size, averaging, self.adapt_extra(state, move))
