"""Doors of regressors and classifiers, their kernel, and of what takes a fitted one."""

import inspect
import warnings
from functools import cache, partial

import numpy as np
from doors.arguments import DATA, SOLVER, TEST, TREND, T
from doors.given import CLASSES, NET, XT, YT, X, Y
from doors.plain import (
    booleans,
    bounds,
    choice,
    inputs,
    integers,
    labels,
    listed,
    optional,
    positive,
    precisions,
    queries,
    seed,
    square,
    targets,
    vector,
    weights,
    without,
)
from doors.things import existing, fitted, kernel, network, optimizers, path

import stpbnn
from stpbnn import FullyConnected as Net


def saved(**given):
    return stpbnn.save(**given)


EVIDENCE = {"optimizer": (optimizers, None), "n_restarts_optimizer": (integers, 0), "random_state": (None, None)}
MEAN = {"closure": (choice, "nested"), "mean": (choice, "auto")}
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
    net = {"network": (optional(network), NET)}
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
    own = {"network": (optional(network), NET), "temperature": (positive, 0.5)} | evidence
    own |= {"approximation": (choice, "laplace")}
    closure = {"closure": (choice, "nested")}
    return {
        stpbnn.NNGPClassifier: own,
        stpbnn.ProportionalLimitClassifier: own | closure,
        stpbnn.FiniteWidthClassifier: own | closure,
    }


@cache
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
    evidence = {"theta": (optional(vector), thetas), "eval_gradient": (booleans, False)}
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
    evidence = {"theta": (optional(vector), thetas)}
    evidence |= {"eval_gradient": (booleans, False)}
    query, laws = {"X": (queries, XT)}, {"noise": (booleans, False), "joint": (booleans, False)}
    test = query | {"y": (targets, YT)}
    named = inspect.signature(kind.fit).parameters
    data = DATA | ({"sample_weight": (weights, np.ones(len(Y)))} if {"sample_weight", "weights"} & set(named) else {})
    data |= {word: (None, None) for word in ("weights", "others") if word in named}
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
        "posterior_kernel": (None, {"X": (optional(queries), XT)}),
        "generalization_error_standard_error": (None, test),
        "generalization_error_systematic_error": (None, test),
        "predict_populations": (None, query),
        "standard_error": (None, query),
        "systematic_error": (None, query),
    }


@cache
def doors():
    """Return the table of them."""
    net = {"net": (network, NET)}
    table = {
        "NNGPKernel": (
            lambda **given: stpbnn.NNGPKernel(**given).theta,
            {"network": (network, NET), "weight_precision_bounds": (bounds, "fixed")}
            | {"bias_precision_bounds": (bounds, "fixed")}
            | {"weight_precision": (optional(precisions), None)}
            | {"bias_precision": (optional(positive), None)},
        ),
        "NNGPKernel.__call__": (
            stpbnn.NNGPKernel(NET),
            {"X": (inputs, X), "Y": (optional(queries), XT)} | {"eval_gradient": (booleans, False)},
        ),
        "NNGPKernel.diag": (stpbnn.NNGPKernel(NET).diag, {"X": (inputs, X)}),
        "dual_student_t": (stpbnn.dual_student_t, {"net": (network, Net((9,), "erf")), "X": (inputs, X)}),
        "kernel_overlap": (stpbnn.kernel_overlap, {"K1": (square, np.eye(3)), "K2": (square, np.eye(3))}),
        "load": (  # a file that is not there is a FileNotFoundError
            stpbnn.load,
            {"path": (partial(without, existing, "absent"), "nowhere")},
        ),
        "save": (saved, {"regressor": (fitted, model(stpbnn.NNGPRegressor)), "path": (path, "nowhere/at/all")}),
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
                "train": (optional(listed), None),
                "particles": (integers, 16),
                "cluster": (integers, "auto"),
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
    }
    for kind, settings in regressors().items():
        table[kind.__name__] = (lambda kind=kind, **given: kind(**given).fit(X, Y), settings)
        for name, (call, arguments) in methods(kind).items():
            if hasattr(kind, name):
                table[f"{kind.__name__}.{name}"] = (call or getattr(model(kind), name), arguments)
    for kind, settings in classifiers().items():
        table[kind.__name__] = (lambda kind=kind, **given: kind(**given).fit(X, CLASSES), settings)
        for name, (call, arguments) in methods_of_classifier(kind).items():
            table[f"{kind.__name__}.{name}"] = (call or getattr(model(kind), name), arguments)
    return table
