"""The search for hyper-parameters on functions whose minima are known."""

import re

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der
from sklearn.exceptions import ConvergenceWarning

from stpbnn.regressors.optimise import minimise

BOUNDS = np.log([[1e-5, 1e5]] * 2)
NAMES = ["weight_precision", "temperature"]


def bowl(centre):
    return lambda theta: (float(np.sum((theta - centre) ** 2)), 2 * (theta - np.asarray(centre)))


def double_well(theta):
    """Minima near −3 and 3, the second one lower."""
    x = theta[0]
    return (x**2 - 9) ** 2 / 50 - x / 5, np.array([4 * x * (x**2 - 9) / 50 - 1 / 5])


def test_minimum_of_a_known_function():
    theta, value, _ = minimise(lambda x: (rosen(x), rosen_der(x)), np.array([-1.2, 1.0]), BOUNDS, NAMES)
    np.testing.assert_allclose(theta, [1, 1], rtol=1e-3)
    assert value < 1e-7


def test_restarts_find_the_lower_of_two_minima_and_are_reproducible():
    one = minimise(double_well, np.array([-3.0]), BOUNDS[:1], NAMES[:1])
    assert one[0] < 0
    runs = [
        minimise(double_well, np.array([-3.0]), BOUNDS[:1], NAMES[:1], n_restarts=5, random_state=seed)
        for seed in (1, 1, 2)
    ]
    assert all(theta > 0 and value < one[1] for theta, value, _ in runs)
    assert runs[0] == runs[1]


def test_other_starts_are_searched_from_as_if_they_were_the_first():
    """Also where the search meets a wall, and another after it begins far up."""
    with_wall = []

    def walled(theta):
        if theta[0] > 3.5:
            raise np.linalg.LinAlgError("not positive definite")
        with_wall.append(float(theta[0]))
        return double_well(theta)

    alone = minimise(walled, np.array([2.0]), BOUNDS[:1], NAMES[:1])
    there = with_wall.copy()
    with_wall.clear()
    both = minimise(walled, np.array([-9.0]), BOUNDS[:1], NAMES[:1], others=[np.array([2.0])])
    assert (both.theta, both.value) == (alone.theta, alone.value)
    assert with_wall[: len(there)] == there
    assert minimise(walled, np.array([-9.0]), BOUNDS[:1], NAMES[:1]).theta[0] < 0


def test_restarts_never_lose_the_first_search():
    at_once = minimise(bowl([0.5, -1]), np.array([0.5, -1.0]), BOUNDS, NAMES)
    later = minimise(bowl([0.5, -1]), np.array([0.5, -1.0]), BOUNDS, NAMES, n_restarts=3, random_state=0)
    assert later[1] <= at_once[1]


def test_restarts_are_drawn_log_uniformly_within_the_bounds():
    starts = []

    def optimizer(objective, initial_theta, bounds):
        starts.append(initial_theta)
        return initial_theta, objective(initial_theta, eval_gradient=False)

    bounds = np.log([[1e-3, 1e3], [1e-10, 1e5]])
    minimise(bowl([0, 0]), np.zeros(2), bounds, NAMES, optimizer=optimizer, n_restarts=400, random_state=0)
    starts = np.array(starts)
    np.testing.assert_array_equal(starts[0], 0)
    share = (starts[1:] - bounds[:, 0]) / np.ptp(bounds, axis=1)
    assert share.min() >= 0
    assert share.max() <= 1
    assert np.abs(share.mean(axis=0) - 0.5).max() < 4 / np.sqrt(12 * 400)
    assert np.abs(share.var(axis=0) - 1 / 12).max() < 4 / np.sqrt(180 * 400)


def test_optimizer_of_scikit_learns_convention():
    def optimizer(objective, initial_theta, bounds):
        value, gradient = objective(initial_theta, eval_gradient=True)
        theta = initial_theta - gradient / 2
        assert objective(initial_theta, eval_gradient=False) == value
        np.testing.assert_array_equal(bounds, BOUNDS)
        return theta, objective(theta)[0]

    theta, value, _ = minimise(bowl([1, 2]), np.zeros(2), BOUNDS, NAMES, optimizer=optimizer)
    np.testing.assert_allclose(theta, [1, 2])
    assert value == 0


@pytest.mark.parametrize(("centre", "side"), [(30.0, "upper bound 1e+05"), (-30.0, "lower bound 1e-05")])
def test_a_hyper_parameter_on_a_bound_is_named(centre, side):
    with pytest.warns(ConvergenceWarning, match=rf"^temperature: the optimum lies on the {re.escape(side)}.*fix it"):
        theta, *_ = minimise(bowl([0, centre]), np.zeros(2), BOUNDS, NAMES)
    np.testing.assert_allclose(np.abs(theta), [0, np.log(1e5)], atol=1e-6)


