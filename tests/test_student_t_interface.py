"""Student's t-process regression as an estimator: conformance, settings and data, odd ones and those refused."""

import warnings

import numpy as np
import pytest
from conformance import checks
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, CompoundKernel, DotProduct, ExpSineSquared
from student_t_data import KERNEL, NOISES, data, fitted

from stpbnn import FullyConnected, StudentTProcessRegressor


@checks(StudentTProcessRegressor(), StudentTProcessRegressor(noise="gaussian", temperature=0.1, optimizer=None))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # noise determines no hyper-parameters
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@checks(StudentTProcessRegressor(noise="gaussian"), long=True)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # noise determines no hyper-parameters
def test_scikit_learn_conformance_of_a_search(estimator, check):
    check(estimator)


@pytest.mark.parametrize("noise", NOISES)
def test_repeated_inputs_one_point_and_constant_targets_are_fine(noise):
    X, y, Xt = data()
    X[1] = X[0]
    assert np.isfinite(fitted(X=X, y=y, noise=noise).predict(Xt, return_std=True)).all()
    with pytest.raises(ValueError, match=r"temperature: got 0 with a kernel that is singular.*remove repeated"):
        fitted(X=X, y=y, noise=noise, temperature=0)
    one = fitted(X=X[:1], y=y[:1], noise=noise)
    mean, std = one.predict(X[:1], return_std=True)
    np.testing.assert_allclose(mean, y[0] * 1.5 / 1.6 if noise == "scale" else mean)
    assert 0 < std[0] < np.inf
    for constant in (np.zeros(15), np.full(15, 3.7)):
        model = fitted(X=X, y=constant, noise=noise, normalize_y=True)
        np.testing.assert_allclose(model.predict(Xt), constant[0], atol=1e-12)
        assert np.isfinite(model.predictive(Xt).interval(0.9)).all()
    with pytest.warns(ConvergenceWarning, match="k1__constant_value: the optimum lies on the lower bound"):
        flat = StudentTProcessRegressor(1.0 * RBF(1.0, "fixed"), noise=noise, normalize_y=True).fit(X, constant)
    np.testing.assert_allclose(flat.predict(Xt), 3.7, atol=1e-6)


@pytest.mark.parametrize("noise", NOISES)
def test_what_is_learned_has_scikit_learns_names(noise):
    X, y, Xt = data(outputs=2)
    ours = fitted(X=X, y=y, df=1e10, noise=noise)
    theirs = GaussianProcessRegressor(KERNEL, alpha=0.1, optimizer=None).fit(X, y)
    np.testing.assert_allclose(ours.alpha_, theirs.alpha_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.log_marginal_likelihood_value_, theirs.log_marginal_likelihood_value_, rtol=1e-6)
    for name in ("X_train_", "y_train_", "n_features_in_", "kernel_"):
        np.testing.assert_equal(getattr(ours, name), getattr(theirs, name))
    for name in ("alpha_", "log_marginal_likelihood_value_"):
        assert not hasattr(clone(ours), name)
    np.testing.assert_allclose(ours.predict(Xt), KERNEL(Xt, X) @ ours.alpha_, rtol=1e-12)


def test_kernels_that_keep_their_matrix_are_left_alone():
    X, y, _ = data()
    K = RBF(0.8)(X)
    fitted(Broken(lambda _: K), X, y)
    np.testing.assert_array_equal(K, RBF(0.8)(X))


def test_clones_scores_and_errors():
    X, y, Xt = data()
    model = clone(StudentTProcessRegressor(KERNEL, optimizer=None, temperature=0.1)).fit(X, y)
    assert model.score(X, y) > 0.5
    error = model.generalization_error(Xt, np.zeros(4))
    mean, std = model.predict(Xt, return_std=True)
    np.testing.assert_allclose(error, [np.mean(mean**2 + std**2), np.mean(mean**2), np.mean(std**2)])
    column = clone(model).fit(X, y[:, None])
    assert column.predict(Xt).shape == (4,)


class Broken(RBF):
    """A kernel that returns what it is told to."""

    def __init__(self, spoil=None, length_scale=1.0, length_scale_bounds="fixed"):
        super().__init__(length_scale, length_scale_bounds)
        self.spoil = spoil

    def __call__(self, X, Y=None, eval_gradient=False):
        if eval_gradient:
            K, slopes = super().__call__(X, Y, True)
            return self.spoil(K), slopes
        return self.spoil(super().__call__(X, Y))


def not_a_number(K):
    K[2, 3] = np.nan
    return K


