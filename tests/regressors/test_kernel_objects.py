"""Kernel objects at other hyper-parameters, against scikit-learn's own clones."""

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, RationalQuadratic, WhiteKernel
from student_t_data import KERNELS

from stpbnn.regressors.kernel_objects import KernelHyperparameters

MORE = {
    "all fixed": ConstantKernel(2.0, "fixed") * RBF(1.0, "fixed"),
    "partly fixed": ConstantKernel(2.0, "fixed") * Matern([1.0, 2.0], nu=2.5) + WhiteKernel(0.1),
    "one length scale in a list": RBF([3.0]),
    "of other kinds": RationalQuadratic() * RBF(2.0) + 2.0 * RBF(0.5) ** 2,
}


@pytest.mark.parametrize("name", [*KERNELS, *MORE])
def test_kernel_at_other_hyper_parameters(name):
    """The same kernel as scikit-learn's clone to the last digit, of which the given one knows nothing."""
    kernel = (KERNELS | MORE)[name]
    before = kernel.theta.copy()
    start = KernelHyperparameters(kernel, temperature=0.1, df=5.0, free=("temperature",))
    moved = start.at(start.theta + 0.7)
    expected = kernel.clone_with_theta(kernel.theta + 0.7)
    assert moved.kernel == expected
    assert moved.temperature == pytest.approx(0.1 * np.exp(0.7))
    np.testing.assert_array_equal(moved.kernel.theta, expected.theta)
    np.testing.assert_array_equal(kernel.theta, before)
