"""Doors of networks, activations, programs and predictive laws."""

from functools import cache, partial

import jax
import numpy as np
from doors.arguments import DATA, OPTIONAL_TEST, T
from doors.given import NET, XT, X, Y, law, program, sampled_process
from doors.plain import (
    booleans,
    choice,
    functions,
    images,
    inputs,
    integers,
    none_too,
    numbers,
    optional,
    positive,
    precisions,
    probabilities,
    queries,
    seed,
    targets,
    text,
    values,
    vector_free,
    widths,
    window_sizes,
    without,
)
from doors.things import activation, kernel, network, priors, process, samples, unrun
from numpyro import handlers

import stpbnn
from stpbnn import FullyConnected as Net
from stpbnn import activations, predictive, programs


def run(build, **arguments):
    """Call the model that a program builds, under a seed."""
    return handlers.seed(build(NET), 0)(**arguments)


PROBABILITY = (probabilities, 0.5)


@cache
def doors():
    """Return the table of them."""
    net = {"net": (network, NET)}
    inside = {"X": (inputs, X), "y": (optional(targets), Y)} | T
    of_process = {"process": (process, program()), "samples": (samples, {})} | DATA | T
    new = {"X_new": (queries, XT), "noise": (booleans, False), "joint": (booleans, False)}
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
            | {"weight_precision": (precisions, 1.0), "bias_precision": (optional(positive), 1.0)}
            | {"likelihood": (choice, "gaussian")},
        ),
        "Convolutional": (
            stpbnn.Convolutional,
            {"channels": (widths, (5,)), "activation": (activation, "erf"), "outputs": (integers, 1)}
            | {"kernel_size": (window_sizes, (2, 2)), "stride": (window_sizes, 1), "padding": (choice, "valid")}
            | {"readout": (choice, "flatten"), "image": (images, (4, 4, 1))}
            | {"weight_precision": (precisions, 1.0), "bias_precision": (optional(positive), 1.0)}
            | {"likelihood": (choice, "gaussian")},
        ),
        "activations.get": (activations.get, {"activation": (activation, "erf")}),
        "activations.register": (activations.register, {"activation": (activation, activations.get("erf"))}),
        "activations.leaky_relu": (activations.leaky_relu, {"slope": (numbers, 0.2)}),
        "programs.condition": (programs.condition, of_process | new),
        "programs.predict": (programs.predict, of_process | new | {"seed": (integers, 0)}),
        "programs.log_likelihood": (programs.log_likelihood, of_process),
        "programs.distance": (
            programs.distance,
            {
                "X1": (inputs, X),
                "X2": (queries, XT),
                "lengthscale": (partial(without, positive, "array"), 1.0),
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
                "noise_df": (optional(positive), None),
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
    }
    for name in ("network", "marginal_network", "scale_mixture", "student_t_network"):
        table[f"programs.{name}()"] = (partial(run, getattr(programs, name)), inside)
    table["programs.gaussian_process()"] = (partial(run, programs.gaussian_process), inside)
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
    return table
