"""The documentation: its code runs, its links lead somewhere, and it names everything that is public."""

import ast
import importlib
import inspect
import os
import pydoc
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import pytest
import yaml

import stpbnn

ROOT = Path(__file__).parents[1]
PAGES = {page.relative_to(ROOT).as_posix(): page for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]}
# ```py is for code that needs what is not here, such as a cluster: shown, not run
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
WITH_CODE = {name: blocks for name, page in PAGES.items() if (blocks := BLOCK.findall(page.read_text("utf-8")))}


# of these a day looks at the calls alone
SLOW = ["adaptive", "choosing", "classification", "command-line", "convolutions", "diagnosing"]
SLOW += ["report", "start", "table-to-intervals"]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name[5:-3] in SLOW)) for name in WITH_CODE],
)
def test_code_of_a_page_runs(name, tmp_path, monkeypatch, capsys):
    """All blocks of a page, one after another in one namespace, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for number, block in enumerate(WITH_CODE[name], 1):
        exec(compile(block, f"{name}, block {number}", "exec"), namespace)
    plt.close("all")


@pytest.mark.parametrize("name", WITH_CODE)
def test_calls_of_a_page_fit_what_they_call(name):
    """What a page imports is there, and takes the arguments that are written out."""
    tree = ast.parse("\n".join(WITH_CODE[name]))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict = {}
    exec(compile(ast.Module(imported, []), name, "exec"), names)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        root = call.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or root.id not in names:
            continue
        called = eval(compile(ast.Expression(call.func), name, "eval"), names)
        keywords = [keyword.arg for keyword in call.keywords if keyword.arg]
        if called.__module__.startswith("stpbnn") and not any(isinstance(value, ast.Starred) for value in call.args):
            inspect.signature(called).bind_partial(*call.args, **dict.fromkeys(keywords))


def test_pages_with_code_are_found():
    assert {"README.md", "docs/start.md", "docs/diagnosing.md", "docs/t-process.md"} <= WITH_CODE.keys()


def test_ten_lines_lead_to_a_t_process_prediction(record_property):
    """The last block of docs/start.md, by itself in a new process; its seconds are recorded."""
    block = WITH_CODE["docs/start.md"][-1]
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-W", "error", "-c", block], capture_output=True, text=True, check=True)
    record_property("seconds", round(time.perf_counter() - begin, 1))
    assert re.fullmatch(r"inside: 0\.\d+\n", done.stdout)


@pytest.mark.long
def test_two_commands_lead_to_a_report(tmp_path, record_property, capsys):
    """The line of the README in a clean clone, with an empty cache; its seconds are recorded."""
    line = re.search(r"^    (pip install uv && .*)$", PAGES["README.md"].read_text("utf-8"), re.MULTILINE)[1]
    clone, python = tmp_path / "clone", tmp_path / "python"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XLA", "OPENBLAS", "VIRTUAL"))}
    new = {"PATH": f"{python / 'bin'}:{os.environ['PATH']}", "UV_CACHE_DIR": str(tmp_path / "cache")}
    begin = time.perf_counter()
    subprocess.run(line, shell=True, cwd=clone, env=kept | new, check=True)
    seconds = round(time.perf_counter() - begin)
    record_property("seconds", seconds)
    with capsys.disabled():
        sys.stdout.write(f"\nfrom a clean clone to the report: {seconds} s\n")
    assert (clone / "runs/digits-1hl-erf/report.html").stat().st_size > 1e5


def public_names():
    """Return every public name with its object: those of stpbnn, and of its public modules."""
    found = {}
    for name in stpbnn.__all__:
        thing = getattr(stpbnn, name)
        if inspect.ismodule(thing):
            found |= {f"{name}.{inner}": getattr(thing, inner) for inner in thing.__all__}
        else:
            found[name] = thing
    return found


def referenced():
    """Return the objects that the pages of the reference show."""
    text = "\n".join(page.read_text("utf-8") for name, page in PAGES.items() if name.startswith("docs/api/"))
    found = []
    for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
        module, _, name = path.rpartition(".")
        found.append(getattr(importlib.import_module(module), name))
    return found


def test_every_public_name_is_in_the_reference():
    shown = referenced()
    names = public_names()
    assert [name for name, thing in names.items() if not any(thing is other for other in shown)] == []
    assert [name for name, thing in names.items() if not inspect.getdoc(thing)] == []


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"^\s+- (?:\w+: )?(\S+\.md)", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE))
    pages = {page.relative_to(ROOT / "docs").as_posix() for name, page in PAGES.items() if name.startswith("docs/")}
    assert listed == pages | {"gallery/index.md", "changelog.md", "licence.md"}  # these are made by the build


LISTING = re.compile(r"(?<=\n\n)(?:    .*\n)+(?=\n)")  # an indented block


def test_code_of_the_pages_fits_its_column():
    """At 1280 pixels a line of 80 characters is whole; the scripts of examples/ are pages of the gallery."""
    for name, page in PAGES.items():
        text = page.read_text("utf-8")
        blocks = re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        blocks += [textwrap.dedent(block) for block in LISTING.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))]
        assert [line for block in blocks for line in block.splitlines() if len(line) > 80] == [], name
    for script in sorted(ROOT.glob("examples/*.py")):
        lines = script.read_text("utf-8").splitlines()
        assert [line for line in lines if len(line) > 80 and not line.startswith("# ")] == [], script.name


def test_the_version_is_the_same_wherever_it_is_written():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == stpbnn.__version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert f"version = {{{stpbnn.__version__}}}" in PAGES["docs/cite.md"].read_text("utf-8")
    wheels = re.findall(r"stpbnn-([\d.]+)-py3", PAGES["docs/install.md"].read_text("utf-8"))
    assert set(wheels) == {stpbnn.__version__}


@pytest.mark.skipif("STPBNN_SITE" not in os.environ, reason="STPBNN_SITE names no built site")
def test_no_link_of_the_site_is_dead():
    site = Path(os.environ["STPBNN_SITE"]).resolve()
    texts = {page: page.read_text("utf-8") for page in site.rglob("*.html") if page.name != "404.html"}
    names = {page: set(re.findall(r'\b(?:id|name)="?([^"\s>]+)', text)) for page, text in texts.items()}
    dead = []
    for page, text in texts.items():
        for link, _, place in {link.partition("#") for link in re.findall(r'(?:href|src)="([^":?]+)"', text)}:
            target = (page.parent / unquote(link)).resolve() if link else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (place and target in names and unquote(place) not in names[target]):
                dead.append(f"{page.relative_to(site)}: {link}#{place}")
    assert len(texts) > 60
    assert dead == []


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (ROOT / link).exists()] == []


def test_names_of_the_library_in_the_pages_exist():
    """What a page calls stpbnn.something is there."""
    text = "\n".join(page.read_text("utf-8") for page in PAGES.values())
    names = {*re.findall(r"^::: (\S+)$", text, re.MULTILINE), *re.findall(r"`(stpbnn\.[\w.]+\w)", text)}
    assert len(names) > 50
    assert [name for name in names if not exists(name)] == []


def exists(name):
    return pydoc.locate(name) is not None
