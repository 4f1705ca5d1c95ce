"""Every public door against hostile values: ValueError or TypeError in one to three lines that name the argument.

The table is driven by what is public: a new function, class, method or argument without an entry fails. A door says
how it is called, and of what kind each argument is; a kind says which values are hostile.
"""

import functools
import importlib
import inspect
import re
import tempfile
import warnings
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpyro import handlers
from numpyro.distributions import LogNormal
from numpyro.infer import HMC, MCMC
from report_data import made

import stpbnn
from stpbnn import FullyConnected as Net
from stpbnn import (
    activations,
    cards,
    classification,
    comparison,
    curves,
    datasets,
    figures,
    predictive,
    programs,
    runs,
    samplers,
    sweeps,
    theories,
)

MODULES = {
    module.__name__.removeprefix("stpbnn."): module
    for module in (activations, cards, classification, comparison, curves, datasets, figures, predictive, programs)
} | {name: importlib.import_module(f"stpbnn.{name}") for name in ("runs", "samplers", "sweeps", "theories")}

RNG = np.random.default_rng(0)
X, Y, XT, YT = RNG.normal(size=(6, 3)), RNG.normal(size=6), RNG.normal(size=(4, 3)), RNG.normal(size=4)
NET = Net((5,), "linear")
CLASSES = np.array([0, 1, 0, 1, 1, 0])
HUGE = 10**400  # beyond the range of double precision


def arrays(value):
    """What is no array of finite real numbers, of the shape of one that is."""
    value = np.asarray(value, dtype=float)
    place, days = (0,) * value.ndim, np.arange(value.size).reshape(value.shape)
    huge, nan, inf, objects = value.astype(object), value.copy(), value.copy(), value.astype(object)
    huge[place], nan[place], inf[place], objects[place] = HUGE, np.nan, np.inf, {"a": 1}
    return {
        "none": None,
        "text": "text",
        "numeric text": value.astype(str).tolist(),
        "dates": days.astype("datetime64[D]"),
        "time spans": days.astype("timedelta64[D]"),
        "masked": np.ma.array(value, mask=days == 0),
        "complex": value + 1j,
        "objects": objects,
        "nan": nan,
        "inf": inf,
        "beyond double": huge.tolist(),
        "ragged": [[1.0], [1.0, 2.0]],
    }


def inputs(value):
    return arrays(value) | {
        "0-d": 1.0,
        "1-d": value[0],
        "3-d": value[None],
        "empty": value[:0],
        "no features": value[:, :0],
    }


def queries(value):
    return inputs(value) | {"fewer features": value[:, :-1]}


def targets(value):
    return arrays(value) | {"0-d": 1.0, "3-d": value[:, None, None], "empty": value[:0], "too short": value[:-1]}


def weights(value):
    return {k: v for k, v in arrays(value).items() if k != "none"} | {"negative": -value, "too short": value[:-1]}


def values(value):  # NaN and infinity have their density
    return {k: v for k, v in arrays(value).items() if k not in ("nan", "inf")} | {"too short": np.asarray(value)[:-2]}


def square(value):
    return arrays(value) | {"0-d": 1.0, "1-d": value[0], "oblong": value[:, :-1]}


def vector(value):
    return arrays(value) | {"too long": np.append(value, 0.0)}


def probabilities(value):
    return {k: v for k, v in arrays(value).items() if k != "ragged"} | {"negative": -0.1, "above one": 1.1}


def numbers(value):
    return {
        "none": None,
        "text": "a",
        "nan": np.nan,
        "inf": np.inf,
        "beyond double": HUGE,
        "complex": 1j,
        "array": np.ones(3),
        "time span": np.timedelta64(1, "s"),
        "object": object(),
    }


def positive(value):
    return numbers(value) | {"negative": -1.0, "true": True}


def optional_positive(value):
    return {k: v for k, v in positive(value).items() if k != "none"}


def anything_real(value):
    return {k: v for k, v in numbers(value).items() if k not in ("nan", "inf")}


def integers(value):
    return positive(value) | {"fraction": 1.5}


def optional_integers(value):
    return {k: v for k, v in integers(value).items() if k != "none"}


def booleans(value):
    return {"none": None, "text": "yes", "three": 3, "array": np.ones(2), "nan": np.nan}


def choice(value):
    return {"none": None, "text": "nonsense", "number": 3, "beyond double": HUGE, "array": np.ones(2)}


def optional_choice(value):
    return {k: v for k, v in choice(value).items() if k != "none"}


def network(value):
    return {"none": None, "text": "erf", "number": 3, "class": Net, "array": np.ones(2)}


def optional_network(value):
    return {k: v for k, v in network(value).items() if k != "none"}


def tree(value):
    return {
        "none": None,
        "text": "posterior",
        "number": 3,
        "mapping": {},
        "data set": xr.Dataset(),
        "empty": xr.DataTree(),
    }


def data_set(value):
    return {
        "none": None,
        "text": "comparison",
        "number": 3,
        "mapping": {},
        "tree": xr.DataTree(),
        "empty": xr.Dataset(),
    }


def optional_data_set(value):  # one without order parameters is no mistake
    return {k: v for k, v in data_set(value).items() if k not in ("none", "empty")}


def axes(value):
    return {"text": "ax", "number": 3, "array": np.ones(2)}


def layer(value):
    return {"text": "one", "fraction": 1.0, "true": True, "too high": 7, "nan": np.nan}


def seed(value):
    return {"text": "a", "negative": -1, "fraction": 1.5, "beyond double": HUGE, "object": object()}


def path(value):
    return {"none": None, "number": 3.5, "array": np.ones(2), "absent": "/nowhere/at/all"}


def existing(value):
    return {"none": None, "number": 3.5, "absent": "/nowhere/at/all"}


def fitted(value):
    return {"none": None, "text": "model", "number": 3, "class": stpbnn.NNGPRegressor, "array": np.ones(2)}


def mapping(value):
    wrong = {"text": "theories", "number": 3, "list": [1], "none": None, "empty": {}}
    return wrong | {"of none": {"a": None}, "of text": {"a": "b"}, "unfitted": {"a": stpbnn.NNGPRegressor()}}


