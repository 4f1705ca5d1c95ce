"""The command line: run, theory, sweep, report, models, datasets."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from stpbnn import __version__

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["main"]

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
console = Console()
GRACE = 2.0  # seconds

CardArgument = Annotated[str, typer.Argument(help="A model card: a TOML file, or a name that `stpbnn models` lists.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the card: --set network.widths=[50]. Repeatable."),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 for success, 2 for bad input, 130 for an interruption.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after `stpbnn`; by default those of the process.
    """
    warnings.showwarning = _warn
    logging.basicConfig(format="stpbnn: %(message)s")
    logging.getLogger("stpbnn").setLevel(logging.INFO)
    try:
        code = app(arguments, prog_name="stpbnn", standalone_mode=False)
    except typer.TyperException as error:  # a word of the command line that is not understood
        _fail(error.format_message())
    except ValueError as error:  # what the doors of the library refuse
        _fail(str(error))
    except OSError as error:  # a file that cannot be written
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:
        _leave()
    sys.exit(code)


def _leave() -> None:
    """Say that the run was interrupted, and go: an ordinary exit would wait for JAX to finish the chains."""
    typer.echo("stpbnn: interrupted; the same command goes on from what is finished", err=True)
    sys.stdout.flush()
    os._exit(130)


@contextlib.contextmanager
def _exit_when_interrupted() -> Iterator[None]:
    """Leave soon after Ctrl-C even where Python is waiting for a compiled loop and does not see the signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    ended = threading.Event()

    def wait() -> None:
        with reader:
            while byte := reader.recv(1):  # nothing, once the writer is closed
                if byte == bytes([signal.SIGINT]) and not ended.wait(GRACE):  # KeyboardInterrupt may tidy up by itself
                    _leave()

    threading.Thread(target=wait, daemon=True).start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        writer.close()


def _fail(message: str) -> None:
    typer.echo(f"stpbnn: error: {message}", err=True)
    sys.exit(2)


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    """Show a warning in one line, without the line of code that gave it."""
    typer.echo(f"stpbnn: warning: {message}", err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stpbnn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def stpbnn(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Bayesian neural networks of finite width: sample the posterior, predict it in closed form, compare the two.

    A first run, in seconds: stpbnn run smoke-1hl-linear
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    card: CardArgument,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder.", show_default="runs/NAME")
    ] = None,
    changes: SetOption = None,
    quiet: Annotated[bool, typer.Option("--no-progress", "--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Run a card: solve the theories, sample the posterior, compare them, and write a report.

    The run folder gets card.toml, theory.nc, posterior.nc, comparison.nc, run.json and report.html. The same command
    again uses the posterior that is there.
    """
    from stpbnn.cards import load_card

    checked = load_card(card, changes or ())
    if checked.sweep:
        warnings.warn(
            f"{checked.name} has a sweep over {', '.join(checked.sweep)}: only its base point is run; "
            "`stpbnn sweep` runs them all",
            stacklevel=1,
        )
    from stpbnn.runs import run_card

    with _exit_when_interrupted():
        finished = run_card(checked, folder or Path("runs") / checked.name, progress=not quiet)
    _show_run(finished.comparison, finished.report)


