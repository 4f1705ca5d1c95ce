"""Report, sweep index and documentation in a real browser: Chromium, driven by Playwright.

Skipped where there is no Chromium, unless the variable STPBNN_BROWSER names one: then a missing browser is a failure.
The documentation is looked at where STPBNN_SITE says that it is built; otherwise five of its pages are built.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from report_data import made, rendered

from stpbnn.comparison import compare_predictions, predict_theories
from stpbnn.report import page as whole_page
from stpbnn.report import render_sweep

NAMED = os.environ.get("STPBNN_BROWSER")
CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => channels(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if ((channels(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.querySelectorAll("main *")].filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  return Math.min(...texts.map((element) => {
    const both = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort((a, b) => a - b);
    return (both[1] + 0.05) / (both[0] + 0.05);
  }));
}"""


@pytest.fixture(scope="module")
def browser():
    path = NAMED or shutil.which("chromium")
    if NAMED is None:
        if path is None:
            pytest.skip("there is no chromium on the path")
        pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Open a file at some width in some colour scheme; at the end nothing may have gone wrong on any page."""
    wrong, contexts = [], []

    def open_(path, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("data:", "file:")) or wrong.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def swept():
    """A sweep of four points over two keys; one of them is missing."""
    dims, shape = ("width", "train"), (2, 2)
    parts, theories = ["total", "squared_bias", "variance"], ["infinite width", "<b>other</b>"]
    total = np.array([[0.5, 0.09], [0.3, np.nan]])
    split = total[..., None] * np.array([1.0, 0.4, 0.6])
    data = {
        "point": (dims, [["a", "b"], ["c", "d"]]),
        "finished": (dims, np.isfinite(total)),
        "converged": (dims, [[True, False], [True, False]]),
        "error_posterior": ((*dims, "part"), split),
        "error_mcse": ((*dims, "part"), 0.01 * split),
        "error": ((*dims, "theory", "part"), np.stack([1.1 * split, 1.02 * split], axis=2)),
        "rhat_worst": (dims, np.full(shape, 1.004)),
        "ess_smallest": (dims, [[1200.0, 90.0], [1000.0, np.nan]]),
        "seconds": (dims, [[3.0, 20.0], [100.0, np.nan]]),
        "device": (dims, np.full(shape, "cpu: cpu")),
    }
    coords = {"width": [10, 100], "train": [20, 200], "theory": theories, "part": parts}
    return xr.Dataset(data, coords, {"title": "A sweep", "card": "name = 1\n", "stpbnn_version": "0.1.0"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report with few points, one with many, and the index of a sweep with the reports that it leads to."""
    folder = tmp_path_factory.mktemp("pages")
    card = 'title = "Reports in a browser"\nreference = "' + "a long line without an end " * 10 + '"\n'
    for name, points in (("few", 30), ("many", 60)):
        (folder / f"{name}.html").write_text(rendered(points=points, draws=200, card=card), encoding="utf-8")
    (folder / "sweep.html").write_text(render_sweep(swept()), encoding="utf-8")
    for point in "abc":
        there = folder / "points" / point
        there.mkdir(parents=True)
        shutil.copy(folder / "few.html", there / "report.html")
    return folder


THEORIES = {  # as many as a run can have, and the one of them in whose place each is made here
    "infinite width": "infinite width",
    "proportional limit": "proportional limit",
    "mean dropped": "proportional limit",
    "finite width": "proportional limit",
    "adaptive kernel": "infinite width",
    "Student's t-process": "infinite width",
}


def tables(widths=(20,), outputs=1, process=None):
    """The tables and texts of a report with every theory, without its pictures."""
    posterior, theories, Xt, yt = made(points=10, draws=50, widths=widths, outputs=outputs)
    every = {name: theories.get(kind, theories["infinite width"]) for name, kind in THEORIES.items()}
    predictions = predict_theories(every, Xt, yt)
    if process:
        posterior.attrs["process"] = process
        q = np.random.default_rng(0).gamma(100, 0.01, (4, 50, len(widths)))
        posterior["posterior"] = xr.Dataset({"Q": (("chain", "draw", "layer"), q)})
    comparison = compare_predictions(posterior, predictions)
    sections = ("predictions", "error", "z", "calibration", "data", "order", "spectrum", "chains")
    none, told = {section: [] for section in sections}, {"title": None, "card": None, "run": None}
    return whole_page(posterior, predictions, comparison, none, **told)


@pytest.mark.parametrize(
    "settings",
    [{}, {"widths": (2000, 2000)}, {"outputs": 3}, {"widths": (2000,), "process": "finite-width"}],
    ids=["one layer", "two layers", "several outputs", "process"],
)
def test_no_table_is_cut_on_a_desktop(opened, tmp_path, settings):
    (tmp_path / "tables.html").write_text(tables(**settings), encoding="utf-8")
    for width in (1024, 1280):
        page = opened(tmp_path / "tables.html", width)
        cut = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length"
        assert page.locator("table").count() == 5
        assert page.evaluate(cut) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("name", ["few", "many", "sweep"])
