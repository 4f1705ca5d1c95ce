import pytest
from small_sweep import CARD

from stpbnn.sweeps import cluster, sweep


@pytest.fixture(scope="package")
def scheduler():
    """The address of a cluster within this process, which has loaded, and compiled, what points need."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", memory_limit=0, dashboard_address=":0"
    ) as local:
        yield local.scheduler_address


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    """A sweep that a process of its own has run, for tests that change nothing in it or copy it."""
    folder = tmp_path_factory.mktemp("sweeps") / "swept"
    return folder, sweep(CARD, folder, workers=1, progress=False)


@pytest.fixture
def no_cluster(monkeypatch):
    def client(*arguments):
        raise AssertionError("something is run")

    monkeypatch.setattr(cluster, "client", client)
