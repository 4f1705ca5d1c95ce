"""Cards of convolutional networks: what they read, what they refuse in one line, and a run from file to report."""

import numpy as np
import pytest

import stpbnn
from stpbnn import Convolutional, cards
from stpbnn.catalogue import known_theories
from stpbnn.theories import theory

CARD = """
name = "tiny"
title = "A tiny convolutional network"
[network]
kind = "convolutional"
channels = [3]
kernel_size = 4
stride = [4, 4]
image = [8, 8, 1]
[data]
name = "digits"
classes = [0, 1]
train = 10
test = 5
[posterior]
temperature = 0.1
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(CARD, encoding="utf-8")
    return path


def test_a_card_is_read(file):
    card = cards.load_card(file)
    assert card.build() == Convolutional((3,), 4, 4, image=(8, 8, 1))
    file.write_text(card.to_toml(), encoding="utf-8")
    assert cards.load_card(file) == card
    deep = cards.load_card(
        file, ["network.channels=[3, 2]", "network.kernel_size=[[4, 4], [2, 1]]", "network.stride=1"]
    )
    assert deep.build() == Convolutional((3, 2), ((4, 4), (2, 1)), 1, image=(8, 8, 1))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.kind=dense", r'network.kind: got "dense", expected "fully-connected" or "convolutional"'),
        ("network.kind=fully-connected", "network.widths: missing, expected a list of whole numbers"),
        ("network.widths=[5]", r"network.widths: got \(5,\) for a convolutional network, which has none"),
        ("network.channels=[0]", r"network.channels: got \[0\], expected a list of whole numbers from 1"),
        ("network.channel=[3]", "unknown key network.channel; did you mean network.channels"),
        ("network.kernel_size=9", r"network.kernel_size: got \(9, 9\) in layer 1, larger than the image, \(8, 8\)"),
        ("network.image=[8, 8]", r"network.image: got \[8, 8\], expected a list of rows, columns and channels"),
        (
            "network.stride=[1]",
            r"network.stride: got \[1\], expected a whole number from 1, a list of rows and columns",
        ),
        ("network.readout=max", 'network.readout: got "max", expected "flatten" or "mean"'),
    ],
)
def test_mistakes_are_told_in_one_line(file, override, message):
    with pytest.raises(ValueError, match=message) as caught:
        cards.load_card(file, [override]).check()
    assert "\n" not in str(caught.value)


def test_images_of_another_size_are_refused(file):
    message = r"network.image: got 4 x 4 pixels in 1 channel, 16 numbers, but the inputs of digits have 64"
    with pytest.raises(ValueError, match=message):
        cards.load_card(file, ["network.image=[4, 4, 1]"]).load()


def test_a_convolutional_network_has_no_process(file):
    with pytest.raises(
        ValueError, match=r'network.kind: got "convolutional" with a \[process\], expected "fully-connected"'
    ):
        cards.load_card(file, ["process.name=finite-width"])


def test_its_theories(file):
    card = cards.load_card(file)
    assert "infinite width" in known_theories(card.build())
    found = theory(card.model_copy(update={"theories": cards.Theories(names=["infinite"])}))
    X, y, Xt, _ = card.load()
    model = stpbnn.NNGPRegressor(card.build(), temperature=0.1).fit(X, y)
    np.testing.assert_allclose(found["mean"].sel(theory="infinite width"), model.predict(Xt), rtol=1e-10)


@pytest.mark.parametrize("name", ["mnist-convolutional", "cifar10-convolutional"])
def test_shipped_cards(name):
    card = cards.load_card(name)
    net = card.build()
    assert (net.positions, np.prod(net.image)) == (16, card.data.size)


@pytest.mark.long
def test_a_run_from_card_to_report(file, tmp_path):
    run = stpbnn.run(file, folder=tmp_path / "run", progress=False, warmup=20, draws=40, chains=2)
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "1 hidden layer of 3 channels; images of 8 × 8 × 1, kernel size 4 × 4, stride 4 × 4" in report
    assert run.predict(np.zeros((2, 64)))["mean"].sizes["test_point"] == 2
