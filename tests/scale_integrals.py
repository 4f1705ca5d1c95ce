"""A small problem, its kernels, and integrals by quadrature."""

import numpy as np
from gaussian_averages import erf_kernel


def problem(P=8, N0=5, seed=0, queries=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N0)), rng.normal(size=P), rng.normal(size=(queries, N0))


def prior_kernel(activation, Z, Q, bias=0.0):
    """The nested renormalised kernel, written out."""
    K = Z @ Z.T / Z.shape[1] + bias
    for q in Q:
        K = q * (K if activation == "linear" else erf_kernel(K, np.diag(K), np.diag(K))) + bias
    return K
