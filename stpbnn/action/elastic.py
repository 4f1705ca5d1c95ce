r"""Where to begin in a deep landscape: the renormalised kernel as a multiple of the kernel of infinite width.

.. math:: K^R(Q) \approx \rho(Q)\, K_L, \qquad \rho(Q) = \frac{\mathrm{tr}\,K^R(Q)}{\mathrm{tr}\,K_L}

The shape of a kernel changes little with the order parameters of the layers below, its scale does. The action of this
kernel costs O(P) a value after the tridiagonalisation of K_L, and its minimum is near that of the true one.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from stpbnn.action import spectral
from stpbnn.kernels import Closure, Gram, renormalised
from stpbnn.network import FullyConnected

__all__ = ["elastic_minimum"]

STEP = 1e-3  # of differences in log Q
SAMPLE = 32  # quantiles of the input variances, in the place of all of them


@partial(jax.jit, static_argnums=(0, 1))
def _trace(sigma, closure, prior, variances, log_q):  # type: ignore[no-untyped-def]
    gram = Gram(variances[:, None], variances, variances[:1])
    return jnp.mean(renormalised(sigma, prior, gram, jnp.exp(log_q), closure).left)


def elastic_minimum(
    net: FullyConnected,
    closure: Closure,
    spectrum: spectral.Spectrum,
    variances: Float[np.ndarray, " P"],
    temperature: float,
    start: Float[np.ndarray, " L"],
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, "L L"]]:
    """Return log Q at a minimum of the approximate action, and its Hessian there.

    Parameters
    ----------
    net : FullyConnected
        The network.
    closure : {"nested", "wishart"}
        How the order parameters enter the kernel.
    spectrum : Spectrum
        K_L without its output bias, tridiagonal.
    variances : array of shape (P,)
        The diagonal of C.
    temperature : float
        T, the variance of the noise.
    start : array of shape (L,)
        log Q at which the search begins.
    """
    widths, bias = np.asarray(net.widths, dtype=np.float64), net.prior.bias_variance
    few = np.quantile(variances, (np.arange(SAMPLE) + 0.5) / SAMPLE)

    def log_scale(log_q: Float[np.ndarray, " L"]) -> float:
        return float(np.log(float(_trace(net.sigma, closure, net.prior, few, log_q)) - bias))

    infinite, steps = log_scale(np.zeros(net.depth)), STEP * np.eye(net.depth)

    def slopes(log_q: Float[np.ndarray, " L"]) -> Float[np.ndarray, " L"]:
        return np.array([log_scale(log_q + h) - log_scale(log_q - h) for h in steps]) / (2 * STEP)

    def action(log_q: Float[np.ndarray, " L"]) -> tuple[float, Float[np.ndarray, " L"]]:
        data = spectral.terms(spectrum, log_scale(log_q) - infinite, temperature, bias)
        prior = widths @ (np.exp(log_q) - log_q)
        return float(prior + data.value), widths * np.expm1(log_q) + data.slope * slopes(log_q)

    log_q = minimize(action, start, jac=True, method="BFGS", options={"gtol": 1e-3 * widths.min()}).x
    hessian = np.array([action(log_q + h)[1] - action(log_q - h)[1] for h in steps]) / (2 * STEP)
    return log_q, (hessian + hessian.T) / 2
