"""The command line: new, run, predict, theory, sweep, report, models, datasets, doctor."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stpbnn import _interrupt
from stpbnn._backend import keep_compiled
from stpbnn._version import __version__
from stpbnn.terminal.doctor import doctor
from stpbnn.terminal.drafts import drafted, new
from stpbnn.terminal.endings import exit_when_interrupted, refusals_in_one_line
from stpbnn.terminal.looking import console, datasets, models
from stpbnn.terminal.options import (
    AllowCodeOption,
    CardArgument,
    ClassesOption,
    DropOption,
    JsonOption,
    MissingOption,
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
INTERRUPTED, COMPUTE, LOOK = 130, "Compute", "Look around"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    0 is success; 1 a comparison that fails where --strict asks for agreement; 2 bad input; 130 an interruption.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after `stpbnn`; by default those of the process.
    """
    keep_compiled()
    with refusals_in_one_line():
        code = app(arguments, prog_name="stpbnn", standalone_mode=False)
    if code == INTERRUPTED:
        _interrupt.leave()
    sys.exit(code)


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


app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn new house.csv --target price")(new)


@app.command(rich_help_panel=COMPUTE, epilog="Example: stpbnn run digits-1hl-erf --set network.widths=[50] -o half")
def run(
    card: CardArgument,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder.", show_default="runs/NAME")
    ] = None,
    changes: SetOption = None,
    target: TargetOption = None,
    drop: DropOption = None,
    missing: MissingOption = None,
    classes: ClassesOption = False,
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
    from stpbnn.cards import attributed, load_card

    card = drafted(card, target, drop, missing, classes)
    checked = load_card(card, changes or (), allow_code=allow_code)
    if checked.sweep:
        warnings.warn(
            f"{checked.name} has a sweep over {', '.join(checked.sweep)}: only its base point is run; "
            "`stpbnn sweep` runs them all",
            stacklevel=1,
        )
    from stpbnn.runs import run_card

    with exit_when_interrupted(), attributed(card, changes or ()):
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
    """Predict at new inputs with a finished run: mean, std and intervals of the posterior and of every theory; classes.

    The units are those of the data. `row` is the line of the file, the header being 1.
    """
    from stpbnn import files, forecasts, runs
    from stpbnn.terminal import records, tables

    files.destination("out", out)
    if out.exists() and file.exists() and out.samefile(file):
        raise ValueError(f"out: got {out}, the file with the inputs; give another name")
    finished = runs.load_run(folder, allow_code=allow_code)
    chosen = None if theories is None else [name for name in theories if name != "none"]
    with exit_when_interrupted():
        predictions = forecasts.predict_file(finished, file, noise=noise, theories=chosen)
    table = forecasts.table(predictions)
    if as_json:
        typer.echo(records.as_json(table.reset_index().to_dict("records")))
        return
    files.write_text(out, table.to_csv())
    typer.echo(f"Predictions: {out} ({len(table)} rows by {tables.what_is_predicted(predictions)})")


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
    with attributed(card, changes or ()), exit_when_interrupted():
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
    with exit_when_interrupted(noted=False):  # the cluster is closed on the way out
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


app.command(rich_help_panel=LOOK, epilog="Example: stpbnn models")(models)
app.command(rich_help_panel=LOOK, epilog="Example: STPBNN_DATA=~/data stpbnn datasets")(datasets)
app.command(rich_help_panel=LOOK, epilog="Example: stpbnn doctor --json > machine.json")(doctor)


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
