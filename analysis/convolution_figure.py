"""Table and figure of convolutional networks beside their posteriors, from the rows that convolutions.py keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from learning import NOISE, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

NAMES = {
    "local": "local renormalisation",
    "one_scale": "one scale",
    "finite_width": "finite width",
    "infinite_width": "infinite width",
}
COLOURS = dict(zip(NAMES, ("C0", "C2", "C1", "0.45"), strict=True))
RHAT = 1.01  # the largest one of chains that have converged
PANELS = {"28 28 1": "28 × 28, grey", "32 32 3": "32 × 32, colour"}

Row = dict[str, Any]


def matrix(cell: Any) -> np.ndarray:
    """Return the symmetric matrix whose lower triangle stands in a cell."""
    entries = np.array([float(part) for part in str(cell).split()])
    d = int(np.sqrt(2 * len(entries)))
    Q = np.zeros((d, d))
    Q[np.tril_indices(d)] = entries
    return Q + np.tril(Q, -1).T


def total(row: Row) -> float:
    """Return the generalisation error of the posterior."""
    return float(row["bias"] + row["variance"])


def precise(row: Row) -> bool:
    """Return whether the chains of a row have converged and its error is known to 2 %."""
    return bool(row["rhat"] < RHAT and row["error"] < NOISE * total(row))


def off(row: Row, theory: str) -> float:
    """Return how much larger a theory's error is than the posterior's, in per cent, or nan where it is unknown."""
    return float("nan") if row[theory] == "" else 100 * (row[theory] / total(row) - 1)


def missed(row: Row) -> list[float]:
    """Return how much of Q − 1 of the posterior local renormalisation misses, and what one scale does, in per cent."""
    found, eye = matrix(row["sampled_Q"]), np.eye(len(matrix(row["sampled_Q"])))
    known = [matrix(row["Q"]), *([] if row["one_scale_Q"] == "" else [row["one_scale_Q"] * eye])]
    return [100 * float(np.linalg.norm(Q - found) / np.linalg.norm(found - eye)) for Q in known]


def table(found: list[Row]) -> str:
    """Return the table of all rows; what is off, in per cent of the posterior's error."""
    head = ["data", "image", "windows", "N", "P", "T", "MCMC", *(f"{name}, %" for name in NAMES.values())]
    head += ["Q of MCMC", "Q̄", "Q − 1 missed, %: local, one scale", "R-hat"]
    lines = [head, ["---"] * len(head)]
    for row in found:
        of_images = [row["data"], "×".join(str(row["image"]).split()), told(row), sides(row["N"], ", ")]
        noise = 100 * row["error"] / total(row)
        mcmc = f"{row['bias']:.4g} + {row['variance']:.4g} ± {noise:.1f} %{'' if precise(row) else ' (hollow)'}"
        differences = ["" if row[name] == "" else f"{off(row, name):+.1f}" for name in NAMES]
        differences[2] += " (not converged)" if row["finite_width_converged"] is False else ""
        known = row["Q"] != "" and row["sampled_Q"] != ""
        both = ", ".join(f"{value:.0f}" for value in missed(row)) if known and len(matrix(row["Q"])) > 1 else ""
        spectra = [spectrum(row["sampled_Q"]), spectrum(row["Q"])]
        parts = [*of_images, str(row["P"]), f"{row['T']:g}", mcmc, *differences, *spectra, both, f"{row['rhat']:.3f}"]
        lines.append(parts)
    return "\n".join(f"| {' | '.join(parts)} |" for parts in lines)


def told(row: Row) -> str:
    """Return the windows of a network in words."""
    return "whole" if row["windows"] == "whole" else sides(row["windows"], ", then ")


def sides(cell: Any, between: str) -> str:
    """Return the numbers of a cell with a word between them."""
    return between.join(str(cell).split())


def spectrum(cell: Any) -> str:
    """Return the lowest and the highest eigenvalue of a matrix, or its one entry."""
    if cell == "":
        return ""
    values = np.linalg.eigvalsh(matrix(cell))
    return f"{values[0]:.2f}" if len(values) == 1 else f"{values[0]:.2f} to {values[-1]:.2f}"


