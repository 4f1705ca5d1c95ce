"""Noise, trend and solver of the theories of a card, against the regressors with these settings."""

import numpy as np
import pandas as pd
import pytest

import stpbnn
from stpbnn.cards import load_card
from stpbnn.catalogue import known_theories
from stpbnn.terminal.records import theory_records
from stpbnn.theories import model_of, settings, theory

CARD = """
name = "spoiled"
title = "A table with outliers"
[network]
widths = [5]
bias_precision = 1.0
[data]
file = "spoiled.csv"
target = "y"
test = 10
[posterior]
temperature = 0.05
[theories]
names = [{names}]
"""
NET = stpbnn.FullyConnected((5,), "erf", bias_precision=1.0)


@pytest.fixture
def card(tmp_path):
    """Return a function that makes the card of a table of which every eighth target is far off."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-2, 2, 40))
    y = np.sin(x) + 0.1 * rng.normal(size=40)
    y[::8] += 9
    pd.DataFrame({"x": x, "y": y}).to_csv(tmp_path / "spoiled.csv", index=False)
    path = tmp_path / "spoiled.toml"

    def made(*changes, names='"infinite", "proportional"'):
        path.write_text(CARD.format(names=names))
        return load_card(path, changes)

    return made


@pytest.mark.parametrize("noise", ["student-t", "robust", "auto"])
def test_a_card_reaches_noise_with_outliers(card, noise):
    given = card(f"theories.noise={noise}", "theories.noise_df=3.0")
    X, y, X_test, _ = given.load()
    expected = stpbnn.NNGPRegressor(NET, temperature=0.05, noise=noise, noise_df=3.0).fit(X, y).predict(X_test)
    found, plain = theory(given), theory(card())
    np.testing.assert_allclose(found["mean"].sel(theory="infinite width"), expected, rtol=1e-9)
    assert not np.allclose(plain["mean"].sel(theory="infinite width"), expected, rtol=0.1)
    np.testing.assert_allclose(*(each["mean"].sel(theory="proportional limit") for each in (found, plain)))


def test_the_noise_that_was_chosen_is_told(card, caplog):
    """Every eighth target is off; the temperature leaves room for them, or none at all."""
    for temperature, noise, beside in ((0.05, "student-t", "Student's t noise of 4"), (50.0, "gaussian", "")):
        given = card("theories.noise=auto", f"posterior.temperature={temperature}", names='"infinite"')
        with caplog.at_level("INFO", "stpbnn"):
            found = theory(given)
        assert f'infinite width: the noise "{noise}" is chosen by leave-one-out log scores: ' in caplog.text
        assert found.attrs["beside_the_chains"].startswith(beside)
        assert "chooses" not in found.attrs["beside_the_chains"]
        assert theory(given, known=found).attrs == found.attrs
        caplog.clear()


def test_degrees_of_freedom_that_a_card_leaves_out_are_those_of_the_regressors(card):
    given, df = card("theories.noise=student-t"), stpbnn.NNGPRegressor().noise_df
    assert "noise_df" not in settings(given)
    assert f"noise of {df:g} degrees of freedom" in given.theories.beside_the_chains
    assert "noise_df" not in given.to_toml()


def test_a_trend_is_that_of_every_theory_that_has_one(card):
    given = card("theories.trend=linear", "theories.solver=exact", names='"infinite", "proportional", "finite"')
    X, y, X_test, _ = given.load()
    found = theory(given)
    kinds = {
        "infinite width": stpbnn.NNGPRegressor,
        "proportional limit": stpbnn.ProportionalLimitRegressor,
        "finite width": stpbnn.FiniteWidthRegressor,
    }
    for name, kind in kinds.items():
        expected = kind(NET, temperature=0.05, trend="linear").fit(X, y).predict(X_test)
        np.testing.assert_allclose(found["mean"].sel(theory=name), expected, rtol=1e-9)
    assert found.attrs["beside_the_chains"] == "a linear trend"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # few particles, for speed
def test_clusters_of_a_card_are_those_of_the_regressor(card):
    """A network of one unit is a cluster: told in the predictions, and in what a terminal prints as JSON."""
    changes = ["theories.cluster=auto", "theories.particles=64", "network.widths=[1]", "posterior.temperature=1.0"]
    given = card(*changes, names='"adaptive"')
    assert settings(given)["cluster"] == "auto"
    assert model_of("adaptive", given.build(), 1.0, **settings(given)).cluster == "auto"
    found = theory(given)
    assert found["cluster"].item() == 1
    assert (found["theory_error_systematic"] == 0).all()
    (record,) = theory_records(found)
    assert (record["cluster"], record["systematic"]["total"]) == (1, 0.0)
    with pytest.raises(ValueError, match=r'theories.cluster: got "all", expected a whole number from 1 or "auto"'):
        card("theories.cluster=all").check()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # few particles, for speed
def test_a_card_of_three_layers_may_ask_for_the_network_as_one_cluster(card):
    changes = ["network.widths=[2, 2, 2]", "theories.particles=64", "posterior.temperature=1.0"]
    assert "adaptive" not in known_theories(card(*changes).build()).values()
    asked = card(*changes, "theories.cluster=auto", names='"adaptive"')
    found = theory(asked)
    assert found["cluster"].item() == 2
    X, y, X_test, _ = asked.load()
    again = stpbnn.AdaptiveKernelRegressor(asked.build(), temperature=1.0, cluster="auto", particles=64, random_state=0)
    np.testing.assert_allclose(found["mean"][0], again.fit(X, y).predict(X_test), rtol=1e-9)


def test_single_units_of_three_layers_are_refused(card):
    with pytest.raises(ValueError, match=r"theories.cluster: got 1 for 3 .*, expected one of 2, auto"):
        theory(card("network.widths=[2, 2, 2]", names='"adaptive"'))


def test_features_are_counted_of_a_theory_that_is_solved():
    """Of three layers the adaptive kernel is not, unless it is asked for."""
    many = "theories.particles=2000000000"
    load_card("smoke-1hl-linear", ["network.widths=[5, 5, 5]", many]).load()
    for changes in ([], ["network.widths=[5, 5, 5]", "theories.names=['adaptive']"]):
        with pytest.raises(ValueError, match=r"theories.particles: got 2000000000, whose features take"):
            load_card("smoke-1hl-linear", [many, *changes]).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["theories.noise=student"],
            'theories.noise: got "student", expected one of "gaussian", "student-t", "robust", and "auto"',
        ),
        (["theories.noise=robust", "theories.names=['finite']"], 'theories.noise: got "robust" without the theory'),
        (["theories.noise=robust", "theories.trend=linear"], 'theories.trend: got "linear" with the noise "robust"'),
        (["theories.trend=linear", "theories.names=['adaptive']"], 'got "linear" with the theory "adaptive" alone'),
        (["theories.noise_df=0"], "theories.noise_df: got 0"),
        (["theories.noise=robust", "network.likelihood=bernoulli"], "theories.noise: got it with network.likelihood"),
        (
            ["theories.noise_df=4"],
            'theories.noise_df: got 4 with the noise "gaussian", which has no degrees of freedom',
        ),
        (["theories.noise=robust", "theories.solver=iterative"], 'solver: got "iterative" with the noise "robust"'),
        (["theories.trend=linear", "theories.solver=iterative"], 'solver: got "iterative" with the trend "linear"'),
    ],
)
def test_what_does_not_go_together_is_told(card, changes, message):
    with pytest.raises(ValueError, match="theories") as caught:
        card(*changes).check()
    assert message in str(caught.value)


@pytest.mark.long
def test_a_run_of_a_table_with_outliers_says_what_the_chains_have_not(card, tmp_path):
    changes = ["sampler.warmup=20", "sampler.draws=20", "sampler.chains=2", "theories.noise=student-t"]
    run = stpbnn.run(card(*changes), folder=tmp_path / "run", progress=False)
    text = (tmp_path / "run" / "report.html").read_text()
    assert "noise of 4 degrees of freedom (infinite width alone), and the sampled posterior does not" in text
    again = stpbnn.run(card(*changes[:3]), folder=tmp_path / "run", progress=False)  # theories anew, chains as they are
    assert not np.allclose(again.theory["mean"][0], run.theory["mean"][0], rtol=0.1)


@pytest.mark.parametrize(
    ("changes", "names", "said"),
    [
        (["theories.particles=64"], '"infinite"', ['theories.particles: got 64 without the theory "adaptive"']),
        (["theories.cluster=2"], '"infinite"', ['theories.cluster: got 2 without the theory "adaptive"']),
        ([], '"infinite"', []),
    ],
)
def test_settings_of_a_theory_that_is_not_solved_are_told(card, caplog, changes, names, said):
    with caplog.at_level("INFO", logger="stpbnn"):
        theory(card(*changes, names=names))
    told = [record.getMessage() for record in caplog.records if "theories." in record.getMessage()]
    assert [line[: len(start)] for line, start in zip(told, said, strict=True)] == said
