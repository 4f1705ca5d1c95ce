"""Kinds of numbers, arrays, lists and texts: each returns its hostile values by name, for one that is right."""

from functools import partial

import numpy as np

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


def anything_real(value):
    return {k: v for k, v in numbers(value).items() if k not in ("nan", "inf")}


def integers(value):
    return positive(value) | {"fraction": 1.5}


def booleans(value):
    return {"none": None, "text": "yes", "three": 3, "array": np.ones(2), "nan": np.nan}


def choice(value):
    return {"none": None, "text": "nonsense", "number": 3, "beyond double": HUGE, "array": np.ones(2)}


def layer(value):
    return {"text": "one", "fraction": 1.0, "true": True, "too high": 7, "nan": np.nan}


def seed(value):
    return {"text": "a", "negative": -1, "fraction": 1.5, "beyond double": HUGE, "object": object()}


def text(value):
    return {"none": None, "number": 3, "empty": "", "array": np.ones(2)}


def functions(value):
    return {"none": None, "text": "erf", "number": 3}


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


def class_lists(value):
    return {"number": 3, "text": "text", "empty": (), "unknown": (0, 77), "repeated": (1, 1), "of none": (None, 1)}


def label_lists(value):
    return {"number": 3, "text": "text", "too few": (1.0,), "of text": ("a", "b"), "nan": (np.nan, 1.0)}


def bounds(value):
    wrong = {"text": "free", "none": None, "negative": (-1.0, 1.0), "reversed": (2.0, 1.0), "nan": (np.nan, 1.0)}
    return wrong | {"of text": ("a", "b"), "three": (1.0, 2.0, 3.0)}


def without(kind, name, value):
    return {key: hostile for key, hostile in kind(value).items() if key != name}


def optional(kind):
    """Return a kind of argument that may be None."""
    return partial(without, kind, "none")


def none_too(kind):
    return lambda value: kind(value) | {"none": None}


def vector_free(value):
    return {k: v for k, v in arrays(value).items() if k not in ("nan", "inf", "ragged")} | {
        "another shape": np.zeros((3, 3))
    }


def numbers_of_any_shape(value):
    return without(values, "too short", value)


def inputs_or_one(value):
    return {k: v for k, v in inputs(value).items() if k != "1-d"}


def swept_numbers(value):
    wrong = {"text": "text", "number": 3, "empty": [], "of text": ["a"], "of none": [None], "nan": [np.nan]}
    return wrong | {"negative": [-1], "zero": [0], "true": [True], "beyond double": [HUGE]}


def sizes(value):
    return swept_numbers(value) | {"fraction": [1.5]}


def swept_widths(value):
    return sizes(value) | {"empty layers": [[]], "layers of text": [["a"]], "too deep": [[[5]]]}
