r"""Gaussian and Student's t-processes over a kernel, as NumPyro models with priors on its hyper-parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist

from stpbnn import kernels
from stpbnn.network import FullyConnected, Prior
from stpbnn.programs.sites import above, degrees_of_freedom, parameter, temperature_site
from stpbnn.programs.student import MultivariateStudentT
from stpbnn.programs.traced import points, targets, value_above

__all__ = ["Process", "gaussian_process", "student_t_process"]

Kernel = Callable[..., jax.Array]
RESERVED = {"df", "temperature", "y"}  # sites of the programs themselves
LATENT = {"f", "noise_df", "white"}  # and those where the noise has outliers


def _network_kernel(net: FullyConnected) -> Kernel:
    """Return the NNGP kernel of a network as a function of its precisions."""

    def kernel(
        X1: jax.Array,
        X2: jax.Array,
        *,
        weight_precision: Any = net.weight_precision,
        bias_precision: Any = net.bias_precision,
    ) -> jax.Array:
        precisions: Any = tuple(jnp.broadcast_to(jnp.asarray(weight_precision), (net.depth + 1,)))
        prior = Prior(precisions, 0.0 if bias_precision is None else 1 / bias_precision)
        gram = kernels.input_gram(prior, X1, None if X2 is X1 else X2)
        return kernels.nngp(net.sigma, prior, gram).entries

    return kernel


def _check_names(kernel: Kernel, priors: Mapping[str, Any]) -> None:
    """Refuse priors that are not those of the kernel's hyper-parameters."""
    parameters = list(inspect.signature(kernel).parameters.values())
    hyper = {p.name: p for p in parameters[2:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if taken := sorted({*hyper, *priors} & RESERVED):
        raise ValueError(f"kernel: got hyper-parameters {taken}, names that the program keeps for itself; rename them")
    unknown = sorted(set(priors) - set(hyper))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ValueError(f"priors: got {unknown}, unknown to the kernel; expected names among {sorted(hyper)}")
    if missing := sorted(n for n, p in hyper.items() if p.default is p.empty and n not in priors):
        raise ValueError(f"priors: got {sorted(priors)}, expected also {missing}, which have no default in the kernel")


def _named(priors: Any) -> dict[str, Any]:
    """Return priors by name, none for None; refuse anything but a mapping."""
    if not isinstance(priors, Mapping | None):
        raise ValueError(f"priors: got {priors!r}, expected a mapping of names to NumPyro distributions or numbers")
    return dict(priors or {})


def _kernel(given: Any, priors: Mapping[str, Any]) -> tuple[Kernel, dict[str, dist.Distribution]]:
    """Return the kernel as a function with its fixed values bound, and the priors of its other hyper-parameters."""
    from sklearn.gaussian_process.kernels import Kernel as KernelObject

    if isinstance(given, KernelObject) or not (callable(given) or isinstance(given, FullyConnected)):
        hint = f"; give its network {given.network!r}" if hasattr(given, "network") else ""
        raise ValueError(
            f"kernel: got {given!r}, expected a JAX function kernel(X1, X2, **hyper) or a FullyConnected{hint}"
        )
    kernel = _network_kernel(given) if isinstance(given, FullyConnected) else given
    _check_names(kernel, priors)
    free = {name: prior for name, prior in priors.items() if isinstance(prior, dist.Distribution)}
    fixed: dict[str, Any] = {  # arrays as they are now, whatever becomes of the caller's
        name: np.array(value) if isinstance(value, np.ndarray) else value
        for name, value in priors.items()
        if name not in free
    }
    if isinstance(given, FullyConnected):
        if given.outputs > 1:
            raise ValueError(f"kernel: got a network of {given.outputs} outputs, expected one output")
        for name, prior in free.items():
            above(name, prior, 0, "and a precision is positive")
        kernel, fixed = _network_kernel(replace(given, **fixed)), {}
    return (partial(kernel, **fixed) if fixed else kernel), free


def entries(kernel: Kernel, X1: jax.Array, X2: jax.Array, hyper: Mapping[str, Any]) -> jax.Array:
    """Return the kernel between two sets of inputs, and refuse one of another shape."""
    K = kernel(X1, X2, **hyper)
    if jnp.shape(K) != (len(X1), len(X2)):
        raise ValueError(
            f"kernel: got shape {jnp.shape(K)} from inputs {X1.shape} and {X2.shape}, "
            f"expected {(len(X1), len(X2))}; are its hyper-parameters of the right shape?"
        )
    return K


def factor(K: jax.Array, variance: Any) -> jax.Array:
    """Return the Cholesky factor of K + T·1, with a jitter of the rounding error of K's largest eigenvalue, at most."""
    jitter = jnp.finfo(K.dtype).eps * jnp.trace(K)
    return jnp.linalg.cholesky(K + (variance + jitter) * jnp.eye(len(K), dtype=K.dtype))


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process, or with `df` a Student's t-process, with priors by name: a NumPyro model.

    Parameters
    ----------
    kernel : callable
        ``kernel(X1, X2, **hyper)``.
    priors : mapping
        Distributions of the kernel's hyper-parameters; fixed values are part of the kernel.
    df : number, NumPyro distribution or None
        ν > 2; None for the Gaussian process.
    noise_df : number, NumPyro distribution or None
        The degrees of freedom of noise with the tails of Student's t; None for Gaussian noise.
    """

    kernel: Kernel
    priors: Mapping[str, dist.Distribution]
    df: Any = None
    noise_df: Any = None

    def __call__(self, X: Any, y: Any = None, *, temperature: Any) -> jax.Array:
        """Sample the hyper-parameters and the targets, or observe the targets; return them."""
        X = points("X", X)
        y = None if y is None else targets(y, len(X))
        variance = temperature_site(temperature)
        hyper = {name: parameter(name, prior) for name, prior in self.priors.items()}
        K, centre = entries(self.kernel, X, X, hyper), jnp.zeros(len(X))
        if self.noise_df is not None:
            white = numpyro.sample("white", dist.Normal(0.0, 1.0).expand((len(X),)).to_event(1))
            f = numpyro.deterministic("f", factor(K, 0.0) @ white)
            noise = dist.StudentT(parameter("noise_df", self.noise_df), f, jnp.sqrt(variance))
            return numpyro.sample("y", noise.to_event(1), obs=y)
        tril = factor(K, variance)
        if self.df is None:
            law = dist.MultivariateNormal(centre, scale_tril=tril)
        else:
            df = parameter("df", self.df)
            law = MultivariateStudentT(df, centre, jnp.sqrt((df - 2) / df) * tril)
        return numpyro.sample("y", law, obs=y)


def gaussian_process(
    kernel: Kernel | FullyConnected, priors: Mapping[str, Any] | None = None, *, noise_df: Any = None
) -> Process:
    r"""Return the NumPyro model of Gaussian-process regression, with priors on the kernel's hyper-parameters.

    .. math:: \theta \sim \text{priors}, \qquad y \mid \theta \sim N(0, K_\theta + T\,1)

    The sites are the hyper-parameters that have a prior, "temperature" where it has one, and the observed "y": one
    draw of all P targets, which depend on each other once the function is integrated out. Posterior samples go to
    `predict`, `condition` and `log_likelihood`; in a larger model use the program as a part, under
    ``numpyro.handlers.scope`` where its names would clash.

    Parameters
    ----------
    kernel : callable or FullyConnected
        A JAX function ``kernel(X1, X2, **hyper)`` that gives the covariances (n, m) between inputs (n, N_0) and
        (m, N_0), with finite derivatives at x = x' (`distance` helps); or a network, for its NNGP kernel, whose
        hyper-parameters are "weight_precision" (one number or L + 1) and "bias_precision".
    priors : mapping of str to NumPyro distribution or number
        By name of the hyper-parameter; those without one keep the kernel's default, or what the network says.
    noise_df : number, NumPyro distribution or None
        Degrees of freedom above 0 of noise with the tails of Student's t, whose squared scale is then T: targets may
        have outliers. None means Gaussian noise. Such noise is not integrated out: there are also the sites "white"
        (P,), "f", the function at X as a deterministic site, and "noise_df" where it has a prior; `condition`,
        `predict` and `log_likelihood` do not know them.

    Returns
    -------
    Process
        ``model(X, y=None, *, temperature)`` with X of shape (P, N_0), y of shape (P,), and as temperature T a number
        (a variance) or a NumPyro distribution. It returns y.

    Raises
    ------
    ValueError
        For priors that the kernel does not know, or hyper-parameters with neither prior nor default; when the model
        runs, for data or a kernel of the wrong shape, NaN, or a temperature that is not positive.

    Notes
    -----
    A jitter of the machine's epsilon times the trace of K is added to T: 1e-7 P times the mean variance of the
    function in single precision. Where T is smaller than that, run the chains under ``jax.enable_x64``.

    References
    ----------
    Theory notes, sections 2 and 5.

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> from numpyro.infer import Predictive
    >>> from stpbnn.programs import distance
    >>> def kernel(X1, X2, lengthscale, amplitude=1.0):
    ...     return amplitude**2 * jnp.exp(-(distance(X1, X2, lengthscale) ** 2) / 2)
    >>> model = gaussian_process(kernel, {"lengthscale": dist.LogNormal(0.0, 1.0)})
    >>> draws = Predictive(model, num_samples=5)(jax.random.key(0), jnp.eye(3), temperature=0.1)
    >>> draws["lengthscale"].shape, draws["y"].shape
    ((5,), (5, 3))
    """
    found, free = _kernel(kernel, _named(priors))
    if noise_df is not None:
        noise_df = (
            above("noise_df", noise_df, 0, "where there is no such law")
            if isinstance(noise_df, dist.Distribution)
            else value_above("noise_df", noise_df, 0)
        )
        if taken := sorted(free.keys() & LATENT):
            raise ValueError(f"kernel: got hyper-parameters {taken}, sites of a process with noise_df; rename them")
    return Process(found, free, noise_df=noise_df)


def student_t_process(kernel: Kernel | FullyConnected, priors: Mapping[str, Any] | None = None) -> Process:
    r"""Return the NumPyro model of Student's t-process regression, with priors on hyper-parameters and ν.

    .. math:: \theta, \nu \sim \text{priors}, \qquad
              y \mid \theta, \nu \sim t_\nu\bigl(0, \tfrac{\nu - 2}{\nu}\, (K_\theta + T\,1)\bigr)

    K + T·1 is the *covariance* of y, not its scale matrix, and the noise shares the random scale of the function. The
    sites are those of `gaussian_process`, and "df" where ν has a prior; ν → ∞ is the Gaussian process.

    Parameters
    ----------
    kernel : callable or FullyConnected
        As for `gaussian_process`.
    priors : mapping of str to NumPyro distribution or number
        By name of the hyper-parameter, and "df" for ν: a number or a distribution above 2 (5 if absent).

    Returns
    -------
    Process
        ``model(X, y=None, *, temperature)``, as for `gaussian_process`.

    Raises
    ------
    ValueError
        As `gaussian_process`, and for a ν that is not, or may not be, above 2.

    References
    ----------
    Theory notes, section 5. Shah, Wilson, Ghahramani, AISTATS 2014.

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> from numpyro.infer import Predictive
    >>> model = student_t_process(FullyConnected((10,)), {"df": dist.Pareto(2.0, 1.0)})
    >>> draws = Predictive(model, num_samples=5)(jax.random.key(0), jnp.eye(3), temperature=0.1)
    >>> bool((draws["df"] > 2).all()), draws["y"].shape
    (True, (5, 3))
    """
    priors = _named(priors)
    df = degrees_of_freedom(priors.pop("df", 5.0))
    return Process(*_kernel(kernel, priors), df)
