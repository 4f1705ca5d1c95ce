"""Output distributions of finite networks against Gaussian, gamma mixture and Student's t; the dual variables.

    uv run python analysis/student_t.py --run    # a minute: simulate units, into results/student_t.nc
    uv run python analysis/student_t.py          # the figure and the table from that file

A network of N hidden units adds up f = Σ_i v_i σ(h_i)/√N. Of its outputs at P inputs take one combination, s·f with
sᵀKs = 1. Given the hidden weights it is Gaussian with variance Q = Σ_i c_i²/N, c_i = s·σ(h_i), so that one pool of
simulated c serves all widths. The theory of finite width takes c for Gaussian: Q ~ Gamma(N/2, N/2), whose variance is
2/N, and the characteristic function of f is (1 + sᵀKs/N)^(−N/2), a Student's t density of s.
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr
from collect import RESULTS, read
from learning import digits, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from readme import README, put_table
from scipy import stats
from scipy.special import erf

from stpbnn import FullyConnected, NNGPKernel, __version__, datasets, dual_student_t
from stpbnn.figures.style import COLOURS
from stpbnn.files import write_netcdf

EXAMPLES, UNITS, BATCH = 100, 400_000, 20_000
WIDTHS, SHOWN = (2, 5, 20, 100), 5
OUTPUTS, TIMES = np.linspace(-8, 8, 321), np.linspace(0, 8, 81)
DUAL_EXAMPLES, DUAL_WIDTH, DUAL_DRAWS = 20, 50, 40
ACTIVATIONS = {"linear": lambda h: h, "erf": erf}
DIRECTIONS = ("one image", "random signs", "labels")


def directions(K: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the combinations of outputs, each with sᵀKs = 1: (directions, P)."""
    s = np.stack([np.eye(len(y))[0], rng.choice([-1.0, 1.0], len(y)), y])
    return s / np.sqrt(np.einsum("dp,pq,dq->d", s, K, s))[:, None]


