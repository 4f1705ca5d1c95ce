"""Formulas become MathML when the site is built, so that a page needs no script to show them."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
TAG = re.compile(r"\\tag\{(.*?)\}")


def on_page_content(text: str, **more: Any) -> str:
    """Replace every formula that arithmatex has found."""
    return DISPLAY.sub(_display, INLINE.sub(_inline, text))


def _inline(found: re.Match[str]) -> str:
    return convert(html.unescape(found[1]))


def _display(found: re.Match[str]) -> str:
    formula = html.unescape(found[1])
    number = TAG.search(formula)
    shown = f'<span class="number">({number[1]})</span>' if number else ""
    return f'<div class="formula">{convert(TAG.sub("", formula), display="block")}{shown}</div>'