def named(value):
    return mapping(value) | {"name is a number": {1: next(iter(value.values()))}}


def optimizers(value):
    return {"text": "adam", "number": 3, "array": np.ones(2)}


def text(value):
    return {"none": None, "number": 3, "empty": "", "array": np.ones(2)}


def functions(value):
    return {"none": None, "text": "erf", "number": 3}


def activation(value):
    return {"none": None, "text": "rleu", "number": 3, "array": np.ones(2)}


def widths(value):
    return {
        "none": None,
        "text": "200",
        "zero": (0,),
        "fraction": (1.5,),
        "beyond": (HUGE,),
        "empty": (),
        "of text": ("a",),
    }


def window_sizes(value):
    return widths(value) | {"three": (2, 2, 2), "nested": ((2, 2), (2, 2)), "nan": np.nan, "true": True}


def images(value):
    return widths(value) | {"two": (4, 4), "number": 16, "nested": ((4, 4, 1),)}


def precisions(value):
    return positive(value) | {"too many": (1.0,) * 5}


def listed(value):
    return {"none": None, "text": "text", "number": 3, "empty": [], "of text": ["nonsense"], "of none": [None]}


def labels(value):
    return {
        "none": None,
        "text": "text",
        "nan": [0.0, np.nan] * 2,
        "2-d": [[0], [1]],
        "empty": [],
        "complex": [1j, 0, 1, 0],
        "dates": np.arange(4).astype("datetime64[D]"),
        "masked": np.ma.array([0, 1, 0, 1], mask=[1, 0, 0, 0]),
        "objects": [object()] * 4,
    }


def classes(value):
    return labels(value) | {"repeated": ["a", "a"]}


def bounds(value):
    wrong = {"text": "free", "none": None, "negative": (-1.0, 1.0), "reversed": (2.0, 1.0), "nan": (np.nan, 1.0)}
    return wrong | {"of text": ("a", "b"), "three": (1.0, 2.0, 3.0)}


def kernel(value):
    return {"text": "RBF", "number": 3, "array": np.ones(2)}


def priors(value):
    return {"text": "text", "number": 3, "unknown": {"nonsense": 1.0}}


def process(value):
    return {"none": None, "text": "gp", "number": 3, "network": NET}


def unrun(value):
    return process(value) | {"not run": MCMC(HMC(program()), num_warmup=1, num_samples=1)}


def samples(value):
    return {"none": None, "text": "text", "number": 3}


def card(value):
    return {"none": None, "text": "smoke", "number": 3}


def goals(value):
    return {"text": "ess", "empty": {}, "unknown": {"draws": 3}, "negative": {"ess": -1}, "of text": {"ess": "many"}}


class Door(NamedTuple):
    """How a door is called, and of each argument its kind and a right value."""

    call: object
    arguments: dict


DATA = {"X": (inputs, X), "y": (targets, Y)}
TEST = {"X_test": (queries, XT), "y_test": (targets, YT)}
OPTIONAL_TEST = {
    "X_test": (lambda value: {k: v for k, v in queries(value).items() if k != "none"}, XT),
    "y_test": (lambda value: {k: v for k, v in targets(value).items() if k != "none"}, YT),
}
EVIDENCE = {"optimizer": (optimizers, None), "n_restarts_optimizer": (integers, 0), "random_state": (None, None)}
T = {"temperature": (positive, 0.1)}
SOLVER = {"solver": (choice, "auto")}
MEAN = {"closure": (choice, "nested"), "mean": (choice, "auto")}
PROBABILITY = (probabilities, 0.5)


TREND = {"trend": (choice, "zero")}
CRITERION = {"criterion": (choice, "evidence")}
OUTLIERS = {
    "optimize_noise_df": (booleans, False),
    "noise_df": (positive, 4.0),
    "contamination": (positive, 0.1),
}
GAUSSIAN = {"noise": (choice, "gaussian")}


def regressors():
    """The regressors with their own settings, small and quick."""
    adaptive = {"particles": (integers, 64), "reaction": (booleans, True), "second_start": (booleans, False)}
    adaptive |= {"max_iter": (integers, 12), "random_state": (seed, 0), "cluster": (integers, "auto")}
    student = {
        "kernel": (kernel, NET),
        "df": (positive, 5.0),
        "noise": (choice, "scale"),
        "normalize_y": (booleans, False),
    }
    student |= OUTLIERS | {
        "optimizer": (optimizers, None),
        "optimize_df": (booleans, False),
        "optimize_temperature": (booleans, False),
    }
    student |= {
        "parametrization": (choice, "covariance"),
        "n_restarts_optimizer": (integers, 0),
        "random_state": (None, 0),
    }
    net = {"network": (optional_network, NET)}
    return {
        stpbnn.NNGPRegressor: net
        | T
        | SOLVER
        | TREND
        | CRITERION
        | EVIDENCE
        | OUTLIERS
        | {"noise": (choice, "gaussian")},
        stpbnn.ProportionalLimitRegressor: net | T | SOLVER | TREND | MEAN | EVIDENCE,
        stpbnn.FiniteWidthRegressor: net | T | SOLVER | TREND | MEAN | EVIDENCE | {"random_state": (seed, 0)},
        stpbnn.AdaptiveKernelRegressor: net | T | adaptive,
        stpbnn.StudentTProcessRegressor: T | SOLVER | TREND | CRITERION | student,
    }


def classifiers():
    """The classifiers with their own settings."""
    evidence = EVIDENCE | {"random_state": (None, None)}
    own = {"network": (optional_network, NET), "temperature": (positive, 0.5)} | evidence
    own |= {"approximation": (choice, "laplace")}
    closure = {"closure": (choice, "nested")}
    return {
        stpbnn.NNGPClassifier: own,
        stpbnn.ProportionalLimitClassifier: own | closure,
        stpbnn.FiniteWidthClassifier: own | closure,
    }


@functools.cache
def model(kind):
    """A fitted regressor or classifier."""
    settings = (regressors() | classifiers())[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**{name: value for name, (_, value) in settings.items()}).fit(
            X, CLASSES if kind in classifiers() else Y
        )


