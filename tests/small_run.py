"""A small run of the sampler, for tests that interrupt it; as a script, in a process of its own.

    python small_run.py FOLDER DRAWS BLOCK SAMPLER OUT

writes what sample() returned to OUT.
"""

import sys
from typing import NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import initialize_model, potential_energy

import stpbnn


class State(NamedTuple):
    z: dict
    potential_energy: jax.Array
    accept_prob: jax.Array
    rng_key: jax.Array


class Metropolis(MCMCKernel):
    """Random walk: the quickest chain to compile."""

    sample_field = "z"
    default_fields = ("z", "accept_prob")

    def __init__(self, model, step=0.3):
        self.model, self.step = model, step

    def init(self, rng_key, num_warmup, init_params, model_args, model_kwargs):
        key, subkey = jax.random.split(rng_key)
        found = initialize_model(subkey, self.model, model_args=model_args, model_kwargs=model_kwargs)
        z = found.param_info.z
        return State(z, potential_energy(self.model, model_args, model_kwargs, z), jnp.ones(()), key)

    def sample(self, state, model_args, model_kwargs):
        key, *keys = jax.random.split(state.rng_key, 3)
        flat, unravel = jax.flatten_util.ravel_pytree(state.z)
        z = unravel(flat + self.step * jax.random.normal(keys[0], flat.shape))
        energy = potential_energy(self.model, model_args, model_kwargs, z)
        probability = jnp.minimum(1, jnp.exp(state.potential_energy - energy))
        taken = jax.random.uniform(keys[1]) < probability
        z, energy = jax.tree.map(lambda a, b: jnp.where(taken, a, b), (z, energy), (state.z, state.potential_energy))
        return State(z, energy, probability, key)


def data(P=6, N0=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(P, N0)), rng.normal(size=P), rng.normal(size=(2, N0))


def small(checkpoint=None, draws=20, sampler=Metropolis, **settings):
    X, y, X_test = data()
    settings = {"temperature": 0.5, "warmup": 5, "chains": 2, "seed": 3, "progress": False} | settings
    settings = {"net": stpbnn.FullyConnected((2,)), "X": X, "y": y, "X_test": X_test} | settings
    return stpbnn.sample(**settings, sampler=sampler, draws=draws, checkpoint=checkpoint)


def same(one, other, draws=None):
    """Say whether two posteriors have the same draws, bit for bit; of the second one the first few."""
    return all(
        one[group].to_dataset().equals(other[group].to_dataset().isel(draw=slice(draws)))
        for group in ("posterior", "predictions", "log_likelihood", "posterior_predictive", "sample_stats")
    )


if __name__ == "__main__":
    folder, draws, block, sampler, out = sys.argv[1:]
    sampler = Metropolis if sampler == "metropolis" else sampler
    small(folder, int(draws), sampler, block=int(block)).to_netcdf(out, engine="h5netcdf")
