"""Convolutional networks against their sampled posteriors, beside fully-connected ones, and the theories.

uv run python analysis/convolutions.py --data DATA             # samples the cases that are missing, then as below
uv run python analysis/convolutions.py --data DATA --theories  # solves the theories of all rows anew, samples none
uv run python analysis/convolutions.py                         # table and figure only

The cases stand in CASES; each is a row of results/convolutions.csv. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
from convolution_figure import draw, table
from readme import README, put_table
from rows import read_rows, write_rows

import stpbnn
from stpbnn._precision import in_float64
from stpbnn.scale.local_minima import best_multiples

RESULTS = Path(__file__).parent / "results" / "convolutions.csv"
THEORIES = ("local", "one_scale", "finite_width", "infinite_width")
OF_THEORIES = (*THEORIES, "converged", "finite_width_converged", "Q", "one_scale_Q", "seconds_theories")
UNTIL = {"ess": 1000, "rhat": 1.006, "seconds": 1800}
DIGITS, GREY, COLOUR = "8 8 1", "28 28 1", "32 32 3"


def case(data: str, image: str, windows: str, N: str, P: int = 50, T: float = 0.05) -> dict[str, Any]:
    """Return one case: windows that do not overlap, one for each layer, or "whole", a fully-connected network."""
    return {"data": data, "image": image, "windows": windows, "N": N, "P": P, "T": T}


CASES = [
    *(case("digits", DIGITS, "4", N, 40) for N in ("25", "50", "100", "200")),
    *(case("digits", DIGITS, "4 2", N, 40) for N in ("10 10", "25 25", "100 100")),
    *(case("digits", DIGITS, "2 2", N, 40) for N in ("10 10", "25 25")),
    *(case("mnist", GREY, windows, "20") for windows in ("whole", "14", "7")),
    *(case("mnist", GREY, "whole", N) for N in ("80", "320")),
    case("mnist", GREY, "7 2", "20 20"),
    *(case("mnist", GREY, "whole", N) for N in ("20 20", "320 80")),
    *(case("cifar10", GREY, windows, "20") for windows in ("whole", "14", "7")),
    case("cifar10", GREY, "whole", "80"),
    case("cifar10", GREY, "7 2", "20 20"),
    *(case("cifar10", GREY, "whole", N) for N in ("20 20", "320 80")),
    *(case("cifar10", COLOUR, windows, "20") for windows in ("whole", "16", "8")),
    case("cifar10", COLOUR, "whole", "80"),
]
KEYS = tuple(CASES[0])


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Return what a case is known by."""
    return tuple(str(row[key]) for key in KEYS)


def numbers(text: Any) -> tuple[int, ...]:
    """Return the numbers of a cell."""
    return tuple(int(part) for part in str(text).split())


