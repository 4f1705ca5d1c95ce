"""The Gaussian approximations of the posterior of latent functions, by name."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from stpbnn.latent.bernoulli import Bernoulli
from stpbnn.latent.laplace import Laplace, laplace_approximation
from stpbnn.latent.propagation import Propagated, expectation_propagation
from stpbnn.latent.softmax_propagation import propagate_softmax

__all__ = ["APPROXIMATIONS", "Approximation", "approximate"]

type Approximation = Literal["auto", "laplace", "ep"]
APPROXIMATIONS: tuple[Approximation, ...] = ("auto", "laplace", "ep")


def approximate(
    likelihood: Any, K: Float[np.ndarray, "P P"], how: Approximation, start: Any = None
) -> Laplace | Propagated:
    """Return Laplace's approximation, or that of expectation propagation.

    "auto" is expectation propagation for two classes of one function.

    Examples
    --------
    >>> from stpbnn.latent.bernoulli import Bernoulli
    >>> K, two = np.array([[4.0, 0.0], [2.0, 4.0]], order="F"), Bernoulli(np.array([1.0, 1.0]))
    >>> [approximate(two, K, how).f.round(2).tolist() for how in APPROXIMATIONS]
    [[1.53, 1.53], [1.29, 1.29], [1.53, 1.53]]
    """
    of_one = isinstance(likelihood, Bernoulli)
    if how == "ep" or (how == "auto" and of_one):
        return (expectation_propagation if of_one else propagate_softmax)(likelihood, K, start)
    return laplace_approximation(likelihood, K, start)
