"""A first card for a table of one's own: settings that suit it, each with a comment that says why."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import linalg

from stpbnn.cards.loading import load_card
from stpbnn.cards.schema import Card, toml_value
from stpbnn.files import destination, write_text

if TYPE_CHECKING:
    from stpbnn.datasets import Task

__all__ = ["draft", "expected_minutes", "likely_temperature"]

WIDTHS = (20, 50, 100, 200)
TEMPERATURES = np.geomspace(1e-3, 1, 31)
ROWS = 500  # that the temperature is learned from
STARTUP, PACE = 0.5, 1e-9  # minutes, and minutes for each chain, step, example and weight
WARMUP, DRAWS, CHAINS = 200, 300, 4
TEST = 0.2
PARTICLES = 1024


class Drafted(NamedTuple):
    """A card that was written, and its file."""

    path: Path
    card: Card


def draft(
    file: str | os.PathLike[str],
    target: str | Sequence[str],
    *,
    drop: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
) -> Drafted:
    """Write a commented card for a table: a network of one hidden layer, whose N and T suit the number of rows.

    Parameters
    ----------
    file : path
        A table that `stpbnn.datasets.read_table` reads.
    target : str or sequence of str
        The column to predict, or several of them.
    drop : sequence of str
        Columns that are left out.
    out : path, optional
        The card, a file that is not there yet. By default one with the name of the table, in this folder.

    Raises
    ------
    ValueError
        If the table cannot be learned from, or the card is there already.
    """
    from stpbnn.datasets import load_table, read_table

    file = Path(file)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.name.split(".")[0]).lstrip("._-")[:80] or "table"
    path = destination("out", Path(f"{name}.toml") if out is None else out)
    if path.exists():
        raise ValueError(f"{path}: is there already; run it with `stpbnn run {path}`, or choose another name with -o")
    table = read_table(file)
    targets = [target] if isinstance(target, str) else list(target)
    inputs = table.drop(columns=[each for each in (*targets, *drop) if each in table.columns])
    holes = {str(column): int(count) for column, count in inputs.isna().sum().items() if count}
    one_or_more = targets[0] if len(targets) == 1 else targets
    try:
        task = load_table(file, one_or_more, drop=drop, test=TEST, seed=0, missing="mean" if holes else "refuse")
    except ValueError as error:
        also = "; here: --drop COLUMN" if "drop = [" in str(error) else ""
        raise ValueError(f"{str(error).removeprefix('file: ')}{also}") from None
    write_text(path, _text(path, file, name, task, targets, drop, holes))
    try:
        return Drafted(path, load_card(path))
    except ValueError:
        path.unlink()
        raise


def likely_temperature(X: np.ndarray, y: np.ndarray) -> float:
    r"""Return the temperature at which infinite width explains the targets best, of a few between 0.001 and 1.

    .. math:: -2 \log p(y) = y^T (K + T)^{-1} y + \log\det(K + T) + P \log 2\pi

    Parameters
    ----------
    X : array of shape (P, N_0)
        Inputs; the first 500 rows are looked at.
    y : array of shape (P,) or (P, D)
        Targets.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> 0.03 <= likely_temperature(X, X[:, 0] + rng.normal(scale=0.3, size=200)) <= 0.3
    True
    """
    from stpbnn.kernels import NNGPKernel
    from stpbnn.network import FullyConnected

    X, y = X[:ROWS], y[:ROWS].reshape(len(y[:ROWS]), -1)
    K = NNGPKernel(FullyConnected((1,), "erf", bias_precision=1.0))(X)
    spectrum, modes = linalg.eigh(K)
    weights = np.sum((modes.T @ y) ** 2, axis=1)
    shifted = np.maximum(spectrum, 0)[:, None] + TEMPERATURES
    score = np.sum(weights[:, None] / shifted + y.shape[1] * np.log(shifted), axis=0)
    return float(f"{TEMPERATURES[score.argmin()]:.1g}")


def expected_minutes(examples: int, inputs: int, width: int) -> float:
    """Return the minutes that a drafted card takes on two cores, to one digit."""
    steps = CHAINS * (WARMUP + DRAWS)
    return float(f"{STARTUP + PACE * steps * examples * (min(examples, inputs) + 1) * width:.1g}")


def _text(
    path: Path, file: Path, name: str, task: Task, targets: list[str], drop: Sequence[str], holes: dict[str, int]
) -> str:
    """Return the card as commented TOML."""
    (P, inputs), outputs = task.X.shape, len(targets)
    width = min(WIDTHS, key=lambda N: abs(np.log(4 * N / P)))
    T, minutes = likely_temperature(task.X, task.y), expected_minutes(P, inputs, width)
    relative = Path(os.path.relpath(file.expanduser(), path.parent)).as_posix()
    told = ", ".join(targets)
    lines = [
        f"# {told} from {file.name}: a Bayesian network, its theories, and their comparison.",
        f"# Next: stpbnn run {path}",
        f"name = {toml_value(name)}",
        f"title = {toml_value(f'{told} from {file.name}, one hidden layer of {width} units'[:1000])}",
        f"minutes = {minutes:g}  # expected on two cores",
        "",
        "[data]",
        f"file = {toml_value(relative)}  # from the folder of this card",
        f"target = {toml_value(targets[0] if outputs == 1 else targets)}",
    ]
    if drop:
        lines.append(f"drop = {toml_value(list(drop))}  # columns that are left out")
    lines += [
        f"test = {TEST}  # a fraction of the rows, or their number; these {len(task.Xt)} are held out",
        "seed = 0  # of the split",
    ]
    if holes:
        shown = ", ".join(f"{count} in {column}" for column, count in list(holes.items())[:5])
        lines.append(f'missing = "mean"  # fills missing values ({shown}); "drop" leaves their rows out')
    lines += [
        'standardize = "features"  # mean 0 and variance 1 for every column of numbers, by the training rows',
        "normalize_target = true  # predictions come in the units of the file again",
        "",
        "[network]",
        f"widths = [{width}]  # N: P/N = {P / width:.2g} with P = {P} training rows; [{width}, {width}] is deeper",
        'activation = "erf"  # or "relu", "tanh", "gelu", ...; or your own, "module:function"',
    ]
    if outputs > 1:
        lines.append(f"outputs = {outputs}")
    lines += [
        "weight_precision = 1.0",
        "bias_precision = 1.0  # leave it out for no biases",
        "",
        "[posterior]",
        f"temperature = {T:g}  # the variance of the noise, of targets of variance 1: the likeliest at infinite width",
        "",
        "[sampler]",
        f"warmup = {WARMUP}",
        f"draws = {DRAWS}  # of each chain; more of them join an earlier run",
        f"chains = {CHAINS}",
        "seed = 0",
        "keep_draws = 200  # whose weights are kept for `stpbnn predict`; 0 for none",
        "",
        "[theories]",
        f"particles = {PARTICLES}  # of the adaptive kernel; 4096 take four times as long, for half its standard error",
    ]
    return "\n".join(lines) + "\n"
