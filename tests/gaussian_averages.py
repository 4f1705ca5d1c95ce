"""Activations as plain functions, and their Gaussian averages by adaptive quadrature."""

import math
from itertools import pairwise

import numpy as np
from scipy.integrate import cubature, quad
from scipy.special import erf, expit, ndtr
from scipy.stats import norm

FUNCTIONS = {
    "linear": lambda h: h,
    "erf": erf,
    "relu": lambda h: np.maximum(h, 0),
    "leaky_relu": lambda h: np.where(h > 0, h, 0.01 * h),
    "gelu": lambda h: h * ndtr(h),
    "sin": np.sin,
    "square": np.square,
    "tanh": np.tanh,
    "silu": lambda h: h * expit(h),
}


def expectation(g1, g2, a, b, c):
    """E[g1(h) g2(h')] by adaptive cubature in polar coordinates, where kinks at zero are rays; c² = ab is allowed."""
    angle = math.acos(c / (a * b) ** 0.5)

    def density(x):
        r, phi = x[:, 0], x[:, 1]
        return g1(a**0.5 * r * np.cos(phi)) * g2(b**0.5 * r * np.cos(phi - angle)) * r * np.exp(-(r**2) / 2)

    rays = sorted({-math.pi / 2, math.pi / 2, angle - math.pi / 2, angle + math.pi / 2 - 2 * math.pi * (angle > 0)})
    rays.append(rays[0] + 2 * math.pi)
    wedges = [(low, high) for low, high in pairwise(rays) if high - low > 1e-9]
    parts = [cubature(density, [0.0, low], [10.0, high], rtol=1e-11, atol=1e-12) for low, high in wedges]
    assert all(part.status == "converged" for part in parts)
    return sum(part.estimate for part in parts) / (2 * math.pi)


def erf_dual(a, b, c):
    return 2 / np.pi * np.arcsin(2 * c / np.sqrt((1 + 2 * a) * (1 + 2 * b)))


def relu_dual(a, b, c):
    u = np.clip(c / np.sqrt(a * b), -1, 1)
    return np.sqrt(a * b) / (2 * np.pi) * (u * (np.pi - np.arccos(u)) + np.sqrt(1 - u * u))


DUALS = {"erf": erf_dual, "relu": relu_dual, "linear": lambda a, b, c: c}


def erf_kernel(C, left, right):
    """E[erf(h) erf(h')] between two sets of inputs: their covariances, and the variances of each."""
    return erf_dual(left[:, None], right[None, :], C)


def average(g, a):
    """E[g(h)] by adaptive quadrature, with a kink at zero allowed."""
    return quad(lambda z: g(np.float64(a**0.5 * z)) * norm.pdf(z), -12, 12, points=[0], epsabs=1e-13, limit=200)[0]