def methods_of_classifier(kind):
    """The doors of a classifier."""
    query, thetas = {"X": (queries, XT)}, np.zeros(len(model(kind).hyperparameters_))
    of_data = {"X": (inputs, X), "y": (labels, CLASSES)}
    score = query | {"y": (labels, CLASSES[:4]), "sample_weight": (None, None)}
    evidence = {"theta": (functools.partial(without, vector, "none"), thetas), "eval_gradient": (booleans, False)}
    return {
        "fit": (lambda **given: model(kind).__class__(**model(kind).get_params(deep=False)).fit(**given), of_data),
        "score": (None, score),
        "log_marginal_likelihood": (None, evidence),
    } | dict.fromkeys(("predict", "predict_proba", "decision_function", "latent"), (None, query))


def methods(kind):
    """The doors of a regressor."""
    thetas = np.zeros(len(getattr(model(kind), "hyperparameters_", {})))
    if kind is stpbnn.StudentTProcessRegressor:
        thetas = model(kind)._hyperparameters.theta
    evidence = {"theta": (lambda v: {k: h for k, h in vector(v).items() if k != "none"}, thetas)}
    evidence |= {"eval_gradient": (booleans, False)}
    query, laws = {"X": (queries, XT)}, {"noise": (booleans, False), "joint": (booleans, False)}
    test = query | {"y": (targets, YT)}
    named = inspect.signature(kind.fit).parameters
    data = DATA | ({"sample_weight": (weights, np.ones(len(Y)))} if {"sample_weight", "weights"} & set(named) else {})
    data |= {"weights": (None, None)} if "weights" in named else {}
    return {
        "fit": (
            lambda **given: model(kind).__class__(**model(kind).get_params(deep=False)).fit(**given),
            data,
        ),
        "predict_gradient": (None, query),
        "predict": (None, query | {"return_std": (booleans, False), "return_cov": (booleans, False)}),
        "predictive": (None, query | laws),
        "sample_y": (None, query | {"n_samples": (integers, 1), "random_state": (seed, 0)}),
        "generalization_error": (None, test),
        "log_marginal_likelihood": (None, evidence if len(thetas) else evidence | {"theta": (None, None)}),
        "posterior_kernel": (None, {"X": (lambda v: {k: h for k, h in queries(v).items() if k != "none"}, XT)}),
        "generalization_error_standard_error": (None, test),
        "generalization_error_systematic_error": (None, test),
        "predict_populations": (None, query),
        "standard_error": (None, query),
        "systematic_error": (None, query),
    }


@functools.cache
def example():
    """A posterior of four test points, fitted theories, test inputs and targets."""
    return made(4, draws=20)


@functools.cache
def posterior():
    """A posterior, and the predictions of its theories."""
    tree, fitted, test_inputs, test_targets = example()
    return tree, comparison.predict_theories(fitted, test_inputs, test_targets)


@functools.cache
def compared():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return comparison.compare_predictions(*posterior())


@functools.cache
def swept():
    parts = {"train": [3, 6], "theory": ["infinite width"], "part": list(comparison.theory_predictions.PARTS)}
    return xr.Dataset({"error": xr.DataArray(np.ones((2, 1, 3)), parts, tuple(parts))})


@functools.cache
def program():
    return programs.gaussian_process(NET)


@functools.cache
def sampled_process():
    """A process with a prior, and two draws of its posterior."""
    of = programs.gaussian_process(lambda X1, X2, scale: scale * X1 @ X2.T, {"scale": LogNormal(0.0, 1.0)})
    mcmc = MCMC(HMC(of, trajectory_length=0.1), num_warmup=1, num_samples=2, progress_bar=False)
    mcmc.run(jax.random.key(0), X, Y, temperature=0.1)
    return of, mcmc


def run(build, **arguments):
    """Call the model that a program builds, under a seed."""
    return handlers.seed(build(NET), 0)(**arguments)


@functools.cache
def with_weights():
    """A posterior whose draws kept their weights."""
    return finished().posterior


@functools.cache
def finished():
    """A finished run, read back into memory from a folder that is gone."""
    settings = {"temperature": 0.1, "warmup": 1, "draws": 4, "chains": 1, "keep_draws": 2, "theories": ["infinite"]}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return stpbnn.run(NET, (X, Y, XT, YT), folder, progress=False, **settings)


@functools.cache
def smoke():
    return cards.load_card("smoke-1hl-linear")


@functools.cache
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


def saved(**given):
    return stpbnn.save(**given)


def sampled(**given):
    return stpbnn.sample(**given, warmup=1, draws=4, chains=1, progress=False)


