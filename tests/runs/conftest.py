import shutil

import pytest
from run_folders import TINY

from stpbnn import cards, runs


@pytest.fixture(scope="session")
def card():
    return cards.load_card("smoke-1hl-linear", TINY)


@pytest.fixture(scope="session")
def finished(card, tmp_path_factory):
    """One real run, sampled once; tests that change its folder copy it first."""
    return runs.run_card(card, tmp_path_factory.mktemp("runs") / "deep" / "run", progress=False)


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished.folder, tmp_path / "run")


@pytest.fixture
def no_sampling(monkeypatch):
    def sample(*args, **kwargs):
        raise AssertionError("sampled again")

    monkeypatch.setattr("stpbnn.samplers.collect", sample)
