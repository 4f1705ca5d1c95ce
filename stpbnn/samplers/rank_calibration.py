r"""Simulation-based calibration: a sampler is right if the truth ranks uniformly among its draws.

Weights are drawn from the prior and targets from the weights; a chain samples the posterior given those targets. Over
many such simulations the rank of any function of the true weights among its values at L independent draws is uniform on
0..L, and for no other sampler. The simulations run side by side, as one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from numpyro.infer.mcmc import MCMCKernel
from scipy import stats

from stpbnn import _validation as check
from stpbnn._random import standard_normal
from stpbnn._validation import integer, number, one_of
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.samplers.draws import Data, new_labels, observe, observe_classes, observe_marginal
from stpbnn.samplers.network_law import READOUTS

__all__ = ["ranks", "uniformity"]


def ranks(
    net: Network,
    kernel: Callable[..., MCMCKernel],
    X: ArrayLike,
    x_test: ArrayLike,
    *,
    temperature: float,
    readout: str = "marginal",
    simulations: int = 256,
    warmup: int = 200,
    draws: int = 31,
    thinning: int = 10,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return the ranks (simulations,), from 0 to draws, of the true observables among those of a sampler.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network; with classes the truth draws labels.
    kernel : callable
        ``kernel(model)`` makes the NumPyro kernel; it starts at a draw of the prior.
    X : array of shape (P, N_0)
        Training inputs.
    x_test : array of shape (N_0,)
        The input at which functions are compared.
    temperature : float
        T, the variance of the likelihood; with classes one, since only then are labels drawn from it.
    readout : {"marginal", "explicit"}
        Whether the chain runs over the hidden weights or over all of them.
    simulations : int
        How many truths.
    warmup, draws, thinning : int
        Steps of adaptation, draws kept, and steps from one to the next: enough for independence.
    seed : int
        Seed of truths, targets and chains.

    Returns
    -------
    dict of str to array
        Ranks of f(x_test), of the training loss and the readout norm, and of the kernel scale of the last layer; for
        several outputs the first of f, and the mean of the readout norms.

    References
    ----------
    S. Talts, M. Betancourt, D. Simpson, A. Vehtari, A. Gelman, arXiv:1804.06788 (2018).

    Examples
    --------
    >>> from stpbnn.samplers import SplitHMC
    >>> found = ranks(FullyConnected((2,)), SplitHMC, np.eye(2), np.ones(2), temperature=0.5, simulations=3,
    ...               warmup=5, draws=4, thinning=1)
    >>> sorted(found), found["f"].shape
    (['f', 'kernel_scale', 'readout_norm', 'train_loss'], (3,))
    """
    T, inputs = number("temperature", temperature), jnp.asarray(check.inputs("X", X))
    point = jnp.asarray(check.inputs("x_test", [x_test], features=inputs.shape[1]))
    check.instance("net", net, FullyConnected, Convolutional)
    of_classes = net.likelihood != "gaussian"
    if of_classes and T != 1:
        raise ValueError(f"temperature: got {T:g} with classes, expected 1: a cold likelihood is no law of labels")
    model = READOUTS[one_of("readout", readout, READOUTS)](net)

    def summary(observed: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {
            "f": jnp.ravel(observed["f"][0])[0],
            "train_loss": observed["train_loss"],
            "readout_norm": jnp.mean(observed["readout_norm"]),
            "kernel_scale": observed["kernel_scale"][-1],
        }

    def seen(weights: Any, data: Data) -> dict[str, jax.Array]:
        return observe_classes(net, weights, data) if of_classes else observe(net, weights, data, T)

    def simulate(key: jax.Array) -> dict[str, jax.Array]:
        of_truth, of_noise, of_chain, of_readout = jax.random.split(key, 4)
        truth = net.sample_prior(of_truth, inputs.shape[1])
        f = net.forward(truth, inputs)
        y = new_labels(of_noise, net, f) if of_classes else f + T**0.5 * standard_normal(of_noise, f.shape)
        data = Data(inputs, y, point)
        sampler, given = kernel(model), ((inputs, y), {"temperature": T})
        state = sampler.init(of_chain, warmup, None, *given)

        def advance(state: Any, steps: int) -> Any:
            return jax.lax.fori_loop(0, steps, lambda _, s: sampler.sample(s, *given), state)

        def draw(state: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
            state = advance(state, thinning)
            if readout == "explicit":
                return state, summary(seen(state.z, data))
            return state, summary(observe_marginal(key, net, state.z, data, T))

        _, sampled = jax.lax.scan(draw, advance(state, warmup), jax.random.split(of_readout, draws))
        true = summary(seen(truth, data))
        return {name: jnp.sum(sampled[name] < true[name]) for name in true}

    keys = jax.random.split(jax.random.key(seed), integer("simulations", simulations))
    return {name: np.asarray(values) for name, values in jax.jit(jax.vmap(simulate))(keys).items()}


def uniformity(ranks: ArrayLike, draws: int, bins: int = 8) -> float:
    """Return the p-value of the chi-squared test that ranks are uniform on 0..draws.

    Parameters
    ----------
    ranks : array of int
        Ranks among `draws` draws.
    draws : int
        The largest possible rank; draws + 1 must be a multiple of the number of bins.
    bins : int
        Bins of equal width.

    Raises
    ------
    ValueError
        If the bins would not be equally wide.

    Examples
    --------
    >>> uniformity(np.arange(32), 31), uniformity(np.zeros(32), 31) < 1e-9
    (1.0, True)
    """
    if (draws + 1) % bins:
        raise ValueError(f"bins: got {bins}, expected a divisor of draws + 1 = {draws + 1}")
    counts = np.bincount(np.asarray(ranks, int) * bins // (draws + 1), minlength=bins)
    return float(stats.chisquare(counts).pvalue)
