r"""Where a search in a deep landscape begins: the kernel of infinite width, stretched and lifted.

.. math:: K^R(Q) \approx b(Q)\, K_L + d(Q)\, 1

The layers below change the scale of a kernel, and how far its diagonal stands out; its eigenvectors turn little. Both
numbers are a least-squares fit to the spectrum of a few examples' kernels, in the units of A. The action of this kernel
costs O(P) a value after the tridiagonalisation of K_L, and its minimum is near that of the true one.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.optimize import minimize

from stpbnn.kernels import Closure, input_gram, renormalised
from stpbnn.network import FullyConnected
from stpbnn.scale.priors import prior_action, prior_slope
from stpbnn.scale.resolvent import Resolvent, rounding

__all__ = ["elastic_minimum"]

STEP = 1e-3  # step of differences in log Q
SAMPLE = 64  # examples, in the place of all of them


@partial(jax.jit, static_argnums=(0, 1))
def _sample_kernel(sigma, closure, prior, gram, log_q):  # type: ignore[no-untyped-def]
    return renormalised(sigma, prior, gram, jnp.exp(log_q), closure).entries - prior.bias_variance


@partial(jax.jit, static_argnums=(0, 1))
def _stretch_and_lift(sigma, closure, prior, gram, basis, fit, log_q):  # type: ignore[no-untyped-def]
    """Return (b, d) and their derivatives in log Q."""

    def coefficients(log_q):  # type: ignore[no-untyped-def]
        K = _sample_kernel(sigma, closure, prior, gram, log_q)
        return fit @ jnp.einsum("ij,ij->j", basis, K @ basis)

    return coefficients(log_q), jax.jacfwd(coefficients)(log_q)


def elastic_minimum(
    net: FullyConnected,
    closure: Closure,
    resolvent: Resolvent,
    X: Float[np.ndarray, "P N0"],
    start: Float[np.ndarray, " L"],
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, "L L"]]:
    """Return log Q at a minimum of the approximate action, and its Hessian there.

    Parameters
    ----------
    net : FullyConnected
        The network.
    closure : {"nested", "wishart"}
        How the order parameters enter the kernel.
    resolvent : Resolvent
        K_L without its output bias, tridiagonal, with targets and variances.
    X : array of shape (P, N_0)
        Training inputs.
    start : array of shape (L,)
        log Q at which the search begins.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the approximate A(Q) is not positive definite on the way.
    """
    widths, temperature = np.asarray(net.widths, dtype=np.float64), resolvent.temperature
    few = jnp.asarray(X[np.linspace(0, len(X) - 1, min(SAMPLE, len(X)), dtype=int)])
    arguments = net.sigma, closure, net.prior, input_gram(net.prior, few)
    k, basis = eigh(_sample_kernel(*arguments, np.zeros(net.depth)))
    design = np.stack([k, np.ones_like(k)], axis=1)
    unit = np.maximum(np.exp(start.sum()) * k, rounding(k, temperature)) + temperature  # an eigenvalue of A
    fit = np.linalg.pinv(design / unit[:, None]) / unit

    def action(log_q: Float[np.ndarray, " L"]) -> tuple[float, Float[np.ndarray, " L"]]:
        (stretch, lift), slopes = map(np.asarray, _stretch_and_lift(*arguments, basis, fit, log_q))
        noise = temperature + lift
        change = STEP**2 * (noise + stretch * k.mean())
        scale = np.log(stretch)[None]
        data, noisier = (replace(resolvent, temperature=float(t)).at(scale) for t in (noise, noise + change))
        gradient = np.array([data.slope[0] / stretch, (noisier.value - data.value)[0] / change]) @ slopes
        return float(prior_action(widths, log_q) + data.value[0]), prior_slope(widths, log_q) + gradient

    steps = STEP * np.eye(net.depth)
    log_q = minimize(action, start, jac=True, method="BFGS", options={"gtol": 1e-3 * widths.min()}).x
    hessian = np.array([action(log_q + h)[1] - action(log_q - h)[1] for h in steps]) / (2 * STEP)
    return log_q, (hessian + hessian.T) / 2
