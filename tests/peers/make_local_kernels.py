"""Write what deepbays finds for networks of one convolutional layer to local_kernels.json, for test_local_kernels.py.

    python make_local_kernels.py

Written with deepbays 0.1.11 on torch 2.15.0 and SciPy (Python 3.12), in an environment of its own.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np

VALUES = Path(__file__).with_name("local_kernels.json")
CASES = {  # side of the images, of the windows, channels, temperature, precisions, examples
    "four positions": (4, 2, 20, 0.1, (2.0, 0.5), 12),
    "nine positions": (6, 2, 50, 0.05, (1.0, 1.0), 20),
}


def data(side, examples):
    """Training images and targets, and five test images."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((examples + 5, side**2)) + rng.standard_normal((examples + 5, 1))
    y = 1.5 * np.tanh(X[:, 0] + X[:, 1]) + 0.2 * rng.standard_normal(examples + 5)
    return X[:examples].round(3), y[:examples].round(3), X[examples:].round(3)


def values(side, window, channels, temperature, precisions, examples):
    """Order parameters, means and variances of deepbays, with the largest entry of its gradient."""
    import torch
    from deepbays.rkgp.theory_1HL_CONV import CONV_1HL

    X, y, Xt = map(torch.tensor, data(side, examples))
    theory = CONV_1HL(channels, temperature, window, window, *precisions)
    theory.preprocess(X, y)
    theory.optimize(minimizationTol=1e-12)
    mean = np.asarray(theory.predict(Xt))
    prior = theory.rK0 if theory.rK0.ndim == 1 else theory.rK0.diagonal()
    variance = prior - np.einsum("ij,ij->i", theory.K0_invK, theory.rK0X)
    return {
        "settings": [side, window, channels, temperature, precisions],
        "data": [array.tolist() for array in (X, y, Xt)],
        "Q": theory.optQ.tolist(),
        "mean": mean.tolist(),
        "variance": variance.tolist(),
        "gradient": float(np.abs(theory.grad).max()),
    }


if __name__ == "__main__":
    found = {name: values(*case) for name, case in CASES.items()}
    content = {"version": importlib.metadata.version("deepbays"), "values": found}
    VALUES.write_text(json.dumps(content) + "\n", encoding="utf-8")
