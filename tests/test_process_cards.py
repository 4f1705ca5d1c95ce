"""Cards of processes: what they may say, theories, runs and reports; cards of networks stay as they were."""

import hashlib
import json

import numpy as np
import pytest
from run_folders import without_pictures

import stpbnn
from stpbnn import runs, theories
from stpbnn.cards import load_card, points
from stpbnn.curves import theory_curves
from stpbnn.samplers import sample_process
from stpbnn.terminal import records

TINY = ["sampler.warmup=20", "sampler.draws=40", "sampler.chains=2", "data.train=6", "data.size=3", "data.test=4"]
NUTS = "sampler.sampler=nuts"
STUDENT = [*TINY, NUTS, "process.name=student-t", "process.df=5.0"]
FINITE = [*TINY, NUTS, "process.name=finite-width", "network.widths=[5, 7]"]
ARRAYS = tuple(np.arange(6.0).reshape(shape) for shape in ((3, 2), (6,), (2, 3), (6,)))


def message(changes, use=load_card):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what the tests compare
        use("smoke-1hl-linear", changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [
        ("smoke-1hl-linear", "50eae1037b49608ed814d89c713ee98ea5657a01bd8c483528d87ab8bd418258"),
        ("digits-1hl-relu", "f514e6d4b09b469b40a90dda1083a03f5bfc51f67409ef01b8c8412c62fa5f8a"),
        ("finite-width", "6176866ad9c7965eb5781d8e7d485ecf90786aa15dd199824a0b3728a3af9dc1"),
    ],
)
def test_cards_of_networks_have_the_fingerprints_that_they_had_before_there_were_processes(name, fingerprint):
    """By which the points of sweeps that were run before are found again."""
    assert runs.fingerprint(load_card(name), ARRAYS) == fingerprint


def test_cards_of_networks_are_written_as_before_there_were_processes():
    before = "21aeaa62d5da92a3ab77ec08eba0bb0886c52d44cb239ac3d5d08fbcb997ace3"
    card = load_card("smoke-1hl-linear", ["theories.particles=4096"])  # as it was then
    text = card.to_toml()
    later = ("keep_draws = 200\n", 'likelihood = "gaussian"\n', 'kind = "fully-connected"\n')
    of_theories = ("cluster = 1\n", 'noise = "gaussian"\n', 'trend = "zero"\n', 'solver = "auto"\n')
    for newer in later + of_theories:
        text = text.replace(newer, "")
    assert hashlib.sha256(text.encode()).hexdigest() == before


def test_a_process_has_a_fingerprint_of_its_own_and_is_written(tmp_path):
    card, other = (load_card("smoke-1hl-linear", [*STUDENT, change]) for change in ("minutes=1", "process.df=6.0"))
    network = load_card("smoke-1hl-linear", [*TINY, NUTS])
    assert len({runs.fingerprint(one, ARRAYS) for one in (card, other, network)}) == 3
    (tmp_path / "card.toml").write_text(card.to_toml())
    assert load_card(tmp_path / "card.toml") == card


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["process.name=student"], 'process.name: got "student", expected "student-t" or "finite-width"'),
        (["process.df=2"], "process.df: got 2, expected a number greater than 2, the degrees of freedom"),
        (["process.df=nan"], "process.df: got nan, expected a number greater than 2"),
        (["process.nu=3"], "override 'process.nu=3': unknown key process.nu"),
        (["process.name=finite-width"], 'process.df: got 5.0 for "finite-width", which has no degrees of freedom'),
        (["network.outputs=2"], "network.outputs: got 2 with a [process], which has one output"),
        (["sampler.sampler=hmc"], 'sampler.sampler: got "hmc" with a [process], expected "nuts"'),
        (["sampler.readout=explicit"], 'sampler.readout: got "explicit" with a [process], expected "marginal"'),
    ],
)
def test_each_mistake_has_one_line(changes, expected):
    assert expected in message([*STUDENT, *changes])


def test_degrees_of_freedom_must_be_said():
    assert "process.df: missing, expected a number greater than 2" in message([NUTS, "process.name=student-t"])
    assert "process.name: missing, expected" in message([NUTS, "process.df=5.0"])


