"""Write the values of other libraries on small problems of our own to values.json, for test_values.py.

    python make_fixtures.py tfp | gpy | neural_tangents | neural_tangents_images

computes those of the one library that the interpreter has, and keeps the others. Written with, each in its own
environment:

    tensorflow-probability 0.24.0 on JAX 0.4.30 (Python 3.11)
    GPy 1.13.2 with NumPy 1.24 and SciPy 1.10 (Python 3.10)
    neural-tangents 0.6.5 on JAX 0.4.30, SciPy 1.13 (Python 3.11)
"""

import importlib.metadata
import itertools
import json
import sys
from pathlib import Path

import numpy as np

VALUES = Path(__file__).with_name("values.json")
VARIANCE, LENGTH, NOISE = 1.5, 0.8, 0.1
KERNELS, FREEDOM = ("rbf", "matern32", "matern52"), (2.5, 5.0, 60.0)
PRECISIONS = (0.8, 1.3, 0.5, 2.0)  # λ_0, λ_1, ... of a network


def data():
    """Six training points with two inputs, three test points."""
    x = np.arange(6.0)
    X = np.stack([np.sin(2 * x), np.cos(3 * x) - x / 4], axis=1)
    t = np.array([0.3, 1.7, 6.5])
    return X, np.sin(X[:, 0]) + X[:, 1] ** 2 / 3, np.stack([np.sin(2 * t), np.cos(3 * t) - t / 4], axis=1)


def tfp():
    """Student's t-process: log density of y, mean and covariance of f at the test points."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from tensorflow_probability.substrates import jax as probability

    psd, law = probability.math.psd_kernels, probability.distributions
    kinds = dict(zip(KERNELS, (psd.ExponentiatedQuadratic, psd.MaternThreeHalves, psd.MaternFiveHalves), strict=True))
    X, y, Xt = data()
    found = {}
    for name, df in itertools.product(KERNELS, FREEDOM):
        kernel = kinds[name](amplitude=np.sqrt(VARIANCE), length_scale=LENGTH)
        settings = {"observation_noise_variance": NOISE, "cholesky_fn": jnp.linalg.cholesky}
        evidence = law.StudentTProcess(df, kernel, X, **settings).log_prob(y)
        after = law.StudentTProcessRegressionModel(df, kernel, Xt, X, y, predictive_noise_variance=0.0, **settings)
        found[f"{name}, {df}"] = {
            "log_evidence": float(evidence),
            "mean": np.asarray(after.mean()).tolist(),
            "covariance": np.asarray(after.covariance()).tolist(),
        }
    return found


def gpy():
    """Student's t-process with white noise in the kernel: log density of y, mean and variance of new y.

    Its degrees of freedom count from two: deg_free = ν − 2.
    """
    import GPy

    X, y, Xt = data()
    kinds = dict(zip(KERNELS, (GPy.kern.RBF, GPy.kern.Matern32, GPy.kern.Matern52), strict=True))
    found = {}
    for name, df in itertools.product(KERNELS, FREEDOM):
        kernel = kinds[name](2, variance=VARIANCE, lengthscale=LENGTH) + GPy.kern.White(2, variance=NOISE)
        model = GPy.models.TPRegression(X, y[:, None], kernel, deg_free=df - 2)
        mean, variance = model.predict(Xt)
        found[f"{name}, {df}"] = {
            "log_evidence": float(np.squeeze(model.log_likelihood())),
            "mean": mean[:, 0].tolist(),
            "variance": variance[:, 0].tolist(),
        }
    return found


def neural_tangents():
    """Kernels of infinitely wide networks, between training and test points."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from neural_tangents import stax

    X, _, Xt = data()
    found = {}
    for name, depth, bias in itertools.product(("relu", "erf"), (1, 2, 3), (None, 4.0)):
        nonlinear = {"relu": stax.Relu, "erf": stax.Erf}[name]
        layers = [
            layer
            for precision in PRECISIONS[:depth]
            for layer in (stax.Dense(1, precision**-0.5, None if bias is None else bias**-0.5), nonlinear())
        ]
        last = stax.Dense(1, PRECISIONS[depth] ** -0.5, None if bias is None else bias**-0.5)
        _, _, kernel = stax.serial(*layers, last)
        found[f"{name}, {depth}, {bias}"] = np.asarray(kernel(X, Xt, "nngp")).tolist()
    return found


def images():
    """Five images of 5 x 3 pixels in two channels, as rows."""
    x = np.arange(30.0)
    return np.stack([np.sin((p + 2) * x) + np.cos(x / (p + 1)) / 2 for p in range(5)])


def neural_tangents_images():
    """Kernels of infinitely wide convolutional networks of two layers, with windows of 2 x 2 and 2 x 1 pixels."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from neural_tangents import stax

    X, bias, found = images().reshape(-1, 5, 3, 2), 4.0**-0.5, {}
    for name, padding, readout in (("relu", "valid", "mean"), ("erf", "same", "flatten")):
        nonlinear = {"relu": stax.Relu, "erf": stax.Erf}[name]
        first, second = (
            stax.Conv(1, size, stride, padding.upper(), precision**-0.5, bias, parameterization="ntk")
            for size, stride, precision in (((2, 2), (1, 1), PRECISIONS[0]), ((2, 1), (2, 1), PRECISIONS[1]))
        )
        pool = {"flatten": stax.Flatten, "mean": stax.GlobalAvgPool}[readout]()
        last = stax.Dense(1, PRECISIONS[2] ** -0.5, bias)
        _, _, kernel = stax.serial(first, nonlinear(), second, nonlinear(), pool, last)
        found[f"{name}, {padding}, {readout}"] = np.asarray(kernel(X[:3], X[3:], "nngp")).tolist()
    return found


VERSIONS = {
    "tfp": ("tensorflow-probability", "jax"),
    "gpy": ("GPy", "numpy"),
    "neural_tangents": ("neural-tangents", "jax"),
    "neural_tangents_images": ("neural-tangents", "jax"),
}


def main(peer):
    values = json.loads(VALUES.read_text(encoding="utf-8")) if VALUES.exists() else {}
    versions = {name: importlib.metadata.version(name) for name in VERSIONS[peer]}
    values[peer] = {"versions": versions, "values": globals()[peer]()}
    VALUES.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
