"""The Bayesian network, and the scale mixtures of its kernels, as NumPyro models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro import distributions as dist

from stpbnn import kernels
from stpbnn._validation import instance, one_of
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.programs.sites import (
    degrees_of_freedom,
    label_sites,
    parameter,
    refuse_labels,
    temperature_site,
)
from stpbnn.programs.traced import points, targets

__all__ = ["network", "scale_mixture", "student_t_network"]


def network(net: Network) -> Callable[..., jax.Array]:
    r"""Return the NumPyro model of a Bayesian network, over whitened weights.

    .. math:: y^\mu \sim N(f(x^\mu), T), \qquad \text{weights} \sim N(0, 1)

    The sites are the whitened weights "W1".."WL" and "v" (and "b1".."b(L+1)" with biases), "temperature" where it has
    a prior, and the observed "y" under the plate "data": leave-one-out statistics count P points whatever the number
    of outputs. With the likelihood of classes y is 0 or 1 (given also as -1 and 1), or a unit vector, and its
    probability is taken to the power 1/T.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network.

    Returns
    -------
    callable
        ``model(X, y=None, *, temperature)`` with X of shape (P, N_0), y of shape (P,) or (P, D), and as temperature
        T a number (the variance of the likelihood) or a NumPyro distribution. It returns f(X).

    Raises
    ------
    ValueError
        When the model runs: if the temperature is not a positive number, or the data are not numbers of fitting shapes.

    References
    ----------
    Theory notes, section 1. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> model = network(FullyConnected((16,), "erf"))
    >>> draws = Predictive(model, num_samples=5)(jax.random.key(0), jnp.ones((3, 8)), temperature=0.01)
    >>> draws["W1"].shape, draws["y"].shape
    ((5, 8, 16), (5, 3))
    """
    instance("net", net, FullyConnected, Convolutional)

    def model(X: jax.Array, y: jax.Array | None = None, *, temperature: Any) -> jax.Array:
        variance = temperature_site(temperature) if net.likelihood == "gaussian" else temperature
        X = points("X", X)
        y = None if y is None else targets(y, len(X), net.outputs)
        weights = {
            name: numpyro.sample(name, dist.Normal(0.0, 1.0).expand(shape).to_event(len(shape)))
            for name, shape in net.shapes(X.shape[1]).items()
        }
        f = net.forward(weights, X)
        if net.likelihood != "gaussian":
            label_sites(net, f, y, temperature)
            return f
        with numpyro.plate("data", X.shape[0]):
            numpyro.sample("y", dist.Normal(f, jnp.sqrt(variance)).to_event(f.ndim - 1), obs=y)
        return f

    return model


def scale_mixture(net: FullyConnected, closure: kernels.Closure = "nested") -> Callable[..., jax.Array]:
    r"""Return the NumPyro model of a finite network's outputs as a mixture over its order parameters.

    .. math:: Q_l \sim \mathrm{Gamma}(\tfrac{N_l}2, \tfrac{N_l}2), \qquad y \mid Q \sim N(0, K^R(Q) + T\,1)

    The sites are "Q" (L,), "temperature" where it has a prior, and the observed "y": one draw of all P targets, which
    depend on each other once the function is integrated out. No jitter is added: in single precision T should be
    above about 1e-6 of the largest eigenvalue of the kernel; below, call it under ``jax.enable_x64``.

    Parameters
    ----------
    net : FullyConnected
        The network, with one output. Activations that are not odd are treated in the zero-mean form.
    closure : {"nested", "global", "wishart"}
        How the order parameters of deep networks enter the kernel.

    Returns
    -------
    callable
        ``model(X, y=None, *, temperature)`` with X of shape (P, N_0), y of shape (P,), and as temperature T a number
        (a variance) or a NumPyro distribution. It returns the renormalised kernel K^R(Q), (P, P).

    Raises
    ------
    ValueError
        For several outputs or an unknown closure; when the model runs, as `network`.

    References
    ----------
    Theory notes, section 3, eq. (3.2) and its deep forms. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> model = scale_mixture(FullyConnected((16, 8), "erf"))
    >>> draws = Predictive(model, num_samples=5)(jax.random.key(0), jnp.eye(3), temperature=0.01)
    >>> draws["Q"].shape, draws["y"].shape
    ((5, 2), (5, 3))
    """
    instance("net", net, FullyConnected)
    one_of("closure", closure, kernels.CLOSURES)
    refuse_labels(net)
    if net.outputs > 1:
        raise ValueError(f"net: got {net.outputs} outputs, expected one: several have a matrix of order parameters")

    def model(X: jax.Array, y: jax.Array | None = None, *, temperature: Any) -> jax.Array:
        variance = temperature_site(temperature)
        X = points("X", X)
        y = None if y is None else targets(y, len(X), net.outputs)
        half = jnp.asarray(net.widths) / 2
        Q = numpyro.sample("Q", dist.Gamma(half, half).to_event(1))
        K = kernels.renormalised(net.sigma, net.prior, kernels.input_gram(net.prior, X), Q, closure).entries
        noise = variance * jnp.eye(X.shape[0])
        numpyro.sample("y", dist.MultivariateNormal(covariance_matrix=K + noise), obs=y)
        return K

    return model


def student_t_network(net: FullyConnected, df: Any = 5.0) -> Callable[..., jax.Array]:
    r"""Return the NumPyro model of an infinitely wide network whose readout has a random scale.

    .. math:: r \sim \mathrm{InvGamma}(\tfrac\nu2, \tfrac{\nu-2}2), \qquad y \mid r \sim N(0, r K_L + T\,1)

    The function is a Student's t-process of covariance K_L, and the noise is Gaussian and beside the scale; in
    `student_t_process` it shares the scale. The sites are "r", "df" and "temperature" where they have priors, and the
    observed "y": one draw of all P targets. No jitter is added: see `scale_mixture`.

    Parameters
    ----------
    net : FullyConnected
        The network, with one output; its widths are not used.
    df : number or NumPyro distribution
        ν > 2, the degrees of freedom.

    Returns
    -------
    callable
        ``model(X, y=None, *, temperature)`` with X of shape (P, N_0), y of shape (P,), and as temperature T a number
        (a variance) or a NumPyro distribution. It returns the kernel r K_L, (P, P).

    Raises
    ------
    ValueError
        For several outputs, or a ν that is not, or may not be, above 2; when the model runs, as `network`.

    References
    ----------
    Theory notes, section 5. Lee et al., ICLR 2022.

    Examples
    --------
    >>> from numpyro.infer import Predictive
    >>> model = student_t_network(FullyConnected((16,), "erf"), df=4.0)
    >>> draws = Predictive(model, num_samples=5)(jax.random.key(0), jnp.eye(3), temperature=0.01)
    >>> draws["r"].shape, draws["y"].shape
    ((5,), (5, 3))
    """
    instance("net", net, FullyConnected)
    df = degrees_of_freedom(df)
    refuse_labels(net)
    if net.outputs > 1:
        raise ValueError(f"net: got {net.outputs} outputs, expected one: fit each of them with a process of its own")

    def model(X: jax.Array, y: jax.Array | None = None, *, temperature: Any) -> jax.Array:
        variance, nu = temperature_site(temperature), parameter("df", df)
        X = points("X", X)
        y = None if y is None else targets(y, len(X), net.outputs)
        r = numpyro.sample("r", dist.InverseGamma(nu / 2, (nu - 2) / 2))
        K = r * kernels.nngp(net.sigma, net.prior, kernels.input_gram(net.prior, X)).entries
        noise = variance * jnp.eye(X.shape[0])
        numpyro.sample("y", dist.MultivariateNormal(covariance_matrix=K + noise), obs=y)
        return K

    return model
