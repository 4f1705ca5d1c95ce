"""What a Student's t-process learns: gradients against central differences, searches against scikit-learn's."""

import numpy as np
import pytest
from quick_cases import cases
from scipy.optimize import differential_evolution, minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern
from sklearn.model_selection import GridSearchCV
from student_t_data import KERNELS, NOISES, data, fitted

from stpbnn import FullyConnected, NNGPKernel, NNGPRegressor, StudentTProcessRegressor


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", cases(["rbf", "rbf, two lengths", "fixed", "matern 1/2", "network"], KERNELS))
@pytest.mark.filterwarnings("ignore:the search:sklearn.exceptions.ConvergenceWarning")  # that stays where it is
def test_gradient_agrees_with_central_differences(name, noise):
    """Hyper-parameters of the kernel, temperature and degrees of freedom; one and two outputs."""
    for outputs, parametrization in ((1, "covariance"), (2, "scale")):
        X, y, _ = data(outputs=outputs)
        stay = {"optimizer": lambda objective, theta, bounds: (theta, objective(theta)[0])}
        model = fitted(
            KERNELS[name], X, y, noise=noise, df=3.0, parametrization=parametrization, optimize_df=True,
            optimize_temperature=True, **stay,
        )  # fmt: skip
        theta = np.concatenate([KERNELS[name].theta, np.log([0.1, 3.0])])
        value, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
        assert value == pytest.approx(model.log_marginal_likelihood(theta), rel=1e-12)
        steps = 1e-4 * np.eye(len(theta))
        ends = [[model.log_marginal_likelihood(theta + sign * step) for sign in (2, 1, -1, -2)] for step in steps]
        differences = np.array(ends) @ [-1, 8, -8, 1] / 12e-4
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6 * np.abs(differences).max())


