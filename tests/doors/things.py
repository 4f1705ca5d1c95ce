"""Kinds of networks, results, files, cards and tables: each returns its hostile values by name."""

import numpy as np
import xarray as xr
from doors.given import NET, XT, YT, X, Y, program
from doors.plain import without
from numpyro.infer import HMC, MCMC

import stpbnn
from stpbnn import FullyConnected as Net


def network(value):
    return {"none": None, "text": "erf", "number": 3, "class": Net, "array": np.ones(2)}


def activation(value):
    return {"none": None, "text": "rleu", "number": 3, "array": np.ones(2)}


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


def path(value):
    return {"none": None, "number": 3.5, "array": np.ones(2), "absent": "/nowhere/at/all"}


def existing(value):
    return {"none": None, "number": 3.5, "absent": "/nowhere/at/all"}


def existing_or_new(value):
    return {"number": 3.5, "empty": "", "array": np.ones(2)}


def home(value):
    return {"number": 3.5, "array": np.ones(2)}


def fitted(value):
    return {"none": None, "text": "model", "number": 3, "class": stpbnn.NNGPRegressor, "array": np.ones(2)}


def mapping(value):
    wrong = {"text": "theories", "number": 3, "list": [1], "none": None, "empty": {}}
    return wrong | {"of none": {"a": None}, "of text": {"a": "b"}, "unfitted": {"a": stpbnn.NNGPRegressor()}}


def named(value):
    return mapping(value) | {"name is a number": {1: next(iter(value.values()))}}


def optimizers(value):
    return {"text": "adam", "number": 3, "array": np.ones(2)}


def card(value):
    return {"none": None, "text": "smoke", "number": 3}


def card_name(value):
    return {"none": None, "number": 3.5, "absent": "no-such-card", "array": np.ones(2)}


def card_or_network(value):
    return {"none": None, "number": 3, "class": Net, "array": np.ones(2)}


def overrides(value):
    return {"number": 3, "none": None, "text": "a=1", "of numbers": [3]}


def overs(value):
    wrong = {"text": "network.widths", "number": 3, "list": [1], "unknown": {"nonsense": [1]}, "name": {1: [1]}}
    return wrong | {"of none": {"network.outputs": None}, "of nothing": {"network.outputs": []}}


def four(value):
    return {"text": "text", "number": 3, "two": (X, Y)}


def task(value):
    return four(value) | {"no task": (X, Y, XT, YT)}


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


def names_of_theories(value):
    return {"text": "infinite", "number": 3, "unknown": ["nonsense"], "of none": [None], "array": np.ones(2)}


def scales(value):
    return {"number": 3, "text": "text", "negative": {"v": -1.0}, "of text": {"v": "a"}}


def goals(value):
    return {"text": "ess", "empty": {}, "unknown": {"draws": 3}, "negative": {"ess": -1}, "of text": {"ess": "many"}}