@functools.cache
def doors():
    """The table: every public callable with arguments."""
    net, comparing = {"net": (network, NET)}, {"comparison": (data_set, compared()), "ax": (axes, None)}
    both = {"posterior": (tree, posterior()[0]), "predictions": (data_set, posterior()[1])}
    fits = {"theories": (named, {"infinite width": model(stpbnn.NNGPRegressor)})}
    _, theories_of_it, stored, its_targets = example()
    against = {"posterior": (tree, posterior()[0]), "theories": (named, theories_of_it), "X_test": (queries, stored)}
    against |= {"y_test": (lambda v: {k: h for k, h in targets(v).items() if k != "none"}, its_targets)}
    chain = {"warmup": (integers, 1), "draws": (integers, 4), "chains": (integers, 1), "seed": (seed, 0)}
    chain |= {
        "checkpoint": (lambda v: {"number": 3, "empty": "", "array": np.ones(2)}, None),
        "progress": (booleans, False),
    }
    kernels = {
        "model": (None, program()),
        "potential_fn": (None, None),
        "step_size": (positive, 0.1),
        "settings": (None, None),
    }
    rate = {"target_accept_prob": (optional_positive, 0.8)}
    inside = {"X": (inputs, X), "y": (lambda v: {k: h for k, h in targets(v).items() if k != "none"}, Y)} | T
    of_process = {"process": (process, program()), "samples": (samples, {})} | DATA | T
    new = {"X_new": (queries, XT), "noise": (booleans, False), "joint": (booleans, False)}
    quoted = {"value": (anything_real, 1.0), "error": (anything_real, 0.1)}
    thresholds = {"max_rhat": (positive, 1.01), "min_ess": (positive, 400), "level": (positive, 0.01)}
    thresholds |= {"max_error_z": (positive, 3.0)}
    of_own_data = {"card_or_network": (card_or_network, NET), "data": (four, (X, Y, XT, YT))}
    of_own_data |= {"progress": (booleans, False), "allow_code": (booleans, False)}
    of_own_data |= {"settings": (lambda v: {"unknown": 1.0}, None)}
    of_text = {"separator": (optional_text, None), "decimal": (optional_choice, None)}
    of_text |= {"encoding": (optional_text, None)}
    prepared = datasets.load_table(house(), "price").preparation
    table = {
        "Activation": (
            stpbnn.Activation,
            {
                "name": (text, "mine"),
                "function": (functions, jax.numpy.tanh),
                "kernel": (None, None),
                "mean": (None, None),
            }
            | {"order": (integers, 8)},
        ),
        "FullyConnected": (
            Net,
            {"widths": (widths, (5,)), "activation": (activation, "erf"), "outputs": (integers, 1)}
            | {"weight_precision": (precisions, 1.0), "bias_precision": (optional_positive, 1.0)}
            | {"likelihood": (choice, "gaussian")},
        ),
        "Convolutional": (
            stpbnn.Convolutional,
            {"channels": (widths, (5,)), "activation": (activation, "erf"), "outputs": (integers, 1)}
            | {"kernel_size": (window_sizes, (2, 2)), "stride": (window_sizes, 1), "padding": (choice, "valid")}
            | {"readout": (choice, "flatten"), "image": (images, (4, 4, 1))}
            | {"weight_precision": (precisions, 1.0), "bias_precision": (optional_positive, 1.0)}
            | {"likelihood": (choice, "gaussian")},
        ),
        "NNGPKernel": (
            lambda **given: stpbnn.NNGPKernel(**given).theta,
            {"network": (network, NET), "weight_precision_bounds": (bounds, "fixed")}
            | {"bias_precision_bounds": (bounds, "fixed")}
            | {"weight_precision": (functools.partial(without, precisions, "none"), None)}
            | {"bias_precision": (optional_positive, None)},
        ),
        "NNGPKernel.__call__": (
            stpbnn.NNGPKernel(NET),
            {"X": (inputs, X), "Y": (lambda v: {k: h for k, h in queries(v).items() if k != "none"}, XT)}
            | {"eval_gradient": (booleans, False)},
        ),
        "run": (
            functools.partial(stpbnn.run, temperature=0.1, warmup=1, draws=4, chains=1),
            of_own_data | {"folder": (existing_or_new, "run")},
        ),
        "sweep": (
            functools.partial(stpbnn.sweep, temperature=0.1, warmup=1, draws=4, chains=1),
            of_own_data
            | {"widths": (swept_widths, [5]), "temperatures": (swept_numbers, None), "train": (sizes, None)}
            | {"over": (overs, None), "folder": (existing_or_new, "swept"), "sample": (booleans, True)}
            | {"workers": (integers, 1), "scheduler": (optional_text, None), "many": (booleans, False)},
        ),
        "load_run": (stpbnn.load_run, {"folder": (existing, "nowhere"), "allow_code": (booleans, False)}),
        "NNGPKernel.diag": (stpbnn.NNGPKernel(NET).diag, {"X": (inputs, X)}),
        "compare": (stpbnn.compare, against | {"thresholds": (None, None)}),
        "dual_student_t": (stpbnn.dual_student_t, {"net": (network, Net((9,), "erf")), "X": (inputs, X)}),
        "kernel_overlap": (stpbnn.kernel_overlap, {"K1": (square, np.eye(3)), "K2": (square, np.eye(3))}),
        "load": (  # a file that is not there is a FileNotFoundError
            stpbnn.load,
            {"path": (functools.partial(without, existing, "absent"), "nowhere")},
        ),
        "save": (saved, {"regressor": (fitted, model(stpbnn.NNGPRegressor)), "path": (path, "nowhere/at/all")}),
        "sample": (
            stpbnn.sample,
            net
            | DATA
            | T
            | OPTIONAL_TEST
            | chain
            | {"sampler": (choice, "hmc"), "readout": (optional_choice, "marginal"), "keep": (choice, "observables")}
            | {"temperature": (optional_positive, 0.1)}
            | {"until": (goals, None), "block": (optional_integers, None), "keep_draws": (integers, 0)},
        ),
        "predictive_of": (
            stpbnn.predictive_of,
            {"model": (fitted, model(stpbnn.NNGPRegressor)), "X": (queries, XT)}
            | {"noise": (booleans, False), "joint": (booleans, False)},
        ),
        "theory_grid": (
            stpbnn.theory_grid,
            net
            | DATA
            | TEST
            | {"widths": (listed, [5]), "temperatures": (listed, [0.1]), "theories": (listed, ["infinite"])}
            | {
                "train": (lambda v: {k: h for k, h in listed(v).items() if k != "none"}, None),
                "particles": (integers, 16),
            }
            | (SOLVER | TREND | GAUSSIAN)
            | {
                "random_state": (seed, 0),
                "mean": (choice, "auto"),
                "df": (positive, 5.0),
                "noise_df": (positive, 4.0),
                "progress": (booleans, False),
            },
        ),
        "write_report": (
            stpbnn.write_report,
            {"path": (path, "report.html")}
            | against
            | {"title": (lambda v: {"number": 3, "array": np.ones(2)}, None)}
            | {"card": (lambda v: {"number": 3, "array": np.ones(2)}, None)},
        ),
        "activations.get": (activations.get, {"activation": (activation, "erf")}),
        "activations.register": (activations.register, {"activation": (activation, activations.get("erf"))}),
        "activations.leaky_relu": (activations.leaky_relu, {"slope": (numbers, 0.2)}),
        "classification.one_hot": (classification.one_hot, {"labels": (labels, ["a", "b"])}),
        "classification.predicted_classes": (
            classification.predicted_classes,
            {"predictions": (inputs_or_one, np.eye(2)), "classes": (classes, ["a", "b"])},
        ),
        "classification.accuracy": (
            classification.accuracy,
            {
                "predictions": (inputs_or_one, np.eye(2)),
                "labels": (labels, ["a", "b"]),
                "classes": (classes, ["a", "b"]),
            },
        ),
        "classification.class_scores": (
            classification.class_scores,
            {"probabilities": (inputs, np.eye(2)), "labels": (labels, ["a", "b"]), "classes": (classes, ["a", "b"])},
        ),
        "classification.class_grid": (
            classification.class_grid,
            {"net": (network, Net((5,), "linear", likelihood="bernoulli")), "X": (inputs, X), "X_test": (queries, XT)}
            | {"y": (labels, CLASSES), "y_test": (labels, CLASSES[: len(XT)])}
            | {"widths": (listed, [5]), "temperatures": (listed, [0.1]), "theories": (listed, ["infinite"])}
            | {
                "train": (lambda v: {k: h for k, h in listed(v).items() if k != "none"}, None),
                "progress": (booleans, False),
            },
        ),
        "classification.posterior_scores": (classification.posterior_scores, {"posterior": (tree, posterior()[0])}),
        "comparison.calibration": (comparison.calibration, both),
        "comparison.kernel_spectrum": (
            comparison.kernel_spectrum,  # without eigenmodes nothing is returned
            {name: (functools.partial(without, kind, "empty"), value) for name, (kind, value) in both.items()},
        ),
        "comparison.compare_predictions": (comparison.compare_predictions, both | thresholds),
        "comparison.comparison_table": (comparison.comparison_table, {"comparison": (data_set, compared())}),
        "comparison.predict_theories": (
            comparison.predict_theories,
            fits | {"X_test": (queries, XT), "y_test": OPTIONAL_TEST["y_test"]},
        ),
        "comparison.quote": (comparison.quote, quoted),
        "curves.theory_curves": (
            curves.theory_curves,
            {
                "card": (card, smoke().model_copy(update={"sweep": {"network.widths": ([5], [6])}})),
                "data": (task, None),
                "progress": (booleans, False),
            },
        ),
        "cards.is_table": (cards.is_table, {"path": (functools.partial(without, path, "absent"), "house.csv")}),
        "cards.load_card": (
            cards.load_card,
            {"card": (card_name, "smoke-1hl-linear"), "overrides": (overrides, ()), "allow_code": (booleans, False)},
        ),
        "cards.attributed": (
            lambda **given: cards.attributed(**given).__enter__(),  # which reads no card
            {"card": (functools.partial(without, card_name, "absent"), "smoke"), "overrides": (overrides, ())},
        ),
        "cards.Data.load": (smoke().data.load, {"classes": (booleans, False)}),
        "cards.Card.load": (smoke().load, {"data": (four, None), "sampled": (booleans, False)}),
        "cards.points": (cards.points, {"card": (card, smoke())}),
        "datasets.describe": (datasets.describe, {"data_home": (home, None)}),
        "datasets.load": (
            datasets.load,
            {"name": (choice, "digits"), "classes": (class_lists, (0, 1)), "train": (optional_integers, 10)}
            | {"test": (optional_integers, 5), "size": (optional_integers, 64), "labels": (label_lists, (-1.0, 1.0))}
            | {"standardize": (optional_choice, "auto"), "seed": (optional_integers, 0), "data_home": (home, None)}
            | {"noise": (optional_positive, None), "hidden_width": (optional_integers, None)},
        ),
        "datasets.load_table": (
            datasets.load_table,
            {"file": (frames, house()), "target": (columns, "price"), "features": (optional_columns, None)}
            | {"drop": (columns_or_none, ()), "train": (optional_integers, None), "test": (optional_positive, None)}
            | {"test_file": (lambda v: without(frames, "none", v), None), "split": (a_column, None)}
            | {"seed": (lambda v: {k: h for k, h in seed(v).items() if k != "beyond double"}, None)}
            | {"missing": (choice, "refuse"), "standardize": (optional_choice, None)}
            | {"normalize_target": (booleans, True), "classes": (booleans, False)}
            | of_text,
        ),
        "datasets.read_table": (
            datasets.read_table,
            {"path": (functools.partial(without, path, "absent"), "nowhere.csv")} | of_text,
        ),
        "datasets.Task.first": (datasets.Task(X, Y, XT, YT).first, {"train": (optional_integers, 3)}),
        "datasets.Preparation.transform": (prepared.transform, {"table": (frames, house())}),
        "datasets.Preparation.transform_targets": (prepared.transform_targets, {"table": (frames, house())}),
        "datasets.Preparation.in_units": (prepared.in_units, {"f": (numbers_of_any_shape, Y)}),
        "datasets.Preparation.spread_in_units": (prepared.spread_in_units, {"spread": (numbers_of_any_shape, Y)}),
        "datasets.Preparation.from_json": (datasets.Preparation.from_json, {"text": (text, prepared.to_json())}),
        "programs.condition": (programs.condition, of_process | new),
        "programs.predict": (programs.predict, of_process | new | {"seed": (integers, 0)}),
        "programs.log_likelihood": (programs.log_likelihood, of_process),
        "programs.distance": (
            programs.distance,
            {
                "X1": (inputs, X),
                "X2": (queries, XT),
                "lengthscale": (functools.partial(without, positive, "array"), 1.0),
            },
        ),
        "programs.network": (programs.network, net),
        "programs.marginal_network": (programs.marginal_network, net),
        "programs.scale_mixture": (programs.scale_mixture, net | {"closure": (choice, "nested")}),
        "programs.student_t_network": (programs.student_t_network, net | {"df": (positive, 5.0)}),
        "programs.gaussian_process": (
            programs.gaussian_process,
            {
                "kernel": (none_too(kernel), NET),
                "priors": (priors, {}),
                "noise_df": (functools.partial(without, positive, "none"), None),
            },
        ),
        "programs.student_t_process": (
            programs.student_t_process,
            {"kernel": (none_too(kernel), NET), "priors": (priors, {})},
        ),
        "programs.to_datatree": (
            programs.to_datatree,
            {
                "process": (process, sampled_process()[0]),
                "mcmc": (unrun, sampled_process()[1]),
            }
            | DATA
            | T
            | {"X_new": OPTIONAL_TEST["X_test"], "noise": (booleans, False)},
        ),
        "runs.fingerprint": (runs.fingerprint, {"card": (card, smoke()), "data": (none_too(four), (X, Y, XT, YT))}),
        "runs.Run.predict": (
            lambda **given: finished().predict(**given),
            {"X": (queries, XT), "noise": (booleans, False), "theories": (names_of_theories, None)},
        ),
        "runs.rerender": (runs.rerender, {"folder": (existing, "nowhere"), "allow_code": (booleans, False)}),
        "runs.run_card": (
            runs.run_card,
            {"card": (card, smoke()), "folder": (lambda v: {"none": None, "number": 3.5}, "run"), "data": (four, None)}
            | {"progress": (booleans, False)},
        ),
        "samplers.MALA": (
            samplers.MALA,
            kernels | rate | {"precondition": (booleans, False), "num_steps": (integers, 1)},
        ),
        "samplers.Langevin": (samplers.Langevin, kernels | {"scales": (scales, None), "num_steps": (integers, 1)}),
        "samplers.SplitHMC": (samplers.SplitHMC, kernels | rate | {"trajectory_length": (positive, 1.0)}),
        "samplers.SplitNUTS": (samplers.SplitNUTS, kernels | rate | {"max_tree_depth": (integers, 5)}),
        "samplers.Tempered": (
            samplers.Tempered,
            {name: kernels[name] for name in ("step_size", "settings")}
            | {"model": (lambda v: {"none": None}, program()), "target_accept_prob": (optional_positive, 0.8)}
            | {"replicas": (integers, 3), "lowest": (positive, 0.5), "trajectory_length": (positive, 1.0)},
        ),
        "samplers.tempered_log_evidence": (samplers.tempered_log_evidence, {"posterior": (tree, posterior()[0])}),
        "samplers.diagnose": (samplers.diagnose, {"posterior": (tree, posterior()[0])}),
        "samplers.functions": (samplers.functions, {"posterior": (tree, with_weights()), "X": (queries, XT)}),
        "samplers.paper_scales": (samplers.paper_scales, net | T),
        "samplers.sample_process": (
            samplers.sample_process,
            net | DATA | T | OPTIONAL_TEST | chain | {"process": (choice, "student-t"), "df": (positive, 5.0)},
        ),
        "sweeps.sweep": (
            sweeps.sweep,
            {
                "card": (card, smoke().model_copy(update={"sweep": {"network.widths": ([5], [6])}})),
                "folder": (lambda v: {"none": None, "number": 3.5}, "swept"),
                "data": (task, None),
                "scheduler": (optional_text, None),
            }
            | {
                "workers": (integers, 1),
                "where": (lambda v: {"text": "a", "number": 3}, None),
                "many": (booleans, False),
            }
            | {"progress": (booleans, False)},
        ),
        "theories.chosen": (theories.chosen, {"card": (card, smoke())}),
        "theories.settings": (theories.settings, {"card": (card, smoke())}),
        "theories.theory": (
            theories.theory,
            {
                "card": (card, smoke()),
                "data": (four, None),
                "known": (functools.partial(without, data_set, "none"), None),
            },
        ),
    }
    for name in ("network", "marginal_network", "scale_mixture", "student_t_network"):
        table[f"programs.{name}()"] = (functools.partial(run, getattr(programs, name)), inside)
    table["programs.gaussian_process()"] = (functools.partial(run, programs.gaussian_process), inside)
    for name in figures.__all__:
        table[f"figures.{name}"] = (getattr(figures, name), comparing)
    chains = {"posterior": (tree, posterior()[0]), "comparison": (optional_data_set, compared()), "ax": (axes, None)}
    of_targets = model(stpbnn.NNGPRegressor).predictive(XT, noise=True)
    for name in ("plot_pit", "plot_coverage"):
        given = {"comparison": (data_set, of_targets), "y": (targets, YT), "ax": (axes, None)}
        table[f"figures.{name}"] = (getattr(figures, name), given)
    point = {"elpd_loo": -Y, "pareto_k": 0 * Y, "loo_pit": 0 * Y + 0.5}
    left_out = xr.Dataset({name: ("train_point", value) for name, value in point.items()} | {"good_k": 0.7})
    for name in ("plot_loo_pit", "plot_pareto_k"):
        table[f"figures.{name}"] = (getattr(figures, name), comparing | {"comparison": (data_set, left_out)})
    p = xr.DataArray([0.9, 0.2], dims="test_point")
    judged = xr.Dataset({"f_mean": p, "theory_mean": p.expand_dims(theory=["GP"]), "y_test": ("test_point", [1, 0])})
    of_classes = comparing | {"comparison": (data_set, judged.assign_attrs(classes="[0, 1]"))}
    table["figures.plot_reliability"] = (figures.plot_reliability, of_classes)
    table["figures.plot_confusion"] = (figures.plot_confusion, of_classes | {"theory": (optional_choice, "GP")})
    against_data = {"model": (fitted, model(stpbnn.NNGPRegressor)), "X": (queries, XT), "y": (targets, YT)}
    level, drawn = {"p": (numbers, 0.9)}, {"noise": (booleans, True), "ax": (axes, None)}
    table["figures.plot_residuals"] = (figures.plot_residuals, against_data | {"ax": (axes, None)})
    table["figures.plot_observed"] = (figures.plot_observed, against_data | level | drawn)
    table["figures.plot_band"] = (
        figures.plot_band,
        against_data | level | drawn | {"feature": (layer, 0), "output": (layer, 0)},
    )
    table["figures.plot_energy"] = (figures.plot_energy, {"posterior": chains["posterior"], "ax": (axes, None)})
    table["figures.plot_ranks"] = (figures.plot_ranks, chains | {"worst": (layer, 0)})
    table["figures.plot_order_parameter"] = (figures.plot_order_parameter, chains | {"layer": (layer, 1)})
    table["figures.plot_learning_curve"] = (
        figures.plot_learning_curve,
        {"dataset": (data_set, swept()), "ax": (axes, None)},
    )
    for kind, settings in regressors().items():
        table[kind.__name__] = (lambda kind=kind, **given: kind(**given).fit(X, Y), settings)
        for name, (call, arguments) in methods(kind).items():
            if hasattr(kind, name):
                table[f"{kind.__name__}.{name}"] = (call or getattr(model(kind), name), arguments)
    for kind, settings in classifiers().items():
        table[kind.__name__] = (lambda kind=kind, **given: kind(**given).fit(X, CLASSES), settings)
        for name, (call, arguments) in methods_of_classifier(kind).items():
            table[f"{kind.__name__}.{name}"] = (call or getattr(model(kind), name), arguments)
    for name in (name for name in predictive.__all__ if name != "Law"):
        of, right = law(name), np.zeros_like(law(name).mean)
        for method in ("cdf", "logpdf", "pdf"):
            table[f"predictive.{name}.{method}"] = (
                getattr(of, method),
                {"y": (values if right.ndim == 1 else vector_free, right)},
            )
        table[f"predictive.{name}.quantile"] = (of.quantile, {"p": PROBABILITY})
        table[f"predictive.{name}.interval"] = (of.interval, {"p": PROBABILITY})
        table[f"predictive.{name}.sample"] = (of.sample, {"n": (integers, 1), "random_state": (seed, 0)})
    return {name: Door(*entry) for name, entry in table.items()}


