"""The command line: new, run, predict, theory, sweep, report, models, datasets, doctor."""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from stpbnn import _interrupt
from stpbnn._version import __version__
from stpbnn.terminal.options import (
    AllowCodeOption,
    CardArgument,
    DropOption,
    JsonOption,
    QuietOption,
    SetOption,
    StrictOption,
    TargetOption,
    VerboseOption,
    WhereOption,
    chosen_values,
)

if TYPE_CHECKING:
    from stpbnn.runs import Run

__all__ = ["main"]

app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
console = Console()
logger = logging.getLogger("stpbnn")
GRACE = 2.0  # seconds
COMPUTE, LOOK = "Compute", "Look around"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    0 is success; 1 a comparison that fails where --strict asks for agreement; 2 bad input; 130 an interruption.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after `stpbnn`; by default those of the process.
    """
    _degrade()
    warnings.showwarning = _warn
    logging.basicConfig(format="stpbnn: %(message)s")
    logger.setLevel(logging.INFO)
    try:
        code = app(arguments, prog_name="stpbnn", standalone_mode=False)
    except typer.TyperException as error:  # a word of the command line that is not understood
        _fail(error.format_message())
    except ValueError as error:  # what the doors of the library refuse
        _fail(str(error))
    except OSError as error:  # a file that cannot be written
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (RuntimeError, AssertionError):
        from stpbnn._devices import first_device

        try:
            first_device()
        except RuntimeError as missing:
            _fail(str(missing))
        raise
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:
        _interrupt.leave()
    sys.exit(code)


def _degrade() -> None:
    """Show a question mark for what the terminal, or the encoding of a redirection, does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def _exit_when_interrupted(noted: bool = True) -> Iterator[None]:
    """Leave soon after Ctrl-C, even where Python waits for a compiled loop and does not see it; at once after a second.

    Where it is noted, Ctrl-C raises nothing: what is inside looks for it where it can stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def wait() -> None:
        with reader:
            while byte := reader.recv(1):  # nothing, once the writer is closed
                if byte == bytes([signal.SIGINT]):
                    break
            else:
                return
            reader.settimeout(GRACE)  # in which it may tidy up by itself
            with contextlib.suppress(TimeoutError):
                while byte := reader.recv(1):
                    if byte == bytes([signal.SIGINT]):
                        break
                else:
                    return
            _interrupt.leave()

    threading.Thread(target=wait, daemon=True).start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        with _interrupt.Noted() if noted else _raised():
            yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()


@contextlib.contextmanager
def _raised() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt, unless it is ignored."""
    before = signal.getsignal(signal.SIGINT)
    if callable(before):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _fail(message: str) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    typer.echo(f"stpbnn: error: {message}", err=True)
    sys.exit(2)


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    """Show a warning in one line, without the line of code that gave it."""
    typer.echo(f"stpbnn: warning: {message}", err=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stpbnn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog="`stpbnn COMMAND --help` has an example of each command.")
