"""The gallery: every script of examples/ is run by the build and becomes a page, with what it prints and draws."""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the gallery into the navigation."""
    pages = ["gallery/index.md", *(f"gallery/{script.stem}.md" for script in EXAMPLES)]
    config.nav = [{"Gallery": pages} if "Gallery" in entry else entry for entry in config.nav or []]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages and their pictures."""
    shown = ["# Gallery\n", "Short scripts, each with one idea and one picture. The build has run them."]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, EXAMPLES))
    for script, (printed, picture) in zip(EXAMPLES, results, strict=True):
        title, page = write(script.read_text(encoding="utf-8"), script.stem, printed)
        shown.append(f"## [{title}]({script.stem}.md)\n\n[![{title}]({script.stem}.png)]({script.stem}.md)")
        files.append(File.generated(config, f"gallery/{script.stem}.md", content=page))
        files.append(File.generated(config, f"gallery/{script.stem}.png", content=picture))
    files.append(File.generated(config, "gallery/index.md", content="\n\n".join(shown) + "\n"))
    return files


def run(script: Path) -> tuple[str, bytes]:
    """Run a script; return what it prints, and its picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(script), folder]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "Agg"})
        if done.returncode:
            raise PluginError(f"{script.name} fails: {done.stderr}")
        return done.stdout, (Path(folder) / f"{script.stem}.png").read_bytes()


def write(source: str, name: str, printed: str) -> tuple[str, str]:
    """Return the title of a script in percent format, and its page."""
    _, *cells = CELL.split(source)
    parts = []
    for kind, text in zip(cells[::2], cells[1::2], strict=True):
        if "markdown" in kind:
            parts.append(re.sub(r"^# ?", "", text, flags=re.MULTILINE).strip())
        else:
            parts.append(f"```python\n{text.strip()}\n```")
    title = parts[0].partition("\n")[0].removeprefix("# ")
    parts.append(f"![{title}]({name}.png)")
    if printed.strip():
        parts.append(f"It prints\n\n```text\n{printed.rstrip()}\n```")
    return title, "\n\n".join(parts) + f"\n\nThe script is `examples/{name}.py`.\n"
