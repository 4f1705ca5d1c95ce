"""Predictive laws, draws and leave-one-out densities: against scikit-learn, and ratios of scipy's joints."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density
from quick_cases import cases
from scipy import stats
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from stpbnn import FullyConnected, NNGPKernel
from stpbnn.programs import (
    condition,
    distance,
    gaussian_process,
    log_likelihood,
    predict,
    student_t_process,
    to_datatree,
)

RNG = np.random.default_rng(0)
X, NEW = RNG.normal(size=(8, 2)), RNG.normal(size=(3, 2))
Y, Y_NEW = np.sin(X).sum(axis=1), np.cos(NEW).sum(axis=1)
T = 0.2
LENGTHSCALES = np.array([[0.5, 1.0], [2.0, 0.7], [1.5, 3.0]])
PRIOR = dist.LogNormal(0.0, 1.0).expand([2]).to_event(1)


def kernel(X1, X2, lengthscale, amplitude=1.0):
    return amplitude**2 * jnp.exp(-(distance(X1, X2, lengthscale) ** 2) / 2)


def covariance(lengthscale, noisy):
    """Of training and new points, with noise on the first so many of them."""
    both = np.r_[X, NEW] / lengthscale
    return np.exp(-cdist(both, both, "sqeuclidean") / 2) + T * np.diag(np.arange(11) < noisy)


def log_joint(y, cov, df):
    if df is None:
        return stats.multivariate_normal.logpdf(y, cov=cov)
    return stats.multivariate_t.logpdf(y, shape=(df - 2) / df * cov, df=df)


def process(df, prior=PRIOR):
    priors = {"lengthscale": prior}
    return gaussian_process(kernel, priors) if df is None else student_t_process(kernel, priors | {"df": df})


@pytest.mark.usefixtures("float64")
def test_gaussian_process_against_scikit_learn():
    law = condition(process(None), {"lengthscale": LENGTHSCALES}, X, Y, NEW, temperature=T, joint=True)
    for draw, lengthscale in enumerate(LENGTHSCALES):
        truth = GaussianProcessRegressor(RBF(lengthscale), alpha=T, optimizer=None).fit(X, Y)
        mean, cov = truth.predict(NEW, return_cov=True)
        np.testing.assert_allclose(law.mean[draw], mean, rtol=1e-10)
        np.testing.assert_allclose(law.covariance_matrix[draw], cov, rtol=1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("noise", [False, True], ids=["function", "target"])
@pytest.mark.parametrize("df", [None, 2.5, 7.0, 1e4])
def test_conditional_is_the_ratio_of_joints(df, noise):
    """Jointly, and one point at a time."""
    samples = {"lengthscale": LENGTHSCALES}
    arguments = (process(df), samples, X, Y, NEW)
    together = condition(*arguments, temperature=T, noise=noise, joint=True)
    alone = condition(*arguments, temperature=T, noise=noise)
    assert (together.batch_shape, alone.batch_shape) == ((3,), (3, 3))
    for draw, lengthscale in enumerate(LENGTHSCALES):
        cov = covariance(lengthscale, 11 if noise else 8)
        given = log_joint(Y, cov[:8, :8], df)
        expected = log_joint(np.r_[Y, Y_NEW], cov, df) - given
        np.testing.assert_allclose(together.log_prob(Y_NEW)[draw], expected, rtol=1e-9)
        for i in range(3):
            rows = [*range(8), 8 + i]
            expected = log_joint(np.r_[Y, Y_NEW[i]], cov[np.ix_(rows, rows)], df) - given
            np.testing.assert_allclose(alone.log_prob(Y_NEW)[draw, i], expected, rtol=1e-9)


@pytest.mark.parametrize("df", [None, 2.5, 7.0, 1e5])
def test_leave_one_out_is_the_ratio_of_joints(df):
    """log p(y) − log p(y without i), whatever the precision of the session."""
    pointwise = log_likelihood(process(df), {"lengthscale": LENGTHSCALES[:, None]}, X, Y, temperature=T)
    assert pointwise.shape == (3, 1, 8)
    assert pointwise.dtype == np.float64
    for draw, lengthscale in enumerate(LENGTHSCALES):
        cov = covariance(lengthscale, 11)[:8, :8]
        for i in range(8):
            rest = np.arange(8) != i
            expected = log_joint(Y, cov, df) - log_joint(Y[rest], cov[np.ix_(rest, rest)], df)
            np.testing.assert_allclose(pointwise[draw, 0, i], expected, rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_all_parameters_by_draw():
    """Degrees of freedom and temperature vary with the draws too; each draw is as if it were alone."""
    rng = np.random.default_rng(1)
    prior = dist.Exponential(1.0)
    model = student_t_process(kernel, {"lengthscale": prior, "df": dist.Pareto(2.0, 1.0), "amplitude": 1.5})
    samples = {"lengthscale": rng.gamma(2.0, size=(2, 1)), "df": 2 + rng.gamma(2.0, size=(2, 1))}
    samples["temperature"] = rng.gamma(2.0, size=(2, 1))
    law = condition(model, samples | {"more": np.ones(4)}, X, Y, NEW, temperature=prior, joint=True)
    pointwise = log_likelihood(model, samples, X, Y, temperature=prior)
    assert law.batch_shape == (2, 1)
    for where in np.ndindex(2, 1):
        values = {name: float(draws[where]) for name, draws in samples.items()}
        temperature = values.pop("temperature")
        one = student_t_process(kernel, values | {"amplitude": 1.5})
        alone = condition(one, {}, X, Y, NEW, temperature=temperature, joint=True)
        assert alone.batch_shape == ()
        for name in ("df", "loc", "scale_tril"):
            np.testing.assert_allclose(getattr(law, name)[where], getattr(alone, name), rtol=1e-12)
        np.testing.assert_allclose(pointwise[where], log_likelihood(one, {}, X, Y, temperature=temperature), rtol=1e-12)


@pytest.mark.parametrize(("df", "joint"), cases([(7.0, True), (None, False)], [None, 7.0], [True, False]))
def test_moments_of_the_draws(df, joint):
    """Mean and covariance of predict are those of the closed forms, by numpy's solve."""
    count, lengthscale = 40_000, LENGTHSCALES[0]
    samples = {"lengthscale": np.broadcast_to(lengthscale, (2, count // 2, 2))}
    drawn = predict(process(df), samples, X, Y, NEW, temperature=T, noise=True, joint=joint)
    assert drawn.shape == (2, count // 2, 3)
    assert drawn.dtype == np.float64
    cov = covariance(lengthscale, 11)
    A, k = cov[:8, :8], cov[8:, :8]
    factor = 1.0 if df is None else (df + Y @ np.linalg.solve(A, Y) - 2) / (df + 6)
    mean, spread = k @ np.linalg.solve(A, Y), factor * (cov[8:, 8:] - k @ np.linalg.solve(A, k.T))
    error = drawn.reshape(-1, 3) - mean
    assert np.all(np.abs(error.mean(axis=0)) < 4 * np.sqrt(np.diag(spread) / count))
    products = error[:, :, None] * error[:, None, :]
    expected = spread if joint else np.diag(np.diag(spread))
    assert np.all(np.abs(products.mean(axis=0) - expected) < 4 * products.std(axis=0) / count**0.5)


def test_draws_follow_their_seed():
    arguments, samples = (X, Y, NEW), {"lengthscale": LENGTHSCALES}
    first, again, other = (predict(process(5.0), samples, *arguments, temperature=T, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    rng, same = (np.random.default_rng(0) for _ in range(2))
    first, second, again = (predict(process(5.0), samples, *arguments, temperature=T, seed=s) for s in (rng, rng, same))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, second)


def test_draws_at_training_points():
    """The covariance at many training points is singular to rounding without noise; draws are finite and near y."""
    inputs = np.linspace(-1, 1, 100)[:, None]
    y = np.sin(3 * inputs[:, 0])
    drawn = predict(
        process(5.0),
        {"lengthscale": np.ones((2, 2))},
        np.c_[inputs, inputs],
        y,
        np.c_[inputs, inputs],
        temperature=1e-6,
    )
    np.testing.assert_allclose(drawn, np.stack([y, y]), atol=0.02)


@pytest.mark.usefixtures("float64")
def test_part_of_a_larger_model():
    """The law at new points under a plate of a larger model, where the hyper-parameters are its sites."""
    model = process(5.0)

    def larger(y, y_new):
        lengthscale = numpyro.sample("lengthscale", PRIOR)
        with numpyro.plate("new_data", 3):
            law = condition(model, {"lengthscale": lengthscale}, X, y, NEW, temperature=T, noise=True)
            numpyro.sample("y_new", law, obs=y_new)

    density, _ = log_density(larger, (Y, Y_NEW), {}, {"lengthscale": LENGTHSCALES[0]})
    cov = covariance(LENGTHSCALES[0], 11)
    expected = stats.lognorm.logpdf(LENGTHSCALES[0], 1.0).sum()
    for i in range(3):
        rows = [*range(8), 8 + i]
        expected += log_joint(np.r_[Y, Y_NEW[i]], cov[np.ix_(rows, rows)], 5.0) - log_joint(Y, cov[:8, :8], 5.0)
    np.testing.assert_allclose(density, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("samples", "new", "message"),
    [
        ({}, NEW, "expected also 'lengthscale'"),
        ({"lengthscale": np.ones((4, 2))}, NEW[:, :1], "X_new: got 1 features"),
        ({"lengthscale": np.ones((4, 2)), "temperature": np.ones(3)}, NEW, "got draws of shapes"),
        ({"lengthscale": np.ones((4, 3)), "temperature": np.ones(4)}, NEW, "lengthscale.*shape"),
    ],
)
def test_bad_samples(samples, new, message):
    for function in (condition, predict):
        with pytest.raises(ValueError, match=message):
            function(process(5.0), samples, X, Y, new, temperature=dist.Exponential(1.0))
    with pytest.raises(ValueError, match=r"seed: got 0\.5"):
        predict(process(5.0), {"lengthscale": LENGTHSCALES}, X, Y, NEW, temperature=T, seed=0.5)


@pytest.mark.long
@pytest.mark.parametrize("df", [None, 4.0])
def test_leave_one_out_of_chains(df):
    """az.loo of a sampled program against the exact leave-one-out evidence, by quadrature over the one parameter."""
    inputs = np.linspace(-2, 2, 12)[:, None]
    y = np.sin(2 * inputs[:, 0]) + 0.3 * np.random.default_rng(2).normal(size=12)
    net = FullyConnected((10,), "linear", bias_precision=1.0)
    model = gaussian_process(net) if df is None else student_t_process(net, {"df": df})
    prior = dist.LogNormal(-1.0, 1.0)
    mcmc = MCMC(
        NUTS(model), num_warmup=300, num_samples=1000, num_chains=2, chain_method="vectorized", progress_bar=False
    )
    mcmc.run(jax.random.key(0), inputs, y, temperature=prior)
    tree = to_datatree(model, mcmc, inputs, y, temperature=prior, X_new=inputs[:3], noise=True)
    assert {"posterior", "sample_stats", "log_likelihood", "predictions", "observed_data"} <= set(tree.children)
    assert dict(tree["log_likelihood"]["y"].sizes) == {"chain": 2, "draw": 1000, "train_point": 12}
    assert dict(tree["predictions"]["y"].sizes) == {"chain": 2, "draw": 1000, "test_point": 3}
    assert float(az.rhat(tree)["temperature"]) < 1.02
    K = inputs @ inputs.T + 2.0

    def evidence(rows):
        def density(u):
            cov = K[np.ix_(rows, rows)] + np.exp(u) * np.eye(len(rows))
            return stats.norm.pdf(u, -1.0) * np.exp(log_joint(y[rows], cov, df) + 15)

        return quad(density, -7, 5, epsrel=1e-9)[0]

    everything = np.arange(12)
    exact = sum(np.log(evidence(everything) / evidence(np.delete(everything, i))) for i in range(12))
    loo = az.loo(tree)
    error = np.sqrt(np.sum(np.var(np.asarray(tree["log_likelihood"]["y"]).reshape(-1, 12), axis=0)) / 300)
    assert loo.pareto_k.max() < 0.7
    assert abs(loo.elpd - exact) < 4 * error


@pytest.mark.parametrize(
    ("activation", "df"),
    [
        pytest.param("relu", None, marks=pytest.mark.long),
        pytest.param("relu", 5.0, marks=pytest.mark.long),
        ("erf", None),
    ],
)
def test_a_function_that_is_certain(activation, df):
    """Without biases f(0) = 0, at a standard deviation of zero; elsewhere the law is the ratio of joints."""
    inputs, new = np.linspace(-1, 1, 5)[:, None], np.array([[-0.7], [0.0], [0.3]])
    net = FullyConnected((5,), activation)
    model = gaussian_process(net) if df is None else student_t_process(net, {"df": df})
    K = np.asarray(NNGPKernel(net)(np.r_[inputs, new]))
    y, A = np.sin(inputs[:, 0]), K[:5, :5] + T * np.eye(5)
    factor = 1.0 if df is None else (df + y @ np.linalg.solve(A, y) - 2) / (df + 3)
    mean = K[5:, :5] @ np.linalg.solve(A, y)
    cov = factor * (K[5:, 5:] - K[5:, :5] @ np.linalg.solve(A, K[:5, 5:]))
    for joint in (False, True):
        law = condition(model, {}, inputs, y, new, temperature=T, joint=joint)
        np.testing.assert_allclose(law.mean, mean, atol=2e-5)
        np.testing.assert_allclose(law.variance, np.diag(cov), atol=2e-5)
        assert float(law.mean[1]) == float(law.variance[1]) == 0.0
        drawn = predict(model, {}, inputs, y, new, temperature=T, joint=joint)
        assert np.isfinite(drawn).all()
        assert drawn[1] == 0.0
        noisy = condition(model, {}, inputs, y, new, temperature=T, joint=joint, noise=True)
        assert np.isfinite(noisy.log_prob(y[:3])).all()


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("temperature", [1e-6, 1e-10])
def test_single_precision_at_low_temperature(joint, temperature):
    """Long length scales and nearly no noise: standard deviations are right to the rounding of the prior's."""
    inputs, new = np.linspace(-1, 1, 20)[:, None], np.linspace(-1, 1, 9)[:, None]
    y, model = np.sin(inputs[:, 0]), gaussian_process(kernel, {"lengthscale": 5.0})
    law = condition(model, {}, inputs, y, new, temperature=temperature, joint=joint)
    assert law.mean.dtype == np.float32
    assert np.isfinite(law.log_prob(np.sin(new[:, 0]))).all()
    assert np.all(np.sqrt(law.variance) < 5e-3)
    np.testing.assert_allclose(law.mean, np.sin(new[:, 0]), atol=0.05)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temperature": -1.0}, "temperature: got -1.0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"samples": {"lengthscale": np.full((3, 2), np.nan)}}, "draws of 'lengthscale' from nan on, expected finite"),
        ({"samples": {"lengthscale": np.ones((1, 2)), "temperature": [-1.0]}}, "'temperature' from -1 on.* above 0"),
        ({"samples": dist.StudentT(5.0)}, "samples: got <.*StudentT.*expected a mapping"),
        ({"samples": None}, "samples: got None, expected a mapping"),
        ({"y": Y[:-1]}, r"y: got shape \(7,\), expected \(8,\)"),
    ],
)
def test_bad_values_of_parameters(changed, message):
    given = {"samples": {"lengthscale": LENGTHSCALES}, "X": X, "y": Y, "temperature": T} | changed
    if "'temperature'" in message:  # drawn
        given["temperature"] = dist.Exponential(1.0)
    with pytest.raises(ValueError, match=message):
        log_likelihood(process(5.0), **given)
    with pytest.raises(ValueError, match=message):
        predict(process(None), **given, X_new=NEW)


def test_a_kernel_that_is_singular_to_rounding():
    """Single precision of an indefinite kernel: refused, not NaN."""
    model = gaussian_process(lambda a, b: -jnp.exp(-(distance(a, b) ** 2)))
    with pytest.raises(ValueError, match=r"temperature: K \+ T is singular in float32.*enable_x64"):
        condition(model, {}, X, Y, NEW, temperature=1e-3)
    with pytest.raises(ValueError, match=r"temperature: K \+ T is singular in float64"):
        log_likelihood(model, {}, X, Y, temperature=1e-3)