def stpbnn(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Bayesian neural networks of finite width: sample the posterior, predict it in closed form, compare the two.

    A model card names a network, a data set and a temperature.
    Running it leaves predictions, draws, and a report that says whether the two agree.

    A first run, in seconds: stpbnn run smoke-1hl-linear

    Your own table: stpbnn new house.csv --target price
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn new house.csv --target price")
def new(
    file: Annotated[Path, typer.Argument(help="A table: CSV, TSV, .gz, Parquet, .npz, .npy.", show_default=False)],
    target: TargetOption = None,
    drop: DropOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The card to write.", show_default="NAME.toml, in this folder")
    ] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a card for a table of your own, with settings that suit it and comments that say why."""
    _draft(file, target, drop, out, err=False)


@app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn run digits-1hl-erf --set network.widths=[50] -o half")
def run(
    card: CardArgument,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder.", show_default="runs/NAME")
    ] = None,
    changes: SetOption = None,
    target: TargetOption = None,
    drop: DropOption = None,
    allow_code: AllowCodeOption = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a card: solve the theories, sample the posterior, compare them, and write a report.

    The run folder gets card.toml, theory.nc, posterior.nc, comparison.nc, run.json and report.html.
    The same command again goes on from what is there.

    A table in the place of a card, with --target COLUMN, gets a card first, as `stpbnn new` writes it.
    """
    from stpbnn.cards import attributed, is_table, load_card

    if is_table(card):
        card = str(_drafted(Path(card), target, drop))
    elif target or drop:
        raise ValueError(f"{'target' if target else 'drop'}: is for a table, and {card} is a card; see its [data]")
    checked = load_card(card, changes or (), allow_code=allow_code)
    if checked.sweep:
        warnings.warn(
            f"{checked.name} has a sweep over {', '.join(checked.sweep)}: only its base point is run; "
            "`stpbnn sweep` runs them all",
            stacklevel=1,
        )
    from stpbnn.runs import run_card

    with _exit_when_interrupted(), attributed(card, changes or ()):
        finished = run_card(checked, folder or Path("runs") / checked.name, progress=not quiet)
    _show_run(finished, as_json, strict)
    if checked.data.is_table and not as_json:
        typer.echo(f"Next: stpbnn predict {finished.folder} NEW.csv -o predictions.csv, for a file with new inputs")


@app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn predict runs/house new.csv -o predictions.csv")
def predict(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="A table with the columns of the inputs.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The CSV file to write.")] = Path("predictions.csv"),
    noise: Annotated[
        bool, typer.Option("--noise", help="Intervals of new targets, with their noise, not of the function.")
    ] = False,
    theories: Annotated[
        list[str] | None, typer.Option("--theory", metavar="NAME", help="Only this theory, or none. Repeatable.")
    ] = None,
    allow_code: AllowCodeOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Predict at new inputs with a finished run: mean, std and intervals of the posterior and of every theory.

    The units are those of the data. `row` is the line of the file, the header being 1.
    """
    from stpbnn import files, forecasts, runs
    from stpbnn.terminal import records

    files.destination("out", out)
    if out.exists() and file.exists() and out.samefile(file):
        raise ValueError(f"out: got {out}, the file with the inputs; give another name")
    finished = runs.load_run(folder, allow_code=allow_code)
    chosen = None if theories is None else [name for name in theories if name != "none"]
    with _exit_when_interrupted():
        predictions = forecasts.predict_file(finished, file, noise=noise, theories=chosen)
    table = forecasts.table(predictions)
    if as_json:
        typer.echo(records.as_json(table.reset_index().to_dict("records")))
        return
    files.write_text(out, table.to_csv())
    of = "new targets" if noise else "the function; --noise adds that of new targets"
    names = ", ".join(predictions["theory"].to_numpy().tolist())
    typer.echo(f"Predictions: {out} ({len(table)} rows by {names}; std and intervals are of {of})")


@app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn theory digits-1hl-erf --set network.widths=[10]")
def theory(
    card: CardArgument,
    changes: SetOption = None,
    file: Annotated[Path | None, typer.Option("--out", "-o", help="Write the predictions to this NetCDF file.")] = None,
    allow_code: AllowCodeOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Solve the theories of a card, without sampling: at every point of its sweep, if it has one."""
    from stpbnn.cards import attributed, load_card

    checked = load_card(card, changes or (), allow_code=allow_code)
    from stpbnn import files

    if file is not None:
        files.destination("out", file)
    from stpbnn import curves, theories
    from stpbnn.terminal import records, tables

    swept = any(not key.startswith("sampler.") for key in checked.sweep)
    with attributed(card, changes or ()), _exit_when_interrupted():
        predictions = curves.theory_curves(checked, progress=not quiet) if swept else theories.theory(checked)
    if file is not None:
        files.write_netcdf(file, predictions)
    if as_json:
        key, found = ("points", records.curve_records) if swept else ("theories", records.theory_records)
        typer.echo(records.as_json({"card": checked.name, key: found(predictions)}))
        return
    console.print(tables.curves_table(predictions) if swept else tables.theory_table(predictions))
    if file is not None:
        typer.echo(f"Predictions: {file}")


