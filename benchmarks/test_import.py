"""Importing stpbnn beside importing what it stands on, each in a process of its own."""

import subprocess
import sys

import pytest

STATEMENTS = {"stpbnn": "import stpbnn", "numpyro and scikit-learn": "import numpyro, sklearn.base"}


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.benchmark(group="import", min_rounds=5, warmup=True)
def test_import(benchmark, name):
    benchmark(lambda: subprocess.run([sys.executable, "-c", STATEMENTS[name]], check=True))
