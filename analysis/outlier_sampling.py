"""Student's t noise by expectation propagation beside NUTS over the same function, on three tables with outliers.

    uv run python analysis/outlier_sampling.py               # the table in regression.md, from results/outliers.csv
    uv run python analysis/outlier_sampling.py --data DATA   # sample anew: minutes

60 training rows of the first split, 5 % of their targets off by 3 to 10 standard deviations; kernel and noise as they
are learned from these rows, at four degrees of freedom. NUTS is NumPyro's on `stpbnn.programs.gaussian_process`.
Compared are the laws of f at the training inputs and at 100 new ones: means, in standard deviations of the posterior,
and the ends and the width of central 90 % intervals, in its width.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
import numpyro
from collect import RESULTS
from large import processor
from numpyro.infer import MCMC, NUTS
from readme import put_table
from rows import read_rows, write_rows
from sklearn.exceptions import ConvergenceWarning
from uci import NAMES, PAGE, load, outliers

from stpbnn import __version__
from stpbnn.programs import gaussian_process

FOUND = RESULTS / "outliers.csv"
ROWS, NEW, SEED = 60, 100, 0
CHAINS, WARMUP, DRAWS = 4, 1000, 5000


def sampled(K: np.ndarray, K_new: np.ndarray, cross: np.ndarray, y: np.ndarray, model: Any) -> tuple[np.ndarray, float]:
    """Return draws of f at training and new inputs, and the worst R-hat of those at the training inputs."""
    process = gaussian_process(lambda X1, X2: K, noise_df=model.noise_df_)
    settings = {"num_chains": CHAINS, "chain_method": "vectorized", "progress_bar": False}
    chains = MCMC(NUTS(process), num_warmup=WARMUP, num_samples=DRAWS, **settings)
    chains.run(jax.random.key(SEED), np.arange(len(K), dtype=float)[:, None], y, temperature=model.temperature_)
    f = np.asarray(chains.get_samples(group_by_chain=True)["f"])
    rhat = max(float(az.rhat(f[..., i])) for i in range(len(K)))
    f = f.reshape(-1, len(K))
    jitter = np.finfo(float).eps * np.trace(K) * np.eye(len(K))
    pull = np.linalg.solve(K + jitter, cross.T)
    rest = np.linalg.cholesky(K_new - cross @ pull + 1e-10 * np.trace(K_new) * np.eye(NEW))
    white = np.random.default_rng(SEED).standard_normal((len(f), NEW))
    return np.hstack([f, f @ pull + white @ rest.T]), rhat


def run(data: Path, name: str) -> dict[str, Any]:
    """Return how far apart the laws are on one table."""
    X, y, X_new, _ = load(data, name, 0, True)
    spread, (centre, scale) = X.std(axis=0), (y.mean(), y.std())
    X, X_new = ((inputs - X.mean(axis=0)) / np.where(spread > 0, spread, 1) for inputs in (X, X_new))
    chosen = np.random.default_rng(SEED).permutation(len(X))
    X, y, X_new = X[chosen[:ROWS]], (y[chosen[:ROWS]] - centre) / scale, np.vstack([X_new, X[chosen[ROWS:]]])[:NEW]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = outliers("student-t").fit(X, y)
    kernel = model.kernel_
    f, rhat = sampled(kernel(X), kernel(X_new), kernel(X_new, X), y, model)
    law = model.predictive(np.vstack([X, X_new]))
    ours, theirs = law.interval(0.9).T, np.quantile(f, [0.05, 0.95], axis=0)
    width = theirs[1] - theirs[0]
    return {
        "data": name,
        "P": ROWS,
        "new": NEW,
        "T": model.temperature_,
        "noise_df": model.noise_df_,
        "rhat": rhat,
        "ess": min(float(az.ess(f[:, i].reshape(CHAINS, DRAWS))) for i in range(ROWS)),
        "mean": float(np.abs((law.mean - f.mean(axis=0)) / f.std(axis=0)).max()),
        "ends": float(np.abs((ours - theirs) / width).max()),
        "width": float(np.abs((ours[1] - ours[0]) / width - 1).max()),
        "mean_typical": float(np.median(np.abs((law.mean - f.mean(axis=0)) / f.std(axis=0)))),
        "ends_typical": float(np.median(np.abs((ours - theirs) / width))),
        "seed": SEED,
        "device": processor(),
        "stpbnn": __version__,
        "jax": jax.__version__,
        "numpyro": numpyro.__version__,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    head = ["data", "T", "R-hat", "ESS", "mean, sd: largest", "median", "interval ends, widths: largest", "median"]
    lines = [f"| {' | '.join([*head, 'interval width: largest'])} |", "|" + "---|" * (len(head) + 1)]
    for row in rows:
        cells = [row["data"], f"{row['T']:.2g}", f"{row['rhat']:.4f}", f"{row['ess']:.0f}", f"{row['mean']:.3f}"]
        cells += [f"{row['mean_typical']:.3f}", f"{100 * row['ends']:.1f} %", f"{100 * row['ends_typical']:.1f} %"]
        lines.append(f"| {' | '.join([*cells, f'{100 * row["width"]:.1f} %'])} |")
    return "\n".join(lines)


def main() -> None:
    """Sample where a folder with data is given, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with uci/NAME.csv")
    given = parser.parse_args()
    if given.data:
        jax.config.update("jax_enable_x64", True)
        write_rows(FOUND, [run(given.data / "uci", name) for name in NAMES])
    put_table(PAGE, "sampled", table(read_rows(FOUND)))


if __name__ == "__main__":
    main()
