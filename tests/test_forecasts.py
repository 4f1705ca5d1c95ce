"""Predictions of a finished run at new inputs."""

import shutil
from functools import partial

import numpy as np
import pytest
import xarray as xr
from run_folders import without_pictures

import stpbnn
from stpbnn import forecasts

RNG = np.random.default_rng(0)
X, X_TEST = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
Y, Y_TEST = X[:, 0] - X[:, 1], X_TEST[:, 0] - X_TEST[:, 1]
NET = stpbnn.FullyConnected((5,), "linear")
TINY = {
    "temperature": 0.1,
    "warmup": 10,
    "draws": 20,
    "chains": 2,
    "particles": 64,
    "theories": ["infinite", "finite", "adaptive"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "own"
    with without_pictures():
        return stpbnn.run(NET, data=(X, Y, X_TEST, Y_TEST), folder=folder, keep_draws=40, progress=False, **TINY)


@pytest.fixture(scope="module")
def predictions(finished):
    return stpbnn.load_run(finished.folder).predict(X_TEST)


def test_the_posterior_is_that_of_the_recorded_draws(finished, predictions):
    """All draws are kept here: moments are those of f_mean and f_variance as they were recorded."""
    recorded = stpbnn.load_run(finished.folder).posterior["predictions"].to_dataset()
    mean = recorded["f_mean"].mean(("chain", "draw"))
    variance = recorded["f_variance"].mean(("chain", "draw")) + recorded["f_mean"].var(("chain", "draw"))
    assert predictions.attrs["draws"] == 40
    np.testing.assert_allclose(predictions["mean"].sel(theory="posterior"), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(predictions["std"].sel(theory="posterior") ** 2, variance, rtol=1e-3)


def test_the_theories_are_those_of_the_run(finished, predictions):
    stored = xr.open_dataset(finished.folder / "theory.nc", engine="h5netcdf")
    assert predictions["theory"].values.tolist() == ["posterior", *stored["theory"].values.tolist()]
    for name in stored["theory"].values:
        at = predictions.sel(theory=name)
        np.testing.assert_allclose(at["mean"], stored["mean"].sel(theory=name), rtol=1e-12)
        np.testing.assert_allclose(at["std"] ** 2, stored["variance"].sel(theory=name), rtol=1e-9)


def test_intervals_of_a_gaussian_law(predictions):
    one = predictions.sel(theory="infinite width")
    width = one["quantiles"].sel(probability=0.975) - one["quantiles"].sel(probability=0.025)
    np.testing.assert_allclose(width, 2 * 1.959963984540054 * one["std"], rtol=1e-9)


def test_noise_adds_the_temperature(finished, predictions):
    noisy = finished.predict(X_TEST, noise=True, theories=["infinite"])
    assert noisy["theory"].values.tolist() == ["posterior", "infinite width"]
    for name in noisy["theory"].values:
        added = noisy["std"].sel(theory=name) ** 2 - predictions["std"].sel(theory=name) ** 2
        np.testing.assert_allclose(added, 0.1, rtol=1e-9)


def test_a_table_has_a_row_for_each_input(predictions):
    table = forecasts.table(predictions)
    assert len(table) == 4
    assert list(table.columns[:4]) == ["posterior mean", "posterior std", "posterior 2.5 %", "posterior 25 %"]
    np.testing.assert_array_equal(table["finite width 97.5 %"], predictions["quantiles"][2, 4])


def test_what_does_not_go_with_the_run_is_refused(finished):
    with pytest.raises(ValueError, match="X: got 2 features, expected 3"):
        finished.predict(X_TEST[:, :2])
    with pytest.raises(ValueError, match="theories: got 'proportional', expected one of"):
        finished.predict(X_TEST, theories=["proportional"])
    with pytest.raises(ValueError, match=r"theories: got 'finite', expected a list of names, such as \['finite'\]"):
        finished.predict(X_TEST, theories="finite")


def test_without_weights_the_theories_predict(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    run = stpbnn.load_run(folder)
    del run.posterior["weights"]
    with pytest.warns(UserWarning, match="no weights of the posterior were kept .*the theories alone predict"):
        found = run.predict(X_TEST, theories=["infinite"])
    assert found["theory"].values.tolist() == ["infinite width"]
    with pytest.raises(ValueError, match="no weights of the posterior were kept"):
        run.predict(X_TEST, theories=[])


def test_new_inputs_of_a_run_are_predicted_by_the_same_draws(finished):
    """A linear function is predicted where there was no test point, as by ridge regression in the limit."""
    grid = RNG.normal(size=(50, 3))
    found = finished.predict(grid, theories=["infinite"])
    A = X @ X.T / 3 + 0.1 * np.eye(6)
    ridge = grid @ X.T / 3 @ np.linalg.solve(A, Y)
    np.testing.assert_allclose(found["mean"].sel(theory="infinite width"), ridge, rtol=1e-9)
    assert np.corrcoef(found["mean"].sel(theory="posterior"), ridge)[0, 1] > 0.9


def test_the_adaptive_kernel_is_not_searched_for_again(finished, tmp_path, monkeypatch):
    def search(*_):
        raise RuntimeError("searched")

    monkeypatch.setattr(stpbnn.adaptive, "solve", search)
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    run = stpbnn.load_run(folder)
    kept = run.predict(X_TEST, theories=["adaptive"]).sel(theory="adaptive kernel")
    np.testing.assert_array_equal(kept["mean"], run.theory["mean"].sel(theory="adaptive kernel"))
    content = (folder / "adaptive.npz").read_bytes()
    other = stpbnn.load(folder / "adaptive.npz").set_params(particles=32)
    for harm in (
        lambda path: path.unlink(),
        lambda path: path.write_bytes(content[:2000]),
        partial(stpbnn.save, other),
    ):
        harm(folder / "adaptive.npz")
        with pytest.raises(RuntimeError, match="searched"):
            run.predict(X_TEST, theories=["adaptive"])
