"""The choice of the problem that a network poses on a training set: by depth, outputs, closure and mean."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from stpbnn import _validation as check
from stpbnn.kernels import Closure
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.scale.contrasts import Contrasts
from stpbnn.scale.deep import Layered
from stpbnn.scale.deep_outputs import DeepOutputs
from stpbnn.scale.design import PLAIN, Design
from stpbnn.scale.factorised import refuse_singular
from stpbnn.scale.local_chain import blocks
from stpbnn.scale.local_problem import LocalProblem, chain_of
from stpbnn.scale.mean_kept import MeanKept
from stpbnn.scale.one_scale import Interpolation, OneScale
from stpbnn.scale.problem import NetworkProblem
from stpbnn.scale.several_outputs import SeveralOutputs

__all__ = ["MEANS", "Mean", "by_layer", "enters_by_product", "keeps_mean", "order_parameters_shape", "pose"]

Mean = Literal["auto", "keep", "drop"]
MEANS = ("auto", "keep", "drop")
DEEPEST_WISHART = 6  # hidden layers: seven take minutes to compile


def keeps_mean(net: Network, mean: str) -> bool:
    """Return whether the Gaussian mean of the features is kept: by default for one hidden layer and one output."""
    check.one_of("mean", mean, MEANS)
    possible = net.depth == 1 and net.outputs == 1 and isinstance(net, FullyConnected)
    if mean == "keep" and not (possible or net.sigma.odd):
        raise ValueError(
            f"mean: got 'keep' for a {type(net).__name__} of {check.plural(net.depth, 'hidden layer')} and "
            f"{check.plural(net.outputs, 'output')}, whose activation is not odd; the mean is known for a "
            "FullyConnected of one hidden layer and one output, use 'drop' or 'auto'"
        )
    return mean != "drop" and possible and not net.sigma.odd


def enters_by_product(net: FullyConnected, closure: Closure) -> bool:
    """Return whether the layers' order parameters enter by their product alone."""
    return net.depth == 1 or closure == "global" or bool(net.sigma.linear and not net.prior.bias_variance)


def pose(
    net: Network,
    X: Float[np.ndarray, "P N0"],
    y: Float[np.ndarray, "P ..."],
    temperature: float,
    closure: Closure = "nested",
    design: Design = PLAIN,
    *,
    keep_mean: bool = False,
    mixture: bool = False,
) -> NetworkProblem:
    """Return the problem of a network on a training set, with its kernel reduced.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network; a convolutional one has one output, and one hidden layer where its readout averages.
    X, y : float64 arrays of shape (P, N_0) and (P,) or (P, D)
        Training set.
    temperature : float
        T, the variance of the noise. T = 0 needs a kernel that is well conditioned.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel.
    design : Design
        A trend, and variances of the noise in units of T.
    keep_mean : bool
        Whether the Gaussian mean of the features is kept, eq. (3.3), which is known for one hidden layer; otherwise
        activations that are not odd are treated in the zero-mean form.
    mixture : bool
        Whether the posterior of the order parameters is wanted, for which the kernel is diagonalised, and not their
        saddle points alone.

    Raises
    ------
    numpy.linalg.LinAlgError
        If T = 0 and the kernel is singular.
    ValueError
        If the network is too deep for the closure, or one of which the theory of a trend is not known.

    Examples
    --------
    One hidden layer of linear units at T = 0 has a closed form, eq. (4.3).

    >>> import jax
    >>> with jax.enable_x64(True):
    ...     problem = pose(FullyConnected((4,), "linear"), np.eye(2), np.array([1.0, 2.0]), 0.0)
    >>> point, *others = problem.saddle_points()
    >>> bool(np.isclose(point.order_parameters[0], ((1 - 0.5) + ((1 - 0.5) ** 2 + 4 * 0.5 * 5) ** 0.5) / 2))
    True
    """
    if closure == "wishart" and net.depth > DEEPEST_WISHART:
        raise ValueError(
            f"closure: got 'wishart' for {net.depth} hidden layers, expected at most {DEEPEST_WISHART}: its "
            "derivatives take twice the time for each further layer; use 'nested' or 'global'"
        )
    one_layer = net.depth == 1
    plain = one_layer and net.outputs == 1 and not net.local
    if plain and design.plain and temperature == 0 and not (net.prior.bias_variance or keep_mean or mixture):
        return Interpolation.of(net, X, y)
    refuse_singular(net, X, temperature)
    if isinstance(net, Convolutional):
        if net.local:
            refuse_design(design, "a Convolutional with readout='flatten'", "NNGPRegressor")
            return LocalProblem.of(net, X, y, temperature)
        return OneScale.of(net, X, y, temperature, design, spectral=mixture)
    assert isinstance(net, FullyConnected)
    if net.outputs > 1:
        if not enters_by_product(net, closure):
            given = f"{net.outputs} outputs and {net.depth} hidden layers in the closure {closure!r}"
            refuse_design(design, given, "NNGPRegressor, or closure='global'")
            return DeepOutputs(net, X, y, temperature, closure)
        return SeveralOutputs.of(net, X, y, temperature, design)
    if keep_mean:
        return MeanKept.of(net, X, y, temperature, design, spectral=mixture)
    if one_layer or (closure == "global" and not mixture):
        return OneScale.of(net, X, y, temperature, design, spectral=mixture)
    return Layered(net, X, y, temperature, closure, contrasts=Contrasts(design))


def refuse_design(design: Design, network: str, remedy: str) -> None:
    """Refuse a trend, or noise that differs between examples, for networks for which they are not derived."""
    if not design.plain:
        raise ValueError(
            f"trend, temperature, sample_weight: got a trend or noise that differs between examples for {network}, "
            f"expected trend='zero' and one temperature; take {remedy}"
        )


def order_parameters_shape(net: Network) -> tuple[int, ...]:
    """Return the shape of a node of their posterior: (L,), (L, D, D) for D outputs, or (d, d) for d positions.

    Convolutional networks of several layers have the matrices of all layers along the diagonal of one, d positions in
    all that have a part in the outputs.

    Examples
    --------
    >>> order_parameters_shape(FullyConnected((10, 10))), order_parameters_shape(Convolutional((4,), image=(4, 4, 1)))
    ((2,), (4, 4))
    """
    if isinstance(net, Convolutional) and net.local:
        return (sum(chain_of(net).positions),) * 2
    return (net.depth, net.outputs, net.outputs) if net.outputs > 1 else (net.depth,)


def by_layer(net: Network | None, orders: Float[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    """Return one number a layer, (..., L), from order parameters: of a matrix the mean of its diagonal.

    Examples
    --------
    >>> net = Convolutional((4, 4), 2, 2, image=(4, 4, 1))
    >>> by_layer(net, np.diag([1.0, 2.0, 3.0, 4.0, 7.0]))
    array([2.5, 7. ])
    """
    if isinstance(net, Convolutional) and net.local and orders.ndim > 1:
        parts = blocks(orders, chain_of(net).positions)
        return np.stack([np.trace(part, axis1=-2, axis2=-1) / part.shape[-1] for part in parts], axis=-1)
    return np.atleast_1d(np.trace(orders, axis1=-2, axis2=-1) / orders.shape[-1]) if orders.ndim > 1 else orders
