"""Predictions of fitted regressors, stored and compared; what does not belong together is refused or warned of."""

import io
import json
import warnings

import numpy as np
import pytest
import xarray as xr
from compared_draws import normal_draws, theory, tree
from rich.console import Console

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor
from stpbnn.comparison import compare, compare_predictions, comparison_table, predict_theories


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(3)
    X, Xt = rng.normal(size=(12, 4)), rng.normal(size=(6, 4))
    y, yt = np.sign(X[:, 0]), np.sign(Xt[:, 0])
    net = FullyConnected((20,), "erf")
    theories = {
        "infinite width": NNGPRegressor(net, temperature=0.1).fit(X, y),
        "proportional limit": ProportionalLimitRegressor(net, temperature=0.1).fit(X, y),
    }
    return theories, Xt, yt


def test_predictions_are_those_of_the_regressors(fitted):
    theories, Xt, yt = fitted
    predictions = predict_theories(theories, Xt, yt)
    for name, model in theories.items():
        mean, std = model.predict(Xt, return_std=True)
        one = predictions.sel(theory=name)
        np.testing.assert_array_equal(one["mean"], mean)
        np.testing.assert_allclose(one["variance"], std**2)
        np.testing.assert_allclose(one["error"], [np.mean((yt - mean) ** 2 + std**2), *one["error"][1:]])
        np.testing.assert_array_equal(one["order_parameters"], model.order_parameters_)
    assert predictions["regressor"].to_numpy().tolist() == ["NNGPRegressor", "ProportionalLimitRegressor"]
    assert predictions["order_parameters"].sel(theory="infinite width").item() == 1
    assert "error" not in predict_theories(theories, Xt)


def test_layers_and_outputs_are_padded():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), rng.normal(size=8)
    deep = ProportionalLimitRegressor(FullyConnected((20, 30), "erf"), temperature=0.1).fit(X, y)
    shallow = NNGPRegressor(FullyConnected((20,), "erf"), temperature=0.1).fit(X, y)
    predictions = predict_theories({"deep": deep, "shallow": shallow}, X)
    assert predictions["order_parameters"].shape == (2, 2)
    assert np.isnan(predictions["order_parameters"].sel(theory="shallow")[1])
    two = NNGPRegressor(FullyConnected((20,), "erf", outputs=2), temperature=0.1).fit(X, np.stack([y, -y], 1))
    assert predict_theories({"two": two}, X, np.stack([y, y], 1))["mean"].dims == ("theory", "test_point", "output")


def test_a_matrix_order_parameter_is_stored_with_its_trace(fitted):
    _, Xt, _ = fitted

    class Matrix(NNGPRegressor):
        pass

    model = Matrix(FullyConnected((20,), "erf", outputs=2)).fit(np.eye(4), np.ones((4, 2)))
    model.order_parameters_ = np.array([[2.0, 0.5], [0.5, 1.0]])
    predictions = predict_theories({"matrix": model}, Xt)
    assert predictions["order_parameters"].item() == 1.5
    np.testing.assert_array_equal(predictions["order_parameter_matrix"][0], model.order_parameters_)