def without(kind, name, value):
    return {key: hostile for key, hostile in kind(value).items() if key != name}


def none_too(kind):
    return lambda value: kind(value) | {"none": None}


def vector_free(value):
    return {k: v for k, v in arrays(value).items() if k not in ("nan", "inf", "ragged")} | {
        "another shape": np.zeros((3, 3))
    }


def inputs_or_one(value):
    return {k: v for k, v in inputs(value).items() if k != "1-d"}


def card_name(value):
    return {"none": None, "number": 3.5, "absent": "no-such-card", "array": np.ones(2)}


def overrides(value):
    return {"number": 3, "none": None, "text": "a=1", "of numbers": [3]}


def home(value):
    return {"number": 3.5, "array": np.ones(2)}


def class_lists(value):
    return {"number": 3, "text": "text", "empty": (), "unknown": (0, 77), "repeated": (1, 1), "of none": (None, 1)}


def label_lists(value):
    return {"number": 3, "text": "text", "too few": (1.0,), "of text": ("a", "b"), "nan": (np.nan, 1.0)}


def four(value):
    return {"text": "text", "number": 3, "two": (X, Y)}


def task(value):
    return four(value) | {"no task": (X, Y, XT, YT)}


def card_or_network(value):
    return {"none": None, "number": 3, "class": Net, "array": np.ones(2)}