def test_a_search_that_does_not_converge_says_so():
    """A gradient of the wrong sign: the line search finds nothing."""
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        minimise(lambda x: (float(x @ x), -2 * x), np.ones(2), BOUNDS, NAMES)


def test_failures_inside_the_search_are_walls():
    def walled(theta):
        if theta[0] > 1.2:
            raise np.linalg.LinAlgError("not positive definite")
        return bowl([1, 2])(theta)

    theta, value, _ = minimise(walled, np.array([-3.0, 0.0]), BOUNDS, NAMES, n_restarts=3, random_state=0)
    np.testing.assert_allclose(theta, [1, 2], atol=1e-5)
    assert value < 1e-9


def test_failure_everywhere_is_an_error():
    def failing(theta):
        raise np.linalg.LinAlgError("singular")

    with pytest.raises(ValueError, match="infinite at every point that was tried, from weight_precision = 1, temp"):
        minimise(failing, np.zeros(2), BOUNDS, NAMES, n_restarts=2, random_state=0)


@pytest.mark.parametrize("optimizer", ["adam", 3])
def test_unknown_optimizers_are_refused(optimizer):
    with pytest.raises(ValueError, match=r"optimizer: got .*, expected 'fmin_l_bfgs_b', None, or a callable"):
        minimise(bowl([0, 0]), np.zeros(2), BOUNDS, NAMES, optimizer=optimizer)


def test_no_place_is_looked_at_twice():
    """The start, where SciPy's search begins, and the end, of which the slope is judged, included."""
    places = []

    def counted(theta):
        places.append(tuple(theta))
        return rosen(theta), rosen_der(theta)

    minimise(counted, np.array([-1.2, 1.0]), BOUNDS, NAMES)
    assert len(places) == len(set(places))


def test_a_search_that_leads_where_another_has_ended_stops_before_and_one_that_leads_lower_does_not():
    """Two bowls, the deeper one about 2: from 0 and −1 into the other one, from 1 into the deeper one."""
    visited = []

    def wells(theta):
        visited.append(float(theta[0]))
        x, (a, b) = theta[0], theta[1:]
        value = -np.exp(-((x + 1) ** 2)) - 1.5 * np.exp(-((x - 2) ** 2)) + (a - b) ** 2 + 0.1 * (a**2 + b**2)
        slope = 2 * (x + 1) * np.exp(-((x + 1) ** 2)) + 3 * (x - 2) * np.exp(-((x - 2) ** 2))
        return value, np.array([slope, 2.2 * a - 2 * b, 2.2 * b - 2 * a])

    def searched(*starts):
        visited.clear()
        first, *others = (np.array([x, 2.0, -1.0]) for x in starts)
        found = minimise(wells, first, np.array([[-5.0, 5.0]] * 3), ["x", "a", "b"], others=others)
        return found.theta[0], len(visited)

    (_, once), (there, both) = searched(-0.3), searched(-0.3, -1.5)
    best = minimize(lambda theta: wells(theta)[0], [-1.0, 0, 0], method="Nelder-Mead", options={"xatol": 1e-9}).x[0]
    assert there == pytest.approx(best, abs=1e-3)
    assert both < once + searched(-1.5)[1] - 2
    assert searched(-0.3, 1.0)[0] == pytest.approx(2, abs=0.01)
    assert searched(1.0, -0.3)[0] == pytest.approx(2, abs=0.01)


def test_a_search_does_not_follow_another_to_a_far_end_for_a_thousandth():
    """Along a hyper-parameter that the objective forgets, as an exponential: where more is to gain, it goes on."""
    places = []

    def tailed(theta, height):
        places.append(tuple(theta))
        (a, b), t = theta[:2], theta[2]
        value = (a - b) ** 2 + 0.1 * (a**2 + b**2) + height * np.exp(t)
        return value, np.array([2.2 * a - 2 * b, 2.2 * b - 2 * a, height * np.exp(t)])

    def searched(height, *starts):
        places.clear()
        bounds, names = np.array([[-30.0, 5.0]] * 3), ["a", "b", "t"]
        first, *others = (np.array([a, -1.0, 0.0]) for a in starts)
        found = minimise(lambda theta: tailed(theta, height), first, bounds, names, others=others)
        return found.value, np.array(places)[:, 2]

    for height in (1.0, 0.1):
        (value, once), (_, again), (both, together) = (searched(height, *s) for s in ((2.0,), (-2.0,), (2.0, -2.0)))
        assert both == pytest.approx(value, abs=1e-5)
        assert len(together) < len(once) + len(again) - 3
        assert 1e-4 < height * np.exp(together[len(again) :].min()) < 1e-3