@app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn sweep figure1-mnist --workers 2")
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
    where: WhereOption = None,
    allow_code: AllowCodeOption = False,
    many: Annotated[bool, typer.Option("--many", help="Confirm a sweep of more than 1000 points.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a card at every point of its sweep, on this machine's cores or on a cluster, and put the results together.

    The folder gets a run folder for each point in points/, sweep.nc and sweep.html. The cheapest points come first; the
    same command again runs what is missing. docs/cluster.md says how to use SLURM or Kubernetes; their workers must see
    the folder.
    """
    from stpbnn.cards import load_card

    checked = load_card(card, changes or (), allow_code=allow_code)
    from stpbnn import sweeps
    from stpbnn.terminal import records, tables

    folder = folder or Path("runs") / f"{checked.name}-sweep"
    with _exit_when_interrupted(noted=False):  # the cluster is closed on the way out
        results = sweeps.sweep(
            checked,
            folder,
            scheduler=scheduler,
            workers=workers,
            where=chosen_values(where or ()),
            many=many,
            progress=not quiet,
        )
    if as_json:
        typer.echo(records.as_json({"card": checked.name, "points": records.sweep_records(results)}))
        return
    console.print(tables.sweep_table(results))
    typer.echo(f"Report: {folder / 'sweep.html'}")


@app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn report runs/digits-1hl-erf")
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    strict: StrictOption = False,
    allow_code: AllowCodeOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make the comparison and report.html of a finished run anew, from its folder alone."""
    from stpbnn.runs import rerender

    _show_run(rerender(folder, allow_code=allow_code), as_json, strict)


@app.command(rich_help_panel=LOOK, epilog="Example: stpbnn models")
def models(as_json: JsonOption = False) -> None:
    """List the model cards that come with stpbnn, each with its title and the minutes that it takes on two cores."""
    from stpbnn.cards import shipped_cards
    from stpbnn.terminal import records, tables

    cards = shipped_cards()
    if as_json:
        typer.echo(records.as_json([card.model_dump(mode="json") for card in cards.values()]))
    else:
        console.print(tables.cards_table(cards))


@app.command(rich_help_panel=LOOK, epilog="Example: STPBNN_DATA=~/data stpbnn datasets")
def datasets(as_json: JsonOption = False) -> None:
    """List the data sets, and whether their files are found.

    Files are looked for in the folder that the variable STPBNN_DATA names, else in ~/.cache/stpbnn.
    A card can name another one as data.data_home.
    """
    from stpbnn.datasets import describe
    from stpbnn.terminal import records, tables

    described = describe()
    if as_json:
        typer.echo(records.as_json([one._asdict() for one in described]))
    else:
        console.print(tables.datasets_table(described))


@app.command(rich_help_panel=LOOK, epilog="Example: stpbnn doctor --json > machine.json")
def doctor(as_json: JsonOption = False) -> None:
    """Say what is on this machine: versions, devices, precision, BLAS, data, and what is missing and how to get it."""
    from stpbnn.terminal import doctor, records, tables

    findings = doctor.examine()
    if as_json:
        typer.echo(records.as_json(findings))
    else:
        console.print(tables.doctor_table(findings))


def _draft(file: Path, target: Sequence[str] | None, drop: Sequence[str] | None, out: Path | None, err: bool) -> Path:
    """Write a card for a table, say where it is and what comes next."""
    from stpbnn.cards import is_table

    if not target:
        raise ValueError(_no_target(file))
    if not is_table(file) and file.suffix == ".toml":
        raise ValueError(f"{file}: is a card already; run it with `stpbnn run {file}`")
    from stpbnn.cards.drafting import draft

    written = draft(file, target[0] if len(target) == 1 else target, drop=drop or (), out=out)
    typer.echo(f"Card: {written.path} (about {written.card.minutes:g} minutes on two cores)", err=err)
    typer.echo(f"Next: stpbnn run {written.path}", err=err)
    return written.path


def _drafted(file: Path, target: Sequence[str] | None, drop: Sequence[str] | None) -> Path:
    """Return the card of a table: the one that an earlier call wrote, or a new one."""
    from stpbnn.cards import load_card

    card = Path(f"{file.name.split('.')[0]}.toml")
    if not card.exists():
        return _draft(file, target, drop, None, err=True)
    data = load_card(card).data
    targets = [data.target] if isinstance(data.target, str) else list(data.target or ())
    asked = (list(target or targets), list(drop or data.drop or ()), file.resolve())
    if (targets, list(data.drop or ()), Path(data.file or "").resolve()) != asked:
        raise ValueError(f"{card}: is the card of other data or another target; remove it, or run it by its name")
    typer.echo(f"Card: {card}, which is there already", err=True)
    return card


def _no_target(file: Path) -> str:
    """Say that a table has no target, and which columns there are."""
    from stpbnn.datasets import read_table

    names = ", ".join(map(str, read_table(file).columns[:20]))
    return f"target: missing, expected the column to predict, with --target COLUMN: one of {names}"


def _show_run(finished: Run, as_json: bool, strict: bool) -> None:
    """Print what a run found; exit with 1 where agreement was asked for and is not there."""
    from stpbnn.quoting import comparison_table
    from stpbnn.terminal import records

    if as_json:
        typer.echo(records.as_json(records.run_record(finished)))
    else:
        console.print(comparison_table(finished.comparison))
        typer.echo(f"Report: {finished.report}")
    if strict and not bool(finished.comparison["agrees"].any()):
        raise typer.Exit(1)
