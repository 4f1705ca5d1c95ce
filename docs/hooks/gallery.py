"""The gallery: every script of examples/ is run by the build and becomes a page, and a notebook to download."""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
FIGURES = Path(__file__).with_name("figures.py")
CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)
FOLDER = re.compile(r"^FOLDER = .*$", re.MULTILINE)
UNUSED = re.compile(r"^import (sys|tempfile)\n", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the gallery into the navigation."""
    pages = ["gallery/index.md", *(f"gallery/{script.stem}.md" for script in EXAMPLES)]
    config.nav = [{"Gallery": pages} if "Gallery" in entry else entry for entry in config.nav or []]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages with their pictures and notebooks, and the pictures of the reference."""
    shown = ["# Gallery\n", "Short scripts, each with one idea and one picture. The build has run them."]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reference, *results = pool.map(run, [FIGURES, *EXAMPLES])
    for script, (printed, pictures) in zip(EXAMPLES, results, strict=True):
        name, parts = script.stem, cells(script.read_text(encoding="utf-8"))
        title, page = write(parts, name, printed)
        shown.append(f"## [{title}]({name}.md)\n\n[![{title}]({name}.png)]({name}.md)")
        files.append(File.generated(config, f"gallery/{name}.md", content=page))
        files.append(File.generated(config, f"gallery/{name}.png", content=pictures[f"{name}.png"]))
        files.append(File.generated(config, f"gallery/{name}.ipynb", content=notebook(parts)))
    files.append(File.generated(config, "gallery/index.md", content="\n\n".join(shown) + "\n"))
    for name, picture in reference[1].items():
        files.append(File.generated(config, f"api/{name}", content=picture))
    return files


def run(script: Path) -> tuple[str, dict[str, bytes]]:
    """Run a script; return what it prints, and its pictures by name."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(script), folder]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "Agg"})
        if done.returncode:
            raise PluginError(f"{script.name} fails: {done.stderr}")
        return done.stdout, {path.name: path.read_bytes() for path in Path(folder).glob("*.png")}


def cells(source: str) -> list[tuple[bool, str]]:
    """Return the cells of a script in percent format: whether each is text, and what it says."""
    _, *found = CELL.split(source)
    pairs = [("markdown" in kind, text.strip()) for kind, text in zip(found[::2], found[1::2], strict=True)]
    return [(True, re.sub(r"^# ?", "", text, flags=re.MULTILINE)) if words else (False, text) for words, text in pairs]


def write(parts: list[tuple[bool, str]], name: str, printed: str) -> tuple[str, str]:
    """Return the title of an example, and its page."""
    page = [text if words else f"```python\n{text}\n```" for words, text in parts]
    title = page[0].partition("\n")[0].removeprefix("# ")
    page.append(f"![{title}]({name}.png)")
    if printed.strip():
        page.append(f"It prints\n\n```text\n{printed.rstrip()}\n```")
    page.append(f"[Download the notebook]({name}.ipynb){{ download }}; the script is `examples/{name}.py`.")
    return title, "\n\n".join(page) + "\n"


def notebook(parts: list[tuple[bool, str]]) -> str:
    """Return an example as a notebook, which leaves its picture where it lies."""
    of = nbformat.v4
    inside = [of.new_markdown_cell(text) if words else of.new_code_cell(here(text)) for words, text in parts]
    for number, cell in enumerate(inside):
        cell["id"] = str(number)
    python = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = of.new_notebook(cells=inside, metadata=python)
    nbformat.validate(made)
    return nbformat.writes(made)


def here(code: str) -> str:
    """Return the code of a cell without the folder that a script is given."""
    return UNUSED.sub("", FOLDER.sub('FOLDER = Path(".")', code)) if FOLDER.search(code) else code
