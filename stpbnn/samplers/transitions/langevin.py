r"""Langevin dynamics as NumPyro kernels: unadjusted, as in the paper, and Metropolis-adjusted.

On the unconstrained space of a model with potential U = −log p, a step of size ε is

.. math:: z \leftarrow z - \varepsilon c\, \nabla U(z) + \sqrt{2 \varepsilon c}\; \xi, \qquad \xi \sim N(0, 1)

with a scale c for each site. The paper's dynamics on raw weights
:math:`\theta \leftarrow \theta - \varepsilon \nabla(\tfrac12 \sum (y - f)^2 + \tfrac{T \lambda}{2} |\theta|^2)
+ \sqrt{2 T \varepsilon}\; \xi` is the same step on whitened weights :math:`z = \sqrt\lambda\, \theta` with
:math:`c = T \lambda`: the loss is :math:`T U`, and whitening multiplies steps by λ. See `paper_scales`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from numpyro.infer.hmc_util import welford_covariance

from stpbnn._validation import boolean, instance, integer, shown
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.programs import value_above
from stpbnn.samplers.transitions.gradient import ChainState, Gradient, GradientKernel, Move

__all__ = ["MALA", "Langevin", "paper_scales"]


def paper_scales(net: Network, temperature: float) -> dict[str, float]:
    r"""Return the scale :math:`c = T\lambda` of every site that turns `Langevin` into the paper's dynamics.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network; weights of layer l have precision λ_l, biases λ_b.
    temperature : float
        T, the variance of the likelihood.

    Examples
    --------
    >>> paper_scales(FullyConnected((10,), weight_precision=(1.0, 4.0)), 0.5)
    {'W1': 0.5, 'v': 2.0}
    """
    instance("net", net, FullyConnected, Convolutional)
    temperature = value_above("temperature", temperature, 0)
    weights = [f"W{layer + 1}" for layer in range(net.depth)] + ["v"]
    scales = {name: temperature * precision for name, precision in zip(weights, net.precisions, strict=True)}
    if net.bias_precision is not None:
        scales |= {f"b{layer + 1}": temperature * net.bias_precision for layer in range(net.depth + 1)}
    return scales


class Langevin(GradientKernel):
    r"""Unadjusted Langevin dynamics: every proposal is taken, and the law is that of p up to an error of order ε.

    A chain that leaves the finite numbers does not come back; its draws are marked as diverging.

    Parameters
    ----------
    model : callable or None
        A NumPyro model.
    potential_fn : callable or None
        U(z) in place of a model.
    step_size : float
        ε. With ``scales=paper_scales(net, temperature)``, that of the paper on raw weights.
    scales : mapping of str to float, or None
        c by site, 1 where absent.
    num_steps : int
        Steps from one draw to the next.

    Raises
    ------
    ValueError
        For a step size, scale or number of steps out of range.

    References
    ----------
    Theory notes, section 1. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023), Methods.

    Examples
    --------
    >>> from numpyro.infer import MCMC
    >>> from stpbnn import programs
    >>> net = FullyConnected((8,))
    >>> kernel = Langevin(programs.network(net), step_size=1e-3, scales=paper_scales(net, 0.1), num_steps=5)
    >>> mcmc = MCMC(kernel, num_warmup=20, num_samples=10, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), jnp.eye(4), jnp.ones(4), temperature=0.1)
    >>> mcmc.get_samples()["v"].shape
    (10, 8)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        potential_fn: Callable[[Any], jax.Array] | None = None,
        step_size: float = 1e-3,
        scales: Mapping[str, float] | None = None,
        num_steps: int = 1,
        **settings: Any,
    ) -> None:
        super().__init__(model, potential_fn=potential_fn, step_size=step_size, target_accept_prob=None, **settings)
        if not isinstance(scales, Mapping | None):
            raise ValueError(f"scales: got {shown(scales)}, expected a mapping of sites to numbers, or None")
        self._scales = {name: value_above(f"scales[{name!r}]", scale, 0) for name, scale in (scales or {}).items()}
        self._num_steps = integer("num_steps", num_steps)

    def transition(self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array) -> Move:
        """Return the chain after `num_steps` steps z − ε c ∇U(z) + √(2εc) ξ."""
        scale: Any = 1.0
        if self._scales:
            scale = ravel_pytree({name: jnp.full_like(x, self._scales.get(name, 1.0)) for name, x in state.z.items()})[
                0
            ]
        drift = state.adapt_state.step_size * scale
        spread = jnp.sqrt(2 * drift)

        def step(i: Any, at: tuple) -> tuple:
            z, _, slope = at
            noise = jax.random.normal(jax.random.fold_in(key, i), z.shape, z.dtype)
            z = z - drift * slope + spread * noise
            return z, *gradient(z)

        z, U, slope = jax.lax.fori_loop(0, self._num_steps, step, (z, state.potential_energy, state.z_grad))
        one, steps = jnp.ones((), z.dtype), jnp.asarray(self._num_steps, int)
        return Move(z, U, slope, U, steps, one, ~jnp.isfinite(U))


