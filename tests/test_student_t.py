"""Student's t-process regression against scipy, quadrature, scikit-learn's Gaussian process and simulation."""

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.integrate import quad_vec
from scipy.stats import invgamma, kstest, multivariate_normal, multivariate_t
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    CompoundKernel,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from stpbnn import FullyConnected, NNGPKernel, NNGPRegressor, StudentTProcessRegressor
from stpbnn.kernels.contraction import Inputs, value_and_pullback
from stpbnn.predictive import JointMixture, JointStudentT, Mixture, StudentT

NOISES = ["scale", "gaussian"]
KERNEL = 1.5 * RBF(0.8)


@parametrize_with_checks([StudentTProcessRegressor(noise=noise) for noise in NOISES])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # noise determines no hyper-parameters
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def data(P=15, outputs=1, seed=0, queries=4):
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(P, 2)), rng.normal(size=(queries, 2))
    y = np.sin(X @ rng.normal(size=(2, outputs))) + 0.3 * rng.normal(size=(P, outputs))
    return X, y[:, 0] if outputs == 1 else y, Xt


def fitted(kernel=KERNEL, X=None, y=None, **settings):
    return StudentTProcessRegressor(kernel, **({"optimizer": None, "temperature": 0.1} | settings)).fit(X, y)


@pytest.mark.parametrize("df", [2.001, 3.0, 50.0, 1e5])
def test_conditional_is_the_ratio_of_joint_laws(df):
    """Evidence and predictive density from scipy's multivariate t of covariance K + T over all points together."""
    X, y, Xt = data()
    model = fitted(X=X, y=y, df=df)
    both, new = np.vstack([X, Xt]), np.array([0.3, -0.2, 1.0, 0.5])
    A = (KERNEL(both) + 0.1 * np.eye(19)) * (df - 2) / df
    evidence = multivariate_t.logpdf(y, shape=A[:15, :15], df=df)
    np.testing.assert_allclose(model.log_marginal_likelihood_, evidence, rtol=1e-10)
    together = multivariate_t.logpdf(np.append(y, new), shape=A, df=df)
    law = model.predictive(Xt, noise=True, joint=True)
    assert isinstance(law, JointStudentT)
    assert law.df == df + 15
    np.testing.assert_allclose(law.logpdf(new), together - evidence, rtol=1e-8)
    marginal = model.predictive(Xt, noise=True)
    one = multivariate_t.logpdf(np.append(y, new[1]), shape=A[np.ix_([*range(15), 16], [*range(15), 16])], df=df)
    np.testing.assert_allclose(marginal.logpdf(new)[1], one - evidence, rtol=1e-7)


@pytest.mark.parametrize("df", [0.5, 1.0, 2.0, 7.0])
def test_scale_parametrisation_allows_any_degrees_of_freedom(df):
    X, y, Xt = data()
    model = fitted(X=X, y=y, df=df, parametrization="scale")
    expected = multivariate_t.logpdf(y, shape=KERNEL(X) + 0.1 * np.eye(15), df=df)
    np.testing.assert_allclose(model.log_marginal_likelihood_, expected, rtol=1e-10)
    if df > 2:
        covariance = fitted((df / (df - 2)) * KERNEL, X, y, df=df, temperature=0.1 * df / (df - 2))
        np.testing.assert_allclose(covariance.log_marginal_likelihood_, expected, rtol=1e-10)
    one = fitted(X=X[:1], y=y[:1], df=df, parametrization="scale")
    assert np.isinf(one.predict(Xt, return_std=True)[1]).all() == (df <= 1)  # ν + 1 of the posterior
    assert np.isfinite(one.predictive(Xt).interval(0.9)).all()


