"""The Gaussian approximations of the posterior of latent functions, by name."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from stpbnn.latent.bernoulli import Bernoulli
from stpbnn.latent.laplace import Laplace, laplace_approximation
from stpbnn.latent.propagation import Propagated, expectation_propagation

__all__ = ["APPROXIMATIONS", "Approximation", "approximate"]

type Approximation = Literal["auto", "laplace", "ep"]
APPROXIMATIONS: tuple[Approximation, ...] = ("auto", "laplace", "ep")


def approximate(
    likelihood: Any, K: Float[np.ndarray, "P P"], how: Approximation, start: Any = None
) -> Laplace | Propagated:
    """Return Laplace's approximation, or that of expectation propagation, which knows two classes of one function.

    "auto" is expectation propagation where that is known.

    Examples
    --------
    >>> from stpbnn.latent.bernoulli import Bernoulli
    >>> K, two = np.array([[4.0, 0.0], [2.0, 4.0]], order="F"), Bernoulli(np.array([1.0, 1.0]))
    >>> [approximate(two, K, how).f.round(2).tolist() for how in APPROXIMATIONS]
    [[1.53, 1.53], [1.29, 1.29], [1.53, 1.53]]
    """
    if how == "ep" or (how == "auto" and isinstance(likelihood, Bernoulli)):
        return expectation_propagation(likelihood, K, start)
    return laplace_approximation(likelihood, K, start)