@app.command()
def theory(
    card: CardArgument,
    changes: SetOption = None,
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Write the predictions to this NetCDF file.")] = None,
    quiet: Annotated[bool, typer.Option("--no-progress", "--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Solve the closed forms of a card, in seconds and without sampling: at every point of its sweep, if it has one."""
    from stpbnn.cards import load_card

    checked = load_card(card, changes or ())
    from stpbnn import curves, files, runs

    swept = any(not key.startswith("sampler.") for key in checked.sweep)
    predictions = curves.theory_curves(checked, progress=not quiet) if swept else runs.theory(checked)
    console.print(_curves_table(predictions) if swept else _theory_table(predictions))
    if file is not None:
        files.write_netcdf(file, predictions)
        typer.echo(f"Predictions: {file}")


@app.command()
def sweep(
    card: CardArgument,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder of the sweep.", show_default="runs/NAME-sweep")
    ] = None,
    changes: SetOption = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A running Dask scheduler, such as tcp://10.0.0.1:8786.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes on this machine, of one thread each.")] = 2,
    many: Annotated[bool, typer.Option("--many", help="Confirm a sweep of more than 1000 points.")] = False,
    quiet: Annotated[bool, typer.Option("--no-progress", "--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Run a card at every point of its sweep, on this machine's cores or on a cluster, and put the results together.

    The folder gets a run folder for each point in points/, sweep.nc and sweep.html. The same command again runs what is
    missing. docs/cluster.md says how to use SLURM or Kubernetes; their workers must see the folder.
    """
    from stpbnn.cards import load_card

    checked = load_card(card, changes or ())
    from stpbnn import sweeps

    folder = folder or Path("runs") / f"{checked.name}-sweep"
    with _exit_when_interrupted():
        results = sweeps.sweep(checked, folder, scheduler=scheduler, workers=workers, many=many, progress=not quiet)
    console.print(_sweep_table(results))
    typer.echo(f"Report: {folder / 'sweep.html'}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")]) -> None:
    """Make the comparison and report.html of a finished run anew, from its folder alone."""
    from stpbnn.runs import rerender

    finished = rerender(folder)
    _show_run(finished.comparison, finished.report)


@app.command()
def models() -> None:
    """List the model cards that come with stpbnn."""
    from stpbnn.cards import shipped_cards

    table = Table("name", "title", box=SIMPLE)
    table.add_column("minutes", justify="right")
    for name, card in shipped_cards().items():
        table.add_row(name, card.title, f"{card.minutes:g}")
    console.print(table)


@app.command()
def datasets() -> None:
    """List the data sets, and whether their files are found.

    Files are looked for in the folder that the variable STPBNN_DATA names, else in ~/.cache/stpbnn; a card can name
    another one as data.data_home.
    """
    from stpbnn.datasets import describe

    table = Table("name", "what it is", "found", box=SIMPLE)
    for name, summary, found in describe():
        table.add_row(name, summary, "yes" if found else "no")
    console.print(table)


def _show_run(comparison: xr.Dataset, path: Path) -> None:
    from stpbnn.comparison import comparison_table

    console.print(comparison_table(comparison))
    typer.echo(f"Report: {path}")


def _theory_table(predictions: xr.Dataset) -> Table:
    """Return one row for each theory: its generalisation error and what it has learned."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for header in ("theory", "error", "bias²", "variance", "order\nparameters", "log\nevidence", "converged"):
        table.add_column(header, no_wrap=True)
    for name in predictions["theory"].to_numpy():
        one = predictions.sel(theory=name)
        table.add_row(
            str(name),
            *(f"{error:#.3g}" for error in one["error"].to_numpy()),
            ", ".join(f"{order:#.3g}" for order in one["order_parameters"].to_numpy()),
            f"{float(one['log_marginal_likelihood']):.2f}",
            "yes" if one["converged"] else "no",
        )
    return table


def _sweep_table(results: xr.Dataset) -> Table:
    """Return one row for each point of a sweep: the error of the posterior and of every theory, and the chains."""
    from stpbnn.comparison import quote

    theories = [str(name) for name in results["theory"].to_numpy()]
    dims = [str(dim) for dim in results["point"].dims]
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption="*: the chains have not converged")
    headers = (*(dim.rpartition(".")[2] for dim in dims), "posterior (MCMC)", *theories, "R-hat", "ESS", "seconds")
    for header in headers:
        table.add_column(header.replace(" ", "\n", 1).replace("_", "\n"), no_wrap=True)
    for place in itertools.product(*(range(results.sizes[dim]) for dim in dims)):
        point = results.isel(dict(zip(dims, place, strict=True)))
        at, total = [str(point[dim].item()) for dim in dims], point.sel(part="total")
        if not point["finished"]:
            table.add_row(*at, "missing")
            continue
        mark = "" if point["converged"] else "*"
        table.add_row(
            *at,
            quote(float(total["error_posterior"]), float(total["error_mcse"])) + mark,
            *(f"{float(error):#.3g}" for error in total["error"].to_numpy()),
            f"{float(point['rhat_worst']):.3f}",
            f"{float(point['ess_smallest']):.0f}",
            f"{float(point['seconds']):.0f}",
        )
    return table


def _curves_table(curves: xr.Dataset) -> Table:
    """Return one row for each point of a sweep: the error of every theory, and what one of them has learned."""
    theories = [str(name) for name in curves["theory"].to_numpy()]
    learned = "proportional limit" if "proportional limit" in theories else theories[0]
    dims = [dim for dim in curves["converged"].dims if dim != "theory"]
    swept = [dim for dim in dims if curves.sizes[dim] > 1]
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption=f"Q and log evidence: {learned}; *: not converged")
    for header in (*(str(dim).rpartition(".")[2] for dim in swept), *theories, "Q", "log evidence"):
        table.add_column(header.replace(" ", "\n").replace("_", "\n"), no_wrap=True)
    for place in itertools.product(*(range(curves.sizes[dim]) for dim in dims)):
        point = curves.isel(dict(zip(dims, place, strict=True)))
        errors = (point.sel(theory=name, part="total") for name in theories)
        chosen = point.sel(theory=learned)
        table.add_row(
            *(str(point[dim].item()) for dim in swept),
            *(f"{float(one['error']):#.3g}{'' if one['converged'] else '*'}" for one in errors),
            ", ".join(f"{Q:#.3g}" for Q in chosen["order_parameters"].dropna("layer").to_numpy()),
            f"{float(chosen['log_marginal_likelihood']):.2f}",
        )
    return table
