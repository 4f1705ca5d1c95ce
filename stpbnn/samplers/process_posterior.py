r"""sample_process(): the posterior of a process that is derived from a network, over its random scales alone.

Given the scales s, that is Q_1..Q_L or r, the function is a Gaussian process of kernel K(s), so that it is integrated:

.. math:: p(s \mid y) \propto p(s)\, N(y; 0, K(s) + T\,1), \qquad
          f \mid s, y \sim N\big(k A^{-1} y,\; k_{**} - k A^{-1} k^T\big), \qquad A = K(s) + T\,1
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import xarray as xr
from jax.scipy.linalg import solve_triangular
from numpy.typing import ArrayLike
from numpyro.distributions import Normal
from numpyro.handlers import seed as seeded
from numpyro.handlers import substitute
from numpyro.infer import NUTS, init_to_sample
from numpyro.infer.mcmc import MCMCKernel
from numpyro.infer.util import constrain_fn

from stpbnn import _validation as check
from stpbnn import programs
from stpbnn._precision import in_float64
from stpbnn.catalogue import PROCESSES
from stpbnn.network import FullyConnected
from stpbnn.samplers.chains import Chains, Law, Plan, Posed, collect
from stpbnn.samplers.draws import Data, References, checked_data, new_targets, references, squared_loss

__all__ = ["function_given", "pose_process", "program", "sample_process"]

Model = Callable[..., Any]


class Inputs(NamedTuple):
    """What the compiled functions are given."""

    data: Data
    references: References | None
    temperature: jax.Array


@in_float64
def sample_process(
    net: FullyConnected,
    X: ArrayLike,
    y: ArrayLike,
    *,
    process: str,
    df: float | None = None,
    temperature: float = 0.01,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    warmup: int = 500,
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> xr.DataTree:
    r"""Sample the posterior of a process that is derived from a network: a Gaussian process of random scale.

    "student-t" is

    .. math:: f \mid r \sim N(0, r K_L), \quad r \sim \mathrm{InvGamma}(\tfrac\nu2, \tfrac{\nu-2}2)

    "finite-width" is

    .. math:: f \mid Q \sim N(0, K^R(Q)), \quad Q_l \sim \mathrm{Gamma}(\tfrac{N_l}2, \tfrac{N_l}2)

    and y | f ~ N(f, T) in both. The first is the network of infinite width whose readout has a random scale. The second
    is the law of a finite network in the proportional limit, in the nested closure, whose dual variables have a
    Student's t law; where features have a mean, it is the zero-mean form. The chains run over the logarithms of the
    scales, with NumPyro's no-U-turn sampler and in double precision; functions are averaged in closed form, and drawn
    exactly.

    Parameters
    ----------
    net : FullyConnected
        The network, with one output. The widths have no part in "student-t".
    X : array of shape (P, N_0)
        Training inputs.
    y : array of shape (P,)
        Training targets.
    process : {"student-t", "finite-width"}
        The process.
    df : float, optional
        ν > 2, the degrees of freedom of "student-t", and of it alone.
    temperature : float
        T > 0, the variance of the Gaussian likelihood.
    X_test, y_test : arrays of shape (n, N_0) and (n,), optional
        Points at which the function is recorded at every draw, and targets there.
    warmup, draws, chains, seed, checkpoint, progress
        As for `sample`.

    Returns
    -------
    xarray.DataTree
        The groups that `sample` gives, with the scale r, or Q (layer), in `posterior` in the place of what only
        networks have, and `process` and `df` among the attributes.

    Raises
    ------
    ValueError
        For data that are not finite numbers of matching shapes, several outputs, settings out of range, a folder that
        holds something else, and chains that leave the finite numbers.
    KeyboardInterrupt
        If sampling was interrupted before the first draw was finished.

    See Also
    --------
    stpbnn.StudentTProcessRegressor, stpbnn.FiniteWidthRegressor : the same posteriors in closed form.

    References
    ----------
    Theory notes, sections 3 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> X, net = np.eye(4), FullyConnected((5,), "linear")
    >>> posterior = sample_process(net, X, X[:, 0], process="student-t", df=5.0, temperature=0.1, X_test=X[:2],
    ...                            warmup=50, draws=10, chains=2, progress=False)
    >>> dict(posterior["posterior"]["r"].sizes), dict(posterior["predictions"]["f_mean"].sizes)
    ({'chain': 2, 'draw': 10}, {'chain': 2, 'draw': 10, 'test_point': 2})
    """
    return collect(pose_process(**locals()))  # the arguments alone: nothing is assigned above


@in_float64
def pose_process(
    net: FullyConnected,
    X: Any,
    y: Any,
    *,
    process: str,
    df: float | None,
    temperature: float,
    X_test: Any,
    y_test: Any,
    **plan: Any,
) -> Posed:
    """Return the posterior that `sample_process` samples, whose arguments these are; some of `Plan` are among them."""
    program(net, process, df)  # refuses what no process has
    data = checked_data(net, X, y, X_test, y_test)
    temperature = check.number("temperature", temperature)
    checked = Plan(**plan)
    points = len(data.X) + (0 if data.X_test is None else len(data.X_test))
    checked.refuse_beyond_memory(points**2, f"X, X_test: got {points} points, whose kernels", "take fewer points")
    law = ProcessLaw(net, process, None if df is None else float(df))
    engine = Chains(law, checked, Inputs(data, references(net, data.X, data.y), jnp.asarray(temperature)))
    settings = {"process": process} if df is None else {"process": process, "df": float(df)}
    return Posed(net, data, engine, settings, "nuts", temperature)


def program(net: FullyConnected, process: str, df: float | None) -> Model:
    """Return the NumPyro model of a process, which returns its kernel."""
    check.instance("net", net, FullyConnected)
    entry = PROCESSES[check.one_of("process", process, PROCESSES)]
    if entry.has_df:
        df = check.number("df", df, minimum=2)
    elif df is not None:
        raise ValueError(f"df: got {df!r} for the process {process!r}, which has no degrees of freedom; leave it out")
    model: Model = getattr(programs, entry.program)(net, *([df] if entry.has_df else []))
    return model


@dataclass(frozen=True)
class ProcessLaw(Law):
    """The posterior of a process: its network, its name, and its degrees of freedom where it has some."""

    process: str
    df: float | None

    @cached_property
    def model(self) -> Model:
        """The NumPyro model, which returns its kernel."""
        return program(self.net, self.process, self.df)

    def build(self, inputs: Inputs) -> MCMCKernel:
        """Return a new kernel."""
        return NUTS(self.model, dense_mass=True, init_strategy=init_to_sample)

    def given(self, inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the model."""
        return (inputs.data.X, inputs.data.y), {"temperature": inputs.temperature}

    def observe(self, key: jax.Array, position: Any, inputs: Inputs) -> dict[str, jax.Array]:
        """Return the scales of a draw and the observables of the function given these."""
        data, T = inputs.data, inputs.temperature
        scales = constrain_fn(self.model, *self.given(inputs), position)
        points = data.X if data.X_test is None else jnp.concatenate([data.X, data.X_test])
        K = seeded(substitute(self.model, scales), key)(points, temperature=T)  # what else it does is not computed
        mean, variance, f = function_given(key, K, data.y, T)
        P = len(data.y)
        observed: dict[str, jax.Array] = dict(scales)
        observed["train_loss"] = squared_loss(data.y, f[:P])
        observed["log_likelihood"] = Normal(f[:P], T**0.5).log_prob(data.y)
        if inputs.references is not None:
            observed["posterior_predictive"] = new_targets(key, f[:P], T)
        if data.X_test is not None:
            observed |= {"f": f[P:], "f_mean": mean[P:], "f_variance": variance[P:]}
            if data.y_test is not None:
                observed["test_loss"] = squared_loss(data.y_test, f[P:])
            if inputs.references is not None:
                observed["eigenmode"] = inputs.references.eigenvectors @ mean[:P]
        return observed


