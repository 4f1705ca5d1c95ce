"""Real regression tasks with published splits: error, log density, coverage and time of models on one kernel.

    uv run python analysis/uci.py                    # all cells that are not in analysis/results/uci.csv yet
    uv run python analysis/uci.py --report           # the table and the picture from that file

The data root (--data, or the variable STPBNN_DATA) holds uci/NAME.csv, a header and the target in the last column, and
uci/splits/NAME_{train,test}_{0..4}.txt, row numbers: any data set in that form can be named. Of yacht, whose test sets
have 31 rows, the models that are to ignore outliers have all twenty splits: the others drawn as the published ones are.

All models share the infinite-width kernel of one network. They learn its precisions, the noise and ν by their own
evidence, from at most 500 rows of the training set, and are then conditioned on all of it; or they take unit
precisions, T = 0.1 and ν = 5 as given. Robust weights go on learning on all rows: the noise of new targets is known
only where T is learned with the fit. In half of the cells outliers of 3 to 10 standard deviations are added to 5 % of
the training targets. Inputs and targets are standardised on the training rows. Laws are those of clean new targets.
For orientation: scikit-learn's Gaussian process after outliers were removed, by residuals or by an isolation forest,
and gradient boosting of the absolute error, with the spread of its cross-validated residuals.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from learning import save
from matplotlib.figure import Figure
from readme import put_table
from rows import read_rows, write_rows
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.model_selection import cross_val_predict

from stpbnn import FiniteWidthRegressor, FullyConnected, NNGPKernel, NNGPRegressor, StudentTProcessRegressor

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE / "regression.md"
NAMES, SPLITS, SEARCH_ROWS = ("yacht", "concrete", "wine-quality-red"), range(5), 500
FIELDS = ("method", "data", "split", "corrupted", "learned", "rmse", "nlpd", "cover50", "cover90", "cover95", "seconds")
KEY = FIELDS[:5]
CHOSEN = "noise chosen by leave-one-out"
PLAIN, ROBUST = "GP (scikit-learn)", ("Student's t noise, 4 df", CHOSEN, "robust weights")
PUBLISHED, MORE = 5, {"yacht": 20}  # splits in files, and of the data sets of which there are more
AS_GIVEN = 5  # models, the first, are compared without learning as well
TESTS = {"yacht": 31, "concrete": 103, "wine-quality-red": 160}  # rows of a test set
UTF8 = "utf-8-sig"  # with or without a byte order mark
FARTHEST = 10.0  # −log density that the picture shows
SEARCH, LEAST_NOISE = "fmin_l_bfgs_b", 1e-6
NET = FullyConnected((100,), "erf", weight_precision=(1.0, 1.0), bias_precision=1.0)


def student(noise: str) -> StudentTProcessRegressor:
    """Return a t-process that learns ν too."""
    return StudentTProcessRegressor(
        NNGPKernel(NET), temperature=0.1, noise=noise, optimizer=SEARCH, optimize_df=True, optimize_temperature=True
    )


def outliers(noise: str, **settings: Any) -> StudentTProcessRegressor:
    """Return a process whose noise has outliers."""
    return StudentTProcessRegressor(
        NNGPKernel(NET), temperature=0.1, noise=noise, optimizer=SEARCH, optimize_temperature=True, **settings
    )


class Trimmed(GaussianProcessRegressor):
    """scikit-learn's process without targets beyond three robust deviations from its fit, three times over."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        """Fit."""
        kept = np.ones(len(y), dtype=bool)
        for _ in range(3):
            super().fit(X[kept], y[kept])
            rest = y - self.predict(X)
            kept = np.abs(rest) < 3 * 1.4826 * np.median(np.abs(rest))
        return super().fit(X[kept], y[kept])


class Isolated(GaussianProcessRegressor):
    """scikit-learn's process without the twentieth of the rows that an isolation forest finds the most isolated."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        """Fit."""
        rows = np.column_stack([X, y])
        kept = IsolationForest(contamination=0.05, random_state=0).fit_predict(rows) > 0
        return super().fit(X[kept], y[kept])


class Boosted(HistGradientBoostingRegressor):
    """Gradient boosting of the absolute error; its law has the spread of the cross-validated residuals."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Any:
        """Fit."""
        plain = HistGradientBoostingRegressor(loss=self.loss, random_state=0)
        rest = y - cross_val_predict(plain, X, y, cv=5)
        self.spread_ = np.quantile(np.abs(rest), 0.683)
        return super().fit(X, y)


