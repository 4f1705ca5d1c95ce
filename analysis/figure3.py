"""Figure 3: random data, where the theory needs nothing of them but the load α = P/N_1 and s = yᵀK⁻¹y/P.

    uv run python analysis/figure3.py --run      # a minute: solve all realisations, into results/figure3.nc
    uv run python analysis/figure3.py            # the figure and the tables from that file, and from
                                                 # results/figure3-random.nc, the networks that were sampled

Inputs have as many numbers as there are examples, N_0 = P, so that K has a limit as P grows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import xarray as xr
from collect import RESULTS, card_of, cells, read, results
from learning import digits, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from readme import README, put_table
from scipy.linalg import cho_factor, cho_solve

from stpbnn import FullyConnected, NNGPKernel, ProportionalLimitRegressor, __version__, datasets, theory_grid
from stpbnn.figures.style import COLOURS
from stpbnn.files import write_netcdf

TRAIN, REALISATIONS, TEMPERATURE = (50, 100, 200, 400, 800), 60, 0.01
LOADS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
TASKS = {"random data": "random data", "mnist": "MNIST", "cifar10": "CIFAR-10"}
DEPTHS, DEEP_TRAIN, DEEP_REALISATIONS = (1, 2, 3, 4), 100, 10
Draw = Callable[[np.random.Generator, int], np.ndarray]


def gaussian(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw standard normal numbers."""
    return rng.standard_normal(size)