def draw(found: list[Row]) -> None:
    """Draw the law in 1/N, the errors beside the theories for each kind of images, and sampled order parameters."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(2, 3)
    draw_law(axes[0, 0], [row for row in found if row["data"] == "digits" and str(row["windows"]) == "4"])
    kinds = [
        ("mnist", "28 28 1", "MNIST 0 and 1"),
        ("cifar10", "28 28 1", "CIFAR-10"),
        ("cifar10", "32 32 3", "CIFAR-10"),
    ]
    for ax, (data, image, title) in zip((axes[0, 1], axes[0, 2], axes[1, 0]), kinds, strict=True):
        draw_errors(ax, [row for row in found if (row["data"], row["image"]) == (data, image)])
        ax.set_title(f"{title}, {PANELS[image]}", fontsize=10)
    for ax, data in zip(axes[1, 1:], ("mnist", "cifar10"), strict=True):
        draw_orders(ax, next((row for row in found if row["data"] == data and str(row["windows"]) == "7"), None))
    handles = [Line2D([], [], color="k", marker="o", ls="", label="MCMC")]
    handles += [
        Line2D([], [], color=COLOURS[name], marker="_", ms=12, mew=2, ls="", label=NAMES[name]) for name in NAMES
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
    save(figure, "convolutions")


def draw_law(ax: Axes, digits: list[Row]) -> None:
    """Draw N times the difference from the posterior against N."""
    digits = sorted(digits, key=lambda row: row["N"])
    N, errors = (np.array([row[name] for row in digits]) for name in ("N", "error"))
    for name, colour in COLOURS.items():
        values = np.array([row[name] - total(row) for row in digits])
        ax.errorbar(N, N * values, N * errors, color=colour, marker="o", ms=4, capsize=2)
    ax.axhline(0, color="0.8", lw=0.8)
    ax.set(xscale="log", xlabel="channels N", ylabel="N · (theory − posterior)")
    ax.set_title("digits, windows of 4 × 4, P = 40", fontsize=10)
    ax.set_xticks(N, labels=map(str, N))
    ax.minorticks_off()


def draw_errors(ax: Axes, rows: list[Row]) -> None:
    """Draw the error of every posterior and what the theories say of it."""
    for i, row in enumerate(rows):
        for name, colour in COLOURS.items():
            if row[name] != "":
                ax.plot(i, row[name], marker="_", ms=22, mew=2, color=colour, zorder=2)
        face = "k" if precise(row) else "white"
        ax.errorbar(i, total(row), row["error"], fmt="o", ms=5, color="k", mfc=face, capsize=3, zorder=3)
    for i in range(1, len(rows)):
        if depth(rows[i]) != depth(rows[i - 1]):
            ax.axvline(i - 0.5, color="0.8", lw=0.8)
    labels = [f"{told(row).replace(', then ', ', ')}\nN = {sides(row['N'], '\nand ')}" for row in rows]
    ax.set_xticks(range(len(rows)), labels=labels, fontsize=7)
    ax.set(xlim=(-0.6, len(rows) - 0.4), ylabel="generalisation error", xlabel="windows, channels")


def depth(row: Row) -> int:
    """Return the number of hidden layers."""
    return len(str(row["N"]).split())


def draw_orders(ax: Axes, row: Row | None) -> None:
    """Draw the predicted order parameters against those of the posterior."""
    if row is None or row["sampled_Q"] == "":
        return
    found, local = matrix(row["sampled_Q"]), matrix(row["Q"])
    at = np.tril_indices(len(found), -1)
    pairs, own = {"color": COLOURS["local"], "fillstyle": "none"}, {"color": COLOURS["local"]}
    ax.plot(found[at], local[at], "o", ms=4, label="two positions", **pairs)
    ax.plot(np.diag(found), np.diag(local), "s", ms=5, label="one position", **own)
    flat = np.full(len(found), row["one_scale_Q"])
    ax.plot(found[at], np.zeros(len(at[0])), ".", ms=3, color=COLOURS["one_scale"])
    ax.plot(np.diag(found), flat, "s", ms=3, color=COLOURS["one_scale"])
    ax.axline((0, 0), slope=1, color="0.6", lw=0.8)
    ax.set(xlabel="Q of the posterior", ylabel="Q̄ of the theory")
    ax.set_title(f"{'MNIST' if row['data'] == 'mnist' else 'CIFAR-10'}, windows of 7 × 7, N = {row['N']}", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
