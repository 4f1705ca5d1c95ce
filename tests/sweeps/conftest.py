import pytest
from small_sweep import CARD

from stpbnn.sweeps import cluster, sweep


@pytest.fixture(scope="package")
def scheduler():
    """The address of a cluster such as sweep() starts, of one process: starting one takes longer than its points."""
    with cluster._local(1) as local:
        yield local.scheduler_address


@pytest.fixture(scope="package")
def finished(scheduler, tmp_path_factory):
    """A sweep that has been run, for tests that change nothing in it or copy it."""
    folder = tmp_path_factory.mktemp("sweeps") / "swept"
    return folder, sweep(CARD, folder, scheduler=scheduler, progress=False)


@pytest.fixture
def no_cluster(monkeypatch):
    def client(*arguments):
        raise AssertionError("something is run")

    monkeypatch.setattr(cluster, "client", client)
