"""The grid against the regressors it replaces, point by point."""

from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from stpbnn import (
    AdaptiveKernelRegressor,
    Convolutional,
    FiniteWidthRegressor,
    FullyConnected,
    NNGPKernel,
    NNGPRegressor,
    ProportionalLimitRegressor,
    theory_grid,
)

LONG = partial(pytest.param, marks=pytest.mark.long)
REGRESSORS = {
    "infinite": NNGPRegressor,
    "proportional": ProportionalLimitRegressor,
    "finite": FiniteWidthRegressor,
}


def data(P=14, n=6, outputs=1):
    rng = np.random.default_rng(0)
    shape = (lambda k: (k,)) if outputs == 1 else (lambda k: (k, outputs))
    return rng.normal(size=(P, 5)), rng.normal(size=shape(P)), rng.normal(size=(n, 5)), rng.normal(size=shape(n))


@pytest.mark.parametrize(
    ("net", "widths", "theories"),
    [
        (FullyConnected((1,), "erf"), [3, 30, 3000], ("infinite", "proportional", "finite")),
        (FullyConnected((1,), "erf", bias_precision=2.0, weight_precision=(0.5, 2.0)), [4, 40], REGRESSORS),
        (FullyConnected((1,), "relu"), [4, 40], ("infinite", "proportional")),
        LONG(FullyConnected((1,), "relu", bias_precision=2.0), [4, 40], ("infinite", "proportional")),
        LONG(FullyConnected((1,), "tanh"), [40], ("infinite", "proportional")),
        (FullyConnected((1, 1), "relu"), [4, (10, 20)], ("infinite", "proportional")),
        (FullyConnected((1,), "erf", outputs=2), [10], ("infinite", "proportional")),
    ],
    ids=str,
)
def test_every_point_is_that_of_its_regressor(net, widths, theories):
    X, y, Xt, yt = data(outputs=net.outputs)
    temperatures, train = [0.01, 1.0], [5, 14]
    grid = theory_grid(
        net, X, y, Xt, yt, widths=widths, temperatures=temperatures, train=train, theories=tuple(theories)
    )
    assert grid["error"].dims == ("theory", "train", "width", "temperature", "part")
    for theory in theories:
        for i, width in enumerate(widths):
            for T in temperatures:
                for P in train:
                    exact = FullyConnected(
                        width if isinstance(width, tuple) else (width,) * net.depth,
                        net.activation,
                        net.outputs,
                        net.weight_precision,
                        net.bias_precision,
                    )
                    model = REGRESSORS[theory](exact, temperature=T).fit(X[:P], y[:P])
                    point = grid.isel(width=i).sel(theory=theory, temperature=T, train=P)
                    np.testing.assert_allclose(point["error"], model.generalization_error(Xt, yt), rtol=1e-8)
                    np.testing.assert_allclose(
                        point["log_marginal_likelihood"], model.log_marginal_likelihood_, rtol=1e-8
                    )
                    Q = model.order_parameters_
                    Q = np.trace(Q) / len(Q) if Q.ndim == 2 else Q
                    np.testing.assert_allclose(point["order_parameters"], Q, rtol=1e-8)
                    assert point["converged"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": []}, r"widths: got \[\], expected a list"),
        ({"widths": [0]}, r"widths\[0\]: got 0"),
        ({"temperatures": [-1.0]}, r"temperatures\[0\]: got -1.0"),
        ({"temperatures": 0.1}, "temperatures: got 0.1, expected a list"),
        ({"train": [20]}, r"train\[0\]: got 20, expected at most the 14"),
        ({"theories": ("infinit",)}, "did you mean 'infinite'"),
        ({"temperatures": [0.0]}, "singular to working precision"),
        ({"df": 2.0, "theories": ("student-t",)}, "df: got 2.0, expected a finite number greater than 2"),
        ({"mean": "kept"}, "mean: got 'kept', expected one of"),
        ({"particles": 1}, "particles: got 1, expected an integer of at least 16"),
        ({"cluster": "all"}, "cluster: got 'all', expected one of 'auto'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    X, y, Xt, yt = data()
    settings = {"widths": [5], "temperatures": [0.1]} | settings
    with pytest.raises(ValueError, match=message):
        theory_grid(FullyConnected((1,), "linear"), X, y, Xt, yt, **settings)
    with pytest.raises(ValueError, match=r"net: got 'erf', expected a stpbnn.FullyConnected"):
        theory_grid("erf", X, y, Xt, yt, **settings)


@pytest.mark.parametrize("net", [FullyConnected((1,), "erf"), FullyConnected((1,), "erf", bias_precision=2.0)], ids=str)
def test_zero_temperature_and_the_training_set_itself(net):
    """X_test = X at T = 0: every theory interpolates, so that there is no error left."""
    X, y, *_ = data()
    grid = theory_grid(net, X, y, X, y, widths=[4, 40], temperatures=[0.0, 0.1], theories=tuple(REGRESSORS))
    np.testing.assert_allclose(grid["error"].sel(temperature=0.0), 0, atol=1e-8)
    for theory, regressor in REGRESSORS.items():
        for i, width in enumerate([4, 40]):
            exact = FullyConnected((width,), "erf", bias_precision=net.bias_precision)
            model = regressor(exact, temperature=0).fit(X, y)
            point = grid.isel(width=i).sel(theory=theory, temperature=0.0, train=14)
            np.testing.assert_allclose(point["order_parameters"], model.order_parameters_, rtol=1e-8)
            np.testing.assert_allclose(point["log_marginal_likelihood"], model.log_marginal_likelihood_, rtol=1e-8)
            assert point["converged"]


@pytest.mark.parametrize("theory", REGRESSORS)
@pytest.mark.parametrize("gap", [1e-3, 3e-7, 1e-9])
def test_zero_temperature_is_refused_where_the_regressor_refuses_it(theory, gap):
    X, y, Xt, yt = data()
    X[1] = X[0] + gap
    net, refused = FullyConnected((40,), "erf"), []
    for solve in (
        lambda: REGRESSORS[theory](net, temperature=0).fit(X, y),
        lambda: theory_grid(net, X, y, Xt, yt, widths=[40], temperatures=[0.0], theories=(theory,)),
    ):
        try:
            solve()
        except (ValueError, ConvergenceWarning) as error:
            assert "singular to working precision" in str(error)  # noqa: PT017
            refused.append(True)
        else:
            refused.append(False)
    assert refused[0] == refused[1]
    assert refused[0] or gap > 1e-8


def test_the_adaptive_kernel_is_a_theory_of_the_grid():
    """Point by point its regressor, with the same seed; T = 0 is a reason like another."""
    X, y, Xt, yt = data()
    settings = {"particles": 64, "random_state": 3}
    with pytest.warns(ConvergenceWarning, match=r"1 point.*\nadaptive, P = 14, width 40, T = 0: temperature: got 0"):
        grid = theory_grid(
            FullyConnected((1,), "erf"),
            X,
            y,
            Xt,
            yt,
            widths=[40],
            temperatures=[1.0, 0.0],
            theories=("infinite", "adaptive"),
            **settings,
        )
    model = AdaptiveKernelRegressor(FullyConnected((40,), "erf"), temperature=1.0, **settings).fit(X, y)
    point = grid.sel(temperature=1.0, train=14, width=40)
    found = point.sel(theory="adaptive")
    np.testing.assert_allclose(found["error"], model.generalization_error(Xt, yt), rtol=1e-12)
    np.testing.assert_allclose(found["theory_error_mcse"], model.generalization_error_standard_error(Xt, yt), rtol=1e-9)
    assert np.isnan(found["order_parameters"]).all()
    assert found["log_marginal_likelihood"] == model.log_marginal_likelihood_
    assert found["converged"] == model.converged_
    assert (point["theory_error_mcse"].sel(theory="infinite") == 0).all()
    assert (point["theory_error_systematic"].sel(theory="infinite") == 0).all()
    assert np.isnan(found["theory_error_systematic"]).all()  # of one size of clusters
    assert np.isnan(grid["error"].sel(theory="adaptive", temperature=0.0)).all()


def test_clusters_of_the_grid_are_those_of_the_regressor():
    X, y, Xt, yt = data()
    settings = {"particles": 64, "random_state": 3, "cluster": 2}
    grid = theory_grid(
        FullyConnected((1,), "linear"), X, y, Xt, yt, widths=[2], temperatures=[1.0], theories=["adaptive"], **settings
    )
    model = AdaptiveKernelRegressor(FullyConnected((2,), "linear"), temperature=1.0, **settings).fit(X, y)
    found = grid.squeeze()
    np.testing.assert_allclose(found["error"], model.generalization_error(Xt, yt), rtol=1e-12)
    assert (found["theory_error_systematic"] == 0).all()  # a cluster is the network


def test_a_point_that_cannot_be_solved_does_not_lose_the_others():
    X, y, Xt, yt = data(P=12)
    net = FullyConnected((1,), "relu", bias_precision=2.0)
    with pytest.warns(ConvergenceWarning, match=r"1 point.*\nproportional, P = 12, width 1, T = 0.01: .*no stationary"):
        grid = theory_grid(net, X, y, Xt, yt, widths=[1, 20], temperatures=[0.01])
    lost = grid.sel(theory="proportional", width=1)
    assert all(np.isnan(lost[name]).all() for name in ("error", "order_parameters", "log_marginal_likelihood"))
    assert not lost["converged"].any()
    for kept in (grid.sel(width=20), grid.sel(theory="infinite")):
        assert all(np.isfinite(kept[name]).all() for name in grid)
        assert kept["converged"].all()


@pytest.mark.parametrize("theory", ["proportional", "finite"])
def test_zero_targets_at_zero_temperature_are_refused_as_such(theory):
    """For fewer units than examples: the action falls without bound."""
    X, y, Xt, yt = data()
    for solve in (
        lambda: REGRESSORS[theory](FullyConnected((4,), "erf"), temperature=0).fit(X, 0 * y),
        lambda: theory_grid(
            FullyConnected((4,), "erf"), X, 0 * y, Xt, yt, widths=[4], temperatures=[0.0], theories=(theory,)
        ),
    ):
        with pytest.raises(ValueError, match="y: got targets that are all zero at temperature 0"):
            solve()


@pytest.mark.parametrize("random_state", ["a", -1, 2**32, 1.5])
def test_a_seed_that_is_none_is_refused(random_state):
    X, y = np.eye(3), np.ones(3)
    with pytest.raises(ValueError, match=f"random_state: got {random_state!r}, expected a whole number from 0 to "):
        theory_grid(
            FullyConnected((5,)), X, y, X, y, widths=[5], temperatures=[0.1], theories=["adaptive"],
            random_state=random_state,
        )  # fmt: skip


def test_kernels_that_do_not_fit_into_memory_are_refused():
    X, few = np.zeros((10**6, 1)), np.zeros((3000, 1))
    grid = {"widths": [5], "temperatures": [0.1]}
    with pytest.raises(ValueError, match=r"X: got P = 1000000 examples, whose kernels take about 21.8 TiB, .*; take"):
        theory_grid(FullyConnected((5,)), X, X[:, 0], X, X[:, 0], **grid)
    model, kernel = NNGPRegressor(temperature=0.1).fit(few[:3], few[:3, 0]), NNGPKernel(FullyConnected((5,)))
    covariance, prior = lambda: model.predict(X, return_cov=True), lambda: kernel(X)
    joint, posterior = lambda: model.predictive(X, joint=True), lambda: model.posterior_kernel(X)
    for call in (covariance, prior, joint, posterior):
        with pytest.raises(ValueError, match=r"X: got 1000000 .*, whose .* take about .* TiB, and .*; take fewer at"):
            call()
    with pytest.raises(
        ValueError,
        match=r"particles: got 1000000000000, in clusters of 1, whose features take about .*; take fewer part",
    ):
        AdaptiveKernelRegressor(FullyConnected((5,)), particles=10**12).fit(few[:3], few[:3, 0])


def test_channels_are_the_widths_of_a_convolutional_network():
    """Every point is that of the regressor; a matrix of positions is told by its mean eigenvalue."""
    rng = np.random.default_rng(0)
    X, y, net = rng.normal(size=(8, 16)), rng.normal(size=8), Convolutional((1,), 2, 2, image=(4, 4, 1))
    grid = theory_grid(net, X, y, X[:3], y[:3], widths=[5, 50], temperatures=[0.1])
    assert grid["width"].values.tolist() == [5, 50]
    for N in (5, 50):
        there = net.set_params(channels=(N,))
        for theory in ("infinite", "proportional"):
            at = grid.sel(theory=theory, train=8, width=N, temperature=0.1)
            model = REGRESSORS[theory](there, temperature=0.1).fit(X, y)
            np.testing.assert_allclose(at["error"], model.generalization_error(X[:3], y[:3]), rtol=1e-10)
            np.testing.assert_allclose(at["log_marginal_likelihood"], model.log_marginal_likelihood_, rtol=1e-10)
        Q = ProportionalLimitRegressor(there, temperature=0.1).fit(X, y).order_parameters_
        np.testing.assert_allclose(at["order_parameters"], [np.linalg.eigvalsh(Q).mean()], rtol=1e-8)
    deep = Convolutional((3, 5), 2, 2, image=(4, 4, 1))  # of four positions and one
    W = ProportionalLimitRegressor(deep, temperature=0.1).fit(X, y).order_parameters_
    at = theory_grid(deep, X, y, X[:3], y[:3], widths=[(3, 5)], temperatures=[0.1])
    found = at["order_parameters"].sel(theory="proportional").squeeze()
    np.testing.assert_allclose(found, [np.trace(W[:4, :4]) / 4, W[4, 4]], rtol=1e-8)


def test_theories_go_by_both_of_their_names():
    X, y = np.eye(4), np.array([1.0, -1.0, 1.0, -1.0])
    settings = {"widths": [5, 50], "temperatures": [0.1]}
    short = theory_grid(FullyConnected((9,), "linear"), X, y, X, y, theories=["proportional"], **settings)
    long = theory_grid(FullyConnected((9,), "linear"), X, y, X, y, theories=["proportional limit"], **settings)
    assert long["theory"].values.tolist() == ["proportional limit"]
    np.testing.assert_array_equal(short["error"], long["error"])
