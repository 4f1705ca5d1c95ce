"""Student's t-process regression against scipy, quadrature, scikit-learn's Gaussian process and simulation."""

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from quick_cases import cases
from scipy.integrate import quad_vec
from scipy.stats import invgamma, kstest, multivariate_normal, multivariate_t
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from sklearn.utils import get_tags
from student_t_data import KERNEL, NOISES, data, fitted

from stpbnn import NNGPRegressor
from stpbnn.predictive import JointMixture, JointStudentT, Mixture, StudentT


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


@pytest.mark.parametrize("noise", NOISES)
def test_predictions_in_chunks_are_the_same(noise, monkeypatch):
    X, y, Xt = data(queries=23)
    model = fitted(X=X, y=y, noise=noise)
    whole, mean = model.predictive(Xt), model.predict(Xt)
    monkeypatch.setattr("stpbnn.regressors.predicting.CHUNK", 5 * 15)
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


@pytest.mark.parametrize("noise", cases(["scale"], NOISES))  # that of noise beside it is in test_calibration.py
def test_calibration_by_simulation(noise):
    transforms = calibration(noise, 100)
    assert kstest(transforms, "uniform").pvalue > 0.01


@pytest.mark.parametrize("noise", NOISES)
def test_zero_temperature_interpolates_and_both_noises_agree(noise):
    X, y, Xt = data(P=8)
    model, inside = fitted(X=X, y=y, temperature=0, noise=noise), fitted(X=X, y=y, temperature=0)
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-8)
    np.testing.assert_array_equal(model.predict(Xt), inside.predict(Xt))
