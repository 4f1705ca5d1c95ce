"""Every public door against hostile values: ValueError or TypeError in one to three lines that name the argument.

The table is driven by what is public: a new function, class, method or argument without an entry fails. A door says
how it is called, and of what kind each argument is; a kind says which values are hostile.
"""

import importlib
import inspect
import re
import warnings
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from doors import of_estimators, of_figures, of_networks, of_posteriors, of_runs
from doors.given import XT
from doors.of_estimators import classifiers, regressors

import stpbnn
from stpbnn import activations, cards, classification, comparison, curves, datasets, figures, predictive, programs


class Door(NamedTuple):
    """How a door is called, and of each argument its kind and a right value."""

    call: object
    arguments: dict


MODULES = {
    module.__name__.removeprefix("stpbnn."): module
    for module in (activations, cards, classification, comparison, curves, datasets, figures, predictive, programs)
} | {name: importlib.import_module(f"stpbnn.{name}") for name in ("runs", "samplers", "sweeps", "theories")}


@cache
def doors():
    parts = (of_estimators, of_figures, of_networks, of_posteriors, of_runs)
    return {name: Door(*entry) for part in parts for name, entry in part.doors().items()}


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


KEYWORDS = {"settings", "thresholds", "weights", "others"}  # further ones, by their own names


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