def test_the_matrix_of_several_layers_is_its_posterior_mean():
    """A linear network of two layers and two outputs: prior draws of the readout and the layer below, weighted."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(3, 4)), np.array([[2.0, 0.5], [-1.0, 1.5], [0.3, -2.0]])
    model = FiniteWidthRegressor(FullyConnected((4, 3), "linear", outputs=2), temperature=0.3, random_state=0).fit(X, y)
    found = predict_theories({"finite": model}, X)["order_parameter_matrix"][0].to_numpy()
    v, W = rng.normal(size=(40_000, 2, 3)) / np.sqrt(3), rng.normal(size=(40_000, 3, 4)) / 2
    Q = (v @ W) @ np.swapaxes(v @ W, 1, 2)
    A = np.einsum("nab,ij->naibj", Q, X @ X.T / 4).reshape(-1, 6, 6) + 0.3 * np.eye(6)
    targets = y.T.ravel()
    log_w = -(np.linalg.slogdet(A)[1] + targets @ np.linalg.solve(A, targets[:, None])[..., 0].T) / 2
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    mean = np.tensordot(w, Q, 1)
    own = model.order_parameter_posterior_.error * np.diag(mean).max()
    error = np.sqrt(np.tensordot(w**2, (Q - mean) ** 2, 1) + own**2)
    assert (np.abs(found - mean) < 4 * error).all()
    assert (np.abs(np.matmul(*model.order_parameters_) - mean) > 4 * error).any()  # the product of the means is not


def test_compare_is_predict_then_compare(fitted):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), yt, Xt.astype(np.float32))
    expected = compare_predictions(posterior, predict_theories(theories, Xt, yt))
    xr.testing.assert_identical(compare(posterior, theories, Xt, yt), expected)
    xr.testing.assert_identical(compare(posterior, theories, Xt), expected)
    without = compare(tree(normal_draws(yt, 1.0), X=Xt), theories, Xt)
    assert "error" not in without
    assert set(without) >= {"z", "verdict", "agrees"}


def test_theories_of_other_training_data_are_warned_of(fitted):
    theories, Xt, yt = fitted
    model = next(iter(theories.values()))
    for y, expected in ((model.y_train_, False), (model.y_train_[:, None], False), (-model.y_train_, True)):
        posterior = tree(normal_draws(yt, 1.0), yt, Xt)
        dims = ("train_point", "output")[: y.ndim]
        posterior["observed_data"] = xr.DataTree(xr.Dataset({"y": (dims, y)}))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compare(posterior, theories, Xt, yt)
        assert any("other training data" in str(one.message) for one in caught) == expected


def test_a_stored_run_can_be_compared_again(fitted, tmp_path):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), X=Xt)
    predictions = predict_theories(theories, Xt, yt)
    predictions.to_netcdf(tmp_path / "theory.nc", engine="h5netcdf")
    posterior.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    comparison = compare_predictions(posterior, predictions)
    comparison.to_netcdf(tmp_path / "comparison.nc", engine="h5netcdf")
    with (
        xr.open_dataset(tmp_path / "theory.nc", engine="h5netcdf") as stored,
        xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as draws,
        xr.open_dataset(tmp_path / "comparison.nc", engine="h5netcdf") as again,
    ):
        xr.testing.assert_equal(stored, predictions)
        xr.testing.assert_equal(again, comparison)
        assert again["agrees"].dtype == bool
        assert again["verdict"].to_numpy().tolist() == comparison["verdict"].to_numpy().tolist()
        xr.testing.assert_equal(compare_predictions(draws, stored), comparison)


def test_a_theory_of_another_network_or_temperature_is_pointed_out(fitted):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), X=Xt)
    posterior.attrs |= {"temperature": 0.1, "network": json.dumps(FullyConnected((20,), "erf").to_dict())}
    compare(posterior, theories, Xt)
    posterior.attrs["temperature"] = 0.05
    with pytest.warns(UserWarning, match=r"'infinite width'.*temperature 0.1 instead of 0.05"):
        compare(posterior, {"infinite width": theories["infinite width"]}, Xt)
    posterior.attrs |= {"temperature": "Gamma", "network": json.dumps(FullyConnected((50,), "erf").to_dict())}
    with pytest.warns(UserWarning, match=r"'proportional limit'.*widths \[20\] instead of \[50\]"):
        compare(posterior, theories, Xt)


def test_bad_input_is_refused_with_a_reason(fitted):
    theories, Xt, yt = fitted
    posterior = tree(normal_draws(yt, 1.0), yt, Xt)
    unfitted = {"theory": NNGPRegressor()}
    for arguments, message in [
        ((posterior, {}, Xt, yt), "theories: got {}"),
        ((posterior, unfitted, Xt, yt), "not fitted; call fit"),
        ((posterior, theories, Xt + 1, yt), "other test inputs"),
        ((posterior, theories, Xt[:3], yt[:3]), "other test inputs"),
        ((posterior, theories, Xt, yt[:3]), "y_test"),
        ((posterior, theories, Xt, yt + 1), "other targets .* than were given to sample"),
        ((xr.DataTree(), theories, Xt, yt), "other test inputs"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(*arguments)


def test_bad_draws_and_thresholds_are_refused():
    f = normal_draws(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="no predictions of f"):
        compare_predictions(xr.DataTree(), theory(np.zeros(3)))
    with pytest.raises(ValueError, match="same test points"):
        compare_predictions(tree(f), theory(np.zeros(2)))
    with pytest.raises(ValueError, match="level"):
        compare_predictions(tree(f), theory(np.zeros(3)), level=2.0)
    f[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        compare_predictions(tree(f), theory(np.zeros(3)))


@pytest.mark.parametrize("width", [80, 200])
def test_table_for_the_terminal(fitted, width):
    theories, Xt, yt = fitted
    theories = {"infinite [bold]width": theories["infinite width"]}
    comparison = compare(tree(normal_draws(yt, 1.0), yt, Xt), theories, Xt, yt)
    out = io.StringIO()
    Console(file=out, width=width).print(comparison_table(comparison))
    text = " ".join(out.getvalue().split())
    for word in (
        "posterior",
        "(MCMC)",
        "[bold]",
        "bias²",
        "±",
        "%",
        "differs",
        "has converged (R-hat 1.0",
        "differs: ",
    ):
        assert word in text
    assert max(map(len, out.getvalue().splitlines())) <= width
    with pytest.raises(ValueError, match="verdict"):
        comparison_table(xr.Dataset())
