"""Calibration by simulation: new targets in the predictive law, where the data are drawn from the model.

    uv run python analysis/calibration.py            # 1,000 replications of each model, to analysis/results

Each replication draws inputs, a function and its noisy targets from the definition of the model, by numpy alone, and
the probability integral transform of a target that was held out. It is uniform if the posterior is exact; that of a
Gaussian process with the same covariance, given the same data, is not.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from readme import put_table
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.gaussian_process.kernels import RBF

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPRegressor, StudentTProcessRegressor
from stpbnn.files import written_whole

RESULTS, PAGE = Path(__file__).parent / "results", Path(__file__).parent / "regression.md"
DF, WIDTH, TEMPERATURE = 3.0, 2, 0.02
EXAMPLES, FEATURES = 3, 6
GAUSSIAN = 1e6  # degrees of freedom


def t_process(rng: np.random.Generator, noise: str) -> tuple[np.ndarray, np.ndarray]:
    """Draw the scale r, then f given r, then the noise, which shares the scale or does not."""
    X = rng.normal(size=(EXAMPLES + 1, FEATURES)) / np.sqrt(FEATURES)
    r = (DF - 2) / 2 / rng.gamma(DF / 2)
    f = np.sqrt(r) * rng.multivariate_normal(np.zeros(len(X)), np.exp(-cdist(X, X, "sqeuclidean") / 2))
    return X, f + np.sqrt(TEMPERATURE * (r if noise == "scale" else 1)) * rng.normal(size=len(X))


def linear_network(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the weights of a linear network with two hidden units, for which the theory of finite width is exact."""
    X = rng.normal(size=(EXAMPLES + 1, FEATURES))
    W, v = rng.normal(size=(FEATURES, WIDTH)), rng.normal(size=WIDTH)
    f = (X @ W / np.sqrt(FEATURES)) @ v / np.sqrt(WIDTH)
    return X, f + np.sqrt(TEMPERATURE) * rng.normal(size=len(X))


def student(noise: str, df: float = DF) -> StudentTProcessRegressor:
    """Return the regressor of a t-process."""
    return StudentTProcessRegressor(RBF(1.0), df=df, temperature=TEMPERATURE, noise=noise, optimizer=None)


NET = FullyConnected((WIDTH,), "linear")
MODELS: dict[str, tuple[Any, Any, Any]] = {  # how to draw data, the regressor for them, the Gaussian process for them
    "t-process, noise in the scale": (
        lambda rng: t_process(rng, "scale"),
        student("scale"),
        student("scale", GAUSSIAN),
    ),
    "t-process, Gaussian noise": (
        lambda rng: t_process(rng, "gaussian"),
        student("gaussian"),
        student("scale", GAUSSIAN),
    ),
    "linear network of finite width": (
        linear_network,
        FiniteWidthRegressor(NET, temperature=TEMPERATURE),
        NNGPRegressor(NET, temperature=TEMPERATURE),
    ),
}


def transforms(model: str, replications: int, *, gaussian: bool = False, seed: int = 0) -> np.ndarray:
    """Return F(y*) of one held-out target for each replication, F being its predictive law given the other targets."""
    draw, own, other = MODELS[model]
    rng, regressor = np.random.default_rng(seed), other if gaussian else own
    values = np.empty(replications)
    for i in range(replications):
        X, y = draw(rng)
        law = regressor.fit(X[:-1], y[:-1]).predictive(X[-1:], noise=True)
        values[i] = np.squeeze(law.cdf(y[-1:]))
    return values


def p_values(values: np.ndarray) -> tuple[float, float]:
    """Return p of Kolmogorov and Smirnov for u = F(y*), and for |2u − 1|, which sees intervals that are too wide."""
    return tuple(float(stats.kstest(u, "uniform").pvalue) for u in (values, np.abs(2 * values - 1)))


def row(model: str, law: str, values: np.ndarray) -> list[str]:
    """Return a row of the table: p values, and the coverage of central intervals."""
    coverage = [np.mean(np.abs(values - 0.5) <= level / 2) for level in (0.5, 0.9, 0.95)]
    return [model, law, *(f"{p:.2g}" for p in p_values(values)), *(f"{c:.3f}" for c in coverage)]


def main() -> None:
    """Write the transforms, and a line on each model and law."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows, columns = [["data", "law", "p", "p of |2u − 1|", "50 %", "90 %", "95 %"]], {}
    for model in MODELS:
        columns[model] = transforms(model, arguments.replications)
        rows.append(row(model, "its own", columns[model]))
        rows.append(row(model, "Gaussian", transforms(model, arguments.replications, gaussian=True)))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with written_whole(arguments.out / "calibration.csv") as path:
        header = ",".join(f'"{model}"' for model in columns)
        np.savetxt(path, np.column_stack(list(columns.values())), "%.5f", ",", header=header, comments="")
    rows.insert(1, ["---"] * len(rows[0]))
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    if arguments.out == RESULTS:
        put_table(PAGE, "calibration", table)
    print(table)


if __name__ == "__main__":
    main()
