"""Tables in a README, between marks, so that they are those of the result files."""

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
