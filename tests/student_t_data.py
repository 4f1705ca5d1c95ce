"""What the tests of Student's t-processes share: kernels, data and a short way to fit."""

import numpy as np
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, RationalQuadratic, WhiteKernel

from stpbnn import FullyConnected, NNGPKernel, StudentTProcessRegressor

NOISES = ["scale", "gaussian"]
KERNEL = 1.5 * RBF(0.8)
KERNELS = {
    "rbf": 1.5 * RBF(0.8),
    "rbf, two lengths": ConstantKernel(2.0, "fixed") * RBF([0.8, 1.5]),
    "fixed": RBF(0.8, "fixed") + WhiteKernel(0.1),
    "matern 1/2": Matern([0.8, 1.5], nu=0.5) + 0.5,
    "matern 3/2": 1.5 * Matern(0.8, nu=1.5),
    "matern 5/2": Matern([0.8, 1.5], nu=2.5) * RationalQuadratic(),
    "matern": Matern(0.8, nu=np.inf) ** 2,
    "whole array": RationalQuadratic() * DotProduct() + 2.0 * RBF(),
    "network": 2.0 * NNGPKernel(FullyConnected((5, 5), "erf", weight_precision=(1.0, 2.0, 3.0), bias_precision=2.0)),
    "relu": NNGPKernel(FullyConnected((5,), "relu")) * RBF(2.0),
}


def data(P=15, outputs=1, seed=0, queries=4):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(P, 2)), rng.normal(size=(queries, 2))
    y = np.sin(X @ rng.normal(size=(2, outputs))) + 0.3 * rng.normal(size=(P, outputs))
    return X, y[:, 0] if outputs == 1 else y, Xt


def fitted(kernel=KERNEL, X=None, y=None, **settings):
    return StudentTProcessRegressor(kernel, **({"optimizer": None, "temperature": 0.1} | settings)).fit(X, y)
