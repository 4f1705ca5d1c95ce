"""Shared fixtures; shapes and types of internal functions are checked here and nowhere else."""

import gc
import os
import signal
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a foreground process, for the tests of Ctrl-C
# two workers on two cores: one thread each, set before the libraries are loaded
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("MPLBACKEND", "Agg")
# compiling is most of the suite's time: what one worker, subprocess or run compiled, the others load; same numbers
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# short chains: to optimise their programs takes longer than to run them as they are
PLAINLY = "JAX_DISABLE_MOST_OPTIMIZATIONS"
SHORT_CHAINS = "doors runs samplers sweeps test_cards_of_classes test_cli test_docs test_forecasts test_own_data"
SHORT_CHAINS += " test_own_tables test_process_cards test_terminal"

gc.set_threshold(100_000)  # tracing makes so many objects that looking for cycles among them takes a tenth of the time

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook
from run_folders import without_pictures
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

threadpool_limits(1)  # a plugin loads NumPy, and its BLAS, before the variable above is set

# before the first import of stpbnn; its public doors speak for themselves
ALGEBRA = "elastic layered matrix mean_kept minima one_scale resolvent response saddle_point width_curve"
INTERNAL = ["activations.closed_forms", "activations.quadrature", "kernels.closures", "samplers.draws.observables"]
INTERNAL += [f"scale.{name}" for name in ALGEBRA.split()]
install_import_hook([f"stpbnn.{name}" for name in INTERNAL], "beartype.beartype")

from stpbnn._backend import make_room_for_programs

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}


# examples that sample: what they show other tests test, and who changes one runs the file by itself
LONG_EXAMPLES = "evaluation.functions hamiltonian.SplitHMC langevin.Langevin no_u_turn.SplitNUTS own_data.run"
LONG_EXAMPLES += " process_posterior.sample_process rank_calibration.ranks curves.theory_curves datatree.to_datatree"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.name.endswith(tuple(f".{name}" for name in LONG_EXAMPLES.split())):
            item.add_marker(pytest.mark.long)
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(7200))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Choose how programs are compiled, here and in the processes that a test starts."""
    place = item.path.with_suffix("").relative_to(item.config.rootpath).parts
    short = len(place) > 1 and place[1] in SHORT_CHAINS.split() and not item.get_closest_marker("long")
    os.environ[PLAINLY] = str(int(short))
    jax.config.update(PLAINLY.lower(), short)


def pytest_collection_finish():
    gc.freeze()  # modules and the tests themselves stay: no search for cycles goes through them again


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """Forget compiled programs between files: a worker that keeps those of the whole suite has no mappings left."""
    yield
    make_room_for_programs(part=0.15)


@pytest.fixture(params=TOLERANCE)
def precision(request):
    """Run a test in both precisions; gives the dtype and its relative tolerance."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param), TOLERANCE[request.param]


@pytest.fixture
def float64():
    """Run a test of an internal function in double precision, as the public doors do."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def no_pictures():
    with without_pictures():
        yield


@pytest.fixture(scope="session")
def digits():
    """Digits 0 against 1 as -1 and +1: 100 training and 10 test images, made here without the library's loaders."""
    images, classes = load_digits(return_X_y=True)
    images, classes = images[classes < 2], classes[classes < 2]
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:100], order[100:110]
    X, y = (images - images[train].mean()) / images[train].std(), np.where(classes == 0, -1.0, 1.0)
    return X[train], y[train], X[test], y[test]
