"""Formulas become MathML when the site is built, so that a page needs no script to show them."""

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
TAG = re.compile(r"\\tag\{(.*?)\}")
SIZED = re.compile(r"\\[bB]ig(?=\\[lr]angle)")  # MathML sizes them by itself


def on_page_content(text: str, **more: Any) -> str:
    """Replace every formula that arithmatex has found."""
    return DISPLAY.sub(_display, INLINE.sub(_inline, text))


def _inline(found: re.Match[str]) -> str:
    return mathml(html.unescape(found[1]), "inline")


def _display(found: re.Match[str]) -> str:
    formula = html.unescape(found[1])
    number = TAG.search(formula)
    shown = f'<span class="number">({number[1]})</span>' if number else ""
    return f'<div class="formula">{mathml(TAG.sub("", formula), "block")}{shown}</div>'


def mathml(formula: str, display: str) -> str:
    """Convert a formula; refuse one of which a command would be shown as text."""
    shown = convert(SIZED.sub("", formula).replace(r"\arg", r"\operatorname{arg}"), display=display)
    if "\\" in shown:
        raise PluginError(f"not understood in a formula: {formula}")
    return shown
