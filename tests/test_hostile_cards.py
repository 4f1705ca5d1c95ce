"""Cards that nobody should write: each is refused in one line that names its key, with exit code 2 and nothing left."""

import io
import json

import numpy as np
import pytest

from stpbnn import cli
from stpbnn.cards import load_card
from stpbnn.terminal import records
from stpbnn.theories import theory

CARD = """
name = "tiny"
title = "A tiny network"
[network]
widths = [5]
[data]
name = "linear_teacher"
train = 6
test = 3
size = 2
[posterior]
temperature = 0.1
[sampler]
warmup = 10
draws = 10
chains = 1
"""
DIGITS = CARD.replace("linear_teacher", "digits").replace("size = 2", "classes = [0, 1]")
TRILLION, GOOGOL4 = 10**12, 10**400
DEEP = "[" * 3000 + "]" * 3000


def but(old, new, card=CARD):
    """Return a card with one change."""
    assert card.count(old) == 1
    return card.replace(old, new)


@pytest.fixture
def end(tmp_path, monkeypatch, capsys):
    """Give what the command line says of a card; check that it ends as it should."""
    monkeypatch.chdir(tmp_path)

    def end(card, *words):
        content = card.encode() if isinstance(card, str) else card
        (tmp_path / "card.toml").write_bytes(content)
        with pytest.raises(SystemExit) as ended:
            cli.main([*(words or ("run",)), "card.toml", "-q"])
        printed, shown = capsys.readouterr()
        shown = shown.replace("Exception ignored in audit hook", "")  # of libraries, where the stack is exhausted
        assert (ended.value.code, printed) == (2, ""), shown
        assert shown.startswith("stpbnn: error: ")
        assert shown.count("\n") == 1
        assert len(shown) < 600
        assert [path.name for path in tmp_path.iterdir()] == ["card.toml"]
        return shown.removeprefix("stpbnn: error: ").rstrip("\n")

    return end


TOO_BIG = {
    "network.widths": but("[5]", f"[{TRILLION}]"),
    "data.train": but("train = 6", f"train = {TRILLION}"),
    "data.test": but("test = 3", f"test = {TRILLION}"),
    "data.size": but("size = 2", f"size = {TRILLION}"),
    "data.hidden_width": but("linear_teacher", "erf_teacher").replace("size", f"hidden_width = {TRILLION}\nsize"),
    "sampler.draws": but("draws = 10", f"draws = {10 * TRILLION}"),
    "sampler.chains": but("chains = 1", f"chains = {10**10}"),
    "theories.particles": f"{CARD}[theories]\nparticles = {TRILLION}\n",
}


@pytest.mark.parametrize("key", TOO_BIG)
def test_what_needs_more_memory_than_there_is_says_how_much_and_how_much_there_is(end, key):
    said = end(TOO_BIG[key])
    assert said.startswith(f"card.toml: {key}: got ")
    assert " take " in said
    assert "iB of memory are free here; take fewer" in said


