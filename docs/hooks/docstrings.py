"""Docstrings have their formulas as directives and roles; the pages are Markdown."""

import re
import textwrap
from typing import Any

import griffe

BLOCK = re.compile(r"^([ ]*)\.\. math::[ ]*(.*)\n((?:[ ]*\n|\1[ ]+.*\n?)*)", re.MULTILINE)
ROLE = re.compile(r":(\w+):`([^`]*)`", re.DOTALL)


def markdown(text: str) -> str:
    """Return a docstring with its formulas between dollars."""
    return ROLE.sub(lambda found: f"${found[2]}$" if found[1] == "math" else f"`{found[2]}`", BLOCK.sub(_block, text))


def _block(found: re.Match[str]) -> str:
    indent, formula = found[1], f"{found[2]}\n{textwrap.dedent(found[3])}".strip()
    return textwrap.indent(f"\n$$\n{formula}\n$$\n\n", indent)


class Formulas(griffe.Extension):
    """Rewrite each docstring when it is collected."""

    def on_instance(self, *, obj: griffe.Object, **more: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