def existing_or_new(value):
    return {"number": 3.5, "empty": "", "array": np.ones(2)}


def optional_text(value):
    return {k: v for k, v in text(value).items() if k != "none"}


def swept_numbers(value):
    wrong = {"text": "text", "number": 3, "empty": [], "of text": ["a"], "of none": [None], "nan": [np.nan]}
    return wrong | {"negative": [-1], "zero": [0], "true": [True], "beyond double": [HUGE]}


def sizes(value):
    return swept_numbers(value) | {"fraction": [1.5]}


def swept_widths(value):
    return sizes(value) | {"empty layers": [[]], "layers of text": [["a"]], "too deep": [[[5]]]}


def overs(value):
    wrong = {"text": "network.widths", "number": 3, "list": [1], "unknown": {"nonsense": [1]}, "name": {1: [1]}}
    return wrong | {"of none": {"network.outputs": None}, "of nothing": {"network.outputs": []}}


def house():
    return pd.DataFrame(
        {"area": [60.0, 90.0, 120.0, 75.0], "rooms": [2.0, 3.0, 4.0, 2.0], "price": [2.0, 3.0, 5.0, 2.8]}
    )


def frames(value):
    return {"none": None, "number": 3, "text": "house", "array": np.ones(2)}


def optional_columns(value):
    return {"number": 3, "unknown": "nonsense", "of none": [None], "array": np.ones(2), "empty": []}