def not_symmetric(K):
    K[2, 3] += 0.1
    return K


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"df": 2.0}, r"df: got 2.0, expected a number greater than 2.*no covariance.*parametrization='scale'"),
        ({"df": 0.5}, "df: got 0.5, expected a number greater than 2"),
        ({"df": -1.0, "parametrization": "scale"}, "df: got -1.0"),
        ({"df": np.inf}, "df: got inf, expected a finite number"),
        ({"parametrization": "scales"}, "did you mean 'scale'"),
        ({"noise": "gauss"}, "did you mean 'gaussian'"),
        ({"temperature": -0.1}, "temperature: got -0.1"),
        ({"temperature": 0, "optimize_temperature": True, "optimizer": "fmin_l_bfgs_b"}, "temperature: got 0 with"),
        ({"optimizer": "adam"}, "optimizer: got 'adam'"),
        ({"optimize_df": True}, "optimize_df: got True with optimizer=None"),
        ({"n_restarts_optimizer": -1}, "n_restarts_optimizer: got -1"),
        ({"kernel": "rbf"}, "kernel: got 'rbf', expected a kernel of sklearn"),
        ({"kernel": CompoundKernel([RBF(), RBF()])}, "one that returns one matrix"),
        ({"kernel": Broken(not_a_number)}, "is NaN or infinite between the inputs 2 and 3"),
        ({"kernel": Broken(not_symmetric)}, "is not symmetric"),
        ({"kernel": Broken(lambda K: K[:-1])}, r"returned shape \(14, 15\)"),
        ({"kernel": RBF(np.ones(3))}, "dimension"),
        (
            {"kernel": ExpSineSquared(0.1, 0.5)},
            "kernel: ExpSineSquared.*not positive definite: its smallest .*negative",
        ),
        ({"kernel": ExpSineSquared(0.1, 0.5), "noise": "gaussian"}, "not positive definite"),
        ({"kernel": Broken(np.negative)}, r"kernel: Broken.*not positive definite: its smallest .*negative, -"),
        ({"kernel": Broken(np.negative, 1.0, (0.1, 10.0)), "optimizer": "fmin_l_bfgs_b"}, "not positive definite"),
        ({"normalize_y": "yes"}, "normalize_y: got 'yes', expected True or False"),
        ({"optimize_df": 1}, "optimize_df: got 1, expected True or False"),
        ({"optimize_temperature": "no", "optimizer": "fmin_l_bfgs_b"}, "optimize_temperature: got 'no'"),
        ({"kernel": FullyConnected((5,), outputs=2)}, r"expected \(15, 2\)"),
        ({"kernel": DotProduct(0.0, "fixed"), "temperature": 0}, "temperature: got 0 with a kernel that is singular"),
    ],
)
def test_bad_settings_are_refused_by_fit(settings, message):
    X, y, _ = data()
    with pytest.raises(ValueError, match=message):
        fitted(**({"X": X, "y": y} | settings))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, np.where(y == y[2], np.nan, y)), "contains NaN"),
        (lambda X, y: (np.where(X[2, 1] == X, np.inf, X), y), "contains infinity"),
        (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
        (lambda X, y: (X[:, 0], y), "Expected 2D array, got 1D array"),
    ],
)
def test_bad_data_are_refused(change, message):
    X, y, Xt = data()
    with pytest.raises(ValueError, match=message):
        fitted(None, *change(X, y))
    model = StudentTProcessRegressor()
    for ask in (model.predict, model.predictive, model.sample_y):
        with pytest.raises(NotFittedError):
            ask(Xt)
    with pytest.raises(NotFittedError):
        model.log_marginal_likelihood()
    model = fitted(Broken(lambda K: K if len(K) == 15 else np.full_like(K, np.nan)), X, y)
    for ask in (model.predict, model.predictive, model.sample_y):
        with pytest.raises(ValueError, match=r"kernel: Broken.*NaN or infinite between the query point"):
            ask(Xt)
    model = fitted(X=X, y=y)
    with pytest.raises(ValueError, match="features"):
        model.predict(Xt[:, :1])
    with pytest.raises(ValueError, match="theta: got shape"):
        model.log_marginal_likelihood(np.zeros(3))
    with pytest.raises(ValueError, match=r"theta: got .*expected 2 finite numbers: logarithms of k1__constant"):
        model.log_marginal_likelihood([0.0, np.nan])
    with pytest.raises(ValueError, match="at most one"):
        model.predict(Xt, return_std=True, return_cov=True)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("size", [1e155, 1e200])
def test_targets_out_of_the_range_of_doubles_are_refused(noise, size):
    X, y, _ = data()
    for settings in ({}, {"normalize_y": True}, {"optimizer": "fmin_l_bfgs_b"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match="out of the range of double precision; rescale"):
                fitted(X=X, y=size * y, noise=noise, **settings)
    assert np.isfinite(fitted(X=X, y=1e100 * y, noise="scale").predict(X)).all()


def test_where_the_kernel_is_singular_the_evidence_is_zero():
    """As scikit-learn has it: minus infinity with a gradient of zeros."""
    X, y, _ = data()
    model = fitted(1.0 * RBF(0.1), X, y, temperature=0)
    flat = np.log([1.0, 1e5])
    reference = GaussianProcessRegressor(1.0 * RBF(0.1), alpha=0.0, optimizer=None).fit(X, y)
    for gp in (model, reference):
        assert gp.log_marginal_likelihood(flat) == -np.inf
        value, gradient = gp.log_marginal_likelihood(flat, eval_gradient=True)
        assert value == -np.inf
        np.testing.assert_array_equal(gradient, [0.0, 0.0])


def test_restarts_need_finite_bounds():
    X, y, _ = data()
    with pytest.raises(
        ValueError, match=r"n_restarts_optimizer: got 1 with bounds of length_scale that are zero or inf"
    ):
        StudentTProcessRegressor(RBF(1.0, (1e-5, np.inf)), n_restarts_optimizer=1).fit(X, y)
