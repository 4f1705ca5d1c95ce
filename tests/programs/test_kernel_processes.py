"""Gaussian and Student's t-processes over a kernel, against scipy's densities of the whole data set."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro.diagnostics import summary
from numpyro.distributions.transforms import AffineTransform
from numpyro.handlers import scope
from numpyro.infer import MCMC, NUTS, Predictive
from numpyro.infer.util import log_density
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.datasets import load_diabetes
from sklearn.gaussian_process.kernels import RBF

from stpbnn import FullyConnected, NNGPKernel
from stpbnn.programs import condition, distance, gaussian_process, student_t_process

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3))
X[5] = X[2]  # a repeated input
Y = np.sin(X).sum(axis=1)
T = 0.3


def squared_exponential(X1, X2, lengthscale, amplitude=1.0):
    return amplitude**2 * jnp.exp(-(distance(X1, X2, lengthscale) ** 2) / 2)


def exponential(X1, X2, lengthscale):
    return jnp.exp(-distance(X1, X2, lengthscale))


def matern(X1, X2, lengthscale):
    r = np.sqrt(3.0) * distance(X1, X2, lengthscale)
    return (1 + r) * jnp.exp(-r)


def above_two(mean):
    return dist.TransformedDistribution(
        dist.Gamma(2.0, 2.0 / (mean - 2)), AffineTransform(2.0, 1.0, domain=dist.constraints.positive)
    )


PRIORS = {"lengthscale": dist.LogNormal(0.0, 1.0).expand([3]).to_event(1), "amplitude": dist.Gamma(2.0, 1.0)}
POINT = {"lengthscale": np.array([0.7, 1.5, 3.0]), "amplitude": np.array(1.3)}


def covariance():
    return POINT["amplitude"] ** 2 * np.exp(-(cdist(X / POINT["lengthscale"], X / POINT["lengthscale"]) ** 2) / 2)


def log_prior():
    return stats.lognorm.logpdf(POINT["lengthscale"], 1.0).sum() + stats.gamma.logpdf(POINT["amplitude"], 2.0)


@pytest.mark.usefixtures("float64")
def test_density_of_the_gaussian_process():
    density, _ = log_density(gaussian_process(squared_exponential, PRIORS), (X, Y), {"temperature": T}, POINT)
    expected = stats.multivariate_normal.logpdf(Y, cov=covariance() + T * np.eye(8))
    np.testing.assert_allclose(density, log_prior() + expected, rtol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("df", [2.001, 5.0, 1e5])
def test_density_of_the_t_process(df):
    """K + T is the covariance: the scale matrix of scipy's t is (ν − 2)/ν times that."""
    model = student_t_process(squared_exponential, PRIORS | {"df": df})
    density, _ = log_density(model, (X, Y), {"temperature": T}, POINT)
    shape = (df - 2) / df * (covariance() + T * np.eye(8))
    expected = log_prior() + stats.multivariate_t.logpdf(Y, shape=shape, df=df)
    np.testing.assert_allclose(density, expected, rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_all_priors_together():
    """Degrees of freedom and temperature have sites of their own."""
    model = student_t_process(squared_exponential, PRIORS | {"df": dist.Pareto(2.0, 1.0)})
    point = POINT | {"df": 4.0, "temperature": 0.5}
    density, _ = log_density(model, (X, Y), {"temperature": dist.Exponential(2.0)}, point)
    expected = log_prior() + stats.pareto.logpdf(4.0, 1.0, scale=2.0) + stats.expon.logpdf(0.5, scale=0.5)
    expected += stats.multivariate_t.logpdf(Y, shape=0.5 * (covariance() + 0.5 * np.eye(8)), df=4.0)
    np.testing.assert_allclose(density, expected, rtol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("precisions", [0.5, (0.5, 2.0, 4.0)])
def test_linear_network(precisions):
    """A prior replaces the network's own numbers, and what has none is taken as given: K by hand."""
    net = FullyConnected((9, 9), "linear", weight_precision=7.0, bias_precision=5.0)
    own = jnp.shape(jnp.asarray(precisions))
    prior = dist.LogNormal(0.0, 1.0).expand(own).to_event(len(own))
    point = {"weight_precision": jnp.asarray(precisions)}
    density, _ = log_density(gaussian_process(net, {"weight_precision": prior}), (X, Y), {"temperature": T}, point)
    first, second, third = np.broadcast_to(precisions, 3)
    K = ((X @ X.T / (3 * first) + 1 / 5) / second + 1 / 5) / third + 1 / 5
    expected = stats.lognorm.logpdf(precisions, 1.0).sum()
    expected += stats.multivariate_normal.logpdf(Y, cov=K + T * np.eye(8))
    np.testing.assert_allclose(density, expected, rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_fixed_values_are_those_of_the_kernel():
    fixed, free = {"amplitude": 1.3, "lengthscale": POINT["lengthscale"]}, {"lengthscale": PRIORS["lengthscale"]}
    alone, _ = log_density(gaussian_process(squared_exponential, fixed), (X, Y), {"temperature": T}, {})
    np.testing.assert_allclose(alone, stats.multivariate_normal.logpdf(Y, cov=covariance() + T * np.eye(8)), rtol=1e-10)
    net = FullyConnected((9,), "linear")
    given, _ = log_density(gaussian_process(net, {"bias_precision": 2.0}), (X, Y), {"temperature": T}, {})
    cov = (X @ X.T / 3 + 0.5) + 0.5 + T * np.eye(8)
    np.testing.assert_allclose(given, stats.multivariate_normal.logpdf(Y, cov=cov), rtol=1e-10)
    draws = Predictive(gaussian_process(squared_exponential, free), num_samples=2)(jax.random.key(0), X, temperature=T)
    assert set(draws) == {"lengthscale", "y"}


@pytest.mark.parametrize("df", [None, 9.0])
def test_covariance_of_the_draws(df):
    """Cov y = K + T for both processes, and heavier tails for the t: fourth moment 3 (ν − 2)/(ν − 4)."""
    fixed = {"lengthscale": 2.0}
    model = gaussian_process(matern, fixed) if df is None else student_t_process(matern, fixed | {"df": df})
    y = np.asarray(Predictive(model, num_samples=40_000)(jax.random.key(1), X[:2], temperature=T)["y"], np.float64)
    r = np.sqrt(3) * np.linalg.norm(X[0] - X[1]) / 2
    fourth = 3.0 if df is None else 3 * (df - 2) / (df - 4)
    moments = [
        (y[:, 0] ** 2, 1 + T),
        (y[:, 0] * y[:, 1], (1 + r) * np.exp(-r)),
        (y[:, 0] ** 4, fourth * (1 + T) ** 2),
    ]
    for values, expected in moments:
        assert abs(values.mean() - expected) < 4 * values.std() / 40_000**0.5


@pytest.mark.parametrize(
    ("kernel", "priors"),
    [
        pytest.param(squared_exponential, {"lengthscale": dist.LogNormal(0.0, 1.0)}, marks=pytest.mark.long),
        pytest.param(matern, {"lengthscale": dist.LogNormal(0.0, 1.0)}, marks=pytest.mark.long),
        pytest.param(exponential, {"lengthscale": dist.LogNormal(0.0, 1.0)}, marks=pytest.mark.long),
        (FullyConnected((5, 5), "relu"), {"weight_precision": dist.LogNormal(0.0, 1.0)}),
        pytest.param(FullyConnected((5,), "erf"), {"bias_precision": dist.LogNormal(0.0, 1.0)}, marks=pytest.mark.long),
    ],
    ids=["squared exponential", "Matern", "exponential", "relu", "erf"],
)
def test_gradients_in_single_precision(kernel, priors):
    """Repeated inputs, a kernel that is nearly singular: float32 slopes are those of float64."""
    inputs = np.random.default_rng(3).normal(size=(60, 2))
    inputs[50:60] = inputs[:10]
    y = np.sin(inputs).sum(axis=1)
    model = student_t_process(kernel, priors | {"df": dist.Pareto(2.0, 1.0)})

    def slopes(point, temperature):
        args = {"temperature": dist.Exponential(1.0)}
        return jax.grad(lambda p: log_density(model, (inputs, y), args, p | {"temperature": temperature})[0])(point)

    point = dict.fromkeys(priors, 1.5) | {"df": 4.0}
    slopes = jax.jit(slopes)
    single = slopes({name: jnp.asarray(value) for name, value in point.items()}, jnp.asarray(0.02))
    with jax.enable_x64(True):
        double = slopes({name: jnp.asarray(value) for name, value in point.items()}, jnp.asarray(0.02))
    for name in point:
        np.testing.assert_allclose(single[name], double[name], rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("temperature", [1e-4, 1e-8])
def test_jitter_keeps_single_precision_finite(temperature):
    """At temperatures below the resolution of float32, where a Cholesky factorisation without jitter would be NaN."""
    inputs = np.linspace(-1, 1, 200)[:, None]
    model = gaussian_process(squared_exponential, {"lengthscale": dist.LogNormal(0.0, 1.0)})

    def density(lengthscale):
        args = (inputs, np.sin(inputs[:, 0]))
        return log_density(model, args, {"temperature": temperature}, {"lengthscale": lengthscale})[0]

    value, slope = jax.jit(jax.value_and_grad(density))(jnp.asarray(3.0))
    assert np.isfinite(value)
    assert np.isfinite(slope)
    K = np.exp(-((inputs - inputs.T) ** 2) / 18).astype(np.float32) + np.float32(temperature) * np.eye(200, dtype="f4")
    if temperature < 1e-6:
        assert np.isnan(jnp.linalg.cholesky(K)).any()


def test_distance():
    """Lengths by scipy; slope zero at x = x'."""
    lengthscale = np.array([0.5, 1.0, 2.0])
    np.testing.assert_allclose(distance(X, X[:4], lengthscale), cdist(X / lengthscale, X[:4] / lengthscale), rtol=1e-5)
    slope = jax.jit(jax.grad(lambda ell: jnp.sum(distance(jnp.asarray(X), jnp.asarray(X), ell))))(1.0)
    np.testing.assert_allclose(slope, -cdist(X, X).sum(), rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_parts_of_a_larger_model():
    """Two tasks, each with a process of its own, share their noise; names are kept apart by scope."""
    first, second = gaussian_process(squared_exponential, PRIORS), student_t_process(exponential, {"lengthscale": 2.0})

    def model(y1, y2):
        noise = numpyro.sample("noise", dist.Exponential(1.0))
        scope(first, "one")(X, y1, temperature=noise)
        scope(second, "two")(X, y2, temperature=noise)

    point = {"noise": 0.4} | {f"one/{name}": value for name, value in POINT.items()}
    density, trace = log_density(model, (Y, -Y), {}, point)
    expected = log_prior() - 0.4 + stats.multivariate_normal.logpdf(Y, cov=covariance() + 0.4 * np.eye(8))
    shape = 0.6 * (np.exp(-cdist(X, X) / 2) + 0.4 * np.eye(8))
    expected += stats.multivariate_t.logpdf(-Y, shape=shape, df=5.0)
    assert {"one/y", "two/y"} < set(trace)
    np.testing.assert_allclose(density, expected, rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_latent_function():
    """Without targets the process is the prior of a latent function under another likelihood."""
    process = gaussian_process(squared_exponential, {"lengthscale": 1.0})

    def model(counts):
        log_rate = process(X, temperature=T)
        with numpyro.plate("data", len(X)):
            numpyro.sample("counts", dist.Poisson(jnp.exp(log_rate)), obs=counts)

    counts = np.arange(8)
    density, _ = log_density(model, (counts,), {}, {"y": Y})
    cov = np.exp(-cdist(X, X, "sqeuclidean") / 2) + T * np.eye(8)
    expected = stats.multivariate_normal.logpdf(Y, cov=cov) + stats.poisson.logpmf(counts, np.exp(Y)).sum()
    np.testing.assert_allclose(density, expected, rtol=1e-10)


@pytest.mark.long
def test_nuts_on_diabetes():
    """The chains mix without divergences, and find about as much noise as linear regression does."""
    inputs, y = load_diabetes(return_X_y=True)
    inputs, y = inputs[:70] / inputs[:70].std(axis=0), (y[:70] - y[:70].mean()) / y[:70].std()
    priors = {"weight_precision": dist.Gamma(3.0, 3.0), "df": above_two(12.0)}
    mcmc = MCMC(
        NUTS(student_t_process(FullyConnected((10,), "erf"), priors), dense_mass=True, target_accept_prob=0.9),
        num_warmup=300,
        num_samples=400,
        num_chains=2,
        chain_method="vectorized",
        progress_bar=False,
        jit_model_args=True,
    )
    mcmc.run(jax.random.key(0), inputs, y, temperature=dist.LogNormal(-1.0, 1.0))
    statistics = summary(mcmc.get_samples(group_by_chain=True))
    assert max(row["r_hat"] for row in statistics.values()) < 1.02
    assert min(row["n_eff"] for row in statistics.values()) > 200
    assert int(mcmc.get_extra_fields()["diverging"].sum()) == 0
    linear = np.linalg.lstsq(np.c_[inputs, np.ones(70)], y)[1][0] / (70 - 11)
    assert 0.5 * linear < statistics["temperature"]["mean"] < 2 * linear


def test_degrees_of_freedom_are_recovered():
    """From many data sets of one law, which tell ν where a single one, with its one random scale, hardly does."""
    inputs = np.linspace(-2, 2, 5)[:, None]
    K = np.exp(-cdist(inputs, inputs, "sqeuclidean") / 2) + 0.1 * np.eye(5)
    rng = np.random.default_rng(5)

    def density(y, df):
        model = student_t_process(squared_exponential, {"lengthscale": 1.0, "df": df})
        return log_density(model, (inputs, y), {"temperature": 0.1}, {})[0]

    nus = jnp.geomspace(2.05, 300, 100)
    surface = jax.jit(jax.vmap(jax.vmap(density, (0, None)), (None, 0)))
    intervals = []
    for df in (3.0, 8.0, 30.0):
        r = stats.invgamma.rvs(df / 2, scale=(df - 2) / 2, size=400, random_state=rng)
        y = np.sqrt(r)[:, None] * rng.multivariate_normal(np.zeros(5), K, size=400)
        likelihood = np.asarray(surface(jnp.asarray(y), nus)).sum(axis=1)
        inside = nus[likelihood > likelihood.max() - stats.chi2.ppf(0.99, 1) / 2]
        intervals.append((inside.min(), inside.max()))
        assert inside.min() < df < inside.max()
    assert intervals[0][1] < intervals[1][0]
    assert intervals[1][1] < intervals[2][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((squared_exponential, {"lenghtscale": 1.0, "lengthscale": 1.0}), r"priors: got \['lenghtscale'\], unknown"),
        ((squared_exponential, {}), r"expected also \['lengthscale'\]"),
        ((FullyConnected((5,)), {"width": 3.0}), r"unknown to the kernel; .*'bias_precision', 'weight_precision'"),
        ((FullyConnected((5,)), {"weight_precision": -1.0}), "weight_precision: got -1.0"),
        ((FullyConnected((5,)), {"weight_precision": dist.Normal(0.0, 1.0)}), "a Normal that may fall below 0"),
        ((FullyConnected((5,), outputs=2), {}), "network of 2 outputs"),
        (("rbf", {}), "kernel: got 'rbf'"),
        ((RBF(), {}), r"kernel: got RBF.*expected a JAX function"),
        ((NNGPKernel(FullyConnected((5,))), {}), r"give its network FullyConnected\(widths=\(5,\)"),
        ((lambda a, b, temperature: a, {"temperature": 1.0}), r"got hyper-parameters \['temperature'\]"),
    ],
)
def test_bad_kernels_and_priors(arguments, message):
    for program in (gaussian_process, student_t_process):
        with pytest.raises(ValueError, match=message):
            program(*arguments)


@pytest.mark.parametrize("df", [2.0, 1.0, float("nan"), "many", dist.Gamma(2.0, 1.0), dist.Normal(5.0, 1.0)])
def test_degrees_of_freedom_above_two(df):
    with pytest.raises(ValueError, match="df: got"):
        student_t_process(FullyConnected((5,)), {"df": df})
    with pytest.raises(ValueError, match=r"got hyper-parameters \['df'\]"):
        gaussian_process(FullyConnected((5,)), {"df": df})


@pytest.mark.parametrize(
    ("inputs", "y", "temperature", "message"),
    [
        (X[0], Y, T, "X: got 1 dimension"),
        (X, Y[:-1], T, r"y: got shape \(7,\), expected \(8,\)"),
        (X, np.where(Y > 1, np.nan, Y), T, "NaN"),
        (X, Y, 0.0, "temperature: got 0.0"),
    ],
)
def test_bad_data(inputs, y, temperature, message):
    with pytest.raises(ValueError, match=message):
        gaussian_process(FullyConnected((5,)))(inputs, y, temperature=temperature)


def test_shapes_are_checked_in_compiled_functions():
    run = jax.jit(lambda X, y: gaussian_process(FullyConnected((5,)))(X, y, temperature=T))
    with pytest.raises(ValueError, match="X: got shape"):
        run(X[0], Y)
    with pytest.raises(ValueError, match="y: got shape"):
        run(X, Y[1:])
    with pytest.raises(ValueError, match=r"kernel: got shape \(8,\)"):
        gaussian_process(lambda X1, X2: X1[:, 0])(X, Y, temperature=T)


def test_arviz_may_be_imported_first():
    """ArviZ loads NumPyro lazily, and ``import numpyro.distributions`` would then leave it without its submodule."""
    code = "import arviz; from stpbnn import programs; import numpyro; numpyro.distributions.distribution.Unit"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_density_with_outliers():
    """Of noise with the tails of Student's t, by SciPy's laws; the function is the factor times what is white."""
    white = np.linspace(-1, 1, len(X))
    model = gaussian_process(squared_exponential, {"lengthscale": 0.7}, noise_df=3.0)
    with jax.enable_x64(True):
        found, trace = log_density(model, (X, Y), {"temperature": T}, {"white": jnp.asarray(white)})
    K = np.asarray(squared_exponential(X, X, lengthscale=0.7), np.float64)
    f = np.linalg.cholesky(K + 1e-15 * np.trace(K) * np.eye(len(X))) @ white
    expected = stats.norm.logpdf(white).sum() + stats.t(3.0, f, T**0.5).logpdf(Y).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(trace["f"]["value"], f, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="process: got one with noise_df"):
        condition(model, {}, X, Y, X, temperature=T)
    with pytest.raises(ValueError, match=r"kernel: got hyper-parameters \['f'\]"):
        gaussian_process(lambda a, b, f: f * a @ b.T, {"f": dist.LogNormal(0.0, 1.0)}, noise_df=3.0)
    with pytest.raises(ValueError, match="noise_df: got 0"):
        gaussian_process(squared_exponential, {"lengthscale": 1.0}, noise_df=0)
