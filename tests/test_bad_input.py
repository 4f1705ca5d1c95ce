"""Awkward data and settings, all theories: each works, with finite numbers, or is refused with the reason."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from quick_cases import cases
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF

from stpbnn import (
    Activation,
    AdaptiveKernelRegressor,
    FiniteWidthRegressor,
    FullyConnected,
    NNGPRegressor,
    ProportionalLimitRegressor,
    StudentTProcessRegressor,
    programs,
    save,
)
from stpbnn.comparison import predict_theories
from stpbnn.samplers.draws import checked_data

REGRESSORS = [NNGPRegressor, ProportionalLimitRegressor, FiniteWidthRegressor]
ACTIVATIONS = ["linear", "erf", "relu", "leaky_relu", "gelu", "sin", "square", "tanh", "silu"]
NETWORKS = [
    FullyConnected((20,), "linear"),
    FullyConnected((20,), "erf"),
    FullyConnected((20,), "relu", bias_precision=2.0),
    FullyConnected((9, 12), "erf"),
]
MORE = [
    *(FullyConnected((20,), activation) for activation in ACTIVATIONS[2:]),
    FullyConnected((9, 12), "relu", bias_precision=2.0),
]
RNG = np.random.default_rng(0)
X, Y, QUERIES = RNG.normal(size=(6, 8)), RNG.normal(size=6), RNG.normal(size=(3, 8))


def settings(regressor, network):
    """The closures of deep networks, and both treatments of the mean."""
    if regressor is NNGPRegressor:
        return [{}]
    if network.depth > 1:
        return [{"closure": closure} for closure in ("nested", "global", "wishart")]
    return [{}] if network.sigma.odd else [{"mean": "keep"}, {"mean": "drop"}]


def works_or_says_why(regressor, network, X, y, temperature, reasons=()):
    """Fit and predict: everything finite, or the reason why not; True for each setting that works."""
    worked = []
    for setting in settings(regressor, network):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                model = regressor(network, temperature=temperature, **setting).fit(X, y)
                mean, std = model.predict(np.vstack([X, QUERIES]), return_std=True)
            except (ValueError, ConvergenceWarning) as error:
                assert any(reason in str(error) for reason in reasons), str(error)  # noqa: PT017
                worked.append(False)
                continue
        learned = [model.order_parameters_, model.log_marginal_likelihood_, mean, std]
        assert all(np.all(np.isfinite(values)) for values in learned), (setting, learned)
        assert model.converged_
        assert np.all(std >= 0)
        worked.append(True)
    return worked


EVERYTHING = pytest.mark.parametrize(
    ("regressor", "network"),
    [
        pytest.param(regressor, network, marks=[pytest.mark.long] if network in MORE else [])
        for regressor in REGRESSORS
        for network in NETWORKS + MORE
    ],
    ids=lambda value: getattr(value, "__name__", None) or f"{value.activation}{len(value.widths)}",
)
ACTIVATIONS = ["linear", "erf", "relu", "square", "tanh"]
SINGULAR = ("singular to working precision", "falls without bound")
UNSOLVED = ("saddle point of the effective action was not reached", "did not converge")  # warnings, never silence


@EVERYTHING
@pytest.mark.parametrize(
    ("X", "y"),
    [
        pytest.param(X[:1], Y[:1], id="one example"),
        pytest.param(X, 0 * Y, id="zero targets"),
        pytest.param(X, np.ones(6), id="one class"),
        pytest.param(X[[0, 0, 1, 1, 1, 2]], Y, id="repeated rows"),
        pytest.param(np.outer(Y, X[0]), Y, id="rank one"),
        pytest.param(np.where(X[:, :1] > 0, X, 0), Y, id="zero rows"),
        pytest.param(0 * X, Y, id="zero inputs"),
        pytest.param(X, Y[:, None], id="column"),
    ],
)
def test_awkward_data_work_at_finite_temperature(regressor, network, X, y):
    assert all(works_or_says_why(regressor, network, X, y, 0.1))


@EVERYTHING
@pytest.mark.parametrize(
    ("X", "y"),
    [
        pytest.param(X[:1], Y[:1], id="one example"),
        pytest.param(X, 0 * Y, id="zero targets"),
        pytest.param(X[[0, 0, 1, 1, 1, 2]], Y, id="repeated rows"),
        pytest.param(np.outer(Y, X[0]), Y, id="rank one"),
        pytest.param(0 * X, Y, id="zero inputs"),
        pytest.param(2 * X, Y, id="regular"),
    ],
)
def test_zero_temperature_works_or_is_refused(regressor, network, X, y, request):
    worked = works_or_says_why(regressor, network, X, y, 0, SINGULAR + UNSOLVED)
    name = request.node.callspec.id
    if any(case in name for case in ("repeated", "zero inputs")) and network.prior.bias_variance == 0:
        assert not any(worked)
    if "regular" in name or "one example" in name:
        assert all(worked)


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize("activation", cases(["erf", "square"], ACTIVATIONS))
@pytest.mark.parametrize("temperature", [1e-6, 0.1])
def test_one_unit(regressor, activation, temperature):
    for network in (FullyConnected((1,), activation), FullyConnected((1, 1), activation)):
        if network.depth == 1 or activation == "erf":
            works_or_says_why(regressor, network, X, Y, temperature, ("no stationary point",))


@pytest.mark.parametrize("regressor", REGRESSORS)
@pytest.mark.parametrize("activation", cases(["erf", "relu"], ACTIVATIONS))
@pytest.mark.parametrize("precision", [1e-12, 1e12])
def test_extreme_precisions(regressor, activation, precision):
    lost = "the rounding of the kernel counts"  # T = 0.1 beside kernels up to 1e24
    reasons = ("out of the range of double precision", lost, *SINGULAR, *UNSOLVED)
    for weights in (precision, (precision, 1.0)):
        network = FullyConnected((20,), activation, weight_precision=weights)
        works_or_says_why(regressor, network, X, Y, 0.1, reasons)
    works_or_says_why(regressor, FullyConnected((20,), activation, bias_precision=precision), X, Y, 0.1, reasons)


@pytest.mark.parametrize("given", [0, 0.0, -1, float("nan"), float("inf"), "1", None, (1.0, 0.0)])
def test_precisions_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="weight_precision"):
        FullyConnected((5,), weight_precision=given)
    if given is not None:
        with pytest.raises(ValueError, match="bias_precision"):
            FullyConnected((5,), bias_precision=given)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda h: jnp.where(h > 2, jnp.nan, h), "NaN or infinite"),
        (lambda h: 1 / h, "NaN or infinite"),
        (lambda h: h if h > 0 else 0.0, "the function fails on an array"),
        (lambda h: jnp.sum(h), "must act entry by entry and keep the shape"),
        (lambda h: h / jnp.sum(jnp.abs(h)), "must not mix the entries"),
        (lambda h: float(h), "the function fails on an array"),
        (jnp.sign, "derivative"),
        (lambda h: jnp.asarray(h, complex), "expected real floating numbers"),
    ],
)
def test_activations_that_are_none_are_refused(function, reason):
    with pytest.raises(ValueError, match=reason):
        Activation("mine", function)


@pytest.mark.parametrize("regressor", REGRESSORS)
def test_activations_that_fail_far_out_are_refused(regressor):
    """Finite where it was tried, NaN or infinite where the data lead it."""
    far = Activation("far", lambda h: jnp.where(jnp.abs(h) > 50, jnp.nan, h))
    works_or_says_why(regressor, FullyConnected((5,), far), X, Y, 0.1)
    model = regressor(FullyConnected((5,), far), temperature=0.1)
    with pytest.raises(ValueError, match="activation 'far': its kernel is NaN for inputs of the size"):
        model.fit(100 * X, Y)
    with pytest.raises(ValueError, match="activation 'far': its kernel is NaN"):
        model.fit(X, Y).predict(1000 * X)


@pytest.mark.parametrize(("activation", "size"), [("linear", 1e20), ("erf", 1e150), ("relu", 1e150)])
def test_targets_out_of_the_range_of_doubles(activation, size):
    for regressor in REGRESSORS:
        network = FullyConnected((5,), activation)
        reasons = ("out of the range of double", "no stationary point", *SINGULAR)
        works_or_says_why(regressor, network, X, size * Y, 0.1, reasons)


MODELS = {
    "infinite": lambda: NNGPRegressor(FullyConnected((20,), "relu"), temperature=0.1),
    "proportional": lambda: ProportionalLimitRegressor(FullyConnected((20,), "erf"), temperature=0.1),
    "finite": lambda: FiniteWidthRegressor(FullyConnected((20,), "erf"), temperature=0.1),
    "student-t": lambda: StudentTProcessRegressor(RBF(2.0, "fixed"), optimizer=None, noise="gaussian"),
    "network": lambda: StudentTProcessRegressor(FullyConnected((20,), "relu"), optimizer=None),
    "adaptive": lambda: AdaptiveKernelRegressor(
        FullyConnected((20,), "relu"), temperature=0.1, particles=64, max_iter=12, random_state=0
    ),
}
EVERY = pytest.mark.parametrize("name", MODELS)


def fitted(name, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few particles, few moves
        return MODELS[name]().fit(X, y)


@EVERY
def test_the_callers_arrays_may_change_after_the_fit(name, tmp_path):
    inputs, outputs = X.copy(), Y.copy()
    model = fitted(name, inputs, outputs)
    before = model.predict(QUERIES, return_std=True)
    inputs[:], outputs[:] = inputs[::-1].copy(), 7.0
    np.testing.assert_array_equal(model.predict(QUERIES, return_std=True), before)
    save(model, tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as written:
        np.testing.assert_array_equal(written["X"], X)
        np.testing.assert_array_equal(written["y"], Y)


@EVERY
def test_what_is_done_to_a_law_leaves_the_model_as_it_is(name):
    model = fitted(name, X, Y)
    before = model.predict(QUERIES, return_std=True)
    for joint in (False, True):
        law = model.predictive(QUERIES, joint=joint)
        for array in vars(law).values():
            if isinstance(array, np.ndarray) and array.flags.writeable:
                array *= 3.0
    np.testing.assert_array_equal(model.predict(QUERIES, return_std=True), before)


@EVERY
def test_all_forms_of_the_same_numbers_are_the_same(name):
    model = fitted(name, X, Y)
    expected = model.predict(QUERIES)
    still = QUERIES.copy()
    still.flags.writeable = False
    spread = np.repeat(QUERIES, 2, axis=0)[::2]
    forms = [still, QUERIES.tolist(), np.asfortranarray(QUERIES), spread, np.ma.array(QUERIES), QUERIES.astype(object)]
    for form in forms:
        np.testing.assert_array_equal(model.predict(form), expected)
    readonly = [array.copy() for array in (X, Y)]
    for array in readonly:
        array.flags.writeable = False
    np.testing.assert_array_equal(fitted(name, *readonly).predict(QUERIES), expected)


@EVERY
@pytest.mark.parametrize("size", [1e155, 1e200, 1e300])
def test_query_points_out_of_the_range_of_doubles_are_refused(name, size):
    model = fitted(name, X, Y)
    far = QUERIES.copy()
    far[0, 0] = size
    if name == "student-t":  # a stationary kernel: nothing is known there, mean zero
        assert model.predict(far)[0] == 0
        return
    for ask in (model.predict, model.predictive, lambda X: model.predictive(X, joint=True)):
        with pytest.raises(ValueError, match=r"X.*double precision|rescale the inputs"):
            ask(far)


@EVERY
def test_query_points_far_out_but_within_range_have_finite_predictions(name):
    far = 1e60 * QUERIES
    try:
        found = fitted(name, X, Y).predict(far, return_std=True)
    except ValueError as error:
        assert "X" in str(error)  # noqa: PT017
        return
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["reaction", "second_start"])
@pytest.mark.parametrize("value", ["no", 3, 1, None])
def test_settings_that_are_no_booleans_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: got .*, expected True or False"):
        AdaptiveKernelRegressor(**{name: value}).fit(X, Y)


def test_data_sets_do_not_change_with_the_callers_arrays():
    targets = Y[:3].copy()
    predictions = predict_theories({"infinite width": fitted("infinite", X, Y)}, QUERIES, targets)
    targets[:] = 7.0
    np.testing.assert_array_equal(predictions["y_test"], Y[:3])


def test_what_is_sampled_does_not_change_with_the_callers_arrays():
    inputs, outputs = X.copy(), Y.copy()
    with jax.enable_x64(True):  # where JAX could share NumPy's memory
        data = checked_data(FullyConnected((5,)), inputs, outputs, inputs, outputs)
        inputs[:], outputs[:] = 7.0, 7.0
        for held, original in zip(data, (X, Y, X, Y), strict=True):
            np.testing.assert_array_equal(held, original)


def test_a_program_keeps_the_values_that_it_was_given():
    def kernel(X1, X2, lengthscale):
        return jnp.exp(-(programs.distance(X1, X2, lengthscale) ** 2) / 2)

    scales = np.full(8, 2.0)
    model = programs.gaussian_process(kernel, {"lengthscale": scales})

    def law():
        return handlers.trace(handlers.seed(model, 0)).get_trace(X, temperature=0.1)["y"]["fn"].covariance_matrix

    before = np.asarray(law())
    scales[:] = 7.0
    np.testing.assert_array_equal(law(), before)
