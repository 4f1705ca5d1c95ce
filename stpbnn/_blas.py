"""SciPy's BLAS, loaded so that its threads and XLA's can take turns on the same cores.

OpenBLAS's threads hold a core for 2^26 cycles, 25 ms, after each call, in case that another follows; a deep fit, where
XLA and LAPACK alternate every few milliseconds, takes half as long again for that. The library reads how long when it
is loaded, so that where SciPy was imported before, or the variable is set, nothing changes.
"""

from __future__ import annotations

import os
import sys

__all__ = ["load"]

VARIABLE, LOG_CYCLES = "OPENBLAS_THREAD_TIMEOUT", "18"


def load() -> None:
    """Import scipy.linalg with a short waiting time for its threads; the environment is left as it was."""
    if VARIABLE in os.environ or "scipy.linalg" in sys.modules:
        return
    os.environ[VARIABLE] = LOG_CYCLES
    try:
        import scipy.linalg  # noqa: F401
    finally:
        del os.environ[VARIABLE]