def white() -> Any:
    """Return the kernel with its noise."""
    return NNGPKernel(NET) + WhiteKernel(0.1, (LEAST_NOISE, 1e3))


METHODS: dict[str, Callable[[], Any]] = {
    "GP (scikit-learn)": lambda: GaussianProcessRegressor(white(), alpha=1e-10, optimizer=SEARCH),
    "t-process, noise in the scale": lambda: student("scale"),
    "t-process, Gaussian noise": lambda: student("gaussian"),
    "infinite width": lambda: NNGPRegressor(NET, temperature=0.1, optimizer=SEARCH),
    "finite width, N = 100": lambda: FiniteWidthRegressor(NET, temperature=0.1, optimizer=SEARCH),
    "infinite width, linear trend": lambda: NNGPRegressor(NET, temperature=0.1, optimizer=SEARCH, trend="linear"),
    "Student's t noise, 4 df": lambda: outliers("student-t"),
    CHOSEN: lambda: outliers("auto"),
    "robust weights": lambda: outliers("robust"),
    "GP (scikit-learn), trimmed": lambda: Trimmed(white(), alpha=1e-10, optimizer=SEARCH),
    "GP (scikit-learn), isolation forest": lambda: Isolated(white(), alpha=1e-10, optimizer=SEARCH),
    "gradient boosting": lambda: Boosted(loss="absolute_error", random_state=0),
}


def as_given(model: Any) -> Any:
    """Return the model with nothing left to learn."""
    kept = {name: False for name in model.get_params(deep=False) if name.startswith("optimize_")}
    if "optimizer" in model.get_params(deep=False):
        kept["optimizer"] = None
    return clone(model).set_params(**kept)