def test_points_of_a_sweep_are_checked(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text(load_card("smoke-1hl-linear", STUDENT).to_toml() + '\n[sweep]\n"process.df" = [3, 1]\n')
    with pytest.raises(ValueError, match=r"sweep.process.df\[1\]: got 1, expected a number greater than 2"):
        load_card(path)
    path.write_text(load_card("smoke-1hl-linear").to_toml() + '\n[sweep]\n"process.df" = [3]\n')
    with pytest.raises(ValueError, match=r"sweep.process.df: process.name is missing"):
        load_card(path)


def test_theories_are_those_of_the_process_and_the_zero_mean_form_has_to_be_asked_for():
    def names(*changes):
        return list(theories.chosen(load_card("smoke-1hl-linear", changes)))

    assert names(*STUDENT) == ["infinite width", "Student's t-process"]
    assert names(*FINITE) == ["infinite width", "proportional limit", "finite width"]
    relu = "network.activation=relu"
    asked = "theories.names=['infinite', 'zero-mean', 'proportional']"
    assert names(relu) == ["infinite width", "proportional limit", "finite width", "adaptive kernel"]
    assert names(relu, asked) == ["infinite width", "proportional limit", "mean dropped"]
    for changes in ([], [relu, "network.widths=[5, 5]"], [relu, "network.outputs=2"]):
        with pytest.raises(ValueError, match=r"got 'zero-mean', expected some of .* activation that is not odd"):
            names(*changes, "theories.names=['zero-mean']")
    with pytest.raises(ValueError, match=r"got 'student-t', expected .* it is that of a \[process\]"):
        names("theories.names=['student-t']")
    with pytest.raises(ValueError, match=r"got 'adaptive', expected .* for the process .finite-width"):
        names(*FINITE, "theories.names=['adaptive']")


def test_dropped_mean_is_the_regressors():
    card = load_card(
        "smoke-1hl-linear", [*TINY, "network.activation=relu", "theories.names=['proportional', 'zero-mean']"]
    )
    X, y, X_test, y_test = card.data.load()
    found = theories.theory(card)
    curves = theory_curves(card.model_copy(update={"sweep": {"network.widths": ([5], [9])}}))
    for name, mean in (("proportional limit", "keep"), ("mean dropped", "drop")):
        model = stpbnn.ProportionalLimitRegressor(card.network.build(), temperature=0.1, mean=mean).fit(X, y)
        expected = model.generalization_error(X_test, y_test).total
        assert float(found["error"].sel(theory=name, part="total")) == pytest.approx(expected, rel=1e-9)
        swept = curves["error"].sel(theory=name, part="total", width=5).squeeze()
        assert float(swept) == pytest.approx(expected, rel=1e-9)


def test_closed_forms_of_processes_over_a_sweep():
    card = load_card("smoke-1hl-linear", STUDENT)
    X, y, X_test, y_test = card.data.load()
    curves = theory_curves(card.model_copy(update={"sweep": {"process.df": (3.0, 30.0)}}))
    for df in (3.0, 30.0):
        model = stpbnn.StudentTProcessRegressor(
            card.network.build(), df=df, noise="gaussian", temperature=0.1, optimizer=None
        )
        expected = model.fit(X, y).generalization_error(X_test, y_test).total
        swept = curves["error"].sel({"theory": "Student's t-process", "part": "total", "process.df": df}).squeeze()
        assert float(swept) == pytest.approx(expected, rel=1e-9)


def test_finite_width_of_relu_is_the_zero_mean_form():
    card = load_card("smoke-1hl-linear", [*FINITE, "network.widths=[5]", "network.activation=relu"])
    X, y, X_test, y_test = card.data.load()
    model = stpbnn.FiniteWidthRegressor(card.network.build(), temperature=0.1, mean="drop").fit(X, y)
    found = theories.theory(card)["error"].sel(theory="finite width", part="total")
    assert float(found) == pytest.approx(model.generalization_error(X_test, y_test).total, rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([*STUDENT, "network.widths=[5]"], id="student-t"),
        pytest.param(FINITE, id="finite-width", marks=pytest.mark.long),
    ],
)
def test_run_is_that_of_the_library_and_is_used_and_drawn_again(changes, tmp_path, monkeypatch):
    card = load_card("smoke-1hl-linear", changes)
    run = runs.run_card(card, tmp_path / "run", progress=False)
    X, y, X_test, y_test = card.data.load()
    settings = {"temperature": 0.1, "warmup": 20, "draws": 40, "chains": 2, "seed": 0, "progress": False}
    posterior = sample_process(
        card.network.build(), X, y, X_test=X_test, y_test=y_test, **card.process.model_dump(exclude={"name"}),
        process=card.process.name, **settings,
    )  # fmt: skip
    for group in ("posterior", "predictions", "log_likelihood"):
        assert run.posterior[group].to_dataset().equals(posterior[group].to_dataset())
    html = run.report.read_text(encoding="utf-8")
    exact = list(theories.chosen(card))[-1].replace("'", "&#39;")
    assert f"Does the prediction “{exact}” agree with the true posterior of this process?" in html

    def again(*args, **kwargs):
        raise AssertionError("sampled again")

    monkeypatch.setattr("stpbnn.samplers.collect", again)
    assert runs.run_card(card, run.folder, progress=False).posterior.attrs == run.posterior.attrs
    with without_pictures():
        assert runs.rerender(run.folder).comparison["verdict"].equals(run.comparison["verdict"])
    record = json.loads(records.as_json(records.run_record(run)))
    assert [one["theory"] for one in record["theories"]] == list(theories.chosen(card))
    network = load_card("smoke-1hl-linear", [*TINY, NUTS, f"network.widths={list(card.network.widths)}"])
    with pytest.raises(ValueError, match=r"process.name is .* there and None here"):
        runs.run_card(network, run.folder)
    assert "There are no weights in this posterior." in html
    for word in ("readout norm", "Readout norm", "kernel scale", "Kernel scale", "hidden units have turned"):
        assert word not in html


def test_sweeps_of_a_process_are_points_of_their_own():
    card = load_card("smoke-1hl-linear", STUDENT).model_copy(update={"sweep": {"process.df": (3.0, 5.0)}})
    assert {place: at.process.df for place, at in points(card).items()} == {(0,): 3.0, (1,): 5.0}
