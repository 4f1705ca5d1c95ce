"""The grid against the regressors it replaces, point by point."""

import numpy as np
import pytest

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, ProportionalLimitRegressor, theory_grid

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
    ],
)
def test_bad_settings_are_refused(settings, message):
    X, y, Xt, yt = data()
    settings = {"widths": [5], "temperatures": [0.1]} | settings
    with pytest.raises(ValueError, match=message):
        theory_grid(FullyConnected((1,), "linear"), X, y, Xt, yt, **settings)
    with pytest.raises(ValueError, match=r"net: got 'erf', expected a stpbnn.FullyConnected"):
        theory_grid("erf", X, y, Xt, yt, **settings)
