"""stpbnn comes before SciPy, as where a script imports it first: it says how long OpenBLAS's threads wait."""

import pytest

import stpbnn

stpbnn.FullyConnected  # noqa: B018


@pytest.fixture(scope="module")
def deepbays():
    """Return a process that has imported deepbays."""
    from peer import Peer

    peer = Peer()
    peer("one layer", 20)
    yield peer
    peer.close()
