"""The catalogue: every entry names what there is, and the rules say which theory is known where."""

import pytest

from stpbnn import FullyConnected, programs, regressors
from stpbnn.catalogue import PROCESSES, THEORIES, known_theories
from stpbnn.regressors.of_theory import regressor_of

ONE, DEEP, WIDE = FullyConnected((7,), "relu"), FullyConnected((7, 7, 7, 7)), FullyConnected((7, 7), outputs=2)
SEVERAL = FullyConnected((7,), outputs=3)


@pytest.mark.parametrize("name", THEORIES)
def test_a_theory_has_a_regressor_with_the_settings_that_it_takes(name):
    settings = {"particles": 32, "cluster": 2, "random_state": 1, "mean": "drop", "df": 4.0}
    settings |= {"noise": "robust", "noise_df": 3.0, "trend": "linear", "solver": "exact"}
    model = regressor_of(name, ONE, 0.3, **settings)
    assert type(model) is getattr(regressors, THEORIES[name].regressor)
    assert {key: getattr(model, key) for key in THEORIES[name].takes} == {
        key: settings[key] for key in THEORIES[name].takes
    }


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_a_process_has_a_program_and_a_closed_form(process):
    assert callable(getattr(programs, process.program))
    closed = [theory.key for theory in THEORIES.values() if theory.regressor == process.regressor]
    assert set(closed) & set(known_theories(ONE, process.name).values())
    assert set(process.theories) <= {theory.regressor for theory in THEORIES.values()}


@pytest.mark.parametrize(
    ("net", "process", "on_request", "known"),
    [
        (ONE, None, False, ["infinite", "proportional", "finite", "adaptive"]),
        (ONE, None, True, ["infinite", "proportional", "zero-mean", "finite", "adaptive"]),
        (DEEP, None, False, ["infinite", "proportional"]),
        (DEEP, None, True, ["infinite", "proportional", "adaptive"]),
        (WIDE, None, False, ["infinite", "proportional"]),
        (WIDE, None, True, ["infinite", "proportional", "adaptive"]),
        (FullyConnected((7, 5)), None, True, ["infinite", "proportional", "finite", "adaptive"]),
        (SEVERAL, None, False, ["infinite", "proportional", "finite", "adaptive"]),
        (SEVERAL.set_params(widths=(2,)), None, False, ["infinite", "proportional", "adaptive"]),
        (ONE, "student-t", True, ["infinite", "student-t"]),
        (ONE, "finite-width", True, ["infinite", "proportional", "finite"]),
    ],
)
def test_theories_that_are_known(net, process, on_request, known):
    assert list(known_theories(net, process, on_request=on_request).values()) == known