class MALA(GradientKernel):
    r"""Metropolis-adjusted Langevin: each step of size ε is accepted or refused, so that the law is exactly p.

    .. math:: z' = z - \varepsilon C \nabla U(z) + \sqrt{2 \varepsilon C}\; \xi

    Parameters
    ----------
    model : callable or None
        A NumPyro model.
    potential_fn : callable or None
        U(z) in place of a model.
    step_size : float
        ε, or where its adaptation starts.
    target_accept_prob : float or None
        Acceptance rate to which the warm-up adapts the step size, 0.574 in high dimension; None keeps the step size.
    precondition : bool
        Whether C is the diagonal of the covariance, estimated over the second quarter of the warm-up; else C = 1.
    num_steps : int
        Steps from one draw to the next.

    Raises
    ------
    ValueError
        For a step size, rate or number of steps out of range.

    References
    ----------
    G. Roberts, J. Rosenthal, Journal of the Royal Statistical Society B 60, 255 (1998).

    Examples
    --------
    >>> from numpyro.infer import MCMC
    >>> mcmc = MCMC(MALA(potential_fn=lambda z: z @ z / 2), num_warmup=50, num_samples=10, progress_bar=False)
    >>> mcmc.run(jax.random.key(0), init_params=jnp.zeros(3))
    >>> mcmc.get_samples().shape
    (10, 3)
    """

    def __init__(
        self,
        model: Callable[..., Any] | None = None,
        *,
        potential_fn: Callable[[Any], jax.Array] | None = None,
        step_size: float = 0.01,
        target_accept_prob: float | None = 0.574,
        precondition: bool = False,
        num_steps: int = 1,
        **settings: Any,
    ) -> None:
        super().__init__(
            model, potential_fn=potential_fn, step_size=step_size, target_accept_prob=target_accept_prob, **settings
        )
        self._precondition = boolean("precondition", precondition)
        self._num_steps = integer("num_steps", num_steps)

    def transition(self, key: jax.Array, gradient: Gradient, state: ChainState, z: jax.Array) -> Move:
        """Take the steps: each is one of leapfrog, of length √(2ε), with a momentum of its own."""
        variance = state.adapt_state.extra[0] if self._precondition else 1.0
        length, scale = jnp.sqrt(2 * state.adapt_state.step_size), jnp.sqrt(variance)

        def step(i: Any, at: tuple) -> tuple:
            z, U, slope, total = at
            of_momentum, of_choice = jax.random.split(jax.random.fold_in(key, i))
            p = jax.random.normal(of_momentum, z.shape, z.dtype)
            half = p - length / 2 * scale * slope
            proposed = z + length * scale * half
            proposed_U, proposed_slope = gradient(proposed)
            end = half - length / 2 * scale * proposed_slope
            rise = proposed_U - U + (jnp.sum(end**2) - jnp.sum(p**2)) / 2
            accept_prob = jnp.exp(-jnp.maximum(jnp.where(jnp.isnan(rise), jnp.inf, rise), 0))
            accepted = jax.random.uniform(of_choice) < accept_prob
            after = (proposed, proposed_U, proposed_slope)
            return *(jnp.where(accepted, b, a) for a, b in zip(at[:3], after, strict=True)), total + accept_prob

        start = (z, state.potential_energy, state.z_grad, jnp.zeros((), z.dtype))
        z, U, slope, total = jax.lax.fori_loop(0, self._num_steps, step, start)
        steps = jnp.asarray(self._num_steps, int)
        return Move(z, U, slope, U, steps, total / self._num_steps, jnp.array(False))

    def _initial_extra(self, z: Any) -> Any:
        flat = ravel_pytree(z)[0]
        return (jnp.ones_like(flat), welford_covariance()[0](flat.size)) if self._precondition else None

    def adapt_extra(self, state: ChainState, move: Move) -> Any:
        """Gather the variance in the second quarter of the warm-up, and use it from there on."""
        if not self._precondition:
            return None
        _, update, final = welford_covariance()
        variance, gathered = state.adapt_state.extra
        first, last = self._num_warmup // 4, self._num_warmup // 2
        gathers = (state.i >= first) & (state.i < last)
        gathered = jax.tree.map(lambda a, b: jnp.where(gathers, a, b), update(move.z, gathered), gathered)
        return jnp.where(state.i == last - 1, final(gathered, regularize=True)[0], variance), gathered
