"""Predictive laws are calibrated on data that numpy draws from the model's definition (analysis/calibration.py)."""

import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "analysis" / "calibration.py"
RESULT = SCRIPT.parent / "results" / "calibration.csv"
NAMES = ["t-process, noise in the scale", "t-process, Gaussian noise", "linear network of finite width"]


@pytest.fixture(scope="module")
def calibration():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("model", NAMES)
def test_transforms_are_uniform(calibration, model):
    """100 replications, of the law as a whole and of its central intervals; the committed run starts with them."""
    values = calibration["transforms"](model, 100)
    assert min(calibration["p_values"](values)) > 0.01
    committed = np.loadtxt(RESULT, delimiter=",", skiprows=1)[:100, NAMES.index(model)]
    np.testing.assert_allclose(values, committed, atol=2e-5)


@pytest.mark.long
@pytest.mark.parametrize("model", NAMES)
def test_a_thousand_replications(calibration, model):
    """The model's own law passes, and the test has the power to refuse a Gaussian process."""
    assert min(calibration["p_values"](calibration["transforms"](model, 1000))) > 0.01
    assert min(calibration["p_values"](calibration["transforms"](model, 1000, gaussian=True))) < 1e-4


@pytest.mark.parametrize("column", range(3))
def test_the_committed_run(calibration, column):
    committed = np.loadtxt(RESULT, delimiter=",", skiprows=1)
    assert committed.shape == (1000, 3)
    assert min(calibration["p_values"](committed[:, column])) > 0.01
