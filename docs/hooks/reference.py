"""The reference: a table on each page of docs/api/, a page for each class, and the sources that both link to."""

import re
from functools import cache
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docstrings import markdown

ROOT = Path(__file__).parents[2]
PAGES = {f"api/{page.name}": page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs/api").glob("*.md"))}
ENTRY = re.compile(r"^::: (\S+)\n((?:    .*\n)*)", re.MULTILINE)
GROUP = re.compile(r"(?:^::: \S+\n(?:    .*\n)*\n*)+", re.MULTILINE)
OPTIONS = "    options: {heading_level: 1, summary: true}\n"


@cache
def package() -> griffe.Module:
    """Return the package as its sources describe it."""
    return griffe.load("stpbnn", search_paths=[ROOT], docstring_parser="numpy", resolve_aliases=True)


def target(path: str) -> griffe.Object:
    """Return what a dotted path means, wherever it is defined."""
    found = package()[path.removeprefix("stpbnn.")]
    return found.final_target if found.is_alias else found


def classes(text: str) -> list[str]:
    """Return the classes that a page shows."""
    return [path for path, _ in ENTRY.findall(text) if target(path).is_class]


def own_page(path: str) -> str:
    """Return the page of a class."""
    return f"api/{path.rpartition('.')[2]}.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page of each class below the page that lists it."""

    def placed(entry: object) -> object:
        if isinstance(entry, dict):
            return {title: placed(under) for title, under in entry.items()}
        if isinstance(entry, list):
            return [placed(one) for one in entry]
        if entry in PAGES and (found := classes(PAGES[entry])):
            title = PAGES[entry].partition("\n")[0].removeprefix("# ")
            pages = [{path.rpartition(".")[2]: own_page(path)} for path in found]
            return {title: [{"Overview": entry}, *pages]}
        return entry

    config.nav = placed(config.nav)
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of classes, and those of the modules where anything that is shown is defined."""
    modules = set()
    for text in PAGES.values():
        for path, _ in ENTRY.findall(text):
            shown = target(path)
            modules.add(shown.module.path)
            if shown.is_class:
                files.append(File.generated(config, own_page(path), content=f"::: {path}\n{OPTIONS}"))
                modules |= {member.module.path for member in shown.all_members.values() if member.has_docstring}
    for module in sorted(name for name in modules if name.split(".")[0] == "stpbnn"):
        source = package()[module.removeprefix("stpbnn.")].filepath.read_text(encoding="utf-8")
        head = "---\nsearch: {exclude: true}\nhide: [navigation, toc]\n---\n"
        page = f"{head}# {module}\n\n~~~~python\n{source}~~~~\n"
        files.append(File.generated(config, f"source/{module}.md", content=page))
    return files


def on_page_markdown(text: str, *, page: Page, **more: object) -> str:
    """Put a table before the entries of a page, and leave only the functions below it."""
    if page.file.src_uri not in PAGES:
        return text
    return GROUP.sub(lambda found: _group(found[0]), text)


def picture(path: str) -> str:
    """Return what shows the picture of a function of the figures: docs/hooks/figures.py draws it."""
    room, _, name = path.rpartition(".")
    return f"\n![{name}]({name}.png)\n" if room == "stpbnn.figures" else ""


def _group(text: str) -> str:
    entries = ENTRY.findall(text)
    rows = [f"| [`{path.rpartition('.')[2]}`][{path}] | {_first(target(path))} |" for path, _ in entries]
    functions = [f"::: {path}\n{options}{picture(path)}" for path, options in entries if not target(path).is_class]
    table = "\n".join(['<div class="summary" markdown>\n', "| | |", "|---|---|", *rows, "\n</div>"])
    table = table if len(entries) > 1 or not functions else ""
    return "\n\n".join([table, *functions, ""])


def _first(shown: griffe.Object) -> str:
    """Return the first paragraph of a docstring, in one line that fits a table."""
    paragraph = markdown(shown.docstring.value).partition("\n\n")[0] if shown.docstring else ""
    return " ".join(paragraph.split()).replace("|", "\\|")
