import base64
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from quick_cases import cases
from report_data import made, rendered, worded

from stpbnn import Activation, Convolutional, NNGPRegressor, ProportionalLimitRegressor, write_report
from stpbnn.comparison import compare_predictions, predict_theories
from stpbnn.report import render
from stpbnn.report.contents import contents
from stpbnn.report.pictures import pictures

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page taken apart: tags balanced, and what a reader or a browser would look at."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.headings, self.text = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append([tag, ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1][1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def html():
    return rendered()


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_is_one_file_that_asks_for_nothing(html, page):
    assert len(html.encode()) < 3e6
    assert page.all("script") == []
    for _, attrs in page.tags:
        for key in ("src", "href", "srcset", "action"):
            assert attrs.get(key, "data:").startswith(("data:", "#"))
    assert "@import" not in html
    assert "url(" not in html


def test_headings_are_in_order_and_name_the_sections(page):
    levels = [int(tag[1]) for tag, _ in page.headings]
    assert levels == [1] + [2] * (len(levels) - 1)
    assert [text for _, text in page.headings][1:] == [
        "Setting",
        "Verdict",
        "What the theory leaves out",
        "Predictions",
        "Generalisation error",
        "Deviations in standard errors",
        "Calibration",
        "Model against data",
        "Order parameters",
        "Kernel spectrum",
        "Convergence of the chains",
        "How to reproduce",
    ]


def test_figures_have_words_and_are_sound_svg(page):
    images = page.all("img")
    assert len(images) == 13
    for image in images:
        assert len(image["alt"]) > 40
        svg = base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,"))
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        links = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)


