"""Docstrings have formulas as directives and roles, and tables between rulers; the pages are Markdown."""

import re
import textwrap
from typing import Any

import griffe

BLOCK = re.compile(r"^([ ]*)\.\. math::[ ]*(.*)\n((?:[ ]*\n|\1[ ]+.*\n?)*)", re.MULTILINE)
TABLE = re.compile(r"^([ ]*)(=+(?: +=+)+)\n(.*)\n\1=[= ]+\n((?:.*\n)+?)\1=[= ]+$", re.MULTILINE)
ROLE = re.compile(r":(\w+):`([^`]*)`", re.DOTALL)


def markdown(text: str) -> str:
    """Return a docstring with its formulas between dollars, and its tables between bars."""
    text = TABLE.sub(_table, BLOCK.sub(_block, text))
    return ROLE.sub(lambda found: f"${found[2]}$" if found[1] == "math" else f"`{found[2]}`", text)


def _block(found: re.Match[str]) -> str:
    indent, formula = found[1], f"{found[2]}\n{textwrap.dedent(found[3])}".strip()
    return textwrap.indent(f"\n$$\n{formula}\n$$\n\n", indent)


def _table(found: re.Match[str]) -> str:
    indent, ruler, head, body = found.groups()
    columns = [slice(*column.span()) for column in re.finditer("=+", ruler)]
    columns[-1] = slice(columns[-1].start, None)
    rows = [[line[len(indent) :][column].strip() for column in columns] for line in (head, *body.splitlines())]
    rows.insert(1, ["---"] * len(columns))
    return "\n".join(f"{indent}| {' | '.join(row)} |" for row in rows)


class Formulas(griffe.Extension):
    """Rewrite each docstring when it is collected."""

    def on_instance(self, *, obj: griffe.Object, **more: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
