"""Processes that share the work: a Dask client for a cluster on this machine, or for a scheduler elsewhere."""

from __future__ import annotations

import ast
import inspect
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["PACKAGES", "client", "refuse_in_its_own_worker", "refuse_other_versions", "versions"]

logger = logging.getLogger(__name__)

PACKAGES = ("stpbnn", "jax", "jaxlib", "numpyro")  # what decides on the draws
TIMEOUT = 10.0  # seconds
ATTEMPTS = 2  # to start processes on this machine
NO_LEAKS = "ignore:resource_tracker:UserWarning"  # semaphores of interrupted workers, which are cleaned up
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",  # the size of XLA's thread pool
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # workers may share a GPU
    "MPLBACKEND": "Agg",
}


@contextmanager
def client(scheduler: str | None = None, workers: int = 2) -> Iterator[Client]:
    """Yield a Dask client, and close it at the end, with the cluster that it started.

    Parameters
    ----------
    scheduler : str, optional
        The address of a scheduler, such as "tcp://10.0.0.1:8786"; by default a cluster is started on this machine.
    workers : int
        Processes of the cluster on this machine, of one thread each.

    Raises
    ------
    ValueError
        If the package distributed is not installed, no scheduler answers within some seconds, or a worker has other
        versions of stpbnn, JAX or NumPyro.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            "sweep: needs the package distributed, which is not installed; pip install 'stpbnn[cluster]'"
        ) from None
    if scheduler is None:
        _refuse_without_guard()
        with _local(workers) as cluster, Client(cluster, set_as_default=False) as local:
            yield local
        return
    try:
        remote = Client(scheduler, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"scheduler: {scheduler} does not answer ({error}); expected the address of a running Dask scheduler, "
            "such as tcp://10.0.0.1:8786, or none for a cluster on this machine"
        ) from None
    with remote:
        found: Any = remote.get_versions(packages=PACKAGES)
        for name, worker in found["workers"].items():
            refuse_other_versions(versions(), worker["packages"], name)
        if not found["workers"]:
            logger.warning("scheduler %s has no workers yet; the points wait for them", scheduler)
        yield remote


class UnguardedError(ValueError, SystemExit):
    """Raised where new processes import the script that starts them; uncaught, it ends the script in one line."""

    def __init__(self, message: str) -> None:
        SystemExit.__init__(self, message)


def refuse_in_its_own_worker() -> None:
    """End a new process of a cluster that meets the call which starts it; that call says why."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)


def _refuse_without_guard() -> None:
    """Refuse to start processes from the top of a script: each would import it, and meet the same call."""
    main = vars(sys.modules["__main__"])
    top = [info.frame for info in inspect.stack(0) if info.frame.f_globals is main and "__file__" in main]
    if not top or top[-1].f_code.co_name != "<module>":
        return
    try:
        with open(top[-1].f_code.co_filename, encoding="utf-8-sig") as script:
            statements = ast.parse(script.read()).body
    except (OSError, ValueError, SyntaxError):
        return
    before = [statement for statement in statements if statement.lineno <= top[-1].f_lineno]
    if not any("__name__" in ast.unparse(statement.test) for statement in before if isinstance(statement, ast.If)):
        raise UnguardedError(
            "sweep: is called at the top of a script, which its new processes import; call it under "
            'if __name__ == "__main__":'
        )


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide on the draws."""
    return {name: version(name) for name in PACKAGES}


def refuse_other_versions(expected: Mapping[str, str], found: Mapping[str, str | None], worker: str) -> None:
    """Refuse a worker that has other versions of stpbnn, JAX or NumPyro than its client."""
    differ = [f"{name} {found.get(name) or 'is missing'} there and {here} here" for name, here in expected.items()
              if found.get(name) != here]  # fmt: skip
    if differ:
        raise ValueError(f"worker {worker}: {', '.join(differ)}; install the same versions on all machines")


@contextmanager
def _local(workers: int) -> Iterator[Any]:
    """Start processes of one thread each: JAX and BLAS would else take all cores for each of them."""
    import dask

    environment = ONE_THREAD | {
        "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), ONE_THREAD["XLA_FLAGS"]]).strip(),
        "PYTHONWARNINGS": ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), NO_LEAKS])),
    }
    settings = {"distributed.nanny.pre-spawn-environ": environment}
    options = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "memory_limit": 0,
        "dashboard_address": ":0",
        "silence_logs": logging.CRITICAL,
    }
    with _quiet(), _restored(environment), dask.config.set(settings):
        os.environ["PYTHONWARNINGS"] = environment["PYTHONWARNINGS"]  # the process that counts semaphores comes first
        with _started(options) as cluster:
            yield cluster


def _started(options: Mapping[str, Any]) -> Any:
    """Return a cluster whose processes are running; they are started again where something ends them."""
    from distributed import LocalCluster

    resource_tracker.ensure_running()  # its start would let Ctrl-C through again
    for attempt in range(ATTEMPTS):
        try:
            with _deaf_to_ctrl_c():
                return LocalCluster(**options)
        except (RuntimeError, OSError) as error:
            logger.debug("attempt %d to start the workers: %s", attempt + 1, error)
    raise ValueError(
        "workers: the processes ended while they were started; in a script, call sweep() under "
        'if __name__ == "__main__":, else see what ends them (memory?) and call again: it goes on from what is finished'
    )


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C from threads and processes that are started meanwhile: this process hears it, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log of our own cluster: failures show as errors or warnings."""
    log = logging.getLogger("distributed")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _restored(names: Iterable[str]) -> Iterator[None]:
    """Leave variables of the environment as they were: Dask sets those of its workers in this process."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
