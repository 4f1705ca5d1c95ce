"""Values of TensorFlow Probability, GPy and neural-tangents, as make_fixtures.py wrote them."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from stpbnn import Convolutional, FullyConnected, NNGPKernel, StudentTProcessRegressor

VALUES = json.loads(Path(__file__).with_name("values.json").read_text(encoding="utf-8"))
VARIANCE, LENGTH, NOISE = 1.5, 0.8, 0.1
PRECISIONS = (0.8, 1.3, 0.5, 2.0)
KERNELS = {
    name: ConstantKernel(VARIANCE) * base
    for name, base in {
        "rbf": RBF(LENGTH),
        "matern32": Matern(LENGTH, nu=1.5),
        "matern52": Matern(LENGTH, nu=2.5),
    }.items()
}


def inputs(x):
    return np.stack([np.sin(2 * x), np.cos(3 * x) - x / 4], axis=1)


X, XT = inputs(np.arange(6.0)), inputs(np.array([0.3, 1.7, 6.5]))
Y = np.sin(X[:, 0]) + X[:, 1] ** 2 / 3


def process(case):
    name, df = case.split(", ")
    return StudentTProcessRegressor(KERNELS[name], df=float(df), temperature=NOISE, optimizer=None).fit(X, Y)


@pytest.mark.parametrize("case", VALUES["tfp"]["values"])
def test_students_t_process_of_tensorflow_probability(case):
    """Its kernel is the covariance of the process, and its noise shares the scale."""
    found, model = VALUES["tfp"]["values"][case], process(case)
    mean, covariance = model.predict(XT, return_cov=True)
    np.testing.assert_allclose(model.log_marginal_likelihood_, found["log_evidence"], rtol=1e-10)
    np.testing.assert_allclose(mean, found["mean"], rtol=1e-9)
    np.testing.assert_allclose(covariance, found["covariance"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", VALUES["gpy"]["values"])
def test_students_t_process_of_gpy(case):
    """It adds 1e-8 to the diagonal; its variance is that of new targets."""
    found, model = VALUES["gpy"]["values"][case], process(case)
    law = model.predictive(XT, noise=True)
    np.testing.assert_allclose(model.log_marginal_likelihood_, found["log_evidence"], rtol=1e-6)
    np.testing.assert_allclose(law.mean, found["mean"], rtol=1e-6)
    np.testing.assert_allclose(law.variance, found["variance"], rtol=1e-6)


@pytest.mark.parametrize("case", VALUES["neural_tangents"]["values"])
def test_kernels_of_neural_tangents(case):
    """Its W_std² is 1/λ, its b_std² is 1/λ_b; it starts from x·x'/N_0 as well."""
    activation, depth, bias = case.split(", ")
    depth = int(depth)
    net = FullyConnected(
        (10,) * depth,
        activation,
        weight_precision=PRECISIONS[: depth + 1],
        bias_precision=None if bias == "None" else float(bias),
    )
    np.testing.assert_allclose(NNGPKernel(net)(X, XT), VALUES["neural_tangents"]["values"][case], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", VALUES["neural_tangents_images"]["values"])
def test_convolutional_kernels_of_neural_tangents(case):
    activation, padding, readout = case.split(", ")
    net = Convolutional(
        (10, 10),
        ((2, 2), (2, 1)),
        ((1, 1), (2, 1)),
        padding,
        readout,
        activation,
        (5, 3, 2),
        weight_precision=PRECISIONS[:3],
        bias_precision=4.0,
    )
    x = np.arange(30.0)
    images = np.stack([np.sin((p + 2) * x) + np.cos(x / (p + 1)) / 2 for p in range(5)])
    expected = VALUES["neural_tangents_images"]["values"][case]
    np.testing.assert_allclose(NNGPKernel(net)(images[:3], images[3:]), expected, rtol=1e-7, atol=1e-9)
