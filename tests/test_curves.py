"""The curves of a card against its points, one by one."""

import itertools

import numpy as np
import pytest

from stpbnn import theories
from stpbnn.cards import load_card
from stpbnn.curves import theory_curves

BASE = ["data.train=8", "data.test=5", "data.size=4"]
CLOSED = "theories.names=['infinite', 'proportional', 'finite']"


def swept(settings=(*BASE, CLOSED), **sweep):
    keys = {key.replace("__", "."): tuple(values) for key, values in sweep.items()}
    return load_card("smoke-1hl-linear", settings).model_copy(update={"sweep": keys})


@pytest.mark.parametrize(
    "sweep",
    [
        {"network__widths": [[3], [40]], "posterior__temperature": [0.1, 1.0], "data__train": [5, 8]},
        {"network__activation": ["relu", "erf"], "posterior__temperature": [0.2]},
        {"network__weight_precision": [[1.0, 2.0], 0.5], "data__noise": [0.1, 0.5], "network__widths": [[3], [4]]},
        {"network__widths": [[3], [4, 5]], "sampler__seed": [0, 1]},
        pytest.param({"network__widths": [[30], [30, 4, 3]], "theories.names": None}, marks=pytest.mark.long),
    ],
    ids=lambda sweep: " ".join(sweep),
)
def test_every_point_is_that_of_the_card_with_those_values(sweep):
    """The last of the sweeps with all theories, also that which is simulated."""
    every = "theories.names" in sweep
    sweep = {key: values for key, values in sweep.items() if values}
    settings = [*BASE, "theories.particles=64"] if every else [*BASE, CLOSED]
    card = swept(settings, **sweep)
    curves = theory_curves(card)
    names = {"network__widths": "width", "posterior__temperature": "temperature", "data__train": "train"}
    keys = [key for key in sweep if not key.startswith("sampler")]
    for place in itertools.product(*(range(len(sweep[key])) for key in keys)):
        at = {names.get(key, key.replace("__", ".")): i for key, i in zip(keys, place, strict=True)}
        changes = [f"{key.replace('__', '.')}={sweep[key][i]}" for key, i in zip(keys, place, strict=True)]
        expected = theories.theory(load_card("smoke-1hl-linear", settings + changes))
        point = curves.isel(at).squeeze()
        known = expected["theory"].values.tolist()
        assert [name for name in point["theory"].values if name in known] == known
        others, point = point.drop_sel(theory=known), point.sel(theory=known)
        assert np.isnan(others["error"]).all()
        assert not others["converged"].any()
        assert curves["converged"].dtype == bool
        for name in ("error", "log_marginal_likelihood"):
            np.testing.assert_allclose(point[name], expected[name], rtol=1e-8)
        orders = point["order_parameters"].values.reshape(len(expected["theory"]), -1)
        np.testing.assert_allclose(orders[:, : expected.sizes["layer"]], expected["order_parameters"], rtol=1e-8)
        assert np.isnan(orders[:, expected.sizes["layer"] :]).all()


def test_a_progress_bar_is_shown_where_asked(capsys):
    theory_curves(swept(data__train=[5, 8]), progress=True)
    assert "2/2" in capsys.readouterr().err
    theory_curves(swept(data__train=[5, 8]))
    assert capsys.readouterr().err == ""


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match=r"no \[sweep\] that the closed forms can follow"):
        theory_curves(swept(sampler__seed=[0, 1]))
    with pytest.raises(ValueError, match="weight_precision: got 3 numbers"):
        theory_curves(swept(network__weight_precision=[[1.0, 2.0, 3.0]]))


def test_theories_are_those_that_are_known_for_the_network():
    def names(*changes):
        return list(theories.chosen(load_card("smoke-1hl-linear", changes)))

    assert names() == ["infinite width", "proportional limit", "finite width", "adaptive kernel"]
    assert names("network.widths=[5,5,5]") == ["infinite width", "proportional limit", "finite width"]
    assert names("theories.names=['adaptive', 'infinite']") == ["infinite width", "adaptive kernel"]
    with pytest.raises(ValueError, match=r"theories.cluster: got 1 for 3 hidden layers"):
        names("network.widths=[5,5,5]", "theories.names=['adaptive']")
    asked = "theories.names=['adaptive']", "theories.cluster=auto"
    assert names("network.widths=[5,5,5]", *asked) == ["adaptive kernel"]
    with pytest.raises(ValueError, match=r"theories.names: got 'adaptive', expected .*known for 1 hidden layer"):
        names("network.likelihood=bernoulli", "sampler.readout=explicit", "posterior.temperature=1", *asked)
    assert names("network.widths=[5,7]")[-1] == "adaptive kernel"
    assert names("network.outputs=2") == ["infinite width", "proportional limit", "finite width", "adaptive kernel"]
    deep = "network.outputs=2", "network.widths=[5,5]"
    assert names(*deep) == ["infinite width", "proportional limit", "finite width"]
    assert names(*deep, "network.activation=erf") == ["infinite width", "proportional limit"]
    assert names("network.widths=[5,5,5,5]") == ["infinite width", "proportional limit"]