def columns_or_none(value):
    return without(optional_columns, "empty", value) | {"none": None}


def a_column(value):
    return optional_columns(value) | {"several": ["area"]}


def columns(value):
    return optional_columns(value) | {"none": None}


def numbers_of_any_shape(value):
    return without(values, "too short", value)


def names_of_theories(value):
    return {"text": "infinite", "number": 3, "unknown": ["nonsense"], "of none": [None], "array": np.ones(2)}


def scales(value):
    return {"number": 3, "text": "text", "negative": {"v": -1.0}, "of text": {"v": "a"}}


MADE_BY_THE_LIBRARY = "results and parts, which the library makes"
COMPILED = "mathematics inside compiled functions, whose arguments are traced"
NUMPYRO = "NumPyro's protocol of a kernel"
SKLEARN = "scikit-learn's protocol; the settings are checked as by the constructor"
PYDANTIC = "tables of a card, checked by pydantic: see test_cards"
FREE = {
    **dict.fromkeys(("Activation.kernel_error", "FullyConnected.readout"), COMPILED),
    **{
        f"{network}.{method}": COMPILED
        for network in ("Convolutional", "FullyConnected")
        for method in (
            "features",
            "forward",
            "mean_squares",
            "pooled",
            "read_out",
            "refuse_features",
            "sample_prior",
            "shapes",
        )
    },
    **{f"{kind}.{of}": SKLEARN for kind in ("Convolutional", "FullyConnected") for of in ("get_params", "set_params")},
    **{f"{kind}.with_hidden": "names the setting" for kind in ("Convolutional", "FullyConnected")},
    "NNGPKernel.set_params": SKLEARN,
    **{f"{kind.__name__}.set_params": SKLEARN for kind in regressors() | classifiers()},
    **dict.fromkeys(("Activation.known", "NNGPKernel.contract", "NNGPKernel.linearised"), MADE_BY_THE_LIBRARY),
    "classification.ClassScores": MADE_BY_THE_LIBRARY,
    "cards.Network.products": PYDANTIC,
    **dict.fromkeys(("datasets.Description", "runs.Run", "predictive.Law"), MADE_BY_THE_LIBRARY),
    **dict.fromkeys(("datasets.Preparation", "datasets.Task"), MADE_BY_THE_LIBRARY),
    **dict.fromkeys(("theories.fitted", "theories.keep", "theories.solve"), "stages of a run, which checked its card"),
    **{f"predictive.{name}": MADE_BY_THE_LIBRARY for name in predictive.__all__},
    **{
        f"predictive.{name}.{of}": MADE_BY_THE_LIBRARY
        for name in predictive.__all__
        for of in ("concatenate", "of", "joint")
    },
    **{f"predictive.Law.{of}": MADE_BY_THE_LIBRARY for of in ("interval", "logpdf", "pdf", "quantile")},
    **{
        f"samplers.{name}.{of}": NUMPYRO
        for name in ("MALA", "Langevin", "SplitHMC", "SplitNUTS", "Tempered")
        for of in ("adapt_extra", "get_diagnostics_str", "init", "postprocess_fn", "sample", "transition")
    },
    **{
        f"cards.{name}": PYDANTIC for name in ("Card", "Data", "Network", "Posterior", "Process", "Sampler", "Theories")
    },
}


