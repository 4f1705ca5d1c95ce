"""A process with posterior samples of its hyper-parameters: predictive laws, draws, leave-one-out densities."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from numpyro import distributions as dist

from stpbnn import _validation as check
from stpbnn._precision import in_float64
from stpbnn._random import seed_of
from stpbnn.programs.hyper_draws import hyper_draws
from stpbnn.programs.kernel_processes import Kernel, Process, entries, factor
from stpbnn.programs.student import MultivariateStudentT
from stpbnn.programs.traced import points, targets

__all__ = ["condition", "log_likelihood", "predict"]

BATCH = 16  # draws whose kernels are in memory at once


def _split(draw: Mapping[str, jax.Array]) -> tuple[dict[str, jax.Array], jax.Array, jax.Array | None]:
    """Return the kernel's hyper-parameters, the temperature and ν of one draw."""
    hyper = dict(draw)
    return hyper, hyper.pop("temperature"), hyper.pop("df", None)


@partial(jax.jit, static_argnames=("kernel", "noise", "joint"))
def _moments(
    kernel: Kernel, X: jax.Array, y: jax.Array, X_new: jax.Array, draws: dict[str, jax.Array], noise: bool, joint: bool
) -> tuple[jax.Array, jax.Array]:
    """Return the centre (n,) of every draw, and its scales (n,) or the Cholesky factor of its scale matrix (n, n)."""

    def one(draw: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        hyper, variance, df = _split(draw)
        tril = factor(entries(kernel, X, X, hyper), variance)
        k = entries(kernel, X_new, X, hyper)
        alpha = cho_solve((tril, True), y)
        white = solve_triangular(tril, k.T, lower=True)
        added = variance if noise else 0.0
        spread = 1.0 if df is None else jnp.sqrt((df - 2 + y @ alpha) / (df + len(y)))
        epsilon = jnp.finfo(k.dtype).eps
        if joint:
            prior = entries(kernel, X_new, X_new, hyper)
            alone = jnp.diagonal(prior)
            uncertain = alone + added > 0
            jitter = (len(X) + len(X_new)) * epsilon * alone  # rounding goes with the size of each point's function
            covariance = prior - white.T @ white + jnp.diag(jnp.where(uncertain, added + jitter, 1))
            return k @ alpha, spread * jnp.where(uncertain[:, None], jnp.linalg.cholesky(covariance), 0)
        alone = jax.vmap(lambda x: entries(kernel, x[None], x[None], hyper)[0, 0])(X_new)
        left = jnp.maximum(alone - jnp.sum(white**2, axis=0), epsilon * alone)
        return k @ alpha, spread * jnp.sqrt(left + added)

    return jax.lax.map(one, draws, batch_size=BATCH)


@partial(jax.jit, static_argnames=("kernel",))
def _left_out(kernel: Kernel, X: jax.Array, y: jax.Array, draws: dict[str, jax.Array]) -> jax.Array:
    """Return log p(y_i | the other targets), (P,) for every draw."""

    def one(draw: dict[str, jax.Array]) -> jax.Array:
        hyper, variance, df = _split(draw)
        white = solve_triangular(factor(entries(kernel, X, X, hyper), variance), jnp.eye(len(X)), lower=True)
        alpha = white.T @ (white @ y)
        given = 1 / jnp.sum(white**2, axis=0)  # variances given the others, in the Gaussian process
        error = alpha * given
        if df is None:
            return dist.Normal(0.0, jnp.sqrt(given)).log_prob(error)
        freedom = df + len(y) - 1
        scale = jnp.sqrt(given * (df - 2 + y @ alpha - error**2 / given) / freedom)
        return dist.StudentT(freedom, 0.0, scale).log_prob(error)

    return jax.lax.map(one, draws, batch_size=BATCH)


def condition(
    process: Process,
    samples: Mapping[str, Any],
    X: Any,
    y: Any,
    X_new: Any,
    *,
    temperature: Any,
    noise: bool = False,
    joint: bool = False,
) -> dist.Distribution:
    r"""Return the law at new points, given the data and posterior samples of the hyper-parameters.

    .. math:: f_* \mid y, \theta \sim N(k A^{-1} y,\; k_{**} - k A^{-1} k^T), \qquad A = K_\theta + T\,1

    For a t-process a Student's t of ν + P degrees of freedom with the same centre, and the covariance above times
    :math:`(\nu + y^T A^{-1} y - 2)/(\nu + P - 2)`. It is a NumPyro distribution with one batch entry for each draw, in
    JAX's current precision, and may be used inside a larger model: ``numpyro.sample("f", condition(...))``.

    Parameters
    ----------
    process : Process
        What `gaussian_process` or `student_t_process` gave.
    samples : mapping of str to array
        Values of all sites that have a prior, with any leading axes of draws in common (none for one value each).
    X, y : arrays of shape (P, N_0) and (P,)
        Training set.
    X_new : array of shape (n, N_0)
        New points.
    temperature : number or NumPyro distribution
        As in the call of the model: a distribution means that the samples hold its draws.
    noise : bool
        Whether to return the law of a new target instead of that of the function. In a t-process the
        noise shares the scale.
    joint : bool
        Whether to couple the new points. Otherwise each of them is a batch entry: to be sampled under a plate of
        size n, in the last dimension.

    Returns
    -------
    numpyro.distributions.Distribution
        Batch shape (draws..., n); with `joint`, batch shape (draws...) and event shape (n,). Where the function is
        certain, as that of a relu network without biases is at x = 0, it has standard deviation zero, and with
        noise=False no density (`log_prob` is NaN).

    Raises
    ------
    ValueError
        If samples are missing, out of range or of shapes that differ, the shapes of the data do not fit, or K + T is
        not positive definite in JAX's current precision.

    References
    ----------
    Theory notes, section 5.

    Examples
    --------
    >>> from stpbnn.programs import student_t_process
    >>> from stpbnn import FullyConnected
    >>> model = student_t_process(FullyConnected((10,), "linear"), {"weight_precision": dist.Gamma(2.0, 2.0)})
    >>> law = condition(model, {"weight_precision": jnp.ones(7)}, jnp.eye(3), jnp.ones(3), jnp.eye(3), temperature=0.1)
    >>> type(law).__name__, law.batch_shape, float(law.df[0, 0])
    ('StudentT', (7, 3), 8.0)
    """
    noise, joint = check.boolean("noise", noise), check.boolean("joint", joint)
    X = points("X", X)
    y, X_new = targets(y, len(X)), points("X_new", X_new, X.shape[1])
    draws, batch = hyper_draws(process, samples, temperature)
    moments = _moments(process.kernel, X, y, X_new, draws, noise, joint)
    centre, scale = (array.reshape(*batch, *array.shape[1:]) for array in moments)
    _refuse_singular(centre, scale)
    unchecked = {"validate_args": False}  # the check would refuse a scale of zero
    if process.df is None:
        if joint:
            return dist.MultivariateNormal(centre, scale_tril=scale, **unchecked)
        return dist.Normal(centre, scale, **unchecked)
    df = draws["df"].reshape(batch) + len(y)
    if joint:
        return MultivariateStudentT(df, centre, scale, **unchecked)
    return dist.StudentT(df[..., None], centre, scale, **unchecked)


def _refuse_singular(*results: jax.Array) -> None:
    """Raise ValueError where a result is NaN: K + T was not positive definite."""
    if not all(isinstance(array, jax.core.Tracer) or np.isfinite(array).all() for array in results):
        raise ValueError(
            f"temperature: K + T is singular in {results[0].dtype} at some of the samples; give larger temperatures"
            + (", or call it under jax.enable_x64(True)" if results[0].dtype == np.float32 else "")
        )


@in_float64
def predict(
    process: Process,
    samples: Mapping[str, Any],
    X: Any,
    y: Any,
    X_new: Any,
    *,
    temperature: Any,
    noise: bool = False,
    joint: bool = True,
    seed: int | np.random.Generator | np.random.RandomState = 0,
) -> np.ndarray:
    r"""Return posterior predictive draws at new points, one for each posterior sample of the hyper-parameters.

    .. math:: f_*^{(s)} \sim p(f_* \mid y, \theta^{(s)})

    The law is that of `condition`, computed in double precision whatever that of the chains.

    Parameters
    ----------
    process, samples, X, y, X_new, temperature, noise
        As for `condition`.
    joint : bool
        Whether a draw is one function at all new points; otherwise each point is drawn on its own, which takes no
        (n, n) matrix a sample.
    seed : int, numpy Generator or RandomState
        A whole number; or a generator, from which every call takes a new seed.

    Returns
    -------
    float64 array of shape (draws..., n)

    Raises
    ------
    ValueError
        As `condition`, and for a seed that is not a whole number.

    References
    ----------
    Theory notes, section 5.

    Examples
    --------
    >>> from stpbnn import FullyConnected
    >>> from stpbnn.programs import gaussian_process
    >>> model = gaussian_process(FullyConnected((10,), "linear"), {"weight_precision": dist.Gamma(2.0, 2.0)})
    >>> predict(model, {"weight_precision": np.ones((4, 7))}, np.eye(3), np.ones(3), np.eye(3), temperature=0.1).shape
    (4, 7, 3)
    """
    drawn = isinstance(seed, np.random.Generator | np.random.RandomState)
    key = jax.random.key(seed_of(seed) if drawn else check.integer("seed", seed, minimum=0))
    law = condition(process, samples, X, y, X_new, temperature=temperature, noise=noise, joint=joint)
    return np.asarray(law.sample(key))


@in_float64
def log_likelihood(process: Process, samples: Mapping[str, Any], X: Any, y: Any, *, temperature: Any) -> np.ndarray:
    r"""Return the exact leave-one-out log densities of the targets, one for each sample and training point.

    .. math:: \log p(y_i \mid y_{-i}, \theta), \qquad
              y_i \mid y_{-i}, \theta \sim N(y_i - \alpha_i / h_i,\; 1 / h_i), \quad
              \alpha = A^{-1} y, \quad h_i = (A^{-1})_{ii}

    and for a t-process a Student's t of ν + P − 1 degrees of freedom with the same centre and the squared scale
    :math:`(\nu - 2 + y^T\alpha - \alpha_i^2/h_i) / ((\nu + P - 1) h_i)`. The targets are jointly distributed, so that
    these conditionals, and not factors of the likelihood, are what leave-one-out cross-validation by importance
    sampling (``arviz.loo``) needs: :math:`p(\theta \mid y_{-i}) \propto p(\theta \mid y) / p(y_i \mid y_{-i}, \theta)`.
    They do not add up to the joint density.

    Parameters
    ----------
    process, samples, X, y, temperature
        As for `condition`.

    Returns
    -------
    float64 array of shape (draws..., P)

    Raises
    ------
    ValueError
        As `condition`.

    References
    ----------
    Theory notes, section 5. Bürkner, Gabry, Vehtari, Comput. Stat. 36, 1243 (2021), sections 2.1 and 2.2.

    Examples
    --------
    >>> from stpbnn import FullyConnected
    >>> from stpbnn.programs import gaussian_process
    >>> model = gaussian_process(FullyConnected((10,), "linear"))
    >>> log_likelihood(model, {}, np.eye(3), np.zeros(3), temperature=2 / 3).round(4)
    array([-0.9189, -0.9189, -0.9189])
    """
    X = points("X", X)
    y = targets(y, len(X))
    draws, batch = hyper_draws(process, samples, temperature)
    pointwise = _left_out(process.kernel, X, y, draws)
    _refuse_singular(pointwise)
    return np.asarray(pointwise).reshape(*batch, len(y))
