"""Tables in a README, between marks, so that they are those of the result files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from stpbnn.files import write_text

README = Path(__file__).parent / "README.md"


def put_table(readme: Path, mark: str, table: str) -> None:
    """Replace what is between ``<!-- mark: begin -->`` and ``<!-- mark: end -->``."""
    before, begin, rest = readme.read_text(encoding="utf-8").partition(f"<!-- {mark}: begin -->\n")
    _, end, after = rest.partition(f"<!-- {mark}: end -->")
    if not end:
        raise ValueError(f"{readme}: no marks for {mark!r}")
    write_text(readme, f"{before}{begin}{table}\n{end}{after}")


def fill_and_put(doc: str | None, fill: Callable[[], None], readme: Path, mark: str, table: Callable[[], str]) -> None:
    """Run what is missing, where --data names the data, and write the table into its page: the main of many scripts."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    data = parser.parse_args().data
    if data is not None:
        os.environ["STPBNN_DATA"] = str(data)
        fill()
    put_table(readme, mark, table())