def test_rows_and_inputs_that_fit_one_by_one_but_not_as_a_kernel(end):
    assert end(but("train = 6", "train = 300000")).startswith("card.toml: data.train: got 300000, whose kernels take ")


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (but("warmup = 10", f"warmup = {TRILLION}"), "sampler.warmup: got 1000000000000, expected fewer: "),
        (but("[5]", str([5] * 500)), "network.widths: got 500 layers, expected at most "),
        ("", "is empty, expected a model card"),
        ("# nothing\n\n", "is empty, expected a model card"),
        (but('"tiny"', f'"{"a" * 300}"'), 'name: got "aaa'),
        (but("A tiny network", "x" * 20_000), 'title: got "xxx'),
        (but("[5]", f"[{10**30}]"), "network.widths: got [1000000000000000000000000000000], a number beyond "),
        (but("0.1", str(GOOGOL4)), "posterior.temperature: got 1000"),
        (but("0.1", "0x" + 5000 * "f"), "posterior.temperature: got 0xff"),
        (but("0.1", "9" * 5000), "not valid TOML: "),
        (but("0.1", "1e400"), "posterior.temperature: got inf, expected a positive number"),
        (but("0.1", "1e300"), "posterior.temperature: got 1e+300, expected a number from 1.2e-38 to 3.4e+38, the "),
        (but("0.1", "1e-300"), "posterior.temperature: got 1e-300, expected a number from 1.2e-38 to 3.4e+38, the "),
        (but("[data]", "weight_precision = 1e300\n[data]"), "network.weight_precision: got 1e+300, expected a number "),
        (but("[data]", "weight_precision = [1, 1e-90]\n[data]"), "network.weight_precision: got 1e-90, expected a "),
        (but("[data]", "bias_precision = 1e-300\n[data]"), "network.bias_precision: got 1e-300, expected a number "),
        (but("size = 2", f"size = 2\nnoise = {GOOGOL4}"), "data.noise: got 1000"),
        (but("chains = 1", f"chains = 1\nseed = {10**30}"), "sampler.seed: got 1000"),
        (but("[0, 1]", f"[0, 1]\nlabels = [0, {GOOGOL4}]", DIGITS), "data.labels: got [0, 1000"),
        (but("[0, 1]", f"[0, {10**30}]", DIGITS), "data.classes: got [0, 1000"),
        (but("[5]", DEEP), "not valid TOML: nested too deeply"),
        (but("[5]", "[" * 200 + "]" * 200), "network.widths: got [[["),
        (f"{CARD}[sweep]\n{'.'.join('a' * 40)} = [1]\n", "sweep.a.a: got a table, expected a list of one value "),
        (f"{CARD}[sweep]\n{'.'.join('a' * 1000)} = [1]\n", "sweep.a.a: got a table, expected a list of one value or "),
        (f"{CARD}[sweep]\nnetwork.widths = [{'[' * 200}5{']' * 200}]\n", "sweep.network.widths[0]: got [[["),
        (f"{CARD}[sweep]\nnetwork.widths = [[{10**30}]]\n", "sweep.network.widths[0]: got [1000"),
        (f"{CARD}{'.'.join('a' * 1000)} = 1\n", "unknown key sampler.a; "),
        (f'{CARD}"a\\nb" = 1\n', 'unknown key "sampler.a\\nb"; '),
        (f"{CARD}{'a' * 1000} = 1\n", "unknown key sampler.aaa"),
        (f"{CARD}step_size = 0.1\n", "unknown key sampler.step_size; expected one of sampler, readout, warmup, "),
        (but("[data]", 'activation = "ReLU"\n[data]'), "network.activation: got 'ReLU', expected one of "),
        (but("linear_teacher", "Linear_Teacher"), "data.name: got 'Linear_Teacher', expected one of "),
        (but("0.1", "2026-11-29"), "posterior.temperature: got 2026-11-29, expected a positive number"),
        (but("[data]", f"outputs = {TRILLION}\n[data]"), "network.outputs: got 1000000000000, expected 1: the "),
        (but("[data]", "outputs = 3\n[data]", DIGITS), "network.outputs: got 3, expected 1: the targets of digits "),
        (but("train = 6", "train = 9999", DIGITS), "data.train: digits has 360 rows of these classes for "),
        (but("train = 6\ntest = 3", "train = 360", DIGITS), "data.test: got no rows, expected one at least: "),
        (but("[0, 1]", "[0, 0]", DIGITS), "data.classes=(0, 0): expected two or more different classes, such "),
        (but("[0, 1]", "[0, 1]\nsize = 7", DIGITS), "data.size=7: expected a square number of pixels from 1 to 8² "),
        (but("[0, 1]", "[0, 1]\nnoise = 1", DIGITS), "data.noise=1.0 is not for digits: only for linear_teacher, "),
        (but("[0, 1]", "[0, 1]\nlabels = [1, 1]", DIGITS), "data.labels=(1.0, 1.0): expected two different numbers"),
        (f"{CARD}[theories]\nnames = [1]\n", "theories.names: got [1], expected a list of some of infinite, "),
        (f'{CARD}[theories]\nnames = ["student-t"]\n', "theories.names: got 'student-t', expected some of infinite, "),
        (CARD.encode("utf-16"), "is text in UTF-16, expected UTF-8; "),
        (CARD.encode("utf-16-le"), "is text in UTF-16, expected UTF-8; "),
        (CARD.replace("tiny", "t\0iny"), "not valid TOML: "),
        (b"\x89PNG\r\n\x1a\n", "not text in UTF-8 (byte 0)"),
        (bytes(200_000), "is text in UTF-16, expected UTF-8; "),
        (b"#" * 200_000, "has more than 64.0 KiB, expected a model card, a TOML file"),
    ],
)  # fmt: skip
def test_a_hostile_card_is_refused_in_one_line_that_names_file_and_key(end, card, expected):
    said = end(card)
    assert said.startswith(f"card.toml: {expected}")
    assert "\0" not in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (f"network.widths={DEEP}", "network.widths: got "),
        (f"network.widths=[{TRILLION}]", "network.widths: got [1000000000000], whose "),
        ("data.train=9999", "data.train: digits has 360 rows of these classes "),
        (f"posterior.temperature={GOOGOL4}", "posterior.temperature: got 1000"),
    ],
)
def test_a_hostile_override_is_refused_in_one_line_that_names_it(end, change, expected):
    said = end(DIGITS, "run", "--set", change)
    source, _, message = said.partition(": ")
    assert source.startswith(f"override '{change[:20]}")
    assert message.startswith(expected)


