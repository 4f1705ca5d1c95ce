"""Long identifiers break after their dots, slashes and brackets, and nowhere else."""

import re
from typing import Any

INLINE = re.compile(r"<code>([^<]*)</code>")
SEAM = re.compile(r"(?<=[\w)])([./(])(?=\w)")


def on_page_content(text: str, **more: Any) -> str:
    """Put marks where a line may break into the code that stands in a sentence or in a table."""
    return INLINE.sub(lambda code: f"<code>{SEAM.sub(r'\1<wbr>', code[1])}</code>", text)
