"""Chains on whatever device JAX finds: gradients a second of 64 chains at P = N_1 = 1000, with precision and power.

    uv run pytest benchmarks/test_hardware.py --benchmark-only -n 0    # CPU: minutes; GPU: the same line
    JAX_ENABLE_X64=1 uv run pytest benchmarks/test_hardware.py --benchmark-only -n 0      # in double precision
    STPBNN_CHAINS=4 STPBNN_SIZE=200 uv run pytest benchmarks/test_hardware.py --benchmark-only -n 0    # a small one

Chains are spread over all devices that divide their number, as `stpbnn.sample` does. Power is the mean of what
`nvidia-smi` says while the chains run, over all GPUs; of a CPU it is what the kernel's counter of energy says, where
that may be read.
"""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from threadpoolctl import threadpool_limits

from stpbnn import FullyConnected, programs
from stpbnn.samplers import SplitHMC

CHAINS, SIZE = int(os.environ.get("STPBNN_CHAINS", 64)), int(os.environ.get("STPBNN_SIZE", 1000))
STEPS, T = 10, 0.01
ENERGY = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
ASK = ["--query-gpu=power.draw", "--format=csv,noheader,nounits"]


class Power:
    """Watts while a block runs; None where nothing can be read."""

    def __enter__(self):
        self.watts, self._done, self._seen = None, threading.Event(), []
        self._start, self._energy = time.perf_counter(), self._joules()
        self._tool = shutil.which("nvidia-smi") if jax.default_backend() == "gpu" else None
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self):
        while self._tool and not self._done.wait(0.2):
            found = subprocess.run([self._tool, *ASK], capture_output=True, text=True, check=False).stdout.split()
            self._seen.append(sum(map(float, found)))

    @staticmethod
    def _joules():
        try:
            return int(ENERGY.read_text()) / 1e6
        except OSError:
            return None

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        if self._seen:
            self.watts = float(np.mean(self._seen))
        elif jax.default_backend() == "cpu" and self._energy is not None:
            self.watts = (self._joules() - self._energy) / (time.perf_counter() - self._start)


@pytest.mark.parametrize("readout", ["marginal", "explicit"])
@pytest.mark.benchmark(group=f"{CHAINS} chains, P = N_1 = {SIZE}, trajectories of {STEPS} steps")
def test_chains(benchmark, readout):
    rng = np.random.default_rng(0)
    X, y = jnp.asarray(rng.normal(size=(SIZE, 784))), jnp.asarray(np.sign(rng.normal(size=SIZE)))
    model = {"marginal": programs.marginal_network, "explicit": programs.network}[readout](FullyConnected((SIZE,)))
    kernel = SplitHMC(model, step_size=1e-3, trajectory_length=STEPS * 1e-3, target_accept_prob=None)
    devices = max(n for n in range(1, len(jax.devices()) + 1) if CHAINS % n == 0)
    by_chain = NamedSharding(Mesh(np.array(jax.devices()[:devices]), ("chain",)), PartitionSpec("chain"))
    with threadpool_limits(1, user_api="blas"):
        keys = jax.device_put(jax.random.split(jax.random.key(0), CHAINS), by_chain)
        state = kernel.init(keys, 0, None, (X, y), {"temperature": T})
        move = jax.jit(lambda state: kernel.sample(state, (X, y), {"temperature": T}))
        with Power() as power:
            run = lambda: jax.block_until_ready(move(state))  # noqa: E731
            benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    after = move(state)
    assert bool(jnp.isfinite(after.potential_energy).all())
    assert after.num_steps.sharding.num_devices == devices
    benchmark.extra_info |= {
        "gradients_per_second": int(after.num_steps.sum()) / benchmark.stats["min"],
        "device": jax.devices()[0].device_kind,
        "devices": devices,
        "precision": str(X.dtype),
        "products": str(jax.config.jax_default_matmul_precision or "default"),
        "watts": "not readable" if power.watts is None else power.watts,
    }
