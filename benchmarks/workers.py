"""Two workers of `stpbnn sweep` against one, on eight equal points, and what a point costs beside its sampling.

    uv run python benchmarks/workers.py          # some minutes, on a machine that does nothing else

Each worker has one thread. Equal points differ in the seed of the sampler alone. The result goes to
results/workers.json; what is aimed at is 1.7 times the speed, and less than a second of overhead a point.

The overhead of a point is what one worker spends on it beyond the run itself (data, theories, sampling, comparison
and report, as run.json has them): the wall time of the sweep, less the start of the cluster, which is that of a
sweep without anything to do, less the runs, over the number of points.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from pathlib import Path

from stpbnn.cards import load_card
from stpbnn.files import write_text
from stpbnn.sweeps import sweep

POINTS = 8
SETTINGS = ["network.widths=[100]", "data.train=100", "data.test=100", "sampler.warmup=500", "sampler.draws=1000"]


def timed(folder: Path, workers: int, points: int = POINTS) -> dict[str, float]:
    """Run a sweep; return its wall time, and the seconds that its runs took, summed."""
    card = load_card("digits-1hl-erf", SETTINGS)
    card = card.model_copy(update={"sweep": {"sampler.seed": tuple(range(points))}})
    start = time.perf_counter()
    sweep(card, folder, workers=workers, progress=False)
    wall = time.perf_counter() - start
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("points/*/run.json")]
    return {"wall_s": wall, "runs_s": sum(sum(record["seconds"].values()) for record in records)}


def main() -> None:
    """Time one and two workers, and write what was found."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/compiled"  # both find what the first point compiles
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        first = timed(Path(folder, "first"), 1, 1)
        one, two = timed(Path(folder, "one"), 1), timed(Path(folder, "two"), 2)
    each = (one["wall_s"] - first["wall_s"] - (one["runs_s"] - first["runs_s"])) / (POINTS - 1)
    found = {
        "points": POINTS,
        "one_worker": one,
        "two_workers": two,
        "speed_up": one["wall_s"] / two["wall_s"],
        "overhead_a_point_s": each,
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    path = Path(__file__).parent / "results" / "workers.json"
    write_text(path, json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
