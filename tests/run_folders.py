"""What a run folder holds, a card of the smallest run, and runs whose report is one word."""

import contextlib

import pytest

FILES = ["card.toml", "checkpoint", "comparison.nc", "posterior.nc", "report.html", "run.json", "theory.nc"]


CLOSED = "theories.names=['infinite', 'proportional', 'finite']"


TINY = [
    "sampler.warmup=10",
    "sampler.draws=20",
    "sampler.chains=2",
    "data.train=6",
    "data.size=3",
    "data.test=4",
    "theories.particles=4096",  # as by default: the theories here have none
    CLOSED,
]


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


def snapshot(folder):
    """Every file and folder below a folder, with what tells whether it was written again."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


@contextlib.contextmanager
def without_pictures():
    """Have runs write a report of one word meanwhile: drawing one takes longer than a small run."""
    from stpbnn import files
    from stpbnn.runs import stages

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "write_report", lambda run: files.write_text(run.report, "report"))
        yield
