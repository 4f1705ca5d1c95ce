"""Bayesian neural networks of finite width: sample the posterior and predict it in closed form, side by side."""

from __future__ import annotations

from stpbnn._version import __version__ as __version__

TYPE_CHECKING = False  # that of typing, which takes as long to import as all the rest

if TYPE_CHECKING:
    from typing import Any

    from stpbnn import activations, classification, datasets, figures, programs, samplers
    from stpbnn.activations import Activation
    from stpbnn.classifiers import FiniteWidthClassifier, NNGPClassifier, ProportionalLimitClassifier
    from stpbnn.comparison import compare
    from stpbnn.kernels import NNGPKernel
    from stpbnn.network import Convolutional, FullyConnected
    from stpbnn.own_data import run, sweep
    from stpbnn.pipelines import predictive_of
    from stpbnn.regressors import (
        AdaptiveKernelRegressor,
        FiniteWidthRegressor,
        NNGPRegressor,
        ProportionalLimitRegressor,
        StudentTProcessRegressor,
        kernel_overlap,
        theory_grid,
    )
    from stpbnn.report import write_report
    from stpbnn.runs import load_run
    from stpbnn.samplers import sample
    from stpbnn.scale import dual_student_t

_MODULES = ("activations", "classification", "datasets", "figures", "programs", "samplers")
_NAMES = {
    "Activation": "activations",
    "AdaptiveKernelRegressor": "regressors",
    "Convolutional": "network",
    "FiniteWidthClassifier": "classifiers",
    "FiniteWidthRegressor": "regressors",
    "FullyConnected": "network",
    "NNGPClassifier": "classifiers",
    "NNGPKernel": "kernels",
    "NNGPRegressor": "regressors",
    "ProportionalLimitClassifier": "classifiers",
    "ProportionalLimitRegressor": "regressors",
    "StudentTProcessRegressor": "regressors",
    "compare": "comparison",
    "dual_student_t": "scale",
    "kernel_overlap": "regressors",
    "load": "regressors.persistence",
    "load_run": "runs",
    "predictive_of": "pipelines",
    "run": "own_data",
    "sample": "samplers",
    "save": "regressors.persistence",
    "sweep": "own_data",
    "theory_grid": "regressors",
    "write_report": "report",
}

__all__ = [
    "Activation",
    "AdaptiveKernelRegressor",
    "Convolutional",
    "FiniteWidthClassifier",
    "FiniteWidthRegressor",
    "FullyConnected",
    "NNGPClassifier",
    "NNGPKernel",
    "NNGPRegressor",
    "ProportionalLimitClassifier",
    "ProportionalLimitRegressor",
    "StudentTProcessRegressor",
    "activations",
    "classification",
    "compare",
    "datasets",
    "dual_student_t",
    "figures",
    "kernel_overlap",
    "load",
    "load_run",
    "predictive_of",
    "programs",
    "run",
    "sample",
    "samplers",
    "save",
    "sweep",
    "theory_grid",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: importing stpbnn alone costs nothing."""
    if name not in _MODULES and name not in _NAMES:
        raise AttributeError(f"module 'stpbnn' has no attribute {name!r}")
    from importlib import import_module

    from stpbnn import _blas

    _blas.load()
    if name in _MODULES:
        return import_module(f"stpbnn.{name}")
    value = getattr(import_module(f"stpbnn.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*__all__, "__version__"])
