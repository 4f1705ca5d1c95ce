"""Classes: approximations of the latent posterior beside NUTS over it, and chains of networks calibrated by simulation.

    uv run python analysis/class_checks.py             # the tables in README.md, from results/class_*.csv
    uv run python analysis/class_checks.py --latent    # sample the latent functions anew: five minutes
    uv run python analysis/class_checks.py --ranks     # 4000 simulations of each sampler anew: ten minutes

Latent functions have the kernel of infinite width of 100 digits, scaled to a given prior variance. NUTS is NumPyro's,
in whitened coordinates; it knows nothing of the library but the kernel. New points are averaged over given each draw.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import arviz_stats as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr
from collect import RESULTS
from numpy.polynomial.hermite_e import hermegauss
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS
from readme import put_table
from rows import read_rows, write_rows
from scipy.special import expit, softmax

from stpbnn import FullyConnected, NNGPClassifier, NNGPKernel, __version__
from stpbnn.classification import class_scores
from stpbnn.datasets import load
from stpbnn.samplers import MALA, SplitHMC, SplitNUTS
from stpbnn.samplers.rank_calibration import ranks, uniformity

README = Path(__file__).parent / "README.md"
LATENT, RANKS = RESULTS / "class_latent.csv", RESULTS / "class_ranks.csv"
TRAIN, TESTS, SEED = 100, 100, 0
VARIANCES = (1.0, 3.0, 10.0, 30.0)
TASKS: dict[int, Any] = {2: (3, 8), 3: (3, 5, 8), 10: None}
CHAINS, WARMUP, DRAWS = 4, 500, 1000
NETS = {
    "bernoulli": FullyConnected((3,), "erf", weight_precision=(1.0, 0.1), likelihood="bernoulli"),
    "categorical": FullyConnected((3,), "erf", 3, weight_precision=(1.0, 0.1), likelihood="categorical"),
}
SAMPLERS = {"hmc": SplitHMC, "nuts": partial(SplitNUTS, max_tree_depth=5), "mala": partial(MALA, num_steps=3)}
SIMULATIONS, BINS = 4000, 16
VERSIONS = f"stpbnn {__version__}; jax {jax.__version__}; numpyro {numpyro.__version__}"


def exact(K: np.ndarray, labels: np.ndarray, cross: np.ndarray, own: np.ndarray, C: int) -> tuple[np.ndarray, float]:
    """Return class probabilities (n, C) by NUTS over the latent function, and the worst R-hat of them."""
    L = np.linalg.cholesky(K + 1e-8 * np.eye(len(K)))
    outputs = 1 if C == 2 else C

    def model() -> None:
        z = numpyro.sample("z", dist.Normal().expand([len(K), outputs]).to_event(2))
        f = jnp.asarray(L) @ z
        law = dist.Bernoulli(logits=f[:, 0]) if C == 2 else dist.Categorical(logits=f)
        numpyro.factor("labels", law.log_prob(jnp.asarray(labels)).sum())

    mcmc = MCMC(
        NUTS(model),
        num_warmup=WARMUP,
        num_samples=DRAWS,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.run(jax.random.key(SEED))
    z = np.asarray(mcmc.get_samples(group_by_chain=True)["z"])
    project = np.linalg.solve(L, cross)  # k* L^-T, for new points in whitened coordinates
    mean = np.einsum("pn,cdpo->cdno", project, z)
    std = np.sqrt(np.maximum(own - np.einsum("pn,pn->n", project, project), 0))
    if C == 2:
        nodes, weights = hermegauss(24)
        weights = weights / weights.sum()
        one = sum(w * expit(mean[..., 0] + std * node) for node, w in zip(nodes, weights, strict=True))
        p = np.stack([1 - one, one], axis=-1)
    else:
        noise = np.random.default_rng(SEED).normal(size=(8, *mean.shape))
        p = np.mean([softmax(mean + std[:, None] * each, axis=-1) for each in noise], axis=0)
    rhat = az.rhat(xr.DataArray(p, dims=("chain", "draw", "point", "class")))
    return p.mean(axis=(0, 1)), float(rhat.max())


def latent(classes: int, variance: float) -> list[dict[str, Any]]:
    """Return a row for each approximation at a prior variance."""
    chosen = {"classes": TASKS[classes]} if TASKS[classes] else {}
    X, y, Xt, yt = load("digits", train=TRAIN, test=TESTS, standardize="pixels", seed=SEED, labels="classes", **chosen)
    outputs = 1 if classes == 2 else classes
    unit = np.diag(NNGPKernel(FullyConnected((1,), "erf"))(X)).mean()
    net = FullyConnected((1,), "erf", outputs, weight_precision=(1.0, unit / variance))
    kernel = NNGPKernel(net)
    names, labels = np.unique(y, return_inverse=True)
    start = time.process_time()
    truth, rhat = exact(kernel(X), labels, kernel(X, Xt), kernel.diag(Xt), classes)
    seconds = time.process_time() - start
    score = class_scores(truth, yt, names).negative_log_likelihood
    rows = []
    for how in ("laplace", "ep"):
        model = NNGPClassifier(net, approximation=how).fit(X, y)
        found = model.predict_proba(Xt)
        difference = np.abs(found - truth)
        rows.append(
            {
                "classes": classes,
                "variance": variance,
                "approximation": how,
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean()),
                "nll": class_scores(found, yt, names).negative_log_likelihood,
                "nll_nuts": score,
                "rhat": rhat,
                "cpu_seconds": round(seconds),
                "draws": CHAINS * DRAWS,
                "seed": SEED,
                "versions": VERSIONS,
            }
        )
    return rows


def ranked(sampler: str, likelihood: str) -> list[dict[str, Any]]:
    """Return a row for each quantity: the p-value of uniform ranks."""
    rng = np.random.default_rng(0)
    X, x_test = rng.normal(size=(4, 2)), rng.normal(size=2)
    start = time.process_time()
    settings = {"temperature": 1.0, "readout": "explicit", "simulations": SIMULATIONS, "thinning": 8}
    found = ranks(NETS[likelihood], SAMPLERS[sampler], X, x_test, **settings)
    about = {"cpu_seconds": round(time.process_time() - start), "simulations": SIMULATIONS, "versions": VERSIONS}
    return [
        {"sampler": sampler, "likelihood": likelihood, "quantity": name, "p_value": uniformity(values, 31, BINS)}
        | about
        for name, values in found.items()
    ]


def latent_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of approximations."""
    lines = [
        "| classes | prior variance | approximation | largest, mean difference of a probability | −log p | of NUTS | "
        "R-hat |",
        "| --- " * 7 + "|",
    ]
    for one in rows:
        gap = f"{one['largest_difference']:.3f}, {one['mean_difference']:.4f}"
        cells = [one["classes"], f"{one['variance']:g}", one["approximation"], gap, f"{one['nll']:.4f}"]
        cells += [f"{one['nll_nuts']:.4f}", f"{one['rhat']:.3f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def ranks_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of p-values."""
    quantities = list(dict.fromkeys(one["quantity"] for one in rows))
    lines = [f"| sampler | likelihood | {' | '.join(quantities)} | CPU s |", "| --- " * (3 + len(quantities)) + "|"]
    for pair in dict.fromkeys((one["sampler"], one["likelihood"]) for one in rows):
        mine = {one["quantity"]: one for one in rows if (one["sampler"], one["likelihood"]) == pair}
        values = [f"{mine[name]['p_value']:.3f}" for name in quantities]
        lines.append("| " + " | ".join([*pair, *values, str(next(iter(mine.values()))["cpu_seconds"])]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is asked for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latent", action="store_true")
    parser.add_argument("--ranks", action="store_true")
    given = parser.parse_args()
    numpyro.enable_x64(given.latent)
    if given.latent:
        write_rows(LATENT, [row for C in TASKS for variance in VARIANCES for row in latent(C, variance)])
    numpyro.enable_x64(False)
    if given.ranks:
        write_rows(RANKS, [row for name in SAMPLERS for likelihood in NETS for row in ranked(name, likelihood)])
    put_table(README, "class-latent", latent_table(read_rows(LATENT)))
    put_table(README, "class-ranks", ranks_table(read_rows(RANKS)))


if __name__ == "__main__":
    main()