def function_given(
    key: jax.Array, K: jax.Array, y: jax.Array, temperature: jax.Array | float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    r"""Return mean, variance and an exact draw of a Gaussian process at all points, given targets at the first of them.

    The draw takes a function from the prior and moves it to the data: :math:`f + k A^{-1}(y - f_X - \sqrt T\,\eta)`.

    Parameters
    ----------
    key : jax.Array
        A JAX random key.
    K : jax.Array of shape (P + n, P + n)
        Covariance of f at the training points, and at further points after these.
    y : jax.Array of shape (P,)
        Training targets.
    temperature : float
        T, the variance of the likelihood.

    Examples
    --------
    >>> mean, variance, f = function_given(jax.random.key(0), jnp.ones((2, 2)), jnp.ones(1), 1.0)
    >>> mean.tolist(), variance.tolist(), f.shape
    ([0.5, 0.5], [0.5, 0.5], (2,))
    """
    P, of_f, of_noise = len(y), *jax.random.split(key)
    factor = jnp.linalg.cholesky(K[:P, :P] + temperature * jnp.eye(P, dtype=K.dtype))
    white = solve_triangular(factor, K[:P], lower=True)

    def reached(targets: jax.Array) -> jax.Array:
        return white.T @ solve_triangular(factor, targets, lower=True)

    jitter = jnp.finfo(K.dtype).eps * jnp.trace(K) * jnp.eye(len(K), dtype=K.dtype)
    prior = jnp.linalg.cholesky(K + jitter) @ jax.random.normal(of_f, (len(K),), K.dtype)
    noisy = prior[:P] + temperature**0.5 * jax.random.normal(of_noise, (P,), K.dtype)
    variance = jnp.maximum(jnp.diagonal(K) - jnp.sum(white**2, axis=0), 0)
    return reached(y), variance, prior + reached(y - noisy)
