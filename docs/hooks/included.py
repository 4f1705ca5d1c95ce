"""Files of the repository that are pages of the site as well: changelog and licence."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
LICENCE = """# Licence

stpbnn is under the MIT licence:

```text
{text}```

Formulas of this site are set in STIX Two Math, copyright 2001-2020 The STIX Fonts Project Authors, which comes with the
pages under the [SIL Open Font License, version 1.1](https://openfontlicense.org).
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add both pages."""
    changelog, licence = ((ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "LICENSE"))
    files.append(File.generated(config, "changelog.md", content=changelog))
    files.append(File.generated(config, "licence.md", content=LICENCE.format(text=licence)))
    return files