def load(row: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Return training and test set of a case, labels −1 and +1."""
    images = {"classes": (0, 1), "labels": (-1, 1), "test": 100}
    size = {"size": math.prod(numbers(row["image"]))}
    settings = images | ({"standardize": "pixels", "seed": 0} if row["data"] == "digits" else size)
    return stpbnn.datasets.load(row["data"], train=row["P"], **settings)


def network(row: dict[str, Any]) -> stpbnn.Convolutional | stpbnn.FullyConnected:
    """Return the network of a case."""
    if row["windows"] == "whole":
        return stpbnn.FullyConnected(numbers(row["N"]))
    windows = [(side, side) for side in numbers(row["windows"])]
    return stpbnn.Convolutional(numbers(row["N"]), windows, windows, image=numbers(row["image"]))


def sampled(row: dict[str, Any]) -> dict[str, Any]:
    """Return the generalisation error of the posterior with its Monte Carlo error, and the order parameters in it."""
    X, y, Xt, yt = load(row)
    start = time.process_time()
    posterior = stpbnn.sample(
        network(row), X, y, temperature=row["T"], X_test=Xt, draws=4000, warmup=250, until=UNTIL, progress=False
    )
    f, variance = posterior["predictions"]["f_mean"], posterior["predictions"]["f_variance"]
    total = ((f - yt) ** 2 + variance).mean("test_point")
    bias = float(((f.mean(("chain", "draw")) - yt) ** 2).mean())
    observed = posterior["posterior"]
    Q = observed["readout_overlap" if "readout_overlap" in observed else "readout_norm"].mean(("chain", "draw"))
    return {
        "bias": bias,
        "variance": float(total.mean()) - bias,
        "error": float(az.mcse(total)),
        "rhat": float(az.rhat(f).max()),
        "draws": f.sizes["draw"],
        "sampled_Q": entries(Q.to_numpy()),
        "seconds_sampling": time.process_time() - start,
        "seed": 0,
        "stpbnn": stpbnn.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }


def entries(Q: Any) -> str:
    """Return the lower triangle of a matrix as the text of a cell."""
    Q = np.atleast_2d(Q)
    return " ".join(f"{value:.4g}" for value in Q[np.tril_indices(len(Q))])


@in_float64
def one_scale(model: stpbnn.ProportionalLimitRegressor, Xt: np.ndarray, yt: np.ndarray) -> tuple[float, float]:
    """Return the error at the best multiple of the unit matrix, what a theory without positions would say, and it."""
    problem, point = model._problem, model.saddle_points_[0]
    scale = float(best_multiples(problem._saddle)[0].order_parameters[0])
    d = problem.net.positions
    law = problem.conditioned(point._replace(order_parameters=scale * np.eye(d))).law(Xt, joint=False, noise=False)
    return float(np.mean((law.mean - yt) ** 2 + law.variance)), scale


def theories(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the theories say of the error, and Q of the last layer; nothing where a theory does not exist."""
    net, T, (X, y, Xt, yt) = network(row), row["T"], load(row)
    start = time.process_time()
    infinite = stpbnn.NNGPRegressor(net, temperature=T).fit(X, y)
    found = dict.fromkeys(OF_THEORIES, "") | {"infinite_width": infinite.generalization_error(Xt, yt).total}
    limit = stpbnn.ProportionalLimitRegressor(net, temperature=T).fit(X, y)
    mixture = stpbnn.FiniteWidthRegressor(net, temperature=T, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # is in the table
        mixture.fit(X, y)
    d, Q, total = getattr(net, "positions", 1), limit.order_parameters_, limit.generalization_error(Xt, yt).total
    found |= {"local": total, "converged": limit.converged_, "Q": entries(Q[-d:, -d:] if Q.ndim > 1 else Q[-1])}
    found["finite_width"] = mixture.generalization_error(Xt, yt).total
    found["finite_width_converged"] = mixture.converged_
    if isinstance(net, stpbnn.FullyConnected):
        found |= {"one_scale": total, "one_scale_Q": float(Q[-1])}
    elif net.depth == 1:
        found |= dict(zip(("one_scale", "one_scale_Q"), one_scale(limit, Xt, yt), strict=True))
    return found | {"seconds_theories": time.process_time() - start}


def main() -> None:
    """Sample what is missing, solve the theories, and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--theories", action="store_true")
    given = parser.parse_args()
    if given.data is not None:
        os.environ["STPBNN_DATA"] = str(given.data)
        for row in CASES:
            known = {key_of(one) for one in read_rows(RESULTS)}
            if key_of(row) not in known and not given.theories:
                write_rows(RESULTS, [*read_rows(RESULTS), row | sampled(row) | theories(row)])
    if given.theories:
        write_rows(RESULTS, [row | theories(row) for row in read_rows(RESULTS)])
    order = {key_of(row): i for i, row in enumerate(CASES)}
    found = sorted(read_rows(RESULTS), key=lambda row: order.get(key_of(row), len(order)))
    put_table(README, "convolutions", table(found))
    draw(found)


if __name__ == "__main__":
    main()
