"""Model cards: every mistake has its message, every card reads back as itself, every shipped card can be built."""

import os
import subprocess
import sys

import pytest

from stpbnn.cards import load_card, shipped_cards

MINIMAL = """
name = "tiny"
title = "A tiny network"
minutes = 1
[network]
widths = [5]
[data]
name = "digits"
[posterior]
temperature = 0.1
"""
WIDTHS = "expected a list of whole numbers from 1, such as [100] or [50, 50]"
TEMPERATURE = "expected a positive number, the variance of the Gaussian likelihood; of classes the T of p(y|f)^(1/T)"


@pytest.fixture
def write(tmp_path):
    def write(text, name="card.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def message(card, overrides=()):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what the tests compare
        load_card(card, overrides)
    assert caught.type is ValueError  # pydantic's and tomllib's errors are subclasses of it
    return str(caught.value)


def test_defaults_are_those_of_the_library(write):
    card = load_card(write(MINIMAL))
    assert card.network.widths == (5,)
    assert (card.network.activation, card.network.outputs, card.network.bias_precision) == ("erf", 1, None)
    assert (card.sampler.warmup, card.sampler.draws, card.sampler.chains, card.sampler.seed) == (500, 1000, 4, 0)
    assert card.sweep == {}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[5]", "[0]", f"network.widths: got [0], {WIDTHS}"),
        ("[5]", "5", f"network.widths: got 5, {WIDTHS}"),
        ("[5]", "[]", f"network.widths: got [], {WIDTHS}"),
        ("[5]", "[5.0]", f"network.widths: got [5.0], {WIDTHS}"),
        ("0.1", "0", f"posterior.temperature: got 0, {TEMPERATURE}"),
        ("0.1", "nan", f"posterior.temperature: got nan, {TEMPERATURE}"),
        ("0.1", "true", f"posterior.temperature: got true, {TEMPERATURE}"),
        ("0.1", '"0.1"', f'posterior.temperature: got "0.1", {TEMPERATURE}'),
        ("temperature", "temprature", "unknown key posterior.temprature; did you mean posterior.temperature?"),
        ("[posterior]", "[posteriors]", "unknown key posteriors; did you mean posterior?"),
        ('title = "A tiny network"', "", "title: missing, expected a line of text"),
        ("minutes", "temperature = 1\nminutes", "unknown key temperature; did you mean posterior.temperature?"),
        ("minutes", "xyz = 1\nminutes", "unknown key xyz; expected one of name, title, reference, minutes, network, "),
        ('"tiny"', '"../tiny"', 'name: got "../tiny", expected letters, digits, dots, dashes and underscores'),
        ("[5]", '[5]\nactivation = "erff"', "network.activation: got 'erff', expected one of "),
        ("[5]", "[5]\nweight_precision = [1, 2, 3]", "network.weight_precision: got 3 numbers, expected one, or 2 "),
        ('"digits"', '"digits"\nlabels = [1]', "data.labels: got [1], expected two numbers, such as [-1, 1], or "),
        ('"digits"', '"digits"\nseed = -1', "data.seed: got -1, expected a whole number from 0; leave it out for "),
        ("[posterior]", '[sampler]\nsampler = "nut"\n[posterior]', 'sampler.sampler: got "nut", expected one of '),
        ("[posterior]", "draws = 1\n[posterior]", "unknown key data.draws; did you mean sampler.draws?"),
        ("minutes", "sampler = 3\nminutes", "sampler: got 3, expected a table"),
    ],
)  # fmt: skip
def test_each_mistake_has_one_line_with_file_key_got_and_expected(write, old, new, expected):
    path = write(MINIMAL.replace(old, new, 1))
    text = message(path)
    assert text.startswith(f"{path}: {expected}")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "[sampler]\nstep_size = 1",
            "unknown key sampler.step_size; expected one of sampler, readout, warmup, ",
        ),
        ("[sampler]\nDraws = 1", "unknown key sampler.Draws; did you mean sampler.draws?"),
        ("[sampler]\nWarm_up = 1", "unknown key sampler.Warm_up; did you mean sampler.warmup?"),
        ("[sampler]\nbias_precision = 1", "unknown key sampler.bias_precision; did you mean network.bias_precision?"),
        ("[Sampler]\ndraws = 1", "unknown key Sampler; did you mean sampler?"),
        ("[theories]\nparticle = 20", "unknown key theories.particle; did you mean theories.particles?"),
    ],
)
def test_the_key_that_is_meant_is_named_and_no_other(write, line, expected):
    assert expected in message(write(f"{MINIMAL}{line}\n"))


def test_activations_and_cards_are_suggested_whatever_the_case(write):
    assert message(write(MINIMAL.replace("[5]", '[5]\nactivation = "ReLU"'))).endswith("; did you mean 'relu'?")
    assert message("Digits-1HL-erf").endswith("; did you mean digits-1hl-erf?")


@pytest.mark.parametrize("value", ["[]", "[18]", "[1, 0.1]", "[18, 1.0]", "[18, -0.1]", "[18, 0.1, 2]", '"hot"', "18"])
def test_a_ladder_is_two_numbers_within_bounds(write, value):
    """What is given is shown: a list that is too short is not missing."""
    path = write(f'{MINIMAL}[sampler]\nsampler = "tempered"\nladder = {value}\n')
    assert f"sampler.ladder: got {value}, expected [K, b], the number of replicas from 2 and the power" in message(path)


