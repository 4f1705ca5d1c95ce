"""What the chains over the weights of a network sample, and what is recorded of every draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
from numpyro.distributions import Distribution
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import constrain_fn

from stpbnn import programs
from stpbnn.network import Network
from stpbnn.samplers.chains import Law
from stpbnn.samplers.draws import (
    Data,
    References,
    Rotation,
    draw_readout,
    kernel_overlap,
    new_labels,
    new_targets,
    observe,
    observe_classes,
    observe_marginal,
    position_overlap,
    predict,
    references,
)
from stpbnn.samplers.transitions import Sampler, built_by, named

__all__ = ["READOUTS", "Inputs", "NetworkLaw", "inputs_of"]

READOUTS = {"marginal": programs.marginal_network, "explicit": programs.network}


class Inputs(NamedTuple):
    """What the compiled functions are given.

    Training inputs as the chains see them, data, reference kernels, the rotation where inputs are rotated, and T where
    it is a number.
    """

    X: jax.Array
    data: Data
    references: References | None
    rotation: Rotation | None
    temperature: jax.Array | None


def inputs_of(net: Network, original: Data, rotation: Rotation | None, temperature: Any) -> Inputs:
    """Return what the compiled functions of a network are given, from its data before and after their rotation."""
    T = None if isinstance(temperature, Distribution) else jax.device_put(original.X.dtype.type(temperature))
    if rotation is None:
        return Inputs(original.X, original, references(net, original.X, original.y), None, T)
    rotated = jax.device_put(jax.tree.map(lambda part: part.astype(original.X.dtype), rotation))
    data = original._replace(X=rotated.X, X_test=rotated.X_test)
    return Inputs(rotated.X_train, data, references(net, data.X, data.y), rotated, T)


@dataclass(frozen=True)
class NetworkLaw(Law):
    """The posterior of a network.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network.
    readout : {"marginal", "explicit"}
        How the last layer is treated.
    keep : {"observables", "weights"}
        What is kept of a draw.
    sampler : str or callable
        The sampler.
    prior : numpyro.distributions.Distribution or None
        That of the temperature, where it is no number.
    """

    readout: str
    keep: str
    sampler: str | Sampler
    prior: Distribution | None = None

    @property
    def lasting(self) -> bool:
        """Whether nothing in it is the caller's own."""
        return isinstance(self.sampler, str) and self.prior is None

    @property
    def weighs(self) -> bool:
        """Whether weights are known: always."""
        return True

    @property
    def marginal(self) -> bool:
        """Whether the readout is integrated out."""
        return self.readout == "marginal"

    @cached_property
    def model(self) -> Callable[..., Any]:
        """The NumPyro model."""
        return READOUTS[self.readout](self.net)

    def build(self, inputs: Inputs) -> MCMCKernel:
        """Return a new kernel."""
        if isinstance(self.sampler, str):
            return named(self.sampler, self.net, inputs.temperature)(self.model)
        return built_by(self.sampler)(self.model)

    def given(self, inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the model."""
        T = self.prior if inputs.temperature is None else inputs.temperature
        return (inputs.X, inputs.data.y), {"temperature": T}

    def _completed(self, key: jax.Array, position: Any, inputs: Inputs) -> tuple[dict[str, jax.Array], Any]:
        """Return the weights of a position for the inputs of `inputs.data`, and T."""
        weights = constrain_fn(self.model, *self.given(inputs), position)
        T = weights.pop("temperature", inputs.temperature)
        return weights if inputs.rotation is None else inputs.rotation.complete(key, weights), T

    def weights(self, key: jax.Array, position: Any, inputs: Inputs) -> dict[str, jax.Array]:
        """Return all weights of the draw that is observed, of the original inputs."""
        of_inputs, of_readout = jax.random.split(key)
        weights, T = self._completed(of_inputs, position, inputs)
        kept = {} if self.prior is None else {"temperature": T}
        if self.marginal:
            features = self.net.pooled(self.net.features(weights, inputs.data.X)[-1])
            kept |= draw_readout(of_readout, self.net, features, inputs.data.y, T)
        if inputs.rotation is not None:
            weights = inputs.rotation.restore(jax.random.fold_in(key, 3), weights)
        return weights | kept

    def observe(self, key: jax.Array, position: Any, inputs: Inputs) -> dict[str, jax.Array]:
        """Return the observables of a draw."""
        net, of_classes = self.net, self.net.likelihood != "gaussian"
        of_inputs, of_readout = jax.random.split(key)
        weights, T = self._completed(of_inputs, position, inputs)
        kept = {} if self.prior is None else {"temperature": T}
        last = net.features(weights, inputs.data.X)[-1]
        features = net.pooled(last)
        if self.marginal:
            observed = observe_marginal(of_readout, net, weights, inputs.data, T)
        elif of_classes:
            observed = observe_classes(net, weights, inputs.data)
        else:
            observed = observe(net, weights, inputs.data, T)
        train_f = observed.pop("train_f")
        if inputs.references is not None:
            observed["posterior_predictive"] = (
                new_labels(key, net, train_f) if of_classes else new_targets(key, train_f, T)
            )
            observed["kernel_overlap"] = kernel_overlap(features, inputs.references.kernels)
            if inputs.references.local is not None:
                observed["position_overlap"] = position_overlap(last, inputs.references)
            if inputs.data.X_test is not None:
                y = inputs.data.y
                fitted = predict(net, features, y, T, features)[0] if self.marginal else net.read_out(weights, last)
                observed["eigenmode"] = inputs.references.eigenvectors @ fitted
        if self.keep == "weights":
            kept |= weights
            if self.marginal:  # the draw that is observed: of the same key
                kept |= draw_readout(of_readout, net, features, inputs.data.y, T)
        return observed | kept
