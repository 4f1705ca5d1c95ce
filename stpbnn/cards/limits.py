"""What a card may ask of this machine, checked before a run: memory, time, and the range of its numbers.

Every estimate is a lower bound, so that nothing is refused that would have worked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from stpbnn._labels import listed_classes
from stpbnn._memory import fits, refuse_beyond
from stpbnn._validation import plural
from stpbnn.cards.schema import toml_value
from stpbnn.catalogue import known_theories

if TYPE_CHECKING:
    from stpbnn.cards.schema import Arrays, Card

__all__ = ["refuse_data", "refuse_sampling"]

KERNELS = 3  # matrices of P by P that a closed form holds at once, in double precision
COPIES = 4  # arrays like the weights that a step of a chain holds at once: positions, momenta, slopes, a proposal
STEP = 1e-4  # seconds, the least that a draw takes
YEAR = 365 * 86400


def refuse_data(card: Card, data: Arrays) -> None:
    """Refuse data that do not go with the network, or whose closed forms do not fit into memory.

    Parameters
    ----------
    card : Card
        The card.
    data : tuple of arrays
        X, y, Xt, yt.

    Raises
    ------
    ValueError
        With the key that is to blame.
    """
    X, y = data[:2]
    outputs, examples = 1 if y.ndim == 1 else y.shape[1], len(X)
    if card.network.of_classes:
        _refuse_classes(card, data)
    elif outputs != card.network.outputs:
        raise ValueError(
            f"network.outputs: got {card.network.outputs}, expected {outputs}: the targets of {card.data.label} "
            f"have {plural(outputs, 'column')}"
        )
    if card.network.kind == "convolutional":
        rows, columns, channels = card.network.image or (28, 28, 1)
        if (numbers := rows * columns * channels) != X.shape[1]:
            raise ValueError(
                f"network.image: got {rows} x {columns} pixels in {plural(channels, 'channel')}, {numbers} numbers, "
                f"but the inputs of {card.data.label} have {X.shape[1]}; give the size and channels of these images"
            )
    if not len(data[2]):
        raise ValueError("data.test: got no rows, expected one at least: the training set takes them all")
    refuse_beyond(
        KERNELS * 8 * examples**2, f"data.train: got {examples}, whose kernels", "take fewer training examples"
    )
    particles = card.theories.particles
    features = 2 * 4 * particles * examples
    if not fits(features) and _adaptive(card):  # in this order: which theories are known takes seconds to import
        refuse_beyond(features, f"theories.particles: got {particles}, whose features", "take fewer particles")


def _adaptive(card: Card) -> bool:
    """Return whether a run solves the theory of adaptive kernels, which holds the features of its particles."""
    names, process = card.theories.names, card.process.name if card.process else None
    known = known_theories(card.network.build(), process, on_request=names is not None).values()
    return "adaptive" in known and "adaptive" in (names or known)


def _refuse_classes(card: Card, data: Arrays) -> None:
    """Refuse classes that do not go with the outputs, and those of the test set that training lacks, by their names."""
    import numpy as np

    classes, network = np.unique(data[1]).tolist(), card.network
    if len(classes) < 2:
        raise ValueError(
            f"data.train: got one class only, {classes[0]!r}, in {len(data[1])} training rows, expected two at least; "
            "take more rows, or shuffle them with data.seed"
        )
    expected = 2 if network.likelihood == "bernoulli" else network.outputs
    if unknown := [label for label in np.unique(data[3]).tolist() if label not in classes]:
        held_out = "data.test_file" if card.data.test_file else "data.test"
        raise ValueError(
            f"{held_out}: got {listed_classes(unknown)}, which the training set lacks; take "
            "more training rows or another data.seed, or remove the rows of these classes"
        )
    if len(classes) != expected:
        outputs = (
            'likelihood = "bernoulli"' if len(classes) == 2 else f'likelihood = "categorical", outputs = {len(classes)}'
        )
        raise ValueError(
            f"network.outputs: got {network.outputs} with the {network.likelihood} likelihood, for {expected} classes, "
            f"but the training rows of {card.data.label} have {len(classes)}; give {outputs}"
        )


def refuse_sampling(card: Card, data: Arrays) -> None:
    """Refuse a posterior whose chains do not fit into memory, take years, or leave the range of their numbers.

    Parameters
    ----------
    card : Card
        The card.
    data : tuple of arrays
        X, y, Xt, yt.

    Raises
    ------
    ValueError
        With the key that is to blame.
    """
    import jax

    network, sampler = card.network, card.sampler
    chains, size = sampler.chains, 8 if jax.config.jax_enable_x64 else 4
    moved = chains * sampler.replicas
    _refuse_out_of_range(card, f"float{8 * size}")
    (examples, inputs), tests = data[0].shape, len(data[2])
    if card.process is None:
        if network.kind == "fully-connected":
            layers = (min(examples, inputs), *network.hidden, network.outputs)  # in the directions that inputs span
            weights = sum(below * above for below, above in pairwise(layers))
            features = (examples + tests) * sum(network.hidden)
        else:
            net = network.build()
            weights = sum(math.prod(shape) for shape in net.shapes(inputs).values())
            features = (examples + tests) * sum(net.units)
        keys = {f"network.{network.of_hidden}": max(network.hidden), "sampler.chains": chains}
        _refuse(card, keys, moved * size * (COPIES * weights + features), "whose weights and features")
    keys = {"sampler.draws": sampler.draws, "sampler.chains": chains}
    kept = tests * network.outputs + examples  # predictions, and a log likelihood for each example
    _refuse(card, keys, chains * size * sampler.draws * kept, "whose predictions")
    years = STEP * (sampler.warmup + sampler.draws) / YEAR
    if years > 1:
        key = _largest({"warmup": sampler.warmup, "draws": sampler.draws})
        raise ValueError(
            f"sampler.{key}: got {getattr(sampler, key)}, expected fewer: sampling takes {years:.0f} years at 0.1 ms a "
            "draw, and it is rarely as fast"
        )


def _refuse(card: Card, keys: Mapping[str, int], needed: int, what: str) -> None:
    """Refuse what needs too much memory, for the key of the largest number."""
    key = _largest(keys)
    table, leaf = key.split(".")
    value = toml_value(getattr(getattr(card, table), leaf))
    refuse_beyond(needed, f"{key}: got {value}, {what}", f"take fewer {'units' if leaf == 'widths' else leaf}")


def _largest(keys: Mapping[str, int]) -> str:
    return max(keys, key=lambda key: keys[key])


def _refuse_out_of_range(card: Card, dtype: str) -> None:
    import numpy as np

    range_ = np.finfo(dtype)
    precisions = card.network.weight_precision
    numbers = {
        "posterior.temperature": [card.posterior.temperature],
        "network.weight_precision": precisions if isinstance(precisions, tuple) else [precisions],
        "network.bias_precision": [] if card.network.bias_precision is None else [card.network.bias_precision],
    }
    for key, values in numbers.items():
        for value in values:
            if not float(range_.tiny) <= value <= float(range_.max):
                raise ValueError(
                    f"{key}: got {value:g}, expected a number from {range_.tiny:.1e} to {range_.max:.1e}, the range of "
                    f"the chains' {dtype}; rescale the data"
                )
