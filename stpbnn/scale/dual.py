"""The dual Student's t law (3.1): the characteristic function of a finite network's outputs, read as a density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, lapack, solve_triangular

from stpbnn import _validation as check
from stpbnn import kernels
from stpbnn._precision import in_float64
from stpbnn.network import FullyConnected

if TYPE_CHECKING:
    from stpbnn.programs import MultivariateStudentT

__all__ = ["dual_student_t"]


def dual_student_t(net: FullyConnected, X: ArrayLike) -> MultivariateStudentT:
    r"""Return the law of the variables s that are dual to the outputs of a finite network with one hidden layer.

    .. math::
        E\, e^{i s\cdot f} = (1 + s^T K_1 s / N_1)^{-N_1/2} \;\propto\; p(s), \qquad
        s \sim t_\nu(0, \tfrac{N_1}{\nu} K_1^{-1}), \qquad \nu = N_1 - P

    Read as a function of s, the characteristic function of the P outputs is an unnormalised multivariate Student's t
    density: the response fields of a finite network follow a t law where those of an infinite one follow a Gaussian.
    Degrees of freedom and scale matrix depend on P, and the laws of different training sets are not marginals of one
    another: it is a multivariate t, not a t-process. It is exact for linear networks; for other odd activations it
    holds for vectors s that are spread over many patterns, and for activations that are not odd it is the zero-mean
    form.

    Parameters
    ----------
    net : FullyConnected
        One hidden layer of N_1 > P units, one output, no biases.
    X : array of shape (P, N_0)
        Inputs, linearly independent enough for K_1 to be regular.

    Returns
    -------
    numpyro.distributions.MultivariateStudentT
        df ν, loc 0 and the Cholesky factor of the scale matrix (not of the covariance), computed in double precision
        and handed over in JAX's default one. Its density keeps its digits at any ν, in single precision also.

    Raises
    ------
    ValueError
        If there are several hidden layers or outputs, or biases (an output bias multiplies the characteristic
        function by a Gaussian, which is no t any more); if P >= N_1: at a load α = P/N_1 of one or more the density
        falls off too slowly to be normalised; or if K_1 is singular.

    References
    ----------
    Theory notes, eq. (3.1). Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> law = dual_student_t(FullyConnected((10,), "linear"), np.eye(2))
    >>> law.df.item(), law.scale_tril.diagonal().round(4).tolist()
    (8.0, [1.5811, 1.5811])
    """
    from stpbnn.programs import MultivariateStudentT

    check.instance("net", net, FullyConnected)
    X = check.inputs("X", X)
    if net.depth > 1:
        raise ValueError(f"net: got {net.depth} hidden layers, expected one: the dual law of deep networks is not a t")
    if net.outputs > 1:
        raise ValueError(f"net: got {net.outputs} outputs, expected one; take one output at a time")
    if net.bias_precision is not None:
        raise ValueError(
            f"net: got bias_precision={net.bias_precision!r}, expected None: an output bias multiplies the "
            "characteristic function by a Gaussian, and the dual law is no Student's t any more"
        )
    width, examples = net.widths[0], len(X)
    if examples >= width:
        raise ValueError(
            f"X: got P = {examples} examples for N_1 = {width} units, expected fewer than units: the dual law has "
            f"N_1 - P = {width - examples} degrees of freedom and cannot be normalised at a load of one or more; "
            "use a wider network or fewer examples"
        )
    df = width - examples
    return MultivariateStudentT(
        jnp.asarray(float(df)), jnp.zeros(examples), jnp.asarray(_inverse_root(net, X) * np.sqrt(width / df))
    )


@in_float64
def _inverse_root(net: FullyConnected, X: Float[np.ndarray, "P N0"]) -> Float[np.ndarray, "P P"]:
    """Return a lower triangular L with L L^T = K_1^{-1}."""
    gram = kernels.input_gram(net.prior, jnp.asarray(X))
    K = np.asarray(kernels.features(net.sigma, gram, net.precisions[1]).entries)
    if not np.isfinite(K).all():
        raise ValueError(
            f"X: got inputs of the size {np.abs(X).max():.0e}: out of the range of double precision; scale them down"
        )
    try:  # K = R^T R with the order of the examples reversed, so that the inverse has a lower factor
        factor = cholesky(K[::-1, ::-1], lower=True)
        reciprocal, _ = lapack.dpocon(factor, np.abs(K).sum(axis=0).max(), uplo="L")
    except np.linalg.LinAlgError:
        reciprocal = 0.0
    if reciprocal < len(K) * np.finfo(np.float64).eps:
        raise ValueError(
            "X: the kernel K_1 of these inputs is singular to working precision, and the dual law has no density; "
            "remove repeated or linearly dependent inputs"
        )
    return solve_triangular(factor, np.eye(len(K)), lower=True)[::-1, ::-1].T
