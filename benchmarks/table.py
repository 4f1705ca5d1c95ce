"""Run benchmarks and write what they measured into benchmarks/README.md.

    uv run python benchmarks/table.py                    # all of them, an hour or so
    uv run python benchmarks/table.py test_theory.py     # those of one file; the other tables stay as they are
    uv run python benchmarks/table.py test_theory.py measured.json     # what --benchmark-json wrote of a part of it

Results are kept in benchmarks/results/, one file for each benchmark file, and the tables are made from all of them.
"""

import json
import os
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
START, END = "<!-- tables: made by table.py -->", "<!-- end of tables -->"


def run(name, extra):
    """Run one benchmark file and keep its numbers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "benchmark.json"
        command = [sys.executable, "-m", "pytest", str(HERE / name), "--benchmark-only", "-n", "0", "-m", ""]
        subprocess.run([*command, f"--benchmark-json={file}", *extra], cwd=HERE.parent, check=False)
        keep(name, json.loads(file.read_text()), part=bool(extra))


def keep(name, found, part):
    """Keep the numbers of a benchmark file, or of a part of it: the other rows stay."""
    rows = [
        {"group": b["group"], "name": b["name"], "seconds": b["stats"]["median"], "rounds": b["stats"]["rounds"]}
        | {"measured": b["extra_info"]}
        for b in found["benchmarks"]
    ]
    if part:
        earlier = json.loads(path_of(name).read_text())["rows"] if path_of(name).exists() else []
        rows = [row for row in earlier if row["name"] not in {r["name"] for r in rows}] + rows
    cpu, versions = found["machine_info"]["cpu"], found["machine_info"]["python_version"]
    machine = f"{cpu.get('brand_raw', 'unknown processor')}, {os.cpu_count()} cores, Python {versions}"
    RESULTS.mkdir(exist_ok=True)
    path_of(name).write_text(json.dumps({"machine": machine, "date": found["datetime"][:10], "rows": rows}, indent=1))


def path_of(name):
    return RESULTS / f"{Path(name).stem}.json"


def shown(value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ", ".join(map(shown, value)) if isinstance(value, list) else str(value)
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def tables():
    """Return the tables of all results."""
    lines = []
    for file in sorted(RESULTS.glob("test_*.json")):
        found = json.loads(file.read_text())
        lines += [
            f"## {file.stem.removeprefix('test_').replace('_', ' ')}",
            "",
            f"{found['machine']}, {found['date']}.",
        ]
        rows = sorted(found["rows"], key=lambda row: row["group"] or "")
        for group, members in groupby(rows, key=lambda row: row["group"] or ""):
            members = list(members)
            columns = list(dict.fromkeys(key for row in members for key in row["measured"]))
            header = ["benchmark", "median s", "rounds", *columns]
            lines += ["", f"### {group}", "", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
            for row in members:
                cells = [f"`{row['name'].removeprefix('test_')}`", f"{row['seconds']:.3g}", str(row["rounds"])]
                cells += [shown(row["measured"].get(column, "")) for column in columns]
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def write():
    """Put the tables into README.md, between its two marks."""
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(START)
    readme.write_text(f"{before}{START}\n\n{tables()}\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    names = sys.argv[1:2] or sorted(path.name for path in HERE.glob("test_*.py"))
    for name in names:
        if sys.argv[2:] and sys.argv[2].endswith(".json"):
            keep(name, json.loads(Path(sys.argv[2]).read_text()), part=True)
        else:
            run(name, sys.argv[2:])
    write()
