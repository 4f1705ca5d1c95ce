"""Formulas become MathML when the site is built, in pieces between which a line may break, with a font of their own."""

import html
import re
import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
TAG = re.compile(r"\\tag\{(.*?)\}")
SIZED = re.compile(r"\\[bB]ig(?=\\[lr]angle)")  # MathML sizes them by itself
OPENING, CLOSING = set("([{⟨"), set(")]}⟩")
BREAKING = set("=∼≈≠<>≤≥→∝∈≡⊗+−-")  # a line may break before these, outside brackets
SHORT = 6  # atoms that stay together
THIN = "0.167em"
MATHML = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", MATHML)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the font STIX Two Math, which is under the SIL Open Font License."""
    font = Path(find_spec("ziamath").origin).with_name("fonts") / "STIXTwoMath-Regular.ttf"
    files.append(File.generated(config, f"assets/{font.name}", abs_src_path=str(font)))
    return files


def on_page_content(text: str, **more: Any) -> str:
    """Replace every formula that arithmatex has found."""
    return DISPLAY.sub(_display, INLINE.sub(_inline, text))


def _inline(found: re.Match[str]) -> str:
    return mathml(html.unescape(found[1]))


def _display(found: re.Match[str]) -> str:
    formula = html.unescape(found[1])
    number = TAG.search(formula)
    shown = f'<span class="number">({number[1]})</span>' if number else ""
    return f'<div class="formula"><div>{mathml(TAG.sub("", formula), display=True)}</div>{shown}</div>'


def mathml(formula: str, display: bool = False) -> str:
    """Return a formula as MathML elements in a row; refuse one of which a command would be shown as text."""
    shown = convert(SIZED.sub("", formula).replace(r"\arg", r"\operatorname{arg}"))
    if "\\" in shown:
        raise PluginError(f"not understood in a formula: {formula}")
    try:
        row = ElementTree.fromstring(shown)[0]
    except ElementTree.ParseError as problem:
        raise PluginError(f"no MathML comes of the formula {formula}: {problem}") from problem
    _mend(row)
    return "<wbr>".join(_written(piece, gap, display) for piece, gap in pieces(list(row)))


def _mend(row: ElementTree.Element) -> None:
    """Give signs and letters the form that browsers draw, and names of functions the space around them."""
    for atom in row.iter():
        if atom.text == "~":
            atom.tag, atom.text = f"{{{MATHML}}}mo", "∼"
        elif atom.text in ("/", "|"):
            atom.attrib |= {"lspace": "0", "rspace": "0"}
        elif atom.get("mathvariant") == "double-struck":
            atom.text = unicodedata.lookup(f"DOUBLE-STRUCK CAPITAL {atom.text}")
            del atom.attrib["mathvariant"]
        for place in range(len(atom) - 1, 0, -1):
            before, after = atom[place - 1], atom[place]
            pairs = (before, after), (after, before)
            if any(_is_name(one) and not other.tag.endswith(("mo", "mspace")) for one, other in pairs):
                atom.insert(place, ElementTree.Element(f"{{{MATHML}}}mspace", {"width": THIN}))


def _is_name(atom: ElementTree.Element) -> bool:
    name = atom[0] if atom.tag.endswith(("msub", "msup", "munder")) else atom
    return name.tag.endswith("mi") and len(name.text or "") > 1


def pieces(atoms: list[ElementTree.Element]) -> Iterator[tuple[list[ElementTree.Element], bool]]:
    """Yield the parts of a formula that stay in one line, and whether a wide space follows."""
    depth, piece = 0, []
    for atom in atoms:
        sign = (atom.text or "").strip() if atom.tag.endswith("mo") else ""
        if depth == 0 and atom.tag.endswith("mspace") and atom.get("width") in ("1em", "2em"):
            yield piece, True
            piece = []
            continue
        if depth == 0 and sign in BREAKING and len(piece) >= SHORT:
            yield piece, False
            piece = []
            atom.set("form", "infix")  # at the beginning of a piece it would be taken for a prefix
        depth += (sign in OPENING) - (sign in CLOSING)
        piece.append(atom)
    if piece:
        yield piece, False


def _written(piece: list[ElementTree.Element], gap: bool, display: bool) -> str:
    element = ElementTree.Element(f"{{{MATHML}}}math", {"displaystyle": "true"} if display else {})
    if gap:
        element.set("class", "gap")
    ElementTree.SubElement(element, f"{{{MATHML}}}mrow").extend(piece)
    return ElementTree.tostring(element, encoding="unicode").replace(f' xmlns="{MATHML}"', "")
