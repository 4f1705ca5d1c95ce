"""The settings of Student's t-process, and the refusal of those that are out of range."""

from __future__ import annotations

from typing import Any

import numpy as np

from stpbnn import _validation as check
from stpbnn.regressors.noise import check_noise
from stpbnn.regressors.outliers import AUTO, OUTLIER_NOISES
from stpbnn.scale import TRENDS

__all__ = ["DF_BOUNDS", "check_process_settings"]

NOISES = ("scale", "gaussian", *OUTLIER_NOISES, AUTO)
PARAMETRIZATIONS = ("covariance", "scale")
DF_BOUNDS = {"covariance": (2.01, 1e5), "scale": (0.1, 1e5)}


def check_process_settings(model: Any) -> None:
    """Refuse settings of a t-process that are out of range."""
    check.one_of("noise", model.noise, NOISES)
    check.one_of("parametrization", model.parametrization, PARAMETRIZATIONS)
    check.number("df", model.df)
    if model.df <= 2 and model.parametrization == "covariance":
        raise ValueError(
            f"df: got {model.df!r}, expected a number greater than 2: a Student's t law of two degrees of freedom "
            "or fewer has no covariance for the kernel to be; give more, or say parametrization='scale', where the "
            "kernel is the scale matrix"
        )
    check.one_of("trend", model.trend, TRENDS)
    check_noise(model.temperature)
    check.boolean("normalize_y", model.normalize_y)
    for name in ("optimize_df", "optimize_temperature", "optimize_noise_df"):
        check.boolean(name, getattr(model, name))
        if getattr(model, name) and model.optimizer is None:
            raise ValueError(f"{name}: got {getattr(model, name)!r} with optimizer=None; give an optimizer")
    if model.optimize_temperature and (np.ndim(model.temperature) or model.temperature == 0):
        given = "an array" if np.ndim(model.temperature) else 0
        raise ValueError(f"temperature: got {given} with optimize_temperature=True, expected a number greater than 0")
