"""Runs and sweeps from Python, on arrays and frames."""

import numpy as np
import pandas as pd
import pytest

import stpbnn
from stpbnn.datasets import given_task
from stpbnn.own_data import _card

RNG = np.random.default_rng(0)
X, X_TEST = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
Y, Y_TEST = X[:, 0] - X[:, 1], X_TEST[:, 0] - X_TEST[:, 1]
NET = stpbnn.FullyConnected((5,), "linear")
TINY = {"temperature": 0.1, "warmup": 10, "draws": 20, "chains": 2, "theories": ["infinite"], "progress": False}
NAMES = ["area", "rooms", "age"]


def test_frames_keep_the_names_of_their_columns(tmp_path):
    frame, test = pd.DataFrame(X, columns=NAMES), pd.DataFrame(X_TEST, columns=NAMES)
    data = (frame, pd.Series(Y, name="price"), test, pd.Series(Y_TEST, name="price"))
    run = stpbnn.run(NET, data=data, folder=tmp_path / "run", **TINY)
    assert all(name in run.report.read_text() for name in (*NAMES, "price"))
    again = stpbnn.run(NET, data=data, folder=tmp_path / "run", **TINY)  # finished: read
    assert again.posterior.attrs["created_at"] == run.posterior.attrs["created_at"]
    straight = again.predict(test, theories=["infinite"])
    shuffled = again.predict(test[["age", "area", "rooms"]], theories=["infinite"])
    np.testing.assert_array_equal(straight["mean"], shuffled["mean"])
    with pytest.raises(ValueError, match="column 'rooms': the table lacks it"):
        again.predict(test[["age", "area"]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, Y, X_TEST), "data: got .* expected the four arrays X, y, Xt, yt"),
        ((X, ["cat"] * 6, X_TEST, ["dog"] * 4), r"y: got text, .*stpbnn.classification: one_hot\(y\)"),
        (
            (pd.DataFrame({"kind": ["a"] * 6}), Y, pd.DataFrame({"kind": ["a"] * 4}), Y_TEST),
            "X, column 'kind': got text",
        ),
        ((X, Y, X_TEST[:, :2], Y_TEST), "Xt: got 2 features, expected 3"),
        ((X, Y[:5], X_TEST, Y_TEST), r"y: got shape \(5,\), expected \(6,\)"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_anything_is_written(data, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        stpbnn.run(NET, data=data, folder=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("widths", "shape"), [((5,), "1 hidden layer of 5, linear"), ((5, 6), "2 hidden layers of 5, 6, linear")]
)
def test_a_title_counts_the_layers(widths, shape):
    card = _card(
        stpbnn.FullyConnected(widths, "linear"),
        given_task((X, Y, X_TEST, Y_TEST)),
        {"temperature": 0.1},
        {},
        None,
        False,
    )
    assert card.title == f"Data of one's own: {shape}"


def test_settings_are_those_of_cards():
    with pytest.raises(ValueError, match=r"settings: got 'temprature', expected one of .*temperature"):
        stpbnn.run(NET, data=(X, Y, X_TEST, Y_TEST), temprature=0.1)
    with pytest.raises(ValueError, match="temperature: missing, expected a positive number"):
        stpbnn.run(NET, data=(X, Y, X_TEST, Y_TEST))
    with pytest.raises(ValueError, match=r"sampler.draws: got 0, expected a whole number from 1"):
        stpbnn.run(NET, data=(X, Y, X_TEST, Y_TEST), temperature=0.1, draws=0)
    with pytest.raises(ValueError, match="data: missing, expected the four arrays"):
        stpbnn.run(NET, temperature=0.1)
    with pytest.raises(ValueError, match="card_or_network: got 3, expected a FullyConnected, a Card or its file"):
        stpbnn.run(3)


def test_a_sweep_of_theories_is_a_learning_curve():
    """Points of the curve are the errors of the estimators, fitted to the first rows."""
    names = ["infinite", "proportional"]
    settings = {"temperature": 0.1, "theories": names, "sample": False, "progress": False}
    curve = stpbnn.sweep(NET, data=(X, Y, X_TEST, Y_TEST), widths=[5, 50], train=[4, 6], **settings)
    for P in (4, 6):
        model = stpbnn.ProportionalLimitRegressor(stpbnn.FullyConnected((50,), "linear"), temperature=0.1)
        expected = model.fit(X[:P], Y[:P]).generalization_error(X_TEST, Y_TEST).total
        found = curve["error"].sel(theory="proportional limit", train=P, width=50, part="total").item()
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"data.train: got 9, expected 6 at most"):
        stpbnn.sweep(NET, data=(X, Y, X_TEST, Y_TEST), train=[9], **settings)


@pytest.mark.long
def test_a_sweep_samples_the_given_arrays(tmp_path):
    found = stpbnn.sweep(NET, data=(X, Y, X_TEST, Y_TEST), train=[4, 6], folder=tmp_path, workers=1, **TINY)
    assert found["finished"].all()
    alone = stpbnn.run(NET, data=(X[:4], Y[:4], X_TEST, Y_TEST), folder=tmp_path / "one", **TINY)
    error = alone.comparison["error_posterior"]
    np.testing.assert_allclose(found["error_posterior"].sel(train=4).squeeze(), error, rtol=1e-12)


def test_channels_of_a_convolutional_network_are_swept_as_widths():
    """A curve over channels is what each point gives alone."""
    rng = np.random.default_rng(0)
    X, y, net = rng.normal(size=(9, 16)), rng.normal(size=9), stpbnn.Convolutional((1,), 2, 2, image=(4, 4, 1))
    data, theories = (X[:6], y[:6], X[6:], y[6:]), ["infinite", "proportional"]
    curve = stpbnn.sweep(
        net, data=data, widths=[4, 40], temperature=0.1, theories=theories, sample=False, progress=False
    )
    for N in (4, 40):
        alone = stpbnn.ProportionalLimitRegressor(net.set_params(channels=(N,)), temperature=0.1).fit(X[:6], y[:6])
        there = curve["error"].sel(width=N, part="total", theory="proportional limit").item()
        np.testing.assert_allclose(there, alone.generalization_error(X[6:], y[6:]).total, rtol=1e-8)
