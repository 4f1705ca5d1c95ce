"""Take the pictures of docs/report.md: a report on a desktop, on a phone and in the dark.

uv run python docs/hooks/screenshots.py runs/NAME docs
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

LOOKS = {  # width, height, colour scheme, heading at the top
    "report": (1000, 900, "light", None),
    "report-dark": (1000, 900, "dark", "order"),
    "report-phone": (375, 800, "light", None),
}

report, out = Path(sys.argv[1], "report.html").resolve(), Path(sys.argv[2])
with sync_playwright() as playwright:
    program = os.environ.get("STPBNN_BROWSER") or shutil.which("chromium")
    browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
    for name, (width, height, scheme, heading) in LOOKS.items():
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(report.as_uri())
        if heading:
            page.evaluate(f"document.getElementById('{heading}').parentElement.scrollIntoView()")
        page.screenshot(path=out / f"{name}.png")
    browser.close()