def test_the_search_ends_where_scikit_learns_does():
    X, y, _ = data(P=40)
    ours = StudentTProcessRegressor(1.0 * RBF(1.0), df=1e9, temperature=0.05).fit(X, y)
    theirs = GaussianProcessRegressor(1.0 * RBF(1.0), alpha=0.05).fit(X, y)
    np.testing.assert_allclose(ours.kernel_.theta, theirs.kernel_.theta, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(ours.log_marginal_likelihood_, theirs.log_marginal_likelihood_value_, rtol=1e-6)
    assert ours.converged_
    assert ours.kernel.theta.tolist() == [0.0, 0.0]  # the parameter is left alone


@pytest.mark.parametrize("noise", NOISES)
def test_temperature_and_degrees_of_freedom_are_learned(noise):
    """A draw of a t-process of three degrees of freedom: searches from two places end at one."""
    rng = np.random.default_rng(3)
    X = rng.uniform(-2, 2, size=(60, 1))
    r = 1.5 / rng.gamma(1.5)
    y = np.sqrt(r) * np.linalg.cholesky(RBF(0.5)(X) + 1e-8 * np.eye(60)) @ rng.normal(size=60)
    y += np.sqrt(0.01 * (r if noise == "scale" else 1.0)) * rng.normal(size=60)
    settings = {"noise": noise, "optimize_temperature": True, "parametrization": "scale"}
    ends = [
        StudentTProcessRegressor(ConstantKernel(1.0, "fixed") * RBF(length), temperature=T, df=4.0, **settings).fit(
            X, y
        )
        for length, T in ((1.0, 0.1), (0.3, 0.003))
    ]
    assert all(model.converged_ for model in ends)
    np.testing.assert_allclose(ends[0].kernel_.theta, ends[1].kernel_.theta, atol=1e-3)
    np.testing.assert_allclose(np.log(ends[0].temperature_), np.log(ends[1].temperature_), atol=1e-3)
    start = fitted(ends[0].kernel, X, y, noise=noise, parametrization="scale", df=4.0)
    assert ends[0].log_marginal_likelihood_ > start.log_marginal_likelihood_
    with pytest.warns(
        ConvergenceWarning, match="df: the optimum lies on the upper bound.*do not tell the process from a Gaussian"
    ):
        StudentTProcessRegressor(RBF(0.5, "fixed"), temperature=0.01, optimize_df=True, noise=noise).fit(
            X, y / np.sqrt(y @ np.linalg.solve(RBF(0.5)(X) + 0.01 * np.eye(60), y) / 60)
        )


def test_restarts_are_reproducible_and_no_worse():
    X, y, _ = data(P=25)
    one = StudentTProcessRegressor(1.0 * RBF(100.0), temperature=0.1).fit(X, y)
    several = [
        StudentTProcessRegressor(1.0 * RBF(100.0), temperature=0.1, n_restarts_optimizer=3, random_state=0).fit(X, y)
        for _ in range(2)
    ]
    assert several[0].log_marginal_likelihood_ == several[1].log_marginal_likelihood_
    assert several[0].log_marginal_likelihood_ >= one.log_marginal_likelihood_ - 1e-6


def test_networks_are_taken_as_given_and_their_kernels_learned():
    X, y, Xt = data()
    net = FullyConnected((30,), "erf", bias_precision=4.0)
    given = StudentTProcessRegressor(net, df=1e9, temperature=0.1).fit(X, y)
    reference = NNGPRegressor(net, temperature=0.1).fit(X, y)
    np.testing.assert_allclose(given.predict(Xt), reference.predict(Xt), rtol=1e-9)
    np.testing.assert_allclose(given.log_marginal_likelihood_, reference.log_marginal_likelihood_, rtol=1e-6)
    assert given.kernel_.network == net
    kernel = NNGPKernel(net, bias_precision_bounds="fixed")
    learned = StudentTProcessRegressor(kernel, df=1e9, temperature=0.1).fit(X, y)
    assert learned.log_marginal_likelihood_ > given.log_marginal_likelihood_
    search = GridSearchCV(
        StudentTProcessRegressor(kernel, optimizer=None),
        {"kernel__network": [net, FullyConnected((1, 1), "relu")], "df": [3.0, 30.0]},
        cv=3,
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.long
def test_a_search_that_only_passes_another_end_goes_on():
    """To an optimum that is 1.9 higher, the highest that differential evolution finds."""
    random = np.random.default_rng(25)
    random.integers(8, 30), random.integers(1, 4)
    X = random.normal(size=(19, 1))
    y = np.sin(2 * X[:, 0]) * random.choice([0.1, 1, 30]) + random.choice([0.01, 0.3, 1]) * random.normal(size=19)
    settings = {"temperature": 0.1, "noise": "gaussian", "optimize_temperature": True}
    model = StudentTProcessRegressor(1.0 * Matern(np.ones(1), nu=2.5), **settings).fit(X, y)
    near = np.array([*model.kernel_.theta, np.log(model.temperature_)])
    bounds = np.column_stack([near - 4, near + 4])
    highest = differential_evolution(lambda theta: -model.log_marginal_likelihood(theta), bounds, seed=0, maxiter=30)
    assert model.log_marginal_likelihood_ > -highest.fun - 1e-3


SMALL = {
    "rbf": lambda d: 1.0 * RBF(1.0),
    "rbf, lengths": lambda d: 1.0 * RBF(np.ones(d)),
    "matern 1/2": lambda d: 1.0 * Matern(2.0, nu=0.5),
    "matern 3/2": lambda d: 1.0 * Matern(0.5, nu=1.5),
    "matern 5/2, lengths": lambda d: 1.0 * Matern(np.ones(d), nu=2.5),
    "rbf, constant": lambda d: 1.0 * RBF(0.5) + ConstantKernel(1.0),
}


@pytest.mark.parametrize("name", cases(["matern 3/2"], SMALL))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_two_searches_together_reach_what_the_better_one_reaches_alone(name):
    """SciPy's own search from each of both starts, on small problems: no log evidence is lost."""

    def scipys(objective, start, bounds):
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return found.x, found.fun

    for seed in range(20):
        random = np.random.default_rng(seed)
        X = random.normal(size=(random.integers(10, 60), random.integers(1, 4)))
        noise = random.choice([0.01, 0.3, 1]) * random.normal(size=len(X))
        y = np.sin(2 * X).sum(axis=1) * random.choice([0.1, 1, 10]) + noise
        settings = {"df": 5.0, "temperature": 0.1, "optimize_temperature": True}
        together, alone = (
            StudentTProcessRegressor(SMALL[name](X.shape[1]), **settings, **how).fit(X, y).log_marginal_likelihood_
            for how in ({}, {"optimizer": scipys})
        )
        assert together > alone - 1e-3
