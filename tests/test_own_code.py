"""Activations that are code: run only where it is allowed, named and hashed, and kept with the run."""

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import stpbnn
from stpbnn import runs
from stpbnn.cards import code, load_card

CARD = """
name = "own"
title = "An activation of one's own"
[network]
widths = [4]
activation = "{activation}"
[data]
name = "linear_teacher"
size = 3
train = 6
test = 4
[posterior]
temperature = 0.1
[sampler]
warmup = 10
draws = 20
chains = 2
[theories]
names = ["infinite"]
"""
MODULE = """
import jax

def {name}(h):
    return jax.numpy.arctan(h)

def wrong(h):
    return h.sum()

number = 3
"""


@pytest.fixture
def card(tmp_path):
    def write(activation, module="mine", name="bent", text=MODULE):
        (tmp_path / f"{module}.py").write_text(text.format(name=name) if "{name}" in text else text)
        path = tmp_path / "card.toml"
        path.write_text(CARD.format(activation=activation))
        return path

    return write


def test_code_runs_only_where_it_is_allowed(card, tmp_path):
    witness = f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef bent(h):\n    return h\n"
    path = card("witness:bent", "witness", text=witness)
    with pytest.raises(
        ValueError, match=r"card.toml: network.activation: got 'witness:bent', which is code .*--allow-code"
    ):
        load_card(path)
    assert not (tmp_path / "ran").exists()
    load_card(path, allow_code=True)
    assert (tmp_path / "ran").exists()


def test_the_function_is_the_activation(card):
    net = load_card(card("first:bent", "first"), allow_code=True).build()
    assert net.sigma.name == "first:bent"
    np.testing.assert_allclose(net.sigma.function(jnp.array([0.5, -2.0])), np.arctan([0.5, -2.0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "module", "message"),
    [
        ("absent:bent", "mine", r"got the module 'absent', expected absent.py beside the card"),
        ("mine2:bend", "mine2", r"network.activation: mine2: got 'bend', expected one of .*bent"),
        ("mine3:wrong", "mine3", r"the function turns shape"),
        ("mine4:number", "mine4", r"got 'number'"),
    ],
)
def test_what_is_no_activation_is_refused_by_its_key(card, activation, module, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_card(card(activation, module), allow_code=True)
    assert "\n" not in str(caught.value)


def test_a_module_that_fails_is_told_in_one_line(card):
    with pytest.raises(ValueError, match=r"network.activation: broken cannot be run \(ZeroDivisionError: div"):
        load_card(card("broken:bent", "broken", text="1 / 0\n"), allow_code=True)


@pytest.mark.long
def test_a_run_keeps_its_code_and_needs_leave_to_run_it_again(card, tmp_path):
    path = card("kept:bent", "kept")
    finished = runs.run_card(load_card(path, allow_code=True), tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "kept.py").read_text() == (tmp_path / "kept.py").read_text()
    assert "kept:bent" in finished.report.read_text()
    told = code.digests(["kept:bent"])
    assert [len(digest) for digest in told.values()] == [64]
    script = "import sys, stpbnn; print(stpbnn.load_run(sys.argv[1], allow_code=bool(int(sys.argv[2]))).card.name)"
    for allowed, expected in (("0", "which is code that the card would run"), ("1", "own")):
        command = [sys.executable, "-c", script, str(finished.folder), allowed]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert expected in done.stdout + done.stderr


def test_another_text_under_the_same_name_is_not_taken_for_the_first(card):
    path = card("twice:bent", "twice")
    load_card(path, allow_code=True)
    (path.parent / "twice.py").write_text("def bent(h):\n    return h\n")
    with pytest.raises(ValueError, match=r"twice.py is another than the one that has run; start Python anew"):
        load_card(path, allow_code=True)


def test_a_network_with_code_needs_the_card(card):
    assert stpbnn.FullyConnected((2,)).sigma.name == "erf"
    with pytest.raises(ValueError, match="activation: got 'never:seen'"):
        stpbnn.FullyConnected((2,), "never:seen")
