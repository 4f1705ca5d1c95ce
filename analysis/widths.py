"""The generalisation error over the width: all theories as lines, NUTS as points; the first picture of the README.

    uv run python analysis/widths.py            # a quarter of an hour on one core
    uv run python analysis/widths.py --draw     # the theories and the picture alone, from the stored points

Writes analysis/results/widths.csv (the points, with R-hat and ESS) and docs/widths.png. Digits 0 against 1, P = 100,
one hidden layer of erf units, T = 0.01.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import xarray as xr

import stpbnn
from stpbnn import figures
from stpbnn.cards import load_card
from stpbnn.comparison import compare_predictions
from stpbnn.curves import theory_curves
from stpbnn.files import written_whole
from stpbnn.runs import theory

ROOT = Path(__file__).parent.parent
CARD = ("digits-1hl-erf", ["posterior.temperature=0.01", "data.test=200"])
POINTS = (20, 50, 100, 200, 400)
WIDTHS = (12, 16, 20, 30, 50, 70, 100, 140, 200, 300, 400, 600, 1000)
COLUMNS = ("width", "error", "mcse", "rhat", "ess", "converged")


def sampled(width: int) -> dict[str, float]:
    """Return the generalisation error of the posterior at a width."""
    card = load_card(CARD[0], [*CARD[1], f"network.widths=[{width}]", "theories.names=['infinite']"])
    X, y, X_test, y_test = data = card.data.load()
    posterior = stpbnn.sample(
        card.network.build(),
        X,
        y,
        temperature=card.posterior.temperature,
        X_test=X_test,
        y_test=y_test,
        sampler="nuts",
        warmup=250,
        draws=250,
        seed=card.sampler.seed,
        progress=False,
    )
    found = compare_predictions(posterior, theory(card, data))
    values = (
        width,
        *(float(found[name].sel(part="total")) for name in ("error_posterior", "error_mcse")),
        *(found[name].item() for name in ("rhat_worst", "ess_smallest", "converged")),
    )
    return dict(zip(COLUMNS, values, strict=True))


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Draw the theories and the points."""
    card = load_card(*CARD).model_copy(update={"sweep": {"network.widths": tuple((width,) for width in WIDTHS)}})
    curves = theory_curves(card, progress=True)
    curves["error"] = curves["error"].where(curves["converged"])
    print(curves["error"].sel(part="total").squeeze().to_pandas().T)
    points = np.full((2, len(WIDTHS)), np.nan)
    for row in rows:
        points[:, WIDTHS.index(int(row["width"]))] = float(row["error"]), float(row["mcse"])
    at = {int(row["width"]): row["converged"] == "True" for row in rows}
    error = xr.DataArray(points[:, :, None], dims=("what", "width", "part"), coords={"part": ["total"]})
    curves = (
        curves.squeeze()
        .sel(part=["total"])
        .assign(
            error_posterior=error[0].drop_vars("part"),
            error_mcse=error[1].drop_vars("part"),
            converged=("width", [at.get(width, False) for width in WIDTHS]),
        )
    )
    ax = figures.plot_learning_curve(curves)
    with written_whole(path) as temporary:
        ax.figure.savefig(temporary, dpi=160, format="png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draw", action="store_true", help="only the theories and the picture")
    arguments = parser.parse_args()
    file = ROOT / "analysis" / "results" / "widths.csv"
    if not arguments.draw:
        with written_whole(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            for width in POINTS:
                writer.writerow(row := sampled(width))
                stream.flush()
                print(row, flush=True)
    with file.open(encoding="utf-8", newline="") as stream:
        draw(list(csv.DictReader(stream)), ROOT / "docs" / "widths.png")
