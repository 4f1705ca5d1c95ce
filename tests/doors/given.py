"""What is given to a door that is right: data, a network, a posterior, a run, laws."""

import tempfile
import warnings
from functools import cache

import jax
import numpy as np
import pandas as pd
import xarray as xr
from numpyro.distributions import LogNormal
from numpyro.infer import HMC, MCMC
from report_data import made
from run_folders import without_pictures

import stpbnn
from stpbnn import FullyConnected as Net
from stpbnn import cards, comparison, predictive, programs

RNG = np.random.default_rng(0)
X, Y, XT, YT = RNG.normal(size=(6, 3)), RNG.normal(size=6), RNG.normal(size=(4, 3)), RNG.normal(size=4)
NET = Net((5,), "linear")
CLASSES = np.array([0, 1, 0, 1, 1, 0])


@cache
def program():
    return programs.gaussian_process(NET)


@cache
def sampled_process():
    """A process with a prior, and two draws of its posterior."""
    of = programs.gaussian_process(lambda X1, X2, scale: scale * X1 @ X2.T, {"scale": LogNormal(0.0, 1.0)})
    mcmc = MCMC(HMC(of, trajectory_length=0.1), num_warmup=1, num_samples=2, progress_bar=False)
    mcmc.run(jax.random.key(0), X, Y, temperature=0.1)
    return of, mcmc


@cache
def smoke():
    return cards.load_card("smoke-1hl-linear")


def house():
    return pd.DataFrame(
        {"area": [60.0, 90.0, 120.0, 75.0], "rooms": [2.0, 3.0, 4.0, 2.0], "price": [2.0, 3.0, 5.0, 2.8]}
    )


@cache
def example():
    """A posterior of four test points, fitted theories, test inputs and targets."""
    return made(4, draws=20)


@cache
def posterior():
    """A posterior, and the predictions of its theories."""
    tree, fitted, test_inputs, test_targets = example()
    return tree, comparison.predict_theories(fitted, test_inputs, test_targets)


@cache
def compared():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return comparison.compare_predictions(*posterior())


@cache
def swept():
    parts = {"train": [3, 6], "theory": ["infinite width"], "part": list(comparison.theory_predictions.PARTS)}
    return xr.Dataset({"error": xr.DataArray(np.ones((2, 1, 3)), parts, tuple(parts))})


@cache
def with_weights():
    """A posterior whose draws kept their weights."""
    return finished().posterior


@cache
def finished():
    """A finished run, read back into memory from a folder that is gone."""
    settings = {"temperature": 0.1, "warmup": 10, "draws": 20, "chains": 2, "keep_draws": 40, "theories": ["infinite"]}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), without_pictures():
        warnings.simplefilter("ignore")
        return stpbnn.run(NET, (X, Y, XT, YT), folder, progress=False, **settings)


@cache
def law(name):
    """A law of two points, joint or not, of one output or of two."""
    eye, two = np.eye(2), np.ones(2)
    half = two / 2
    return {
        "Gaussian": lambda: predictive.Gaussian(0 * two, two),
        "StudentT": lambda: predictive.StudentT(0 * two, two, 4.0),
        "Mixture": lambda: predictive.Mixture(half, np.zeros((2, 2)), np.ones((2, 2))),
        "SideBySide": lambda: predictive.SideBySide([predictive.Gaussian(np.zeros(1), np.ones(1))] * 2),
        "JointGaussian": lambda: predictive.JointGaussian(0 * two, two, eye),
        "JointStudentT": lambda: predictive.JointStudentT.of(0 * two, eye, 4.0),
        "JointMixture": lambda: predictive.JointMixture.of(half, np.zeros((2, 2)), np.array([eye, eye])),
        "IndependentOutputs": lambda: predictive.IndependentOutputs.joint(np.zeros((2, 2)), [eye, eye]),
        "MixtureOfOutputs": lambda: predictive.MixtureOfOutputs.of(
            half, lambda i: predictive.IndependentOutputs.joint(np.zeros((2, 2)), [eye, eye])
        ),
    }[name]()