def test_minutes_may_be_left_out(write):
    card = load_card(write(MINIMAL.replace("minutes = 1\n", "")))
    assert card.minutes is None
    assert "minutes" not in card.to_toml()
    assert load_card(write(card.to_toml(), "again.toml")) == card
    assert all(shipped.minutes for shipped in shipped_cards().values())


def test_several_mistakes_are_listed_one_a_line(write):
    path = write(MINIMAL.replace("widths = [5]", "width = [5]").replace("0.1", "-1").replace("title", "tilte"))
    assert sorted(message(path).splitlines()) == sorted(
        [
            f"{path}: unknown key tilte; did you mean title?",
            f"{path}: unknown key network.width; did you mean network.widths?",
            f"{path}: posterior.temperature: got -1, {TEMPERATURE}",
        ]
    )


def test_toml_syntax_error_names_file_and_line(write):
    path = write(MINIMAL + "oops\n")
    assert message(path).startswith(f"{path}: not valid TOML: ")
    assert "line 11" in message(path)


def test_files_that_are_no_cards(tmp_path, write):
    assert "cannot be read (No such file or directory)" in message(tmp_path / "absent.toml")
    assert "expected a TOML file or one of " in message(tmp_path)
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    assert "not text in UTF-8 (byte 8)" in message(tmp_path / "latin.toml")


def test_unknown_name_suggests_the_nearest_card():
    assert message("digit-1hl-erf").endswith("did you mean digits-1hl-erf?")


def test_overrides(write):
    path = write(MINIMAL)
    card = load_card(
        path,
        ["network.widths=[50, 20]", "network.activation=relu", "data.labels = one-hot", 'name="other"',
         "title=1st = best", "sampler.seed=7", "posterior.temperature=1e-2"],
    )  # fmt: skip
    assert (card.network.widths, card.network.activation, card.data.labels) == ((50, 20), "relu", "one-hot")
    assert (card.name, card.title, card.sampler.seed, card.posterior.temperature) == ("other", "1st = best", 7, 0.01)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("network.widths", "expected key=value, such as network.widths=[50]"),
        ("network.widht=[5]", "unknown key network.widht; did you mean network.widths?"),
        ("network.widths=[0]", f"network.widths: got [0], {WIDTHS}"),
        ("network.widths=[50", f'network.widths: got "[50", {WIDTHS}'),
        ("network.activation=erff", "network.activation: got 'erff', expected one of "),
        ("posterior.temperature=2026-11-23", 'posterior.temperature: got "2026-11-23", expected a positive number,'),
        ("posterior.temperature=", 'posterior.temperature: got "", expected a positive number,'),
        ("minutes=1\nname=2", 'minutes: got "1\\nname=2", expected a positive number,'),
    ],
)  # fmt: skip
def test_a_mistake_in_an_override_names_the_override(write, override, expected):
    text = message(write(MINIMAL), [override])
    assert text.startswith(f"override {override!r}: {expected}")


def test_round_trip_of_every_kind_of_value(write):
    text = MINIMAL.replace(
        '"A tiny network"', r'"quotes \" and \\, \u0085, Gr\u00fc\u00dfe \U0001F600\ttab \u007f"'
    ).replace("[5]", "[5, 6]\nweight_precision = [1, 0.1, 1e-30]\nbias_precision = 2")
    text += '[sampler]\nseed = 3\n[sweep]\nposterior.temperature = [0.1, 1]\n"network.widths" = [[1, 2], [3, 4]]\n'
    card = load_card(write(text))
    assert card.sweep == {"posterior.temperature": (0.1, 1), "network.widths": ([1, 2], [3, 4])}
    again = load_card(write(card.to_toml(), "again.toml"))
    assert again.to_toml() == card.to_toml()
    assert again == card


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("network.widths = [[5], 5]", "sweep.network.widths[1]: got 5, expected a list of whole numbers from 1,"),
        ("network.width = [[5]]", "unknown key sweep.network.width; did you mean network.widths?"),
        ("name = ['a', 'b']", "unknown key sweep.name; "),
        (
            "posterior.temperature = 1",
            "sweep.posterior.temperature: got 1, expected a list of one value or more for each key",
        ),
        (
            "posterior.temperature = []",
            "sweep.posterior.temperature: got [], expected a list of one value or more for each key",
        ),
    ],
)
def test_mistakes_in_a_sweep(write, sweep, expected):
    path = write(f"{MINIMAL}\n[sweep]\n{sweep}\n")
    assert message(path).startswith(f"{path}: {expected}")


def test_cards_cannot_be_changed():
    card = load_card("smoke-1hl-linear")
    with pytest.raises(ValueError, match="frozen"):
        card.network.outputs = 2


@pytest.mark.parametrize("name", sorted(shipped_cards()))
def test_shipped_cards_are_named_like_their_files_and_can_be_built(name, write):
    card = load_card(name)
    assert card.name == name
    assert getattr(card.network.build(), card.network.of_hidden) == card.network.hidden
    assert load_card(write(card.to_toml())) == card


def test_listing_cards_loads_nothing_heavy():
    code = "import sys; from stpbnn.cards import *; shipped_cards(); print(*({'jax', 'arviz'} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout == "\n"