def test_pages_fit_are_legible_and_ask_for_nothing(opened, folder, name, width, scheme):
    page = opened(folder / f"{name}.html", width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("scrollTo(10000, 0)")
    assert page.evaluate("scrollX") == 0
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.evaluate(CONTRAST) >= 4.5


def test_report_is_told_to_screen_readers(opened, folder):
    page = opened(folder / "few.html")
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["Reports in a browser"]
    regions = page.get_by_role("heading", level=2).all_inner_texts()
    assert page.get_by_role("navigation", name="Contents").get_by_role("link").all_inner_texts() == regions
    for heading in regions:
        assert page.get_by_role("region", name=heading, exact=True).count() == 1
    assert page.get_by_role("img").count() == page.locator("img").count() > 8
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    for table in page.get_by_role("table").all():
        assert table.get_by_role("caption").count() == 1
        assert table.get_by_role("columnheader").count() >= 4
        assert table.get_by_role("rowheader").count() >= 1


def test_report_is_walked_with_the_keyboard(opened, folder):
    page = opened(folder / "few.html", 375)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Setting"
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#explanation"
    page.locator(".scroll").first.focus()
    page.keyboard.press("ArrowRight")
    moved = "document.querySelector('.scroll').scrollLeft"
    for _ in range(100):  # it glides; the page's policy forbids Playwright's own way to wait for an expression
        if page.evaluate(moved) > 0:
            break
        page.wait_for_timeout(50)
    assert page.evaluate(moved) > 0  # the table moves, not the page
    assert page.evaluate("scrollX") == 0


def test_report_prints_on_white(opened, folder):
    page = opened(folder / "few.html", scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    look = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.images[0]).filter]"
    assert page.evaluate(look) == ["rgb(255, 255, 255)", "none"]
    assert page.pdf().startswith(b"%PDF")


def test_sweep_sorts_by_click_and_by_key_and_leads_to_reports(opened, folder):
    page = opened(folder / "sweep.html")

    def column(number):
        return page.locator(f"tbody tr td:nth-child({number})").all_inner_texts()

    assert page.get_by_role("table").get_by_role("caption").count() == 1
    assert page.get_by_role("rowheader").all_inner_texts() == ["10", "10", "100", "100"]
    head = page.get_by_role("columnheader", name="posterior (MCMC)")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    shown = [text.split()[0] for text in column(3)]
    assert shown[-1] == "missing" or shown[0] == "missing"
    assert [float(text) for text in shown if text != "missing"] == [0.09, 0.3, 0.5]
    page.keyboard.press("Enter")  # the button that was clicked has the focus
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text.split()[0]) for text in column(3) if text != "missing"] == [0.5, 0.3, 0.09]
    assert page.locator("[aria-sort]").count() == 1
    links = page.get_by_role("link", name="report")
    assert links.count() == 3
    links.first.click()
    assert page.title() == "Reports in a browser"
    assert page.url.endswith("/points/a/report.html")


ROOT = Path(__file__).parents[1]
PAGES = ["index", "primer", "theory", "choosing", "t-process"]
MORE = ["api/regressors", "api/ProportionalLimitRegressor", "api/figures", "gallery/evidence"]  # of the whole site
CUT = """() => {
  const wide = innerWidth, found = [];
  const note = (what, element) => found.push(`${what}: ${element.textContent.slice(0, 60)}`);
  if (document.documentElement.scrollWidth > wide) found.push("the page scrolls sideways");
  for (const code of document.querySelectorAll("pre > code"))
    if (code.scrollWidth > code.clientWidth + 1) note("code is cut", code);
  for (const formula of document.querySelectorAll(".formula > div")) {
    const scrolls = getComputedStyle(formula).overflowX === "auto";
    if (!scrolls && formula.scrollWidth > formula.clientWidth + 1) note("a formula is cut", formula);
    const left = formula.getBoundingClientRect().left - formula.scrollLeft - 1;
    for (const piece of formula.querySelectorAll("math"))
      if (piece.getBoundingClientRect().left < left) note("a formula is cut at its left", formula);
  }
  for (const math of document.querySelectorAll(".md-content p > math"))
    if (math.getBoundingClientRect().right > wide) note("a formula leaves the page", math);
  return found;
}"""
WRAPPED = """() => [...document.querySelectorAll("pre > code > span[id]")]
  .filter((line) => line.getBoundingClientRect().height > 1.5 * parseFloat(getComputedStyle(line).lineHeight))
  .map((line) => line.textContent)"""


SITE = os.environ.get("STPBNN_SITE")
of_the_site = (lambda test: test) if SITE else pytest.mark.long  # to build five pages takes long


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the documentation."""
    if SITE:
        return Path(SITE)
    if NAMED is None:
        pytest.importorskip("material")
        pytest.importorskip("latex2mathml")
    folder = tmp_path_factory.mktemp("docs")
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    settings |= {
        "docs_dir": str(ROOT / "docs"),
        "site_dir": str(folder / "site"),
        "hooks": [str(ROOT / "docs/hooks/formulas.py")],
        "nav": [f"{name}.md" for name in PAGES],
        "exclude_docs": "*.md\n" + "".join(f"!/{name}.md\n" for name in PAGES),
        "plugins": ["search", "offline"],
    }
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings), "utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "-f", str(folder / "mkdocs.yml")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


@of_the_site
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_no_page_of_the_documentation_is_cut(opened, site, width, scheme):
    there = [name for name in PAGES + MORE if (site / f"{name}.html").exists()]
    assert there[: len(PAGES)] == PAGES
    page = opened(site / "index.html", width, scheme)
    for name in there:
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate(CUT) == [], name
        if width == 1280 and name in PAGES:
            assert page.evaluate(WRAPPED) == [], name
        if page.locator("math").count():
            page.evaluate("document.fonts.ready.then(() => null)")
            assert page.evaluate("[...document.fonts].map((font) => font.status)") == ["loaded"], name
        for picture in page.locator(".md-content img").all():
            turned = picture.evaluate("(image) => getComputedStyle(image).filter") != "none"
            assert turned == (scheme == "dark" and "dark" not in picture.get_attribute("src")), name


@of_the_site
def test_the_documentation_is_searched_from_a_folder(opened, site):
    page = opened(site / "theory.html")
    page.locator("input.md-search__input").click()
    page.keyboard.type("glossary")
    page.locator(".md-search-result__link").first.wait_for()
    assert "primer.html" in page.locator(".md-search-result__link").first.get_attribute("href")
