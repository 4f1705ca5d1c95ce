"""sample(): the posterior of a network by Markov chain Monte Carlo, as an ArviZ DataTree."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import xarray as xr
from numpy.typing import ArrayLike
from numpyro.distributions import Distribution
from numpyro.infer import HMC, MCMC, NUTS, init_to_sample
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import constrain_fn

from stpbnn import _validation as check
from stpbnn import programs
from stpbnn.network import FullyConnected
from stpbnn.samplers.observables import Data, observe
from stpbnn.samplers.tree import to_datatree

__all__ = ["sample"]

Sampler = Callable[[Callable[..., Any]], MCMCKernel]

SAMPLERS: dict[str, Sampler] = {
    "nuts": lambda model: NUTS(model, init_strategy=init_to_sample),
    "hmc": lambda model: HMC(model, init_strategy=init_to_sample),
}
READOUTS = ("explicit",)
KEEP = ("observables", "weights")
STATISTICS = {  # ArviZ's name: where NumPyro's Hamiltonian kernels keep it
    "energy": "energy",
    "num_steps": "num_steps",
    "accept_prob": "accept_prob",
    "diverging": "diverging",
    "potential": "potential_energy",
    "step_size": "adapt_state.step_size",
}


def sample(
    net: FullyConnected,
    X: ArrayLike,
    y: ArrayLike,
    *,
    temperature: Any = 0.01,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    sampler: str | Sampler = "nuts",
    readout: str = "explicit",
    warmup: int = 500,
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    keep: str = "observables",
    progress: bool = True,
) -> xr.DataTree:
    r"""Sample the posterior of a Bayesian network.

    .. math:: p(\theta \mid X, y) \propto \exp\Big(-\frac{1}{2T} \sum_\mu |y^\mu - f(x^\mu)|^2\Big)\, p(\theta)

    Chains start from draws of the prior and run side by side on JAX's default device in its default precision.

    Parameters
    ----------
    net : FullyConnected
        The network.
    X : array of shape (P, N_0)
        Training inputs.
    y : array of shape (P,) or (P, D)
        Training targets.
    temperature : float or numpyro.distributions.Distribution
        T > 0, the variance of the Gaussian likelihood; a distribution makes it a variable of the posterior.
    X_test : array of shape (n, N_0) or None
        Points at which the function is recorded at every draw.
    y_test : array of shape (n,) or (n, D) or None
        Targets there, for the test loss.
    sampler : {"nuts", "hmc"} or callable
        The Markov chain; a callable takes the NumPyro model and returns a NumPyro MCMCKernel.
    readout : {"explicit"}
        How the last layer is treated: "explicit" samples its weights along with all others.
    warmup, draws, chains : int
        Adaptation steps and recorded draws of each chain, and the number of chains.
    seed : int
        Seed of everything random: the same call on the same device gives the same draws.
    keep : {"observables", "weights"}
        What is kept of a draw: functions, losses and order parameters, or all weights as well.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.DataTree
        Groups in ArviZ's schema. `posterior`: readout_norm (λ_L |v|²/N_L, mean one under the prior), kernel_scale
        (for each layer, tr K̂_l / tr(κ(K̂_{l-1})/λ_l) over the training inputs), train_loss and test_loss (squared
        error summed over outputs, averaged over rows), temperature where it is random, weights on request.
        `predictions`: f at the test points. `log_likelihood`: y, one entry a training point. `sample_stats`,
        `observed_data`, `constant_data`, `predictions_constant_data`. Settings, versions, device and wall time are
        attributes of the root.

    Raises
    ------
    ValueError
        For data that are not finite numbers of matching shapes, or settings out of range.

    References
    ----------
    Theory notes, section 1. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.eye(4)
    >>> posterior = sample(FullyConnected((5,), "linear"), X, X[:, 0], temperature=0.1, X_test=X[:2],
    ...                    warmup=20, draws=10, chains=2, progress=False)
    >>> dict(posterior["predictions"]["f"].sizes)
    {'chain': 2, 'draw': 10, 'test_point': 2}
    """
    data = _data(net, X, y, X_test, y_test)
    settings: dict[str, Any] = {
        "warmup": check.integer("warmup", warmup, minimum=0),
        "draws": check.integer("draws", draws),
        "chains": check.integer("chains", chains),
        "seed": check.integer("seed", seed, minimum=0, below=2**32),
        "readout": check.one_of("readout", readout, READOUTS),
    }
    keep = check.one_of("keep", keep, KEEP)
    random_temperature = isinstance(temperature, Distribution)
    if not random_temperature:
        temperature = check.number("temperature", temperature)
    model = programs.network(net)
    kernel = _kernel(sampler, model)

    def record(unconstrained: Any) -> dict[str, jax.Array]:
        weights = constrain_fn(model, (data.X, data.y), {"temperature": temperature}, unconstrained)
        observed = observe(net, weights, data, weights.get("temperature", temperature))
        extra = weights if keep == "weights" else {k: v for k, v in weights.items() if k == "temperature"}
        return observed | extra

    mcmc = MCMC(
        kernel,
        num_warmup=settings["warmup"],
        num_samples=settings["draws"],
        num_chains=settings["chains"],
        chain_method="vectorized" if isinstance(kernel, HMC) else "sequential",
        postprocess_fn=record,
        progress_bar=progress,
    )
    start = time.perf_counter()
    mcmc.run(
        jax.random.key(settings["seed"]), data.X, data.y, temperature=temperature, extra_fields=_extra_fields(kernel)
    )
    recorded = jax.device_get(mcmc.get_samples(group_by_chain=True))
    statistics = _statistics(jax.device_get(mcmc.get_extra_fields(group_by_chain=True)))
    attributes = settings | {
        "sampler": sampler if isinstance(sampler, str) else type(kernel).__name__,
        "temperature": str(temperature) if random_temperature else temperature,
        "precision": str(data.X.dtype),
        "wall_time_s": time.perf_counter() - start,
    }
    return to_datatree(net, data, recorded, statistics, attributes)


def _data(net: FullyConnected, X: Any, y: Any, X_test: Any, y_test: Any) -> Data:
    """Check the data and put them on the device, in JAX's default precision."""
    if not isinstance(net, FullyConnected):
        raise ValueError(f"net: got {type(net).__name__}, expected a stpbnn.FullyConnected")
    X = check.inputs("X", X)
    y = check.targets("y", y, examples=len(X), outputs=net.outputs)
    if X_test is None:
        if y_test is not None:
            raise ValueError("y_test: got targets without X_test; give the test inputs as well")
        return Data(jnp.asarray(X), jnp.asarray(y))
    X_test = check.inputs("X_test", X_test, features=X.shape[1])
    if y_test is not None:
        y_test = jnp.asarray(check.targets("y_test", y_test, examples=len(X_test), outputs=net.outputs))
    return Data(jnp.asarray(X), jnp.asarray(y), jnp.asarray(X_test), y_test)


def _kernel(sampler: str | Sampler, model: Callable[..., Any]) -> MCMCKernel:
    if callable(sampler):
        return sampler(model)
    return SAMPLERS[check.one_of("sampler", sampler, SAMPLERS)](model)


def _extra_fields(kernel: MCMCKernel) -> tuple[str, ...]:
    """Return the statistics to collect: of Hamiltonian kernels all of them, of others what they name themselves."""
    return tuple(STATISTICS.values()) if isinstance(kernel, HMC) else tuple(kernel.default_fields)


def _statistics(fields: dict[str, Any]) -> dict[str, Any]:
    """Return sampler statistics under ArviZ's names, with the log density lp."""
    names = {field: name for name, field in STATISTICS.items()}
    statistics = {names.get(field, field): value for field, value in fields.items()}
    if "potential" in statistics:
        statistics["lp"] = -statistics.pop("potential")
    return statistics
