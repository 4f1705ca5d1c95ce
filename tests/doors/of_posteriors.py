"""Doors of samplers, posteriors, comparisons and scores."""

from functools import cache, partial

import numpy as np
from doors.arguments import DATA, OPTIONAL_TEST, T
from doors.given import CLASSES, NET, XT, X, compared, example, posterior, program, with_weights
from doors.of_estimators import model
from doors.plain import (
    anything_real,
    booleans,
    choice,
    classes,
    inputs,
    inputs_or_one,
    integers,
    labels,
    listed,
    optional,
    positive,
    queries,
    seed,
    targets,
    without,
)
from doors.things import data_set, goals, named, network, scales, tree

import stpbnn
from stpbnn import FullyConnected as Net
from stpbnn import classification, comparison, samplers


@cache
def doors():
    """Return the table of them."""
    net = {"net": (network, NET)}
    both = {"posterior": (tree, posterior()[0]), "predictions": (data_set, posterior()[1])}
    fits = {"theories": (named, {"infinite width": model(stpbnn.NNGPRegressor)})}
    _, theories_of_it, stored, its_targets = example()
    against = {"posterior": (tree, posterior()[0]), "theories": (named, theories_of_it), "X_test": (queries, stored)}
    against |= {"y_test": (optional(targets), its_targets)}
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
    rate = {"target_accept_prob": (optional(positive), 0.8)}
    rows = {
        "rows": (lambda v: {"text": "W1", "number": 3, "numbers": [1, 2], "set": {"W1"}, "array": np.ones(2)}, None)
    }
    quoted = {"value": (anything_real, 1.0), "error": (anything_real, 0.1)}
    thresholds = {"max_rhat": (positive, 1.01), "min_ess": (positive, 400), "level": (positive, 0.01)}
    thresholds |= {"max_error_z": (positive, 3.0)}
    return {
        "compare": (stpbnn.compare, against | {"thresholds": (None, None)}),
        "sample": (
            stpbnn.sample,
            net
            | DATA
            | T
            | OPTIONAL_TEST
            | chain
            | {"sampler": (choice, "hmc"), "readout": (optional(choice), "marginal"), "keep": (choice, "observables")}
            | {"temperature": (optional(positive), 0.1)}
            | {"until": (goals, None), "block": (optional(integers), None), "keep_draws": (integers, 0)}
            | {"ladder": (optional(listed), None)},
        ),
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
                "train": (optional(listed), None),
                "progress": (booleans, False),
            },
        ),
        "classification.posterior_scores": (classification.posterior_scores, {"posterior": (tree, posterior()[0])}),
        "comparison.calibration": (comparison.calibration, both),
        "comparison.kernel_spectrum": (
            comparison.kernel_spectrum,  # without eigenmodes nothing is returned
            {name: (partial(without, kind, "empty"), value) for name, (kind, value) in both.items()},
        ),
        "comparison.compare_predictions": (comparison.compare_predictions, both | thresholds),
        "comparison.comparison_table": (comparison.comparison_table, {"comparison": (data_set, compared())}),
        "comparison.predict_theories": (
            comparison.predict_theories,
            fits | {"X_test": (queries, XT), "y_test": OPTIONAL_TEST["y_test"]},
        ),
        "comparison.quote": (comparison.quote, quoted),
        "samplers.MALA": (
            samplers.MALA,
            kernels | rate | {"precondition": (booleans, False), "num_steps": (integers, 1)},
        ),
        "samplers.Langevin": (samplers.Langevin, kernels | {"scales": (scales, None), "num_steps": (integers, 1)}),
        "samplers.SplitHMC": (samplers.SplitHMC, kernels | rate | rows | {"trajectory_length": (positive, 1.0)}),
        "samplers.SplitNUTS": (samplers.SplitNUTS, kernels | rate | rows | {"max_tree_depth": (integers, 5)}),
        "samplers.Tempered": (
            samplers.Tempered,
            {name: kernels[name] for name in ("step_size", "settings")}
            | {"model": (lambda v: {"none": None}, program()), "target_accept_prob": (optional(positive), 0.8)}
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
    }