def brute_force(K, k, variances, y, df, T, s):
    """Evidence, mean and second moment of f by scipy's quadrature over u = log r."""
    P, D = len(y), 1 if y.ndim == 1 else y.shape[1]

    def integrand(u):
        r = np.exp(u)
        A = r * K + T * np.eye(P)
        columns = y.reshape(P, D).T
        density = np.prod([multivariate_normal.pdf(column, cov=A) for column in columns])
        mean = r * k @ np.linalg.solve(A, columns.T)
        spread = r * variances - r * r * np.sum(k * np.linalg.solve(A, k.T).T, axis=1)
        weight = density * invgamma.pdf(r, df / 2, scale=s / 2) * r
        return weight * np.concatenate([[1.0], mean.ravel(), (spread[:, None] + mean**2).ravel()])

    total, *rest = quad_vec(integrand, -6, 8, epsrel=1e-11, epsabs=0, points=[-2, -1, 0, 1, 2])[0]
    mean, second = np.split(np.array(rest) / total, 2)
    return np.log(total), mean, second


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(("df", "parametrization"), [(2.5, "covariance"), (8.0, "covariance"), (1.5, "scale")])
def test_gaussian_noise_against_quadrature(outputs, df, parametrization):
    X, y, Xt = data(outputs=outputs)
    model = fitted(X=X, y=y, df=df, noise="gaussian", parametrization=parametrization)
    s = df if parametrization == "scale" else df - 2
    evidence, mean, second = brute_force(KERNEL(X), KERNEL(Xt, X), KERNEL.diag(Xt), y, df, 0.1, s)
    np.testing.assert_allclose(model.log_marginal_likelihood_, evidence, rtol=1e-9)
    predicted, std = model.predict(Xt, return_std=True)
    np.testing.assert_allclose(predicted.ravel(), mean, rtol=1e-8)
    np.testing.assert_allclose(std.ravel() ** 2, second - mean**2, rtol=1e-8)
    np.testing.assert_allclose(model.predictive(Xt).mean, model.predict(Xt), rtol=1e-9)
    new = np.full((4, outputs), 0.2).reshape(predicted.shape)
    both = np.vstack([X, Xt]), np.concatenate([y, new])
    together = fitted(X=both[0], y=both[1], df=df, noise="gaussian", parametrization=parametrization)
    law = model.predictive(Xt, noise=True, joint=True)
    assert isinstance(law, JointMixture)
    np.testing.assert_allclose(law.logpdf(new), together.log_marginal_likelihood_ - evidence, rtol=1e-7)


@pytest.mark.long
def test_gaussian_noise_against_sampling():
    """NUTS over the scale r: moments of log r and of f, given r by dense algebra, within 4.5 standard errors."""
    X, y, Xt = data(P=8, queries=2)
    model = fitted(X=X, y=y, df=4.0, noise="gaussian")
    K, k = KERNEL(X), KERNEL(Xt, X)
    values, vectors = np.linalg.eigh(K)

    def program():
        r = numpyro.sample("r", dist.InverseGamma(2.0, 1.0))
        numpyro.sample("y", dist.Normal(0.0, (r * values + 0.1) ** 0.5).to_event(1), obs=vectors.T @ y)

    nuts = numpyro.infer.NUTS(program)
    chains = numpyro.infer.MCMC(
        nuts, num_warmup=200, num_samples=800, num_chains=4, progress_bar=False, chain_method="vectorized"
    )
    chains.run(jax.random.key(0))
    r = np.asarray(chains.get_samples(group_by_chain=True)["r"], dtype=float)
    assert az.rhat(r) < 1.01
    inverses = np.linalg.inv(r[..., None, None] * K + 0.1 * np.eye(8))
    means = r[..., None] * (inverses @ y) @ k.T
    law = model.predictive(Xt)
    explained = r[..., None] ** 2 * np.einsum("qi,csij,qj->csq", k, inverses, k)
    squares = r[..., None] * 1.5 - explained + (means - law.mean) ** 2
    nodes = model._process.posterior
    assert abs(np.log(r).mean() - nodes.weights @ np.log(nodes.nodes[:, 0])) < 4.5 * az.mcse(np.log(r))
    for i in range(2):
        assert abs(means[..., i].mean() - law.mean[i]) < 4.5 * az.mcse(means[..., i])
        assert abs(squares[..., i].mean() - law.variance[i]) < 4.5 * az.mcse(squares[..., i])


