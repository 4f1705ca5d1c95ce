"""Values of deepbays for networks of one convolutional layer, as make_local_kernels.py wrote them."""

import json
from pathlib import Path

import numpy as np
import pytest

from stpbnn import Convolutional, ProportionalLimitRegressor

VALUES = json.loads(Path(__file__).with_name("local_kernels.json").read_text(encoding="utf-8"))["values"]


@pytest.mark.parametrize("name", VALUES)
def test_order_parameters_and_predictions_of_deepbays(name):
    found = VALUES[name]
    (side, window, channels, temperature, precisions), (X, y, Xt) = found["settings"], map(np.array, found["data"])
    net = Convolutional((channels,), window, window, image=(side, side, 1), weight_precision=precisions)
    single = float(np.float32(temperature))  # what deepbays adds to the kernel when it solves for Q
    model = ProportionalLimitRegressor(net, temperature=single).fit(X, y)
    np.testing.assert_allclose(model.order_parameters_, found["Q"], rtol=0, atol=1e-12)
    law = model.set_params(temperature=temperature).fit(X, y).predictive(Xt)
    np.testing.assert_allclose(law.mean, found["mean"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(law.variance, found["variance"], rtol=0, atol=1e-8)