def units(activation: str, X: np.ndarray, s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw hidden units from the prior and return c = s·σ(h) for each and every direction: (UNITS, directions)."""
    sigma = ACTIVATIONS[activation]
    weights = (rng.standard_normal((BATCH, X.shape[1])) for _ in range(UNITS // BATCH))
    return np.concatenate([sigma(W @ X.T / np.sqrt(X.shape[1])) @ s.T for W in weights])


def networks(c: np.ndarray, width: int) -> np.ndarray:
    """Return the variance Q of s·f in networks of this width, made of the units of a pool."""
    return np.mean(c[: len(c) // width * width].reshape(-1, width) ** 2, axis=1)


def laws(width: int) -> dict[str, stats.rv_continuous]:
    """Return Student's t and the Gaussian of variance one; ν gives the t the kurtosis of the gamma mixture."""
    df = width + 4
    return {"Gaussian": stats.norm(), "Student's t": stats.t(df, scale=np.sqrt((df - 2) / df))}


def averaged(law: str, Q: np.ndarray) -> np.ndarray:
    """Return the density ("pdf") or the distribution function ("cdf") of a scale mixture of Gaussians on OUTPUTS."""
    scales = np.sqrt(np.quantile(Q, (np.arange(4000) + 0.5) / 4000)) if len(Q) > 4000 else np.sqrt(Q)
    values = getattr(stats.norm, law)(OUTPUTS[:, None] / scales)
    return np.mean(values / scales if law == "pdf" else values, axis=1)


def gamma_scales(width: int) -> np.ndarray:
    """Return equally probable values of Q under the theory of finite width."""
    return stats.gamma(width / 2, scale=2 / width).ppf((np.arange(4000) + 0.5) / 4000)


def dual(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of network, theory and Gaussian at draws s of the dual law, and the network's error.

    The network's characteristic function is the N-th power of that of a unit, E exp(−c²/2N).
    """
    X, *_ = datasets.load("digits", classes=(0, 1), train=DUAL_EXAMPLES, test=1, seed=0)
    net = FullyConnected((DUAL_WIDTH,), "erf")
    law, K = dual_student_t(net, X), NNGPKernel(net)(X)
    t = (
        rng.standard_normal((DUAL_DRAWS, DUAL_EXAMPLES))
        / np.sqrt(rng.chisquare(float(law.df), DUAL_DRAWS) / float(law.df))[:, None]
    )
    s = t @ np.asarray(law.scale_tril, dtype=float).T
    c = units("erf", X, s, rng)
    damping = np.exp(-(c**2) / (2 * DUAL_WIDTH))
    mean, error = damping.mean(axis=0), damping.std(axis=0) / np.sqrt(len(c))
    sKs = np.einsum("dp,pq,dq->d", s, K, s)
    theory = np.asarray(law.log_prob(s) - law.log_prob(np.zeros(DUAL_EXAMPLES)), dtype=float)
    return np.stack([DUAL_WIDTH * np.log(mean), theory, -sKs / 2]), DUAL_WIDTH * error / mean


def run() -> xr.Dataset:
    """Simulate the units, and reduce them to the numbers of the figure and the table."""
    rng = np.random.default_rng(0)
    X, y, *_ = datasets.load("digits", classes=(0, 1), train=EXAMPLES, test=1, seed=0)
    shape = (len(ACTIVATIONS), len(DIRECTIONS))
    fourth, fourth_error = np.empty(shape), np.empty(shape)
    density, characteristic = np.empty((*shape, len(OUTPUTS))), np.empty((*shape, len(TIMES)))
    distance = np.empty((*shape, len(WIDTHS), 3))
    for i, activation in enumerate(ACTIVATIONS):
        s = directions(NNGPKernel(FullyConnected((1,), activation))(X), y, rng)
        pool = units(activation, X, s, rng)
        for j, c in enumerate(pool.T):
            fourth[i, j], fourth_error[i, j] = np.mean(c**4) - 1, np.std(c**4) / np.sqrt(len(c))
            density[i, j] = averaged("pdf", networks(c, SHOWN))
            characteristic[i, j] = [np.mean(np.exp(-(t**2) * c**2 / (2 * SHOWN))) ** SHOWN for t in TIMES]
            for k, width in enumerate(WIDTHS):
                cdf = averaged("cdf", networks(c, width))
                others = [law.cdf(OUTPUTS) for law in laws(width).values()]
                others.append(averaged("cdf", gamma_scales(width)))
                distance[i, j, k] = [np.max(np.abs(cdf - other)) for other in others]
    log, error = dual(rng)
    place = ("activation", "direction")
    return xr.Dataset(
        {
            "variance_of_scale": (place, fourth),
            "variance_of_scale_error": (place, fourth_error),
            "density": ((*place, "f"), density),
            "characteristic": ((*place, "t"), characteristic),
            "distance": ((*place, "width", "law"), distance),
            "dual_log": (("law_of_s", "draw"), log),
            "dual_error": ("draw", error),
        },
        {
            "activation": list(ACTIVATIONS),
            "direction": list(DIRECTIONS),
            "f": OUTPUTS,
            "t": TIMES,
            "width": list(WIDTHS),
            "law": [*laws(5), "gamma mixture"],
            "law_of_s": ["network", "Student's t", "Gaussian"],
        },
        {"units": UNITS, "examples": EXAMPLES, "shown_width": SHOWN, "stpbnn_version": __version__},
    )


def table(data: xr.Dataset) -> str:
    """Return the variance of the scale, and the distances of the distribution functions, as Markdown."""
    names = [str(name) for name in data["law"].to_numpy()]
    lines = [
        ["activation", "s", "N Var Q (theory: 2)", *(f"N = {N}: {', '.join(names)}" for N in data["width"].values)]
    ]
    lines.append(["---"] * len(lines[0]))
    for activation in data["activation"].to_numpy():
        for direction in data["direction"].to_numpy():
            one = data.sel(activation=activation, direction=direction)
            found = digits(float(one["variance_of_scale"]), float(one["variance_of_scale_error"]))
            far = [
                ", ".join(f"{value:.4f}" for value in one["distance"].sel(width=N).values) for N in data["width"].values
            ]
            lines.append([str(activation), str(direction), found, *far])
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def draw_density(ax: Axes, data: xr.Dataset) -> None:
    """Draw the densities of s·f, of networks and of the three laws."""
    f, width = data["f"].to_numpy(), int(data.attrs["shown_width"])
    for (name, law), line in zip(laws(width).items(), (":", "--"), strict=True):
        ax.plot(f, law.pdf(f), "k", ls=line, lw=1, label=name)
    ax.plot(f, averaged("pdf", gamma_scales(width)), "k-", lw=1, label="gamma mixture")
    for colour, direction in zip(COLOURS, data["direction"].to_numpy(), strict=False):
        density = data["density"].sel(activation="erf", direction=direction)
        ax.plot(f[::8], density[::8], "o", ms=3, color=colour, label=f"erf network, {direction}")
    ax.set(yscale="log", ylim=(1e-6, 1), xlabel="s·f", ylabel=f"density, N = {width}")
    ax.legend(fontsize=7, frameon=False)


def draw_characteristic(ax: Axes, data: xr.Dataset) -> None:
    """Draw the characteristic functions, as functions of √(sᵀKs)."""
    t, width = data["t"].to_numpy(), int(data.attrs["shown_width"])
    ax.plot(t, np.exp(-(t**2) / 2), "k:", lw=1, label="Gaussian")
    ax.plot(t, (1 + t**2 / width) ** (-width / 2), "k-", lw=1, label="Student's t")
    for activation, marker in zip(data["activation"].to_numpy(), "so", strict=True):
        for colour, direction in zip(COLOURS, data["direction"].to_numpy(), strict=False):
            values = data["characteristic"].sel(activation=activation, direction=direction)
            ax.plot(t[::5], values[::5], marker, ms=3, mfc="none", color=colour, label=f"{activation}, {direction}")
    ax.set(yscale="log", ylim=(1e-4, 1.2), xlabel="√(sᵀKs)", ylabel=f"characteristic function, N = {width}")
    ax.legend(fontsize=7, frameon=False)


def draw_dual(ax: Axes, data: xr.Dataset) -> None:
    """Draw, at draws of the dual law, its density and the Gaussian against the network's characteristic function."""
    network, error = data["dual_log"].sel(law_of_s="network").to_numpy(), data["dual_error"].to_numpy()
    for name, marker in (("Student's t", "o"), ("Gaussian", "s")):
        ax.errorbar(network, data["dual_log"].sel(law_of_s=name), xerr=error, fmt=marker, ms=4, mfc="none", label=name)
    ax.axline((0, 0), slope=1, color="0.6", lw=0.8)
    ax.set(xlabel="log characteristic function of an erf network", ylabel="log dual law, relative to s = 0")
    ax.legend(fontsize=7, frameon=False)


def main() -> None:
    """Simulate if asked to; draw the figure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="simulate the units anew")
    path = RESULTS / "student_t.nc"
    if parser.parse_args().run:
        write_netcdf(path, run())
    data = read(path, "uv run python analysis/student_t.py --run")
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_density(left, data)
    draw_characteristic(middle, data)
    draw_dual(right, data)
    save(figure, "student_t")
    put_table(README, "student t", table(data))


if __name__ == "__main__":
    main()
