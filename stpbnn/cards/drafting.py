"""A first card for a table of one's own: settings that suit it, each with a comment that says why."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stpbnn import _validation as check
from stpbnn._labels import listed_classes
from stpbnn.cards.likely_settings import likely_precision, likely_temperature
from stpbnn.cards.loading import load_card
from stpbnn.cards.schema import Card, toml_value
from stpbnn.files import destination, write_text

if TYPE_CHECKING:
    import pandas as pd

    from stpbnn.datasets import Task

__all__ = ["draft", "expected_minutes"]

logger = logging.getLogger(__name__)

WIDTHS = (20, 50, 100, 200)
STARTUP, PACE = 0.5, 1e-9  # minutes, and minutes for each chain, step, example and weight
WARMUP, DRAWS, CHAINS = 200, 300, 4
SHOWN = 5  # columns or classes that a comment names
TEST = 0.2
PARTICLES = 1024
SEEDS = 20  # of splits that are tried, until every class of the test set is in the training set
FEW = 10  # whole numbers, which may name classes
OF_MISSING = {
    "mean": 'fills missing values ({}); "drop" leaves their rows out',
    "drop": 'leaves out the rows of missing values ({}); "mean" fills those of inputs',
}


class Drafted(NamedTuple):
    """A card that was written, and its file."""

    path: Path
    card: Card


def draft(
    file: str | os.PathLike[str],
    target: str | Sequence[str],
    *,
    classes: bool = False,
    drop: Sequence[str] = (),
    missing: str | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Drafted:
    """Write a commented card for a table: a network of one hidden layer, whose N suits the rows, and T the targets.

    Parameters
    ----------
    file : path
        A table that `stpbnn.datasets.read_table` reads.
    target : str or sequence of str
        The column to predict, or several of them; text names classes.
    classes : bool
        Whether whole numbers name classes as well.
    drop : sequence of str
        Columns that are left out.
    missing : {"refuse", "drop", "mean"} or None
        What is done with missing values; None means that inputs have them filled with means, and targets refused.
    out : path, optional
        The card, a file that is not there yet. By default one with the name of the table, in this folder.

    Raises
    ------
    ValueError
        If the table cannot be learned from, or the card is there already.
    """
    from stpbnn.datasets import load_table, read_table

    file, classes = Path(file), check.boolean("classes", classes)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.name.split(".")[0]).lstrip("._-")[:80] or "table"
    path = destination("out", Path(f"{name}.toml") if out is None else out)
    if path.exists():
        raise ValueError(f"{path}: is there already; run it with `stpbnn run {path}`, or choose another name with -o")
    table = read_table(file)
    targets = [target] if isinstance(target, str) else list(target)
    aside = (*drop, *(() if missing == "drop" else targets))
    inputs = table.drop(columns=[each for each in aside if each in table.columns])
    holes = {str(column): int(count) for column, count in inputs.isna().sum().items() if count}
    missing = missing or ("mean" if holes else "refuse")
    one_or_more = targets[0] if len(targets) == 1 else targets
    options: dict[str, Any] = {"drop": drop, "test": TEST, "missing": missing}
    options["classes"] = classes = classes or _is_text(table, targets)
    try:
        seed, task = _shared_out(lambda seed: load_table(file, one_or_more, seed=seed, **options))
    except ValueError as error:
        also = "; here: --drop COLUMN" if "drop = [" in str(error) else ""
        also = "; here: --missing drop" if 'missing = "drop"' in str(error) else also
        raise ValueError(f"{str(error).removeprefix('file: ')}{also}") from None
    if not classes and len(targets) == 1:
        _hint_at_classes(table, targets[0])
    write_text(path, _text(path, file, name, task, targets, drop, missing, holes, seed, classes))
    try:
        return Drafted(path, load_card(path))
    except ValueError:
        path.unlink()
        raise


def expected_minutes(examples: int, inputs: int, width: int) -> float:
    """Return the minutes that a drafted card takes on two cores, to one digit."""
    steps = CHAINS * (WARMUP + DRAWS)
    return float(f"{STARTUP + PACE * steps * examples * (min(examples, inputs) + 1) * width:.1g}")


def _is_text(table: pd.DataFrame, targets: Sequence[str]) -> bool:
    """Return whether the one target is text; what is wrong with a column is said when it is loaded."""
    from stpbnn.datasets import column_kind

    try:
        once = len(targets) == 1 and list(table.columns).count(targets[0]) == 1
        return once and column_kind(targets[0], table[targets[0]]) == "category"
    except ValueError:
        return False


def _shared_out(load: Callable[[int], Task]) -> tuple[int, Task]:
    """Return the first split whose training rows have every class of the test rows, and its seed."""
    for seed in range(SEEDS):
        task = load(seed)
        if task.y.dtype.kind == "f" or not (lacking := set(task.yt.tolist()) - set(task.y.tolist())):
            return seed, task
    rare = listed_classes(sorted(lacking))
    raise ValueError(
        f"target: got so few rows of {rare} that the training set lacks them; remove these rows, or join classes"
    )


def _hint_at_classes(table: pd.DataFrame, target: str) -> None:
    """Log a note for a target of only a few whole numbers."""
    values = np.unique(table[target].dropna().to_numpy(dtype=float))
    if len(values) <= FEW and (values % 1 == 0).all():
        logger.info("%s has %d different whole numbers; if they name classes, give --classes", target, len(values))


def _text(
    path: Path, file: Path, name: str, task: Task, targets: list[str], drop: Sequence[str], missing: str,
    holes: dict[str, int], seed: int, classes: bool,
) -> str:  # fmt: skip
    """Return the card as commented TOML."""
    (P, inputs), outputs = task.X.shape, len(targets)
    width = min(WIDTHS, key=lambda N: abs(np.log(4 * N / P)))
    minutes = expected_minutes(P, inputs, width)
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
        f"seed = {seed}  # of the split",
    ]
    if missing != "refuse":
        shown = ", ".join(f"{count} in {column}" for column, count in list(holes.items())[:SHOWN]) or "none here"
        lines.append(f"missing = {toml_value(missing)}  # {OF_MISSING[missing].format(shown)}")
    lines += [
        'standardize = "features"  # mean 0 and variance 1 for every column of numbers, by the training rows',
        *([] if classes else ["normalize_target = true  # predictions come in the units of the file again"]),
        "",
        "[network]",
        f"widths = [{width}]  # N: P/N = {P / width:.2g} with P = {P} training rows; [{width}, {width}] is deeper",
        'activation = "erf"  # or "relu", "tanh", "gelu", ...; or your own, "module:function"',
    ]
    lines += [*(_of_classes(task) if classes else _of_numbers(task, outputs)), ""]
    lines += [
        "[sampler]",
        f"warmup = {WARMUP}",
        f"draws = {DRAWS}  # of each chain; more of them join an earlier run",
        f"chains = {CHAINS}",
        "seed = 0",
        "keep_draws = 200  # whose weights are kept for `stpbnn predict`; 0 for none",
    ]
    if not classes:
        told = "of the adaptive kernel; 4096 take four times as long, for half its standard error"
        lines += ["", "[theories]", f"particles = {PARTICLES}  # {told}"]
    return "\n".join(lines) + "\n"


def _of_numbers(task: Task, outputs: int) -> list[str]:
    """Return the end of the table of the network, and that of the posterior, for numbers as targets."""
    T = likely_temperature(task.X, task.y)
    return [
        *([f"outputs = {outputs}"] if outputs > 1 else []),
        "weight_precision = 1.0",
        "bias_precision = 1.0  # leave it out for no biases",
        "",
        "[posterior]",
        f"temperature = {T:g}  # the variance of the noise, of targets of variance 1: the likeliest at infinite width",
    ]


def _of_classes(task: Task) -> list[str]:
    """Return the lines of [network] and [posterior] for classes."""
    names = np.unique(task.y).tolist()
    told = f"{', '.join(map(toml_value, names[:SHOWN]))}{', ...' if len(names) > SHOWN else ''}"
    if len(names) == 2:
        likelihood = [f'likelihood = "bernoulli"  # two classes, {told}: the logistic function of one output']
    else:
        likelihood = [f'likelihood = "categorical"  # {len(names)} classes, {told}', f"outputs = {len(names)}"]
    precision = likely_precision(task.X, task.y)
    return [
        *likelihood,
        f"weight_precision = [1.0, {precision:g}]  # the last, of the readout, is the likeliest at infinite width",
        "bias_precision = 1.0  # leave it out for no biases",
        "",
        "[posterior]",
        "temperature = 1.0  # Bayes; less than one is a cold posterior",
    ]