def test_gaussian_noise_does_not_mistake_rounding_for_the_kernel():
    """T far too small for the targets: scales at which rounding would count. Agrees with dense algebra at T = 0.1 r."""
    X, y, _ = data(P=40)
    model = fitted(X=X, y=y, temperature=1e-5, noise="gaussian")
    full = fitted(Matern(0.8, nu=0.5), X, y, temperature=1e-9, noise="gaussian")
    interpolation = fitted(Matern(0.8, nu=0.5), X, y, temperature=0.0)
    assert model.converged_
    np.testing.assert_allclose(full.log_marginal_likelihood_, interpolation.log_marginal_likelihood_, rtol=1e-6)
    assert model.log_marginal_likelihood_ < full.log_marginal_likelihood_ - 100


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("outputs", [1, 2])
def test_many_degrees_of_freedom_are_the_gaussian_process(noise, outputs):
    X, y, Xt = data(outputs=outputs)
    model = fitted(X=X, y=y, df=1e10, noise=noise)
    reference = GaussianProcessRegressor(KERNEL, alpha=0.1, optimizer=None).fit(X, y)
    np.testing.assert_allclose(model.log_marginal_likelihood_, reference.log_marginal_likelihood_value_, rtol=1e-6)
    for option in ({"return_std": True}, {"return_cov": True}):
        for ours, theirs in zip(model.predict(Xt, **option), reference.predict(Xt, **option), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


def test_gap_to_the_gaussian_process_is_of_order_one_over_df():
    X, y, _ = data()
    A = KERNEL(X) + 0.1 * np.eye(15)
    gaussian, q = multivariate_normal.logpdf(y, cov=A), y @ np.linalg.solve(A, y)
    df = 1e7
    gap = fitted(X=X, y=y, df=df).log_marginal_likelihood_ - gaussian
    # to first order in 1/ν: ((q − P)² − 4q + 2P) / 4ν, of which the square dominates for many points
    twice = fitted(X=X, y=y, df=df / 2).log_marginal_likelihood_ - gaussian
    assert twice / gap == pytest.approx(2, rel=1e-4)
    assert gap == pytest.approx(((q - 15) ** 2 - 2 * (2 * q - 15)) / (4 * df), rel=1e-4)


@pytest.mark.parametrize("noise", NOISES)
def test_outputs_share_the_scale(noise):
    """Two outputs are one process on the kernel 1 ⊗ K; the second output's size widens the law of the first."""
    X, y, Xt = data(outputs=2)
    model = fitted(X=X, y=y, noise=noise)
    if noise == "scale":
        A = np.kron(np.eye(2), KERNEL(X) + 0.1 * np.eye(15)) * 3 / 5
        np.testing.assert_allclose(
            model.log_marginal_likelihood_, multivariate_t.logpdf(y.T.ravel(), shape=A, df=5), rtol=1e-10
        )
    larger = fitted(X=X, y=y * [1, 10], noise=noise)
    np.testing.assert_array_less(model.predictive(Xt).std[:, 0], larger.predictive(Xt).std[:, 0])
    draws = model.predictive(Xt, joint=True, noise=True).sample(20_000, random_state=0)
    law = model.predictive(Xt, noise=True)
    assert np.all(np.abs(draws.mean(axis=0) - law.mean) < 5 * law.std / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(axis=0), law.std, rtol=0.05)
    assert model.predict(Xt, return_cov=True)[1].shape == (4, 4, 2)
    assert model.sample_y(Xt, 3).shape == (4, 2, 3)
    assert get_tags(model).target_tags.multi_output


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("outputs", [1, 2])
def test_normalised_targets(noise, outputs):
    """As the same model on targets that were normalised by hand."""
    X, y, Xt = data(outputs=outputs)
    y = 50 + 7 * y * np.arange(1, outputs + 1) if outputs > 1 else 50 + 7 * y
    mean, unit = y.mean(axis=0), y.std(axis=0)
    model, byhand = fitted(X=X, y=y, noise=noise, normalize_y=True), fitted(X=X, y=(y - mean) / unit, noise=noise)
    for option in ({}, {"joint": True}):
        law, other = (m.predictive(Xt, noise=True, **option) for m in (model, byhand))
        np.testing.assert_allclose(law.mean, mean + unit * other.mean)
        np.testing.assert_allclose(law.variance, unit**2 * other.variance)
        np.testing.assert_allclose(law.quantile(0.9), mean + unit * other.quantile(0.9))
        new = y[:4]
        lost = np.log(unit) * (4 if option else 1) if outputs == 1 or not option else 4 * np.log(unit).sum()
        np.testing.assert_allclose(law.logpdf(new), other.logpdf((new - mean) / unit) - lost, rtol=1e-9)
        if noise == "scale":
            np.testing.assert_allclose(law.sample(3, 0), mean + unit * other.sample(3, 0), rtol=1e-6)
    np.testing.assert_allclose(
        model.predict(Xt, return_cov=True)[1], unit**2 * byhand.predict(Xt, return_cov=True)[1], rtol=1e-9
    )
    np.testing.assert_allclose(model.log_marginal_likelihood_, byhand.log_marginal_likelihood_)


KERNELS = {
    "rbf": 1.5 * RBF(0.8),
    "rbf, two lengths": ConstantKernel(2.0, "fixed") * RBF([0.8, 1.5]),
    "fixed": RBF(0.8, "fixed") + WhiteKernel(0.1),
    "matern 1/2": Matern([0.8, 1.5], nu=0.5) + 0.5,
    "matern 3/2": 1.5 * Matern(0.8, nu=1.5),
    "matern 5/2": Matern([0.8, 1.5], nu=2.5) * RationalQuadratic(),
    "matern": Matern(0.8, nu=np.inf) ** 2,
    "whole array": RationalQuadratic() * DotProduct() + 2.0 * RBF(),
    "network": 2.0 * NNGPKernel(FullyConnected((5, 5), "erf", weight_precision=(1.0, 2.0, 3.0), bias_precision=2.0)),
    "relu": NNGPKernel(FullyConnected((5,), "relu")) * RBF(2.0),
}


@pytest.mark.parametrize("name", KERNELS)
def test_pullback_is_scikit_learns_gradient(name):
    """Against the whole array ∂K/∂θ of scikit-learn, with repeated inputs among them."""
    X, _, _ = data()
    X[3] = X[4]
    kernel, weights = KERNELS[name], np.random.default_rng(1).normal(size=(15, 15))
    weights += weights.T
    K, pullback = value_and_pullback(kernel, Inputs(X))
    expected, slopes = kernel(X, eval_gradient=True)
    np.testing.assert_allclose(K, np.tril(expected), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(pullback(np.tril(weights)), np.tensordot(weights, slopes, 2), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", KERNELS)
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
    with pytest.warns(ConvergenceWarning, match="df: the optimum lies on the"):
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


@pytest.mark.parametrize("noise", NOISES)
def test_predictions_in_chunks_are_the_same(noise, monkeypatch):
    X, y, Xt = data(queries=23)
    model = fitted(X=X, y=y, noise=noise)
    whole, mean = model.predictive(Xt), model.predict(Xt)
    monkeypatch.setattr("stpbnn.regressors.prediction.CHUNK", 5 * 15)
    law = model.predictive(Xt)
    assert isinstance(law, StudentT if noise == "scale" else Mixture)
    np.testing.assert_allclose(law.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(law.variance, whole.variance, rtol=1e-12)
    np.testing.assert_allclose(law.quantile([0.1, 0.9]), whole.quantile([0.1, 0.9]), rtol=1e-12)
    np.testing.assert_allclose(model.predict(Xt), mean, rtol=1e-12)
    network = NNGPRegressor(temperature=0.1).fit(X, y)
    chunked = network.predict(Xt, return_std=True)
    monkeypatch.undo()
    np.testing.assert_allclose(chunked, network.predict(Xt, return_std=True), rtol=1e-12)


def calibration(noise, replications, seed=0, P=12):
    """Return the probability integral transforms of a new target, and of r's own functions, over draws of the model."""
    rng, transforms = np.random.default_rng(seed), []
    for _ in range(replications):
        X = rng.uniform(-2, 2, size=(P + 1, 1))
        r = 1.5 / rng.gamma(2.5)  # InvGamma(5/2, 3/2): five degrees of freedom, mean one
        f = np.sqrt(r) * multivariate_normal.rvs(cov=KERNEL(X), random_state=rng)
        y = f + np.sqrt(0.1 * (r if noise == "scale" else 1)) * rng.normal(size=P + 1)
        law = fitted(X=X[:P], y=y[:P], df=5.0, noise=noise).predictive(X[P:], noise=True)
        transforms.append(law.cdf(y[P:])[0])
    return transforms


@pytest.mark.parametrize("noise", NOISES)
def test_calibration_by_simulation(noise):
    transforms = calibration(noise, 100)
    assert kstest(transforms, "uniform").pvalue > 0.01


@pytest.mark.parametrize("noise", NOISES)
def test_zero_temperature_interpolates_and_both_noises_agree(noise):
    X, y, Xt = data(P=8)
    model, inside = fitted(X=X, y=y, temperature=0, noise=noise), fitted(X=X, y=y, temperature=0)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-8)
    np.testing.assert_array_equal(model.predict(Xt), inside.predict(Xt))


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


class Broken(RBF):
    """A kernel that returns what it is told to."""

    def __init__(self, spoil=None, length_scale=1.0, length_scale_bounds="fixed"):
        super().__init__(length_scale, length_scale_bounds)
        self.spoil = spoil

    def __call__(self, X, Y=None, eval_gradient=False):
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
        ({"kernel": ExpSineSquared(0.1, 0.5)}, "temperature: got 0.1 with a kernel that is singular"),
        ({"kernel": ExpSineSquared(0.1, 0.5), "noise": "gaussian"}, "not positive semidefinite"),
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
    model = fitted(X=X, y=y)
    with pytest.raises(ValueError, match="features"):
        model.predict(Xt[:, :1])
    with pytest.raises(ValueError, match="theta: got shape"):
        model.log_marginal_likelihood(np.zeros(3))
    with pytest.raises(ValueError, match="at most one"):
        model.predict(Xt, return_std=True, return_cov=True)


def test_clones_scores_and_errors():
    X, y, Xt = data()
    model = clone(StudentTProcessRegressor(KERNEL, optimizer=None, temperature=0.1)).fit(X, y)
    assert model.score(X, y) > 0.5
    error = model.generalization_error(Xt, np.zeros(4))
    mean, std = model.predict(Xt, return_std=True)
    np.testing.assert_allclose(error, [np.mean(mean**2 + std**2), np.mean(mean**2), np.mean(std**2)])
    column = clone(model).fit(X, y[:, None])
    assert column.predict(Xt).shape == (4,)
