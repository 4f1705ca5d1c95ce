"""Draw a picture of every function of stpbnn.figures, from one small run and one committed sweep.

uv run python docs/hooks/figures.py FOLDER
"""

import sys
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import stpbnn
from stpbnn import figures

RESULTS = Path(__file__).parents[2] / "analysis/results"


def main(folder: Path) -> None:
    """Write NAME.png for each function."""
    X, y, Xt, yt = stpbnn.datasets.load("digits", classes=(0, 1), labels=(-1, 1), train=60, test=40, seed=0)
    net = stpbnn.FullyConnected((30,), "erf")
    held = {"X_test": Xt, "y_test": yt}
    posterior = stpbnn.sample(net, X, y, temperature=0.05, **held, warmup=200, draws=300, progress=False)
    theories = {
        "infinite width": stpbnn.NNGPRegressor(net, temperature=0.05).fit(X, y),
        "proportional limit": stpbnn.ProportionalLimitRegressor(net, temperature=0.05).fit(X, y),
        "finite width": stpbnn.FiniteWidthRegressor(net, temperature=0.05).fit(X, y),
    }
    table = stpbnn.compare(posterior, theories, Xt, yt)
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-3, 3, 60))[:, None]
    target = np.sin(2 * x[:, 0]) + rng.normal(0, 0.2, 60)
    wavy = stpbnn.FullyConnected((1,), "erf", bias_precision=1.0)
    fitted = stpbnn.NNGPRegressor(wavy, optimizer="fmin_l_bfgs_b").fit(x[::2], target[::2])
    of_classes = {"plot_confusion": classes(), "plot_reliability": classes()}
    pictures = {
        "plot_band": lambda ax: figures.plot_band(fitted, x[::2], target[::2], ax=ax),
        "plot_observed": lambda ax: figures.plot_observed(fitted, x[1::2], target[1::2], ax=ax),
        "plot_residuals": lambda ax: figures.plot_residuals(fitted, x[1::2], target[1::2], ax=ax),
        "plot_ranks": lambda ax: figures.plot_ranks(posterior, table, ax=ax),
        "plot_energy": lambda ax: figures.plot_energy(posterior, ax=ax),
        "plot_order_parameter": lambda ax: figures.plot_order_parameter(posterior, table, ax=ax),
        "plot_learning_curve": lambda ax: figures.plot_learning_curve(sweep(), ax=ax),
    }
    for name in figures.__all__:
        figure, ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
        if name in pictures:
            pictures[name](ax)
        else:
            getattr(figures, name)(of_classes.get(name, table), ax=ax)
        figure.savefig(folder / f"{name}.png", dpi=100)
        plt.close(figure)


@cache
def classes() -> xr.Dataset:
    """Return a comparison of class probabilities, of three digits."""
    X, y, Xt, yt = stpbnn.datasets.load("digits", classes=(3, 8, 9), train=60, test=90, seed=0)
    labels, held = (np.array(["three", "eight", "nine"])[np.argmax(one, axis=1)] for one in (y, yt))
    net = stpbnn.FullyConnected((20,), "erf", outputs=3, likelihood="categorical")
    posterior = stpbnn.sample(net, X, labels, X_test=Xt, y_test=held, warmup=100, draws=100, progress=False)
    return stpbnn.compare(posterior, {"infinite width": stpbnn.NNGPClassifier(net).fit(X, labels)}, Xt, held)


def sweep() -> xr.Dataset:
    """Return learning curves of MNIST, sampled and by three theories."""
    with xr.open_dataset(RESULTS / "figure1-mnist.nc") as data:
        return data.load()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
