"""Take the pictures of docs/report.md: a report on a desktop, in the dark, its figures, and on a phone.

uv run python docs/hooks/screenshots.py runs/digits-1hl-erf docs
"""

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

LOOKS = {  # width, height, colour scheme, section at the top
    "report": (1000, 980, "light", None),
    "report-pictures": (1000, 1245, "light", "error"),
    "report-dark": (1000, 1150, "dark", "order"),
    "report-phone": (375, 800, "light", None),
}


def main(report: Path, out: Path) -> None:
    """Write a small PNG for each look."""
    program = os.environ.get("STPBNN_BROWSER") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, (width, height, scheme, section) in LOOKS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(report.as_uri())
            if section:
                page.evaluate(f"document.getElementById('{section}').scrollIntoView()")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.quantize(96, dither=Image.Dither.NONE).save(out / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1], "report.html").resolve(), Path(sys.argv[2]))