@pytest.mark.parametrize(
    ("command", "card", "expected"),
    [
        ("theory", but("train = 6", "train = 9999", DIGITS), "card.toml: data.train: digits has 360 rows "),
        ("theory", but("[data]", "outputs = 3\n[data]", DIGITS), "card.toml: network.outputs: got 3, expected 1"),
        ("theory", f"{CARD}[sweep]\ndata.train = [{TRILLION}]\n", "card.toml: data.train: got 1000000000000, whose "),
        ("theory", but("[5]", str([5] * 500)), "card.toml: network.widths: got 500 layers, expected at most "),
        ("sweep", f"{CARD}[sweep]\ndata.train = [{TRILLION}]\n", "tiny, point train 1000000000000: data.train: got "),
        ("sweep", f"{CARD}[sweep]\nnetwork.widths = [[{TRILLION}]]\n", "tiny, point width 1000000000000: network."),
        ("sweep", f"{CARD}[sweep]\nnetwork.outputs = [3]\n", "tiny, point network.outputs 3: network.outputs: got 3, "),
        ("sweep", f"{CARD}[sweep]\nsampler.draws = [{10 * TRILLION}]\n", "tiny, point sampler.draws 10000000000000: "),
    ],
)  # fmt: skip
def test_closed_forms_and_sweeps_refuse_at_their_doors_as_well(end, command, card, expected):
    assert end(card, command).startswith(expected)


def test_a_card_of_a_trillion_units_has_closed_forms(tmp_path):
    """The width is a number there, and no weight is ever held; at infinite width it is ridge regression."""
    path = tmp_path / "card.toml"
    linear = but("[data]", 'activation = "linear"\n[data]').replace("[5]", f"[{TRILLION}]")
    path.write_text(f'{linear}[theories]\nnames = ["infinite"]\n')
    card = load_card(path)
    X, y, Xt, _ = card.data.load()
    expected = Xt @ X.T / 2 @ np.linalg.solve(X @ X.T / 2 + 0.1 * np.eye(6), y)
    np.testing.assert_allclose(theory(card)["mean"].squeeze(), expected, rtol=1e-9)


def test_many_mistakes_are_counted(tmp_path):
    path = tmp_path / "card.toml"
    path.write_text(CARD + "".join(f"key{i} = 1\n" for i in range(1000)))
    with pytest.raises(ValueError, match="990 more mistakes") as caught:
        load_card(path)
    assert str(caught.value).count("\n") == 10


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_card_that_windows_wrote_is_read(tmp_path, mark, newline):
    path = tmp_path / "card.toml"
    path.write_bytes(mark + CARD.replace("A tiny", "Ein kleines, schönes").replace("\n", newline).encode())
    card = load_card(path)
    assert (card.title, card.minutes, card.network.widths) == ("Ein kleines, schönes network", None, (5,))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1251", "gbk"])
@pytest.mark.parametrize("words", [["models"], ["theory", "card.toml", "-q"], ["run", "Ω卡.toml"], ["--help"]])
def test_what_an_encoding_lacks_is_replaced(encoding, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = CARD.replace("[data]", 'activation = "linear"\n[data]').replace('"tiny"', '"tiny"\nreference = "Ω 卡 é"')
    (tmp_path / "card.toml").write_text(f'{card}[theories]\nnames = ["infinite"]\n', encoding="utf-8")
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2)]
    monkeypatch.setattr("sys.stdout", streams[0])
    monkeypatch.setattr("sys.stderr", streams[1])
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    printed, shown = (stream.buffer.getvalue().decode(encoding, "replace") for stream in streams)
    assert (ended.value.code or 0) == (2 if "Ω卡.toml" in words else 0), shown
    assert "codec" not in shown
    assert ("stpbnn: error: " in shown) == ("Ω卡.toml" in words)
    assert printed or shown


def test_json_holds_any_text_whatever_the_encoding():
    text = records.as_json({"folder": "Ω 卡 é"})
    assert json.loads(text.encode("ascii")) == {"folder": "Ω 卡 é"}
