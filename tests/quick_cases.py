"""Combinations of parameters, of which a few are tested every day."""

import itertools

import pytest


def cases(quick, *axes):
    """Return all combinations, or the values of one axis; those that are not quick are marked long."""
    found = list(itertools.product(*axes)) if len(axes) > 1 else [(value,) for value in axes[0]]
    chosen = [one if isinstance(one, tuple) else (one,) for one in quick]
    assert all(one in found for one in chosen)
    return [pytest.param(*one, marks=() if one in chosen else pytest.mark.long) for one in found]
