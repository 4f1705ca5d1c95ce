"""The posterior of a network, posed: what `sample` is given, checked and made into chains that are not begun."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from numpyro.distributions import Distribution

from stpbnn import _validation as check
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.programs import above
from stpbnn.samplers.chains import Chains, Plan, Posed
from stpbnn.samplers.draws import checked_data, encoded, numbers_of_a_chain, rotate
from stpbnn.samplers.network_law import READOUTS, NetworkLaw, inputs_of
from stpbnn.samplers.transitions import Sampler, Tempered, named

__all__ = ["pose"]

KEEP = ("observables", "weights")


def pose(
    net: Network,
    X: Any,
    y: Any,
    *,
    temperature: Any,
    X_test: Any,
    y_test: Any,
    sampler: str | Sampler,
    readout: str | None,
    keep: str = "observables",
    ladder: tuple[int, float] | None = None,
    **plan: Any,
) -> Posed:
    """Return the posterior that `sample` samples, whose arguments these are; those of `Plan` are among them."""
    check.instance("net", net, FullyConnected, Convolutional)
    of_classes, told_classes = net.likelihood != "gaussian", {}
    if of_classes:
        y, y_test, classes = encoded(net, y, y_test)
        told_classes = {"classes": json.dumps(classes.tolist())}
    if temperature is None:
        temperature = 1.0 if of_classes else 0.01
    if readout is None:
        readout = "explicit" if of_classes else "marginal"
    original = checked_data(net, X, y, X_test, y_test)
    checked = Plan(**plan)
    settings = {"readout": check.one_of("readout", readout, READOUTS), "keep": check.one_of("keep", keep, KEEP)}
    settings |= told_classes
    if of_classes and readout == "marginal":
        raise ValueError(
            f"readout: got 'marginal' with a {net.likelihood} likelihood, expected 'explicit': the readout can be "
            "integrated with the Gaussian likelihood alone"
        )
    if of_classes and isinstance(temperature, Distribution):
        raise ValueError(
            f"temperature: got a prior with a {net.likelihood} likelihood, expected a number: T = 1 is Bayes, a "
            "smaller one a cold posterior"
        )
    if isinstance(temperature, Distribution):
        temperature = above("temperature", temperature, 0, "and a variance is positive")
    else:
        temperature = check.number("temperature", temperature)
    told = sampler if isinstance(sampler, str) else ""
    if not callable(sampler):
        named(sampler, net, temperature)  # refuses an unknown name
    if ladder is not None:
        sampler, settings["ladder"] = _tempered(sampler, ladder)
    rotated = keep == "observables" and isinstance(net, FullyConnected)  # inputs, into the directions that they span
    units = "widths" if isinstance(net, FullyConnected) else "features in each layer,"
    whose = f"net: got {units} {net.units}, whose weights and features"
    moved = numbers_of_a_chain(net, original, rotated=rotated)
    checked.refuse_beyond_memory(moved, whose, "take narrower layers or fewer points")
    if ladder is not None:
        whose = f"ladder: got {ladder[0]} replicas, whose weights and features"
        checked.refuse_beyond_memory(int(ladder[0]) * moved, whose, "take fewer replicas")
    rotation = rotate(original.X, original.X_test) if rotated else None
    law = NetworkLaw(net, readout, keep, sampler, temperature if isinstance(temperature, Distribution) else None)
    engine = Chains(law, checked, inputs_of(net, original, rotation, temperature))
    return Posed(net, original, engine, settings, told, temperature)


def _tempered(sampler: str | Sampler, ladder: Any) -> tuple[Sampler, str]:
    """Return replica exchange with this ladder, and the ladder as text; ValueError where it is none."""
    if sampler != "tempered":
        raise ValueError(f"ladder: got {check.shown(ladder)} with sampler={check.shown(sampler)}, expected 'tempered'")
    if not isinstance(ladder, (tuple, list)) or len(ladder) != 2:
        raise ValueError(
            f"ladder: got {check.shown(ladder)}, expected the number of replicas and the power of the last, (18, 0.1)"
        )
    replicas, lowest = check.integer("ladder", ladder[0], minimum=2), check.number("ladder", ladder[1], inclusive=True)
    if lowest >= 1:
        raise ValueError(f"ladder: got {check.shown(ladder)}, expected a power of the last replica from 0 to below 1")
    return partial(Tempered, replicas=replicas, lowest=lowest), json.dumps([replicas, lowest])
