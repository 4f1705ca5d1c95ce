"""Scikit-learn's checks of an estimator, of which the costly ones may be left to the long suite."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator


def checks(*estimators, long=()):
    """Return parameters `estimator` and `check`; those that are named are marked long, or all where long is True."""
    found = []
    for estimator in estimators:
        for subject, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            settings = ",".join(f"{key}={value}" for key, value in getattr(check, "keywords", {}).items())
            name += f"({settings})" if settings else ""
            marks = [pytest.mark.long] if long is True or name in long else []
            found.append(pytest.param(subject, check, marks=marks, id=f"{estimator}-{name}"))
    return pytest.mark.parametrize(("estimator", "check"), found)
