"""Products by tiles of single precision against dense products, on one device, several, and in several processes."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from stpbnn import FullyConnected
from stpbnn.iterative import TiledMatrix
from stpbnn.kernels import feature_map, symmetric_kernel
from stpbnn.scale.iterated_scale import network_blocks

RNG = np.random.default_rng(0)
P = 150
FACTOR = RNG.normal(size=(P, P)) / np.sqrt(P)
K = FACTOR @ FACTOR.T


def tiled(**settings):
    return TiledMatrix.of(P, lambda rows, columns: K[rows, columns], edge=64, **settings)


@pytest.mark.parametrize("hold", [True, False], ids=["held", "made again"])
def test_a_product_is_that_of_the_whole_matrix(hold):
    with jax.enable_x64(True):
        matrix, V = tiled(hold=hold), RNG.normal(size=(P, 3))
        assert bool(matrix.held) == hold
        np.testing.assert_allclose(matrix.product(V), K @ V, atol=1e-5)
        single = K.astype(np.float32).astype(np.float64)  # what products are made with
        assert matrix.trace == pytest.approx(np.trace(single), rel=1e-12)
        assert matrix.squares == pytest.approx(np.sum(single**2), rel=1e-12)


def test_single_precision_is_that_of_the_entries_and_not_of_their_sum():
    """The sum of a million ones and a thousandth each: beyond single precision, were tiles added in it."""
    with jax.enable_x64(True):
        size = 1000
        matrix = TiledMatrix.of(size, lambda rows, columns: np.ones((size, size))[rows, columns], edge=64, hold=True)
        V = np.where(np.arange(size) < 64, 2.0**20, 2.0**-4)[:, None]
        assert matrix.product(V)[0, 0] == 64 * 2.0**20 + (size - 64) * 2.0**-4


def test_blocks_of_a_network_are_those_of_its_kernel():
    net, X = FullyConnected((9, 9), "erf", bias_precision=2.0), RNG.normal(size=(20, 4))
    with jax.enable_x64(True):
        block = network_blocks(feature_map(net), net.prior, X)
        lower = symmetric_kernel(feature_map(net), net.prior, X)
        whole = lower + np.tril(lower, -1).T
        np.testing.assert_allclose(block(slice(3, 9), slice(10, 20)), whole[3:9, 10:20], rtol=1e-12)
        np.testing.assert_allclose(block(slice(3, 9), slice(3, 9)), whole[3:9, 3:9], rtol=1e-12)


def test_a_million_rows_are_not_begun_in_silence(float64):
    """The warning, which is an error here, comes before the second tile."""
    made, x = [], np.linspace(0, 1, 4096)

    def blocks(rows, columns):
        made.append((rows, columns))
        return np.exp(-((x[: rows.stop - rows.start, None] - x[None, : columns.stop - columns.start]) ** 2))

    with pytest.raises(UserWarning, match=r"X: got 1,000,000 examples: products with .* made again .* take \d+ hours"):
        TiledMatrix.of(10**6, blocks)
    assert len(made) == 2
    assert TiledMatrix.of(300, blocks).size == 300  # in silence


def test_tiles_are_refused_to_memory_that_is_not_there(monkeypatch):
    monkeypatch.setattr("stpbnn.iterative.tiled_matrix.available", lambda: 1000)
    with jax.enable_x64(True):
        assert not tiled().held


DEVICES = """
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
from stpbnn.iterative import TiledMatrix
rng = np.random.default_rng(0)
F = rng.normal(size=(150, 150))
K, V = F @ F.T, rng.normal(size=(150, 2))
matrix = TiledMatrix.of(150, lambda rows, columns: K[rows, columns], edge=64)
assert {device for tile in matrix.held.values() for device in tile.devices()} == set(jax.local_devices())
assert len(jax.local_devices()) == 2
np.testing.assert_allclose(matrix.product(V), K @ V, rtol=1e-4, atol=1e-3)
"""


@pytest.mark.long
def test_two_devices_share_the_tiles():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    _run([_start(DEVICES, flags)])


PROCESSES = """
import sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from stpbnn import FullyConnected, ProportionalLimitRegressor
from stpbnn.iterative import TiledMatrix
rng = np.random.default_rng(0)
X = rng.normal(size=(500, 5))
y = np.sin(X[:, 0])
K = X @ X.T
matrix = TiledMatrix.of(500, lambda rows, columns: K[rows, columns], edge=64)
assert len(matrix.held) == 18
np.testing.assert_allclose(matrix.product(X), K @ X, rtol=1e-4, atol=1e-3)
assert abs(matrix.trace / np.trace(K.astype(np.float32).astype(np.float64)) - 1) < 1e-12
net = FullyConnected((50,), "erf")
fits = [ProportionalLimitRegressor(net, temperature=0.1, solver=way).fit(X, y) for way in ("exact", "iterative")]
exact, iterated = fits
assert abs(iterated.order_parameters_[0] / exact.order_parameters_[0] - 1) < 1e-3
np.testing.assert_allclose(iterated.predict(X), exact.predict(X), atol=1e-3)
"""


@pytest.mark.long
def test_two_processes_share_the_tiles():
    """JAX's distributed runtime on this machine: each process makes and holds half of the tiles."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    _run([_start(PROCESSES, {"JAX_PLATFORMS": "cpu"}, address, str(rank)) for rank in range(2)])


def _start(code, variables, *arguments):
    import os

    environment = os.environ | variables
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _run(processes):
    try:
        said = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, said, strict=True):
        assert process.returncode == 0, text[-2000:]