def learned(model: Any, X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Any:
    """Return the model with the hyper-parameters of highest evidence on some of the rows."""
    rows = rng.permutation(len(X))[:SEARCH_ROWS]
    model.fit(X[rows], y[rows])
    names = ("kernel", "network", "temperature", "df", "noise_df", "noise")
    names = [name for name in names if hasattr(model, f"{name}_")]
    values = {name: value for name in names if (value := getattr(model, f"{name}_")) is not None}
    if "temperature" in values:  # repeated rows that were not among those make the kernel singular without noise
        values["temperature"] = max(values["temperature"], LEAST_NOISE)
    goes_on = getattr(model, "noise", None) == "robust"
    return (clone(model) if goes_on else as_given(model)).set_params(**values)


def law_of(model: Any, X: np.ndarray) -> Any:
    """Return the predictive law of new targets, with cdf and logpdf; scikit-learn's noise is part of its kernel."""
    if isinstance(model, GaussianProcessRegressor):
        return stats.norm(*model.predict(X, return_std=True))
    if isinstance(model, Boosted):
        return stats.norm(model.predict(X), model.spread_)
    student = getattr(model, "noise", None) == "student-t"
    return model.predictive(X, noise="clean" if student else True)


def rows_of(root: Path, name: str, split: int) -> list[np.ndarray]:
    """Return the rows of a training and of a test set as they were published."""
    paths = (root / "splits" / f"{name}_{part}_{split}.txt" for part in ("train", "test"))
    return [np.loadtxt(path, dtype=int, encoding=UTF8) for path in paths]


def drawn_rows(rows: int, split: int) -> list[np.ndarray]:
    """Return the same of any split: nine tenths of a permutation by NumPy's old generator of seed one."""
    random = np.random.RandomState(1)
    for _ in range(split + 1):
        order = random.permutation(rows)
    return np.split(order, [round(0.9 * rows)])


def load(root: Path, name: str, split: int, corrupted: bool) -> tuple[np.ndarray, ...]:
    """Return training and test inputs and targets, with outliers among the training targets where asked."""
    table = np.loadtxt(root / f"{name}.csv", delimiter=",", skiprows=1, encoding=UTF8)
    train, test = rows_of(root, name, split) if split < PUBLISHED else drawn_rows(len(table), split)
    X, y = table[:, :-1], table[:, -1].copy()
    if corrupted:
        rng = np.random.default_rng(split)
        rows = rng.choice(train, size=round(0.05 * len(train)), replace=False)
        y[rows] += rng.choice([-1, 1], len(rows)) * rng.uniform(3, 10, len(rows)) * y[train].std()
    return X[train], y[train], X[test], y[test]


def cell(root: Path, method: str, name: str, split: int, corrupted: bool, learn: bool) -> dict[str, Any]:
    """Fit one model to one split; return its numbers, in the units of the target, and the processor's seconds."""
    X, y, X_test, y_test = load(root, name, split, corrupted)
    spread = X.std(axis=0)
    centre, scale = y.mean(), y.std()
    X, X_test = ((inputs - X.mean(axis=0)) / np.where(spread > 0, spread, 1) for inputs in (X, X_test))
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model, targets = METHODS[method](), (y - centre) / scale
        model = learned(model, X, targets, np.random.default_rng(split)) if learn else as_given(model)
        law = law_of(model.fit(X, targets), X_test)
    standard = (y_test - centre) / scale
    u, mean = np.asarray(law.cdf(standard)), law.mean() if callable(law.mean) else law.mean
    seconds = time.process_time() - start
    return {
        "rmse": scale * np.sqrt(np.mean((standard - mean) ** 2)),
        "nlpd": np.log(scale) - np.mean(law.logpdf(standard)),
        **{f"cover{level}": np.mean(np.abs(u - 0.5) <= level / 200) for level in (50, 90, 95)},
        "seconds": seconds,
    }


def keys(names: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the cells by KEY: with what is learned, then as given the models in which ν and the width count."""
    for corrupted, name, split, method in product((False, True), names, SPLITS, METHODS):
        yield method, name, split, corrupted, True
    for name, corrupted, method in product(names, (False, True), (PLAIN, *ROBUST)):
        for split in range(len(SPLITS), MORE.get(name, 0)):
            yield method, name, split, corrupted, True
    for corrupted, name, split, method in product((False, True), names, SPLITS, list(METHODS)[:AS_GIVEN]):
        yield method, name, split, corrupted, False


def run(root: Path, names: list[str], path: Path) -> None:
    """Fill in the cells that are missing, and write the file whole after each."""
    rows = read_rows(path)
    done = {tuple(row[field] for field in KEY) for row in rows}
    for one in keys(names):
        if one in done:
            continue
        key, numbers = dict(zip(KEY, one, strict=True)), cell(root, *one)
        numbers = {field: f"{value:.5g}" for field, value in numbers.items()}
        rows.append(key | numbers)
        print(*rows[-1].values(), flush=True)
        write_rows(path, rows)


def of(rows: list[dict[str, Any]], *key: Any) -> list[dict[str, Any]]:
    """Return the rows, one a split, of (method, data, corrupted, learned)."""
    return [r for r in rows if (r["method"], r["data"], r["corrupted"], r["learned"]) == key]


def first(rows: list[dict[str, Any]], splits: int) -> list[dict[str, Any]]:
    """Return the rows of the first splits."""
    return [row for row in rows if row["split"] < splits]


def summary(rows: list[dict[str, Any]], field: str, *key: Any) -> tuple[float, float]:
    """Return mean and standard error over the splits of a number, for (method, data, corrupted, learned)."""
    values = [r[field] for r in of(rows, *key) if r[field] != ""]
    if len(values) < 2:
        return float(values[0]) if values else np.nan, np.nan
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def shown(mean: float, error: float) -> str:
    """Return a mean with its standard error, where there is one."""
    return f"{mean:.3f} ± {error:.3f}" if np.isfinite(error) else f"{mean:.3f}"


def table(rows: list[dict[str, Any]], learn: bool) -> str:
    """Return the results of the published splits as Markdown."""
    rows = first(rows, PUBLISHED)
    lines = [
        "| data | model | splits | RMSE | −log density | 50 % | 90 % | 95 % | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, corrupted in product(dict.fromkeys(row["data"] for row in rows), (False, True)):
        for method in (m for m in METHODS if of(rows, m, name, corrupted, learn)):
            splits = len(of(rows, method, name, corrupted, learn))
            numbers = {field: summary(rows, field, method, name, corrupted, learn) for field in FIELDS[5:]}
            cells = [shown(*numbers[field]) for field in ("rmse", "nlpd")]
            cells += [f"{100 * numbers[field][0]:.0f}" for field in ("cover50", "cover90", "cover95")]
            cells.append(f"{numbers['seconds'][0]:.1f}" if np.isfinite(numbers["seconds"][0]) else "")
            label = f"{name}, 5 % outliers" if corrupted else name
            lines.append(f"| {label} | {method} | {splits} | {' | '.join(cells)} |")
    return "\n".join(lines)


def paired(rows: list[dict[str, Any]], field: str, one: tuple[Any, ...], other: tuple[Any, ...]) -> np.ndarray:
    """Return a number of one and of another (method, data, corrupted, learned), side by side on the splits of both."""
    found = [{r["split"]: r[field] for r in of(rows, *key)} for key in (one, other)]
    return np.array([[values[split] for values in found] for split in sorted(found[0].keys() & found[1].keys())])


def reached(rows: list[dict[str, Any]]) -> str:
    """Return as Markdown what outliers cost the models that are to ignore them, and what these models cost without."""
    lines = [
        "| model | data | splits | error with outliers / without | clean targets in 90 %: without | with outliers "
        "| error − that of the GP, without | −log density − that of the GP, without |",
        "|" + "---|" * 8,
    ]
    all_rows, cells_of = rows, [(name, n) for name in TESTS for n in sorted({PUBLISHED, MORE.get(name, PUBLISHED)})]
    for method, (name, splits) in product(ROBUST, cells_of):
        rows = first(all_rows, splits)
        clean, off, plain = (method, name, False, True), (method, name, True, True), (PLAIN, name, False, True)
        found = min(len(of(rows, *key)) for key in (clean, off, plain))
        if found < 2 or (splits > PUBLISHED and found < splits):
            continue
        ratio = np.divide(*paired(rows, "rmse", off, clean).mean(axis=0))
        cells = [method, name, str(found), f"{ratio:.2f}"]
        both = paired(rows, "cover90", clean, off)
        for held in both.mean(axis=0):
            cells.append(f"{100 * held:.1f} ± {100 * np.sqrt(held * (1 - held) / (TESTS[name] * len(both))):.1f}")
        for field in ("rmse", "nlpd"):
            lost = np.diff(-paired(rows, field, clean, plain), axis=1)
            cells.append(f"{lost.mean():+.3f} ± {lost.std(ddof=1) / np.sqrt(len(lost)):.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(rows: list[dict[str, Any]]) -> None:
    """Draw log density and coverage by model: as given or with outliers, hyper-parameters learned or not."""
    rows = first(rows, PUBLISHED)
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure = Figure(figsize=(3.2 * len(names), 4.8))
    axes = figure.subplots(2, len(names), sharey=True, squeeze=False)
    for (column, name), learn, corrupted in product(enumerate(names), (True, False), (False, True)):
        for ax, field in zip(axes[:, column], ("nlpd", "cover90"), strict=True):
            points = [summary(rows, field, method, name, corrupted, learn) for method in METHODS]
            mean, error = np.transpose(points)
            place = np.arange(len(METHODS)) + 0.2 * learn + 0.1 * corrupted - 0.15
            legend = f"{'learned' if learn else 'not learned'}{', 5 % outliers' if corrupted else ''}"
            colour, marker = "tab:blue" if learn else "tab:orange", "s" if corrupted else "o"
            ax.errorbar(mean, place, xerr=error, fmt=marker, ms=4, color=colour, label=legend)
            for x, y in zip(mean, place, strict=True):
                if field == "nlpd" and x > FARTHEST:  # a model that is sure of what is wrong
                    ax.annotate(
                        f"{x:.2g} →",
                        (FARTHEST, y),
                        ha="right",
                        va="top" if corrupted else "bottom",
                        fontsize=7,
                        color=colour,
                    )
    for column, name in enumerate(names):
        axes[0, column].set(title=name, xlabel="−log predictive density")
        shown_at = np.concatenate([line.get_xdata() for line in axes[0, column].lines])
        axes[0, column].set_xlim(np.nanmin(shown_at) - 0.5, min(np.nanmax(shown_at) + 0.5, FARTHEST))
        axes[1, column].set(xlabel="coverage of 90 % intervals")
        axes[1, column].axvline(0.9, color="0.7", lw=1, zorder=0)
    for ax in axes[:, 0]:
        ax.set_yticks(range(len(METHODS)), METHODS, fontsize=8)
    axes[0, 0].invert_yaxis()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    save(figure, "uci")


def main() -> None:
    """Run the cells that are missing, then write the table into its page and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("STPBNN_DATA", "data")))
    parser.add_argument("--names", nargs="+", default=list(NAMES), help="data sets, by the names of their files")
    parser.add_argument("--results", type=Path, default=RESULTS / "uci.csv")
    parser.add_argument("--report", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.report:
        root = arguments.data / "uci" if (arguments.data / "uci").is_dir() else arguments.data
        if missing := [name for name in arguments.names if not (root / f"{name}.csv").is_file()]:
            parser.error(f"no {missing[0]}.csv in the folder {root}; name it with --data or STPBNN_DATA")
        run(root, arguments.names, arguments.results)
    rows = read_rows(arguments.results)
    for mark, learn in (("learned", True), ("given", False)):
        put_table(PAGE, mark, table(rows, learn))
    put_table(PAGE, "reached", reached(rows))
    picture(rows)


if __name__ == "__main__":
    main()