def test_tables_have_captions_and_scopes(page):
    assert len(page.all("table")) == len(page.all("caption")) == 5
    assert all(header.get("scope") in ("col", "row") for header in page.all("th"))
    labels = [a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert set(labels) <= set(ids)
    assert len(ids) == len(set(ids))


def test_says_what_was_asked_found_and_done(page):
    words = page.words
    for part in (
        "Does the closed-form prediction of the proportional limit agree with the true posterior of this network?",
        "Yes: it agrees within Monte Carlo error (largest |z|",
        "1 hidden layer of width 20; erf; 1 output; weight precision λ = 1; no biases",
        "P = 12 training points with N₀ = 4 inputs; 10 test points",
        "T = 0.1",
        "NUTS, 4 chains of 500 draws after 500 warm-up steps; readout explicit",
        "family-wise level 0.01, Bonferroni",
        "0 divergent transitions",
        "The 12 leading eigenmodes hold 100.0 % of the squared norm of the targets. Of that part the posterior mean",
        "Seed 7",
        "sampling 12.3 s",
        "relative variance 2/N = 0.1 for N = 20",
        "The load is α = P/N = 0.6.",
        "seed=7",
    ):
        assert part in words


def test_contents_lead_to_every_section(page):
    links = [attrs["href"] for attrs in page.all("a")]
    sections = [attrs["aria-labelledby"] for attrs in page.all("section")]
    assert links == [f"#{name}" for name in sections]


def test_coverage_is_told_for_each_theory(page):
    """The draws are those of the proportional limit, so its intervals hold what they should."""
    found = re.search(
        r"proportional limit (\S+) ± (\S+) % (\S+) ± (\S+) % (\S+) ± (\S+) %", page.words.replace("\u00a0", " ")
    )
    numbers = np.array(found.groups(), dtype=float)
    assert (abs(numbers[::2] - [50, 80, 90]) < 4.5 * numbers[1::2]).all()


def test_shows_and_explains_a_difference():
    words = Page(worded(shift=0.3)).words.replace("\u00a0", " ")
    assert "No, it differs by more than the Monte Carlo error: " in words
    assert "The theory “proportional limit” differs from the posterior (" in words
    assert "vanishes like 1/N for wide networks at fixed number of training points P" in words
    assert "turn it towards the task" in words
    assert re.search(r"largest \|z\| \d+\.\d among 10 predictions \(threshold 3\.3\)", words)
    assert re.search(r"the saddle point of the last layer is at Q̄ = \d", words)


@pytest.mark.parametrize(
    ("activation", "says", "says_not"),
    [
        (Activation("arctan", jnp.arctan, order=16), "turn it towards the task", "activation that is not odd"),
        (Activation("bent", lambda h: h + h * h / 4, order=16), "not odd, such as bent", "exact at every width"),
        (Activation("doubled", lambda h: 2 * h, order=16), "exact at every width", "First, the saddle point"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_activations_of_ones_own_are_asked_what_they_are(activation, says, says_not):
    posterior, theories, Xt, yt = made(points=1, draws=50, activation=activation)
    predictions = predict_theories(theories, Xt, yt)
    comparison = compare_predictions(posterior, predictions)

    def words(predictions):
        return " ".join(contents(posterior, predictions, comparison)["explanation"])

    assert says in words(predictions)
    assert says_not not in words(predictions)
    forgotten = words(predictions.drop_vars(["odd", "linear"]))  # of an earlier version, and not registered here
    assert "not odd" not in forgotten
    assert "exact at every width" not in forgotten


def test_a_class_derived_from_a_theory_is_that_theory():
    class Mine(ProportionalLimitRegressor):
        """As it is."""

    posterior, theories, Xt, yt = made(points=1, draws=50)
    own = {"mine": Mine(**theories["proportional limit"].get_params(deep=False)).fit(*fitted_on(posterior))}
    predictions = predict_theories({**own, "infinite width": theories["infinite width"]}, Xt, yt)
    assert predictions["regressor"].values.tolist() == ["ProportionalLimitRegressor", "NNGPRegressor"]
    question = contents(posterior, predictions, compare_predictions(posterior, predictions))["question"]
    assert "closed-form prediction of the proportional limit" in question


def fitted_on(posterior):
    return posterior["constant_data"]["X"].to_numpy(), posterior["observed_data"]["y"].to_numpy()


def test_an_unconverged_posterior_gets_no_verdict():
    words = Page(worded(draws=50)).words
    assert "Not decided. No verdict: the posterior has not converged (R-hat" in words
    assert "not converged" in words


def test_text_from_outside_is_escaped():
    bad = "<script>alert(1)</script>"
    html = worded(title=f"A {bad}", card=f'title = "{bad}"', run={"device": bad, "versions": {bad: bad}})
    page = Page(html)
    assert page.all("script") == []
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 6
    assert page.headings[0][1] == f"A {bad}"


def test_theory_names_are_escaped_too():
    posterior, theories, Xt, yt = made(points=1, draws=50)
    predictions = predict_theories({'<b onclick="x">': theories["infinite width"]}, Xt, yt)
    page = Page(render(posterior, predictions, compare_predictions(posterior, predictions)))
    assert page.all("b") == []


def test_card_gives_title_and_commands():
    card = 'name = "tiny"\ntitle = "A tiny network"\n'
    page = Page(worded(card=card, run={"seconds": {"sampling": 1.5, "theory": 0.25}, "cores": 2}))
    assert page.headings[0][1] == "A tiny network"
    assert "stpbnn run card.toml" in page.words
    assert "Save the card below as card.toml and run" in page.words
    table = worded(card=card + '[data]\nfile = "house.csv"\n')
    assert "Save the card below as card.toml beside house.csv and run" in Page(table).words
    assert "sampling 1.5 s, theory 0.25 s" in page.words
    code = Page(worded(card=f'{card}[network]\nactivation = "mine:soft"\n[data]\nfile = "house.csv"\n')).words
    assert "beside house.csv and mine.py and run stpbnn run card.toml -o run --allow-code . Given" in code
    arrays = Page(worded(card=f'{card}[data]\nname = "arrays"\n')).words
    assert 'run stpbnn.run("card.toml", data=(X, y, Xt, yt), folder="run") in Python, with the arrays of' in arrays
    assert Page(worded(card="not TOML at all = =")).headings[0][1].startswith("Theory and posterior")


def test_setting_names_the_data_set_of_the_card():
    card = 'title = "t"\n[data]\nname = "digits"\nclasses = [0, 1]\ntrain = 12\n'
    assert "digits, classes 0, 1; P = 12 training points with N₀ = 4 inputs; 1 test point " in (
        Page(worded(points=1, draws=50, card=card)).words
    )
    assert "Data P = 12 training points" in Page(worded(points=1, draws=50, card="data = 3")).words


MANY_AND_FEW = [{"points": 60}, {"points": 20}, {"points": 1}, {"outputs": 2}]


@pytest.mark.parametrize("settings", cases([{"points": 60}, {"outputs": 2}], MANY_AND_FEW), ids=str)
def test_many_points_few_points_and_several_outputs(settings):
    html = rendered(**settings)
    assert len(Page(html).all("img")) >= 6
    assert len(html.encode()) < 3e6


def test_the_same_data_give_the_same_page(html):
    assert rendered() == html


def test_the_least_that_a_posterior_can_hold_is_enough():
    f = np.random.default_rng(0).normal(size=(1, 50, 2))
    posterior = xr.DataTree.from_dict({"predictions": xr.Dataset({"f": (("chain", "draw", "test_point"), f)})})
    theory = xr.Dataset({"mean": (("theory", "test_point"), np.zeros((1, 2))), "variance": 1.0}, {"theory": ["zero"]})
    page = Page(render(posterior, theory, compare_predictions(posterior, theory)))
    assert "R-hat cannot be computed from 1 chain of 50 draws" in page.words
    assert "Generalisation error" not in [text for _, text in page.headings]


def test_writes_the_file_whole(tmp_path):
    posterior, theories, Xt, yt = made(points=1, draws=50)
    write_report(tmp_path / "report.html", posterior, theories, Xt, yt, title="Whole")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.headings[0][1] == "Whole"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_bad_input_leaves_nothing_behind(tmp_path):
    posterior, theories, Xt, yt = made()
    for arguments, message in [
        ((tmp_path / "no" / "report.html", posterior, theories, Xt, yt), "there is no folder"),
        ((tmp_path, posterior, theories, Xt, yt), "which is a folder"),
        ((tmp_path / "a.html", posterior, {}, Xt, yt), "theories"),
        ((tmp_path / "a.html", posterior, {"x": NNGPRegressor()}, Xt, yt), "not fitted"),
        ((tmp_path / "a.html", posterior, theories, Xt[:5], yt[:5]), "other test inputs"),
        ((tmp_path / "a.html", xr.DataTree(), theories, Xt, yt), "other test inputs"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_report(*arguments)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="what compare returned"):
        render(posterior, xr.Dataset(), xr.Dataset())


def test_colours_have_the_contrast_of_wcag_aa(html):
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    themes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", html, re.S)
    ]
    assert len(themes) == 3
    for theme in themes[:2]:
        for ink in ("text", "quiet", "agrees", "differs", "open"):
            for ground in ("ground", "panel"):
                low, high = sorted(luminance(theme[name]) for name in (ink, ground))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


@pytest.mark.parametrize("failed", [["proportional limit"], ["infinite width", "proportional limit"]])
def test_captions_tell_of_theories_that_have_not_converged(failed):
    posterior, theories, Xt, yt = made(points=3, draws=50)
    predictions = predict_theories(theories, Xt, yt)
    predictions["converged"] = ("theory", [str(name) not in failed for name in predictions["theory"].values])
    shown = pictures(posterior, compare_predictions(posterior, predictions))
    told = " Left out, for want of convergence of the solver: proportional limit."
    told = " The solvers of all theories shown have not converged." if len(failed) == 2 else told
    for section, some in shown.items():
        assert all(picture.caption.endswith(told) == (section != "chains") for picture in some), section


def test_a_network_of_positions_is_explained_by_its_matrix():
    """The mean of the diagonal of a Wishart matrix over N, at d positions, has the relative variance 2/(N d)."""
    posterior, _, Xt, yt = made(points=1, draws=50)
    net = Convolutional((20,), (1, 1), image=(1, 4, 1))
    limit = ProportionalLimitRegressor(net, temperature=0.1).fit(*fitted_on(posterior))
    predictions = predict_theories({"proportional limit": limit}, Xt, yt)
    with pytest.warns(UserWarning, match="is not one of the sampled posterior: a Convolutional instead of a FullyConn"):
        compare_predictions(posterior, predictions)
    posterior.attrs["network"] = json.dumps(net.to_dict())
    comparison = compare_predictions(posterior, predictions)
    shown = contents(posterior, predictions, comparison)
    assert "images of 1 × 4 × 1, kernel size 1 × 1, stride 1 × 1, padding valid" in dict(shown["setting"])["Network"]
    assert "Coloured curve" not in " ".join(picture.caption for picture in pictures(posterior, comparison)["order"])
    paragraphs = shown["explanation"]
    told = " ".join(paragraphs)
    assert "all pairs of the d = 4 positions" in told
    assert "relative variance 2/(N d) = 0.025 for N = 20 channels" in told
    assert "weighs the kernels of all pairs of positions" in told
    predictions.attrs["beside_the_chains"] = "a linear trend"
    assert "Theories" not in dict(shown["setting"])
    shown = contents(posterior, predictions, comparison)
    assert dict(shown["setting"])["Theories"] == "with a linear trend, which the chains do not have"
    first, *others = shown["explanation"]
    assert first == "The theories have a linear trend, and the sampled posterior does not: that may be why they differ."
    assert others == paragraphs


@pytest.mark.parametrize(
    ("cluster", "whole", "systematic", "words"),
    [
        (1, 0.03, np.nan, "clusters of 1 unit of 20, of no other size: how far off they are is not known"),
        (
            5,
            0.05,
            0.04,
            "clusters of 5 units of 20. The standard error of its error is 0.05: Monte Carlo 0.03",
        ),
        (20, 0.03, 0.0, "the network as one cluster: the Monte Carlo error 0.03"),
    ],
)
def test_the_parts_of_the_error_of_a_simulated_theory_are_told(cluster, whole, systematic, words):
    """Of the theory with clusters alone; the whole error stands in the table, quoted to its digits."""
    posterior, theories, Xt, yt = made()
    predictions = predict_theories(theories, Xt, yt)
    here = predictions["theory"] == "infinite width"
    predictions["cluster"] = here.where(here) * cluster
    predictions["theory_error_mcse"] = (whole * here).broadcast_like(predictions["error"])
    predictions["theory_error_systematic"] = (here * systematic).where(here, 0).broadcast_like(predictions["error"])
    found = contents(posterior, predictions, compare_predictions(posterior, predictions))
    assert found["simulated"].startswith(f"“infinite width” simulates {words}")
    assert "proportional" not in found["simulated"]
