"""SciPy's BLAS, loaded so that its threads and XLA's can take turns on the same cores.

OpenBLAS's threads hold a core for 2^26 cycles, 25 ms, after each call, in case another follows; a deep fit, where XLA
and LAPACK alternate every few milliseconds, takes half as long again because of it. The library reads this time when it
is loaded: nothing changes where SciPy was imported before, or where the variable is set. Factors of a few hundred rows
gain nothing from a second thread, and where other programs want the same cores they wait for it, each time.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

__all__ = ["load", "one_thread"]

VARIABLE, LOG_CYCLES = "OPENBLAS_THREAD_TIMEOUT", "18"
SMALL = 1000  # rows


def load() -> None:
    """Import scipy.linalg with a short waiting time for its threads; the environment is left as it was."""
    if VARIABLE in os.environ or "scipy.linalg" in sys.modules:
        return
    os.environ[VARIABLE] = LOG_CYCLES
    try:
        import scipy.linalg  # noqa: F401
    finally:
        del os.environ[VARIABLE]


def one_thread(rows: int) -> AbstractContextManager[Any]:
    """Return a context in which BLAS has one thread, where its matrices are small; before and after it has its own.

    Examples
    --------
    >>> from threadpoolctl import threadpool_info
    >>> with one_thread(300):
    ...     {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}
    {1}
    """
    return _controller().limit(limits=1, user_api="blas") if rows <= SMALL else nullcontext()


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
