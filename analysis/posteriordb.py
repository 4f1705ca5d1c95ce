"""The posterior mnist_100-nn_rbm1bJ10 of posteriordb, which has no reference draws: what mixes, and what cannot.

    uv run python analysis/posteriordb.py --sample trained   # or untrained: where chains start; five minutes
    uv run python analysis/posteriordb.py                    # the table in README.md, from results/posteriordb.csv

The first 100 images of MNIST, raw pixels x of 0 to 255, in ten classes, by ten tanh units with biases. The first class
has the score zero, the others

    v = b + tanh(a + x A) B,  A ~ N(0, s_A),  B ~ N(0, s_B),  a, b ~ N(0, 1),
    s_A ~ InvGamma(1/4, q_A/4),  q_A = (0.05/784²)²,  s_B ~ InvGamma(1/4, q_B/4),  q_B = (0.05/10²)².

The model is written here from its description, whitened: A = √s_A z, and a scale is a function of a standard normal
variable, its quantile, so that Hamiltonian steps are exact for the prior. The images span 100 directions of 784; what
lies across them is given s_A and is drawn exactly afterwards, if it is wanted. Chains start from the prior of z, w, a
and b, at scales at which scores are large: as they are, or after ascent to a mode.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import arviz_stats as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr
from collect import RESULTS
from numpyro import distributions as dist
from numpyro.infer import MCMC
from numpyro.infer.util import log_density
from readme import put_table
from rows import read_rows, write_rows
from scipy.special import gammaincinv
from scipy.stats import norm

from stpbnn import __version__
from stpbnn.datasets import load
from stpbnn.samplers import SplitHMC

README, FILE = Path(__file__).parent / "README.md", RESULTS / "posteriordb.csv"
PIXELS, UNITS, CLASSES = 784, 10, 10
SHAPE = 0.25  # half of the degrees of freedom of the scales
SCALES = {"s_A": (0.05 / PIXELS**2) ** 2, "s_B": (0.05 / UNITS**2) ** 2}
STARTS = ("untrained", "trained")
LARGE = {"s_A": 3e-7, "s_B": 400.0}  # scores of some ten
ASCENT, RATE = 2000, 0.02  # steps of Adam, and their size
FITTED = -100.0  # of the mean log likelihood of a chain; that of ten equal probabilities is -230
SEED = 0
ASKED = {"chains": 4, "warmup": 1000, "draws": 1000, "thinning": 4}
NORMAL = np.linspace(-8.0, 8.0, 16001)
QUANTILE = (NORMAL, -np.log(gammaincinv(SHAPE, norm.sf(NORMAL))))  # the logarithm of that of InvGamma(1/4, 1)


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images and labels, training and test, as posteriordb has them."""
    X, y, X_test, y_test = load("mnist", train=100, test=100, standardize=None, labels="classes")
    return X, y, X_test, y_test


def model(X: jax.Array, y: jax.Array | None = None) -> None:
    """Whitened weights of the network, in the directions of the training images."""
    s_A, s_B = (
        numpyro.deterministic(
            name, SHAPE * q * jnp.exp(jnp.interp(numpyro.sample(f"u_{name}", dist.Normal()), *QUANTILE))
        )
        for name, q in SCALES.items()
    )
    z = numpyro.sample("z", dist.Normal().expand([X.shape[1], UNITS]).to_event(2))
    w = numpyro.sample("w", dist.Normal().expand([UNITS, CLASSES - 1]).to_event(2))
    a = numpyro.sample("a", dist.Normal().expand([UNITS]).to_event(1))
    b = numpyro.sample("b", dist.Normal().expand([CLASSES - 1]).to_event(1))
    v = b + jnp.tanh(a + X @ z * jnp.sqrt(s_A)) @ w * jnp.sqrt(s_B)
    scores = jnp.concatenate([jnp.zeros((len(X), 1)), v], axis=1)
    numpyro.deterministic("probability", jax.nn.softmax(scores))
    with numpyro.plate("images", len(X)):
        numpyro.sample("y", dist.Categorical(logits=scores), obs=y)


def sampled(start: str, chains: int, warmup: int, draws: int, thinning: int) -> dict[str, Any]:
    """Return draws (chain, draw, ...) of the posterior."""
    numpyro.enable_x64()
    X, y, _, _ = data()
    coordinates = np.linalg.svd(X, full_matrices=False)
    inputs = jnp.asarray(coordinates[0] * coordinates[1])  # X in its own directions
    keys = jax.random.split(jax.random.key(SEED), chains + 1)

    def first(key: jax.Array) -> dict[str, jax.Array]:
        shapes = {"z": (inputs.shape[1], UNITS), "w": (UNITS, CLASSES - 1), "a": (UNITS,), "b": (CLASSES - 1,)}
        parts = zip(jax.random.split(key, 4), shapes.items(), strict=True)
        drawn = {name: jax.random.normal(k, shape) for k, (name, shape) in parts}
        u = {name: np.interp(np.log(value / SHAPE / SCALES[name]), *QUANTILE[::-1]) for name, value in LARGE.items()}
        return drawn | {f"u_{name}": jnp.asarray(value) for name, value in u.items()}

    def trained(weights: dict[str, jax.Array]) -> dict[str, jax.Array]:
        adam = numpyro.optim.Adam(RATE)

        def step(state: Any, _: None) -> tuple[Any, None]:
            return adam.update(slope(adam.get_params(state)), state), None

        slope = jax.grad(lambda at: -log_density(model, (inputs, jnp.asarray(y)), {}, at)[0])
        return adam.get_params(jax.lax.scan(step, adam.init(weights), None, ASCENT)[0])

    begin = jax.vmap(first)(keys[1:])
    mcmc = MCMC(
        SplitHMC(model, step_size=0.02),
        num_warmup=warmup,
        num_samples=draws * thinning,
        num_chains=chains,
        thinning=thinning,
        chain_method="vectorized",
        progress_bar=False,
    )
    fields = ("diverging", "accept_prob", "num_steps")
    mcmc.run(
        keys[0],
        inputs,
        jnp.asarray(y),
        init_params=begin if start == "untrained" else jax.vmap(trained)(begin),
        extra_fields=fields,
    )
    return jax.block_until_ready(mcmc.get_samples(group_by_chain=True) | mcmc.get_extra_fields(group_by_chain=True))