def coin(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw −1 or +1."""
    return rng.choice([-1.0, 1.0], size)


LAWS: dict[str, tuple[str, Draw, Draw]] = {  # the activation, and what inputs and labels are drawn from
    "erf, Gaussian inputs, labels ±1": ("erf", gaussian, coin),
    "erf, inputs ±1, labels ±1": ("erf", coin, coin),
    "erf, Gaussian inputs, Gaussian labels": ("erf", gaussian, gaussian),
    "relu, Gaussian inputs, labels ±1": ("relu", gaussian, coin),
}


def saddle(alpha: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return Q̄ of one hidden layer at T → 0, from the load and s alone."""
    return ((1 - alpha) + np.sqrt((1 - alpha) ** 2 + 4 * alpha * s)) / 2


def one_layer(law: str, P: int, seed: int) -> tuple[float, np.ndarray]:
    """Return s of a realisation, and Q̄ at all loads, at the temperature of the study."""
    activation, inputs, labels = LAWS[law]
    rng = np.random.default_rng(seed)
    X, y = inputs(rng, P * P).reshape(P, P), labels(rng, P)
    net = FullyConnected((P,), activation)
    s = y @ cho_solve(cho_factor(NNGPKernel(net)(X)), y) / P
    if net.sigma.odd:
        options = {"widths": [round(P / load) for load in LOADS], "temperatures": [TEMPERATURE]}
        grid = theory_grid(net, X, y, X[:1], y[:1], **options, theories=["proportional"])
        return s, grid["order_parameters"].to_numpy().ravel()
    return s, saddle(np.array(LOADS), s)


def deep(task: str, L: int, seed: int) -> np.ndarray:
    """Return Q̄_1..Q̄_L of a deep erf network as wide as there are examples."""
    P = DEEP_TRAIN
    if task == "random data":
        rng = np.random.default_rng(seed)
        X, y = gaussian(rng, P * P).reshape(P, P), coin(rng, P)
    else:
        X, y, *_ = datasets.load(task, classes=(0, 1), labels=(-1, 1), train=P, test=1, size=784, seed=seed)
    model = ProportionalLimitRegressor(FullyConnected((P,) * L, "erf"), temperature=TEMPERATURE)
    return model.fit(X, y).order_parameters_


def run() -> xr.Dataset:
    """Solve all realisations."""
    laws, seeds = list(LAWS), range(REALISATIONS)
    s, Q = np.empty((len(laws), len(TRAIN), REALISATIONS)), np.empty((len(laws), len(TRAIN), REALISATIONS, len(LOADS)))
    for (i, law), (j, P), seed in product(enumerate(laws), enumerate(TRAIN), seeds):
        s[i, j, seed], Q[i, j, seed] = one_layer(law, P, seed)
    tasks = tuple(TASKS)
    orders = np.full((len(tasks), len(DEPTHS), max(DEPTHS), DEEP_REALISATIONS), np.nan)
    for (i, task), (j, L), seed in product(enumerate(tasks), enumerate(DEPTHS), range(DEEP_REALISATIONS)):
        orders[i, j, :L, seed] = deep(task, L, seed)
    return xr.Dataset(
        {
            "s": (("law", "train", "realisation"), s),
            "order_parameter": (("law", "train", "realisation", "load"), Q),
            "deep_order_parameters": (("task", "depth", "layer", "deep_realisation"), orders),
        },
        {"law": laws, "train": list(TRAIN), "load": list(LOADS), "task": list(tasks), "depth": list(DEPTHS)},
        {"temperature": TEMPERATURE, "deep_train": DEEP_TRAIN, "stpbnn_version": __version__},
    )


def exponent(train: np.ndarray, spread: np.ndarray, realisations: int) -> tuple[float, float]:
    """Return the power of P with which a spread falls, and its standard error.

    Examples
    --------
    >>> power, error = exponent(np.array([10, 100, 1000]), np.array([1.0, 0.1, 0.01]), 51)
    >>> round(power, 3), round(error, 3)
    (-1.0, 0.031)
    """
    weights = np.full(len(train), np.sqrt(2 * (realisations - 1)))  # of the logarithm of an estimated deviation
    slope, covariance = np.polyfit(np.log(train), np.log(spread), 1, w=weights, cov="unscaled")
    return float(slope[0]), float(np.sqrt(covariance[0, 0]))


def quantities(data: xr.Dataset, law: str) -> dict[str, xr.DataArray]:
    """Return what is averaged over realisations."""
    return {"s": data["s"].sel(law=law), "Q̄ at α = 1": data["order_parameter"].sel(law=law, load=1.0)}


def spread_table(data: xr.Dataset) -> str:
    """Return means and spreads over realisations, and the power of P, as Markdown."""
    train = data["train"].to_numpy()
    lines = [
        ["data", "quantity", *(f"P = {P}" for P in train), "spread ∝ P^"],
        ["---"] * (3 + len(train)),
    ]
    for law in data["law"].to_numpy():
        for name, values in quantities(data, law).items():
            mean, spread = values.mean("realisation").to_numpy(), values.std("realisation", ddof=1).to_numpy()
            power, error = exponent(train, spread, values.sizes["realisation"])
            row = [f"{m:.4f} ± {d:.4f}" for m, d in zip(mean, spread, strict=True)]
            lines.append([law, name, *row, digits(power, error)])
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def sampled_table(sampled: xr.Dataset) -> str:
    """Return the sampled networks beside the theories, as Markdown."""
    head = ["α = P/N_1", "N_1", "λ_1 ⟨v²⟩ (MCMC)", "Q̄", "⟨Q⟩, finite width"]
    head += ["generalisation error (MCMC)", "proportional limit", "finite width"]
    lines = [head, ["---"] * len(head)]
    examples = card_of(sampled).data.train
    for place, point in cells(sampled):
        if not bool(point["finished"]):
            continue
        orders, error = point["order_parameters"].isel(layer=0), point["error"].sel(part="total")
        theories = ("proportional limit", "finite width")
        mcmc = digits(float(point["error_posterior"].sel(part="total")), float(point["error_mcse"].sel(part="total")))
        lines.append(
            [
                f"{examples / place['width']:g}",
                str(place["width"]),
                digits(float(point["readout_norm"]), float(point["readout_norm_mcse"])),
                *(f"{float(orders.sel(theory=name)):.4f}" for name in theories),
                mcmc,
                *(f"{float(error.sel(theory=name)):.4f}" for name in theories),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def plain(ax: Axes, ticks: Sequence[float]) -> None:
    """Write these numbers at a logarithmic vertical axis, and no others."""
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_locator(NullLocator())


def draw_spread(ax: Axes, data: xr.Dataset) -> None:
    """Draw how the spreads fall."""
    train = data["train"].to_numpy()
    for colour, law in zip(COLOURS, data["law"].to_numpy(), strict=False):
        for marker, values in zip("os", quantities(data, law).values(), strict=True):
            relative = (values.std("realisation", ddof=1) / values.mean("realisation")).to_numpy()
            error = relative / np.sqrt(2 * (values.sizes["realisation"] - 1))
            label = law if marker == "o" else None
            ax.errorbar(train, relative, error, marker=marker, ms=4, color=colour, lw=0.8, label=label)
    ax.plot(train, 0.35 * (train / train[0]) ** -0.5, "k:", label="P^(−1/2)")
    ax.set(xscale="log", yscale="log", xlabel="examples P", ylabel="relative spread of s (○) and Q̄ (□)")
    ax.set_xticks(train, train)
    ax.minorticks_off()
    plain(ax, [0.02, 0.05, 0.1, 0.2, 0.3])
    ax.legend(fontsize=7, frameon=False)


def draw_loads(ax: Axes, data: xr.Dataset, sampled: xr.Dataset) -> None:
    """Draw Q̄ against the load: the formula for T → 0 at the mean s, the solved realisations, the sampled networks."""
    fine, last = np.geomspace(0.08, 12, 200), data.isel(train=-1)
    for colour, law in zip(COLOURS, data["law"].to_numpy(), strict=False):
        one = last.sel(law=law)
        ax.plot(fine, saddle(fine, float(one["s"].mean())), color=colour, lw=1)
        mean, spread = one["order_parameter"].mean("realisation"), one["order_parameter"].std("realisation", ddof=1)
        ax.errorbar(data["load"], mean, spread, color=colour, marker="o", ms=3, ls="none", label=law)
    points = [point for _, point in cells(sampled) if bool(point["finished"])]
    if points:
        loads = [card_of(sampled).data.train / float(point["width"]) for point in points]
        norm, error = ([float(point[name]) for point in points] for name in ("readout_norm", "readout_norm_mcse"))
        ax.errorbar(loads, norm, error, color="k", marker="D", ms=5, ls="none", label="λ_1⟨v²⟩ sampled, P = 50")
        orders = [float(point["order_parameters"].sel(theory="proportional limit").isel(layer=0)) for point in points]
        ax.plot(loads, orders, "kD", ms=8, mfc="none", label="Q̄ of these data")
    ax.set(xscale="log", yscale="log", xlabel="load α = P/N_1", ylabel="order parameter Q̄")
    plain(ax, [1, 2, 3, 4, 5])
    ax.legend(fontsize=7, frameon=False)


def draw_depths(ax: Axes, data: xr.Dataset) -> None:
    """Draw the order parameters of each layer of networks of several depths."""
    lines, handles = {1: "o", 2: "s--", 3: "D-.", 4: "^:"}, []
    for colour, task in zip(COLOURS, data["task"].to_numpy(), strict=False):
        for L in data["depth"].to_numpy():
            values = data["deep_order_parameters"].sel(task=task, depth=L).to_numpy()[:L]
            shown = {"fmt": lines[int(L)], "ms": 4, "lw": 1, "capsize": 2, "color": colour}
            ax.errorbar(np.arange(1, L + 1), values.mean(1), values.std(1, ddof=1), **shown)
        handles.append(Line2D([], [], color=colour, label=TASKS[str(task)]))
    handles += [
        Line2D([], [], color="k", marker=f[0], ls=f[1:] or "none", ms=4, label=f"L = {L}") for L, f in lines.items()
    ]
    ax.set(xlabel="layer l", ylabel="order parameter Q̄_l", yscale="log")
    ax.set_xticks(data["depth"].to_numpy())
    plain(ax, [0.7, 1, 2, 3])
    ax.legend(handles=handles, fontsize=7, frameon=False, ncols=2, loc="center right", bbox_to_anchor=(1, 0.36))


def main() -> None:
    """Solve if asked to; draw the figure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="solve all realisations anew")
    if parser.parse_args().run:
        write_netcdf(RESULTS / "figure3.nc", run())
    data, sampled = read(RESULTS / "figure3.nc", "uv run python analysis/figure3.py --run"), results("figure3-random")
    figure = Figure(figsize=(14, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_spread(left, data)
    draw_loads(middle, data, sampled)
    draw_depths(right, data)
    save(figure, "figure3")
    put_table(README, "figure 3", f"{spread_table(data)}\n\n{sampled_table(sampled)}")


if __name__ == "__main__":
    main()
