"""What a run folder holds, and a card of the smallest run."""

FILES = ["card.toml", "checkpoint", "comparison.nc", "posterior.nc", "report.html", "run.json", "theory.nc"]


CLOSED = "theories.names=['infinite', 'proportional', 'finite']"


TINY = [
    "sampler.warmup=10",
    "sampler.draws=20",
    "sampler.chains=2",
    "data.train=6",
    "data.size=3",
    "data.test=4",
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