def summary(draws: dict[str, Any], asked: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """Return R-hat, effective sample sizes and lag-one autocorrelation of each kind of quantity: the worst of them."""
    about: dict[str, Any] = asked | {"seed": SEED}
    about |= {"divergences": int(np.sum(draws["diverging"])), "acceptance": float(np.mean(draws["accept_prob"]))}
    about |= {"steps": float(np.mean(draws["num_steps"])), "cpu_seconds": round(seconds)}
    versions = f"stpbnn {__version__}; jax {jax.__version__}; numpyro {numpyro.__version__}"
    about |= {"versions": f"{versions}; arviz-stats {az.__version__}"}
    y = data()[1]
    p = np.asarray(draws["probability"])
    chosen = p[..., np.arange(len(y)), y]
    fitted = np.log(chosen).sum(axis=2).mean(axis=1) > FITTED
    about |= {"fitted_chains": int(fitted.sum())}
    outgoing = np.sqrt(np.asarray(draws["s_B"]))[..., None, None] * np.asarray(draws["w"])
    strengths = np.log(np.linalg.norm(draws["z"], axis=2) ** 2 * np.asarray(draws["s_A"])[..., None])
    reach = np.log(np.sum(outgoing**2, axis=-1))
    kinds = {
        "log s_A": np.log(draws["s_A"])[..., None],
        "log s_B": np.log(draws["s_B"])[..., None],
        "log likelihood": np.log(chosen).sum(axis=-1)[..., None],
        "class probabilities at the images": p.reshape(*p.shape[:2], -1),
        "log |A|² of units, in order": np.sort(strengths, axis=-1),
        "log |B|² of units, in order": np.sort(reach, axis=-1),
        "whitened input weights z": np.asarray(draws["z"]).reshape(*p.shape[:2], -1),
        "output weights B": outgoing.reshape(*p.shape[:2], -1),
        "output biases b": np.asarray(draws["b"]),
    }
    return [row(name, np.asarray(values, dtype=float)) | about for name, values in kinds.items()]


def row(name: str, values: np.ndarray) -> dict[str, Any]:
    """Return the checks of one kind of quantity (chain, draw, n)."""
    array = xr.DataArray(values, dims=("chain", "draw", "quantity"))
    rhat, bulk, tail = az.rhat(array), az.ess(array, method="bulk"), az.ess(array, method="tail")
    centred = values - values.mean(axis=1, keepdims=True)
    lag = (centred[:, 1:] * centred[:, :-1]).mean(axis=1) / np.maximum((centred**2).mean(axis=1), 1e-300)
    return {
        "quantity": name,
        "number": values.shape[2],
        "rhat_worst": float(rhat.max()),
        "rhat_above_1.01": float((rhat > 1.01).mean()),
        "ess_bulk_smallest": float(bulk.min()),
        "ess_tail_smallest": float(tail.min()),
        "lag_one_largest": float(np.abs(lag).max()),
        "mean_of_first": float(values[..., 0].mean()),
        "sd_of_first": float(values[..., 0].std()),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of the README, and below it how the chains ran."""
    lines = [
        "| start | quantity | number | worst R-hat | above 1.01 | smallest bulk ESS | smallest tail ESS | lag one |",
        "| --- " * 8 + "|",
    ]
    for one in rows:
        cells = [one["start"], one["quantity"], one["number"], f"{one['rhat_worst']:.3f}"]
        cells += [f"{100 * one['rhat_above_1.01']:.0f} %", f"{one['ess_bulk_smallest']:.0f}"]
        cells += [f"{one['ess_tail_smallest']:.0f}", f"{one['lag_one_largest']:.2f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for one in {row["start"]: row for row in rows}.values():
        lines += [
            "",
            f"{one['start']}: {one['chains']} chains of {one['draws']} draws, every {one['thinning']}th of more, after "
            f"{one['warmup']} transitions; {one['fitted_chains']} fit the labels; {one['divergences']} divergent "
            f"transitions, {one['acceptance']:.2f} accepted, {one['steps']:.0f} steps each; {one['cpu_seconds']} s of "
            f"processor time; seed {one['seed']}; {one['versions']}.",
        ]
    return "\n".join(lines)


def main() -> None:
    """Sample where that is asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", choices=STARTS, dest="start")
    for name, value in ASKED.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = vars(parser.parse_args())
    rows = read_rows(FILE)
    if given["start"]:
        begin = time.process_time()
        draws = sampled(**given)
        new = summary(draws, given, time.process_time() - begin)
        rows = sorted(
            [*(one for one in rows if one.get("start") not in (None, given["start"])), *new], key=lambda r: r["start"]
        )
        write_rows(FILE, rows)
    put_table(README, "posteriordb", table(rows))


if __name__ == "__main__":
    main()
