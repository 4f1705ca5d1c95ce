"""Rank statistics: uniform for every adjusted sampler, and not for a sampler that is wrong."""

import numpy as np
import pytest

from stpbnn import FullyConnected
from stpbnn.samplers import MALA, Langevin, SplitHMC, SplitNUTS, Tempered
from stpbnn.samplers.rank_calibration import ranks, uniformity

RNG = np.random.default_rng(0)
X, x_test = RNG.normal(size=(4, 2)), RNG.normal(size=2)
SAMPLERS = {
    "hmc": SplitHMC,
    "nuts": lambda model: SplitNUTS(model, max_tree_depth=5),
    "tempered": lambda model: Tempered(model, replicas=3),
    "mala": lambda model: MALA(model, num_steps=3),
}
NETS = {"linear": FullyConnected((3,), "linear"), "erf": FullyConnected((3,), "erf", bias_precision=2.0)}


@pytest.mark.parametrize(
    ("sampler", "net", "readout"),
    [
        ("mala", "linear", "marginal"),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (("hmc", "erf", "marginal"), ("nuts", "erf", "explicit"), ("tempered", "erf", "marginal"))
        ),
    ],
)
def test_ranks_are_uniform(sampler, net, readout):
    """Bonferroni over four quantities at one in a thousand; the full version is analysis/calibration_samplers.py."""
    found = ranks(NETS[net], SAMPLERS[sampler], X, x_test, temperature=0.2, readout=readout, thinning=8)
    for name, values in found.items():
        assert uniformity(values, 31) > 1e-3 / 4, name


CLASSES = {
    "bernoulli": FullyConnected((3,), "erf", weight_precision=(1.0, 0.1), likelihood="bernoulli"),
    "categorical": FullyConnected((3,), "erf", 3, weight_precision=(1.0, 0.1), likelihood="categorical"),
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("likelihood", "simulations"), [("bernoulli", 256), ("bernoulli", 4000), ("categorical", 4000)]
)
def test_ranks_of_classes_are_uniform(likelihood, simulations):
    """Labels are drawn from the truth at T = 1; a cold likelihood is no law of labels."""
    net, more = CLASSES[likelihood], {"simulations": simulations, "readout": "explicit", "thinning": 8}
    found = ranks(net, SAMPLERS["mala"], X, x_test, temperature=1.0, **more)
    for name, values in found.items():
        assert uniformity(values, 31) > 1e-3 / 4, name
    with pytest.raises(ValueError, match=r"temperature: got 0.5 with classes, expected 1"):
        ranks(net, SAMPLERS["mala"], X, x_test, temperature=0.5)


@pytest.mark.long
def test_a_wrong_sampler_is_found_out():
    """Unadjusted steps far too long inflate the law: the truth ranks in the middle too often."""
    found = ranks(
        NETS["linear"], lambda model: Langevin(model, step_size=0.12), X, x_test, temperature=0.2, readout="explicit"
    )
    assert min(uniformity(values, 31) for values in found.values()) < 1e-6


@pytest.mark.long
@pytest.mark.parametrize("readout", ["marginal", "explicit"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ranks_are_uniform_over_many_simulations(sampler, net, readout):
    many = {"simulations": 4000, "warmup": 400, "thinning": 20}
    found = ranks(NETS[net], SAMPLERS[sampler], X, x_test, temperature=0.2, readout=readout, **many)
    for name, values in found.items():
        assert uniformity(values, 31, bins=16) > 1e-3 / 4, name
