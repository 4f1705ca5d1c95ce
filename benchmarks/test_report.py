"""The report of a run, made anew from its folder alone: 4 chains of 1,000 draws, 1,000 test points."""

import re

import pytest

from stpbnn.cards import load_card
from stpbnn.runs import rerender, run_card

CHANGES = ["network.widths=[50]", "network.activation='erf'", "data.train=200", "data.test=1000"]
CHANGES += ["sampler.warmup=200", "sampler.draws=1000", "sampler.chains=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("run")
    run_card(load_card("smoke-1hl-linear", CHANGES), folder / "run", progress=False)
    return folder / "run"


@pytest.mark.benchmark(group="report, 4 × 1000 draws of 1000 test points", min_rounds=3)
def test_report(benchmark, folder):
    (folder / "report.html").unlink()
    run = benchmark(rerender, folder)
    html = (folder / "report.html").read_bytes()
    benchmark.extra_info["bytes"] = len(html)
    benchmark.extra_info["pictures"] = len(re.findall(b"<img ", html))
    benchmark.extra_info["predictions"] = run.comparison["f_mean"].size
    benchmark.extra_info["draws"] = int(run.comparison["chains"] * run.comparison["draws"])