def public():
    """Return the arguments of every public callable by name, without those that have none."""
    found = {name: thing for name in stpbnn.__all__ if not inspect.ismodule(thing := getattr(stpbnn, name))}
    for module, content in MODULES.items():
        found |= {f"{module}.{name}": getattr(content, name) for name in content.__all__}
    names, seen = {}, set()
    for name, thing in found.items():
        if not callable(thing) or inspect.ismodule(thing) or id(thing) in seen or "[" in str(thing):
            continue
        seen.add(id(thing))
        names[name] = thing
        for inner in dir(thing) if inspect.isclass(thing) else ():
            method = getattr(thing, inner)
            own = not inner.startswith("_") and callable(method)
            if own and getattr(method, "__module__", "").startswith("stpbnn"):
                names[f"{name}.{inner}"] = method
    arguments = {name: [p for p in inspect.signature(thing).parameters if p != "self"] for name, thing in names.items()}
    return {name: given for name, given in arguments.items() if given}


def test_every_public_door_is_in_the_table():
    table = doors()
    missing = [name for name in public() if name not in table and name not in FREE]
    assert missing == []
    for name, arguments in public().items():
        if name in table:
            assert sorted(set(arguments) - set(table[name].arguments)) == [], name
    gone = [name for name in table if name not in public() and not name.endswith(("()", "__call__"))]
    assert gone == []


KEYWORDS = {"settings", "thresholds", "weights"}  # further ones, by their own names


def complaint(door, argument, value):
    """Return what is wrong with how a door takes a hostile value, or nothing."""
    given = {name: right for name, (_, right) in door.arguments.items() if name not in KEYWORDS} | {argument: value}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            door.call(**given)
    except (ValueError, TypeError) as error:
        text = str(error)
        if argument not in text:
            return f"the message does not name {argument}: {text[:200]}"
        return f"{text.count(chr(10)) + 1} lines" if text.count("\n") > 2 else None
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "accepted"


CELLS = [(name, argument) for name in sorted(public()) if name not in FREE for argument in public()[name]]
CELLS += [
    (name, argument)
    for name in ("network", "marginal_network", "scale_mixture", "student_t_network", "gaussian_process")
    for name in (f"programs.{name}()",)
    for argument in ("X", "y", "temperature")
]
CELLS.append(("StudentTProcessRegressor.fit", "sample_weight"))
CELLS += [("NNGPKernel.__call__", argument) for argument in ("X", "Y", "eval_gradient")]


@pytest.mark.parametrize(("name", "argument"), CELLS, ids=lambda value: value)
def test_hostile_values_are_refused_in_a_line_that_names_the_argument(name, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    door = doors()[name]
    kind, right = door.arguments[argument]
    if kind is None:
        return
    found = {
        hostile: problem for hostile, value in kind(right).items() if (problem := complaint(door, argument, value))
    }
    assert found == {}


ARRAYS = {"X", "Y", "X_test", "X_new", "y", "y_test", "K1", "K2", "predictions"}
SLOW = {"sample", "samplers.sample_process", "AdaptiveKernelRegressor.fit", "write_report", "theory_grid"}
SLOW.add("classification.class_grid")
ELSEWHERE = {"NNGPKernel", "programs", "predictive", "comparison"}


def finite(result):
    """Say whether all numbers of a result are: those of arrays, data sets, laws, and of what a regressor predicts."""
    if hasattr(result, "predict_proba"):
        return finite(result.predict_proba(XT))
    if hasattr(result, "predict"):
        return finite(result.predict(XT, return_std=True))
    if isinstance(result, predictive.Law):
        return finite((result.mean, result.std))
    if isinstance(result, (tuple, list)):
        return all(finite(part) for part in result)
    values = np.asarray(result) if isinstance(result, float | np.ndarray) else np.zeros(())
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        cell
        for cell in CELLS
        if cell[1] in ARRAYS and cell[0] not in SLOW and cell[0].partition(".")[0] not in ELSEWHERE
    ],
    ids=lambda value: value,
)
def test_unusual_arrays_are_right_or_refused(name, argument):
    """Huge and tiny numbers, arrays that must not be written to, and lists."""
    door = doors()[name]
    kind, right = door.arguments[argument]
    if kind is None:
        return
    given = {name: value for name, (_, value) in door.arguments.items() if name not in KEYWORDS}
    still = np.array(right, dtype=float)
    still.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for value in (still, still.tolist()):
            assert finite(door.call(**given | {argument: value})), type(value)
        for size in (1e300, 1e-300):
            try:
                assert finite(door.call(**given | {argument: size * still})), size
            except (ValueError, TypeError) as error:
                assert re.search(rf"\b{argument}\b|temperature|rescale the inputs", str(error)), str(error)  # noqa: PT017
                assert str(error).count("\n") < 3  # noqa: PT017
