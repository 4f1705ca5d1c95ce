"""Noise with outliers: moment matching under Student's t noise, and the robust conjugate Gaussian process."""

import tracemalloc

import mpmath
import numpy as np
import pytest
from conformance import checks
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq, minimize
from scipy.special import ndtr
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern
from student_t_data import data, fitted

import stpbnn
from stpbnn import StudentTProcessRegressor
from stpbnn.scale.either_sign import Precisions

NOISES = ("student-t", "robust")
T, NU = 0.04, 3.0


def contaminated(P=12, seed=0, outputs=1):
    """A sine of noise 0.2, of which every sixth target is far off."""
    rng = np.random.default_rng(seed)
    X = np.sort(rng.uniform(-2, 2, size=(P, 1)), axis=0)
    y = np.sin(2 * X + np.arange(outputs)) + 0.2 * rng.normal(size=(P, outputs))
    y[::6] += 4
    return X, y[:, 0] if outputs == 1 else y


def likelihood(f, y, T=T, nu=NU):
    return stats.t(nu, loc=f, scale=T**0.5).logpdf(y)


@checks(*(StudentTProcessRegressor(noise=noise, temperature=1.0, optimizer=None) for noise in NOISES))
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@checks(*(StudentTProcessRegressor(noise=noise) for noise in NOISES), long=True)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # noise determines no hyper-parameters
def test_scikit_learn_conformance_of_a_search(estimator, check):
    check(estimator)


def test_each_target_has_its_moments_and_the_evidence_is_that_of_the_sites():
    """Moments of each target's true density and of a power of it by SciPy's quadrature, the rest by dense algebra."""
    X, y = contaminated()
    K = (1.5 * RBF(0.8))(X)
    model = fitted(1.5 * RBF(0.8), X, y, noise="student-t", temperature=T, noise_df=NU)
    (column,) = model._process.columns
    for sites, power in ((column.sites, 1.0), (column.gentle, (NU / 4 + 1) / (NU + 1))):
        assert (sites.precision < 0).any()
        covariance = np.linalg.inv(np.linalg.inv(K) + np.diag(sites.precision))
        mean, variance = covariance @ sites.linear, np.diag(covariance)
        precision = 1 / variance - power * sites.precision
        centre = (mean / variance - power * sites.linear) / precision
        sign, log_det = np.linalg.slogdet(np.eye(len(X)) + K * sites.precision)
        evidence = (sites.linear @ mean - log_det) / 2
        for i in range(len(X)):
            places = np.linspace(centre[i] - 12 * precision[i] ** -0.5, centre[i] + 12 * precision[i] ** -0.5, 20_001)
            density = stats.norm(centre[i], precision[i] ** -0.5).pdf(places)
            density *= np.exp(power * likelihood(places, y[i], T, NU))
            step = places[1] - places[0]
            total = density.sum() * step
            first = (density @ places) * step / total
            np.testing.assert_allclose(first, mean[i], atol=1e-6)
            np.testing.assert_allclose((density @ (places - first) ** 2) * step / total, variance[i], rtol=1e-6)
            change = centre[i] ** 2 * precision[i] - mean[i] ** 2 / variance[i] - np.log(precision[i] * variance[i])
            evidence += (np.log(total) + change / 2) / power
        assert sign == 1
        assert sites.log_evidence == pytest.approx(evidence, abs=1e-6)
    assert model.log_marginal_likelihood_ == column.gentle.log_evidence
    left = np.stack(column.left_out())
    expected = model.predictive(X).mean  # the mean of expectation propagation itself
    np.testing.assert_allclose(expected, column.sites.means)
    np.testing.assert_allclose(1 / left[1], 1 / column.sites.variances - column.sites.precision)


def test_covariance_is_the_response_of_the_mean_to_a_source():
    """A prior tilted by exp(h f(x)) has its mean moved by h K(., x): derivatives in h by differences."""
    X, y = contaminated()
    K, h = (1.5 * RBF(0.8))(X), 1e-4
    settings = {"noise": "student-t", "temperature": T, "noise_df": NU}
    covariance = fitted(1.5 * RBF(0.8), X, y, **settings).predict(X, return_cov=True)[1]
    for i in (0, 3, 6):
        ends = [
            sign * h * K[i] + fitted(1.5 * RBF(0.8), X, y - sign * h * K[i], **settings).predict(X) for sign in (1, -1)
        ]
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), covariance[i], rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("repeated", [False, True])
def test_gradient_is_that_of_differences_of_the_objective(noise, repeated):
    X, y = contaminated(outputs=2)
    if repeated:
        X[[1, 5, 9]] = X[[3, 4, 4]]
    settings = {"optimize_noise_df": True} if noise == "student-t" else {}
    model = StudentTProcessRegressor(
        1.5 * RBF(0.8), noise=noise, temperature=T, optimize_temperature=True, normalize_y=True, **settings
    )
    model.optimizer = lambda objective, start, bounds: (start, objective(start)[0])
    with pytest.warns(Warning, match="did not converge"):
        model.fit(X, y)
    theta, h = np.log([1.5, 0.8, T, NU])[: 3 + (noise == "student-t")], 1e-5
    _, gradient = model.log_marginal_likelihood(theta, eval_gradient=True)
    values = model.log_marginal_likelihood
    differences = [(values(theta + h * e) - values(theta - h * e)) / (2 * h) for e in np.eye(len(theta))]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6)


def test_a_search_goes_on_from_where_it_has_been(monkeypatch):
    """Fewer than six factorisations at most places; it ends where SciPy does on the evidence that begins anew."""
    X, y = contaminated(40)
    made = []  # at each place
    factorised, evidence = Precisions.of, StudentTProcessRegressor._evidence

    def counted(K, W):
        made[-1] += 1
        return factorised(K, W)

    def evidence_there(*given, **how):
        made.append(0)
        return evidence(*given, **how)

    kernel = ConstantKernel(1.5, "fixed") * RBF(0.8)
    model = StudentTProcessRegressor(kernel, noise="student-t", temperature=0.1, optimize_temperature=True)
    with monkeypatch.context() as patched:
        patched.setattr(Precisions, "of", counted)
        patched.setattr(StudentTProcessRegressor, "_evidence", evidence_there)
        model.fit(X, y)
    assert np.median(made) < 6
    found = minimize(lambda theta: -model.log_marginal_likelihood(theta), model._start().theta, method="Nelder-Mead")
    assert model.log_marginal_likelihood_ == pytest.approx(-found.fun, rel=1e-6)
    assert model.log_marginal_likelihood_ == model.log_marginal_likelihood(model._hyperparameters.theta)


def test_small_posterior_is_that_of_quadrature():
    """Three examples on a grid, one of them an outlier."""
    X, y = np.array([[0.0], [0.1], [0.2]]), np.array([0.6, 8.0, 0.5])
    K = RBF(1.0)(X)
    model = fitted(RBF(1.0), X, y, noise="student-t", temperature=0.02, noise_df=4.0)
    axes = np.linspace(-6, 6, 80)
    z = np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1).reshape(-1, 3)
    f = z @ np.linalg.cholesky(K).T
    log_density = stats.norm.logpdf(z).sum(axis=1) + likelihood(f, y, 0.02, 4.0).sum(axis=1)
    weights = np.exp(log_density - log_density.max())
    log_evidence = np.log(weights.sum() * (axes[1] - axes[0]) ** 3) + log_density.max()
    weights /= weights.sum()
    mean = weights @ f
    std = np.sqrt(weights @ (f - mean) ** 2)
    ours, spread = model.predict(X, return_std=True)
    assert np.abs((ours - mean) / std).max() < 0.02
    np.testing.assert_allclose(spread, std, rtol=0.02)
    assert abs(model.log_marginal_likelihood_ - log_evidence) < 0.02


def test_intervals_of_a_skewed_law_are_those_of_quadrature():
    """Three examples, two of which contradict each other: ends of 90 % intervals at query points, in their width."""
    X, y, Xt = np.array([[0.0], [0.8], [2.2]]), np.array([2.5, 0.2, 0.4]), np.array([[-0.3], [0.3], [0.8], [1.6]])
    pull = np.linalg.solve(RBF(1.0)(X), RBF(1.0)(X, Xt))
    axes = np.linspace(-5, 5, 50)
    z = np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1).reshape(-1, 3)
    f = z @ np.linalg.cholesky(RBF(1.0)(X)).T
    log_density = stats.norm.logpdf(z).sum(axis=1) + likelihood(f, y, 0.1, 4.0).sum(axis=1)
    weights = np.exp(log_density - log_density.max())
    likely = weights > 1e-7
    weights, means = weights[likely] / weights[likely].sum(), (f @ pull)[likely].T
    spread = np.sqrt(np.maximum(1 - np.einsum("ij,ij->j", RBF(1.0)(X, Xt), pull), 1e-3))
    model = fitted(RBF(1.0), X, y, noise="student-t", temperature=0.1, noise_df=4.0)
    law = model.predictive(Xt)

    def end(mean, std, level):
        return brentq(lambda x: weights @ ndtr((x - mean) / std) - level, -9, 9, xtol=1e-6)

    levels = (0.05, 0.95)
    ends = np.array([[end(mean, std, level) for level in levels] for mean, std in zip(means, spread, strict=True)])
    width = np.diff(ends)
    gaussian = law.mean[:, None] + law.std[:, None] * stats.norm.ppf(levels)
    assert np.abs((gaussian - ends) / width).max() > 0.06
    assert np.abs((law.interval(0.9) - ends) / width).max() < 0.03
    np.testing.assert_allclose(law.variance, np.diag(model.predictive(Xt, joint=True).covariance), rtol=1e-9)


def peak(function):
    """Return what a function returns, and the bytes that it holds at most."""
    tracemalloc.start()
    found = function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, most


def test_moments_need_no_shapes_of_laws_and_shapes_are_found_a_few_at_a_time():
    """A hundred numbers a query point are plenty for moments; a shape alone takes more."""
    X, y, Xt = np.array([[0.0], [0.8], [2.2]]), np.array([2.5, 0.2, 0.4]), np.linspace(-3, 3, 1100)[:, None]
    model = fitted(RBF(1.0), X, y, noise="student-t", temperature=0.1, noise_df=4.0, normalize_y=True)
    (mean, std), moments = peak(lambda: model.predict(Xt, return_std=True))
    error, errors = peak(lambda: model.generalization_error(Xt, np.zeros(1100)))
    assert max(moments, errors) < 100 * 8 * len(Xt)
    law, last = model.predictive(Xt), model.predictive(Xt[-3:])
    np.testing.assert_allclose(law.means[:, -3:], last.means, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mean, law.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(std, law.std, rtol=1e-9)
    np.testing.assert_allclose(error.total, np.mean(law.mean**2 + law.variance), rtol=1e-9)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_posterior_is_that_of_nuts(seed):
    """Means within 0.1 standard deviations, standard deviations within 5 %, and 90 % intervals hold 90 %."""
    import arviz as az
    import jax
    from numpyro.infer import MCMC, NUTS

    X, y = contaminated(30, seed)
    kernel = 1.5 * RBF(0.8)

    def function(X1, X2):
        return 1.5 * jax.numpy.exp(-((X1 - X2.T) ** 2) / (2 * 0.8**2))

    with jax.enable_x64(True):
        process = stpbnn.programs.gaussian_process(function, noise_df=4.0)
        settings = {"num_chains": 4, "chain_method": "vectorized", "progress_bar": False}
        chains = MCMC(NUTS(process), num_warmup=1000, num_samples=4000, **settings)
        chains.run(jax.random.key(seed), X, y, temperature=0.04)
        f = np.asarray(chains.get_samples(group_by_chain=True)["f"])
    assert max(az.rhat(f[..., i]) for i in range(30)) < 1.01
    f = f.reshape(-1, 30)
    model = fitted(kernel, X, y, noise="student-t", temperature=0.04, noise_df=4.0)
    mean, std = model.predict(X, return_std=True)
    assert np.abs((mean - f.mean(axis=0)) / f.std(axis=0)).max() < 0.1
    np.testing.assert_allclose(std, f.std(axis=0), rtol=0.05)
    low, high = model.predictive(X).interval(0.9).T
    assert abs(np.mean((low < f) & (f < high)) - 0.9) < 0.01
    ends = np.quantile(f, [0.05, 0.95], axis=0)
    assert np.abs((np.array([low, high]) - ends) / (ends[1] - ends[0])).max() < 0.05


def variance_taken_for(df):
    """Return the variance of Gaussian noise to which a t law of scale one fits best: its expected score vanishes."""

    def score(variance):
        def integrand(e):
            return stats.norm(0, variance**0.5).pdf(e) * ((df + 1) * e**2 / (df + e**2) - 1)

        return quad(integrand, -12 * variance**0.5, 12 * variance**0.5, limit=200)[0]

    return brentq(score, 0.5, 3.0)


def test_robust_process_is_the_generalised_posterior_of_weighted_score_matching():
    """The loss Σ w² s² + 2 ∂_y(w² s), s the score of Gaussian noise, written out with differences in y."""
    X, y = contaminated()
    kernel, Xt = 1.5 * RBF(0.8), np.array([[0.3], [1.9]])
    model = fitted(kernel, X, y, noise="robust", temperature=T)
    others = fitted(kernel, X, y, noise="student-t", temperature=T).leave_one_out().mean
    np.testing.assert_allclose(model.centre_, others, rtol=1e-10)
    middle = model.centre_
    spread = np.median(np.abs(y - middle)) / stats.norm.ppf(0.75)  # of Gaussian residuals
    c, h = spread * stats.norm.ppf(0.95), 1e-4
    core = variance_taken_for(4.0)

    def weighted_score(y, f):  # the law of the noise determines w² up to T/2
        return T / 2 / (1 + (y - middle) ** 2 / c**2) * (f - y) / T

    def loss(f):
        derivative = (weighted_score(y + h, f) - weighted_score(y - h, f)) / (2 * h)
        return np.sum(weighted_score(y, f) * (f - y) / T + 2 * derivative)

    eye, zero = np.eye(len(y)), np.zeros(len(y))
    slope = np.array([loss(e) - loss(-e) for e in eye]) / 2  # exact, since the loss is quadratic
    curvature = np.diag([loss(e) + loss(-e) - 2 * loss(zero) for e in eye])
    K, k = kernel(X), kernel(Xt, X)
    A = K + np.linalg.inv(curvature)
    mean, covariance = model.predict(Xt, return_cov=True)
    np.testing.assert_allclose(mean, -k @ np.linalg.solve(A, np.linalg.solve(curvature, slope)), rtol=1e-6)
    np.testing.assert_allclose(covariance, kernel(Xt) - k @ np.linalg.solve(A, k.T), rtol=1e-6)
    z, spread, score = -np.linalg.solve(curvature, slope), 1 / np.diag(curvature), 0.0
    law = model.leave_one_out()
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        pull = np.linalg.solve((K + np.diag(spread))[rest][:, rest], K[rest, i])
        variance = K[i, i] - pull @ K[rest, i] + T
        np.testing.assert_allclose([law.mean[i], law.variance[i]], [pull @ z[rest], variance], rtol=1e-5)
        score += stats.t(4, pull @ z[rest], (variance / core) ** 0.5).logpdf(y[i])
    assert model.log_marginal_likelihood_ == pytest.approx(score, rel=1e-6)


def test_robust_processes_are_judged_by_inputs_left_out():
    """All targets of an input at once, by the process of the other inputs; laws given others are one by one as ever."""
    X, y = contaminated()
    X[[1, 5, 9]] = X[[3, 4, 4]]
    model = fitted(1.5 * RBF(0.8), X, y, noise="robust", temperature=T)
    r, K, score = y - model.centre_, (1.5 * RBF(0.8))(X), 0.0
    c = np.median(np.abs(r)) / stats.norm.ppf(0.75) * stats.norm.ppf(0.95)
    z, spread = y + 2 * T * r / (c**2 + r**2), 1 + (r / c) ** 2
    for i in range(len(y)):
        rest = (X[i] != X).ravel()
        assert np.sum(~rest) == {1: 2, 3: 2, 4: 3, 5: 3, 9: 3}.get(i, 1)
        pull = np.linalg.solve(K[rest][:, rest] + T * np.diag(spread[rest]), K[rest, i])
        variance = K[i, i] - pull @ K[rest, i] + T
        score += stats.t(4, pull @ z[rest], (variance / variance_taken_for(4.0)) ** 0.5).logpdf(y[i])
    assert model.log_marginal_likelihood_ == pytest.approx(score, rel=1e-6)
    rest = np.arange(len(y)) != 4
    pull = np.linalg.solve(K[rest][:, rest] + T * np.diag(spread[rest]), K[rest, 4])
    assert model.leave_one_out().mean[4] == pytest.approx(pull @ z[rest], rel=1e-6)


@pytest.mark.filterwarnings("ignore:k1__constant_value:sklearn.exceptions.ConvergenceWarning")  # it ends on its bound
def test_repeated_rows_do_not_tell_robust_processes_that_there_is_no_noise():
    """Noise of 0.3, half of the rows twice, one of some pairs far off: T and error are as without the copies."""
    rng = np.random.default_rng(0)
    X, Xt = rng.uniform(-3, 3, size=(60, 1)), np.linspace(-3, 3, 200)[:, None]
    y, truth = np.sin(2 * X[:, 0]) + 0.3 * rng.normal(size=60), np.sin(2 * Xt[:, 0])
    model = StudentTProcessRegressor(
        1.0 * Matern(1.0, nu=1.5), noise="robust", temperature=0.1, optimize_temperature=True
    )
    least, error = model.fit(X, y).temperature_ / 2, np.sqrt(np.mean((model.predict(Xt) - truth) ** 2))
    X, y = np.concatenate([X, X[:30]]), np.concatenate([y, y[:30]])
    y[[3, 17, 70]] += np.array([5, -5, 4])
    assert model.fit(X, y).temperature_ > least
    assert np.sqrt(np.mean((model.predict(Xt) - truth) ** 2)) < 1.15 * error


def test_outliers_are_ignored():
    """5 % of the targets are off by 3 to 10 standard deviations: the error is that of clean targets within 15 %."""
    rng = np.random.default_rng(1)
    X, Xt = rng.uniform(-3, 3, size=(100, 1)), np.linspace(-3, 3, 200)[:, None]
    clean = np.sin(2 * X[:, 0]) + 0.2 * rng.normal(size=100)
    off = clean.copy()
    off[:5] += rng.choice([-1, 1], 5) * rng.uniform(3, 10, 5) * clean.std()
    truth, errors = np.sin(2 * Xt[:, 0]), {}
    settings = {"temperature": 0.1, "optimize_temperature": True}
    for noise in ("gaussian", *NOISES):
        for name, y in (("clean", clean), ("off", off)):
            model = StudentTProcessRegressor(1.0 * RBF(1.0), noise=noise, **settings).fit(X, y)
            errors[noise, name] = np.sqrt(np.mean((model.predict(Xt) - truth) ** 2))
        if noise == "student-t":
            low, high = model.predictive(Xt, noise="clean").interval(0.9).T
            new = truth + 0.2 * rng.normal(size=(50, 200))
            assert 0.85 < np.mean((low < new) & (new < high)) < 0.95
    assert errors["gaussian", "off"] > 3 * errors["gaussian", "clean"]
    for noise in NOISES:
        assert errors[noise, "clean"] < 1.15 * errors["gaussian", "clean"]
        assert errors[noise, "off"] < 1.15 * errors["gaussian", "clean"]


def clean_fit(seed):
    """A robust process on 80 clean targets of noise 0.3, its temperature learned, and 400 new ones."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, size=(480, 2))
    y = np.sin(2 * X[:, 0]) + np.cos(1.5 * X[:, 1]) * X[:, 0] + 0.3 * rng.normal(size=480)
    kernel = ConstantKernel(1.5, "fixed") * RBF(1.3, "fixed")
    model = StudentTProcessRegressor(kernel, noise="robust", temperature=0.1, optimize_temperature=True)
    return model.fit(X[:80], y[:80]), X, y


def test_the_noise_of_new_targets_is_where_they_score_highest():
    model, X, y = clean_fit(0)
    noise, left, core = model.noise_variance_, model.leave_one_out(), variance_taken_for(4.0)
    of_f, error = left.variance - noise, y[:80] - left.mean

    def score(noise):
        return stats.t(4, scale=np.sqrt((of_f + noise) / core)).logpdf(error).sum()

    assert score(noise) > max(score(1.02 * noise), score(noise / 1.02))
    np.testing.assert_allclose(model.predictive(X[80:], noise=True).variance - model.predictive(X[80:]).variance, noise)
    given = fitted(1.5 * RBF(1.3), X[:20], y[:20], noise="robust", temperature=0.07)
    assert given.noise_variance_ == 0.07
    assert fitted(X=X[:20], y=y[:20]).noise_variance_ is None


@pytest.mark.long
def test_intervals_of_new_clean_targets_hold():
    """The variance of the noise is 0.09, and 90 % intervals hold about as many."""
    inside, variances = [], []
    for seed in range(8):
        model, X, y = clean_fit(seed)
        low, high = model.predictive(X[80:], noise=True).interval(0.9).T
        inside.append(np.mean((low < y[80:]) & (y[80:] < high)))
        variances.append(model.noise_variance_)
    assert 0.86 < np.mean(inside) < 0.93
    assert np.mean(variances) == pytest.approx(0.09, rel=0.2)


def test_new_targets_have_the_tails_of_the_noise():
    X, y = contaminated()
    model = fitted(1.5 * RBF(0.8), X, y, noise="student-t", temperature=T, noise_df=NU)
    Xt = np.array([[0.4]])
    f, new, clean = model.predictive(Xt), model.predictive(Xt, noise=True), model.predictive(Xt, noise="clean")
    width = f.std[0]
    for value in (f.mean[0], f.mean[0] + 2, 40.0):
        places = (f.mean[0], value)
        e = np.linspace(value - f.mean[0] - 15 * width, value - f.mean[0] + 15 * width, 20_001)
        expected = np.trapezoid(f.pdf(value - e) * stats.t(NU, scale=T**0.5).pdf(e), e)
        np.testing.assert_allclose(new.pdf(value), expected, rtol=1e-6, err_msg=str(places))
    np.testing.assert_allclose(new.variance - f.variance, 3 * T, rtol=1e-2)  # ν/(ν − 2)
    np.testing.assert_allclose(clean.variance - f.variance, T * variance_taken_for(NU), rtol=1e-6)
    assert model.predictive(Xt, noise="clean", joint=True).covariance[0, 0] == pytest.approx(clean.variance[0])
    with pytest.raises(ValueError, match=r"joint: got True with noise=True.*no closed form"):
        model.predictive(Xt, noise=True, joint=True)
    with pytest.raises(ValueError, match="noise: got 'dirty'"):
        model.predictive(Xt, noise="dirty")
    with pytest.raises(ValueError, match="noise: got 'clean'"):
        fitted(1.5 * RBF(0.8), X, y).predictive(Xt, noise="clean")


def test_repeated_inputs_with_equal_targets_lead_to_the_least_noise_that_is_learned():
    """Which has no lower bound: it is higher there than at any larger T, and the search says so."""
    X = np.random.default_rng(0).normal(size=(20, 2))
    X = np.vstack([X, X])
    y = np.round(2 * np.sin(3 * X.sum(axis=1)))
    kernel = 1.0 * RBF(0.3, (0.05, 0.5))
    model = StudentTProcessRegressor(kernel, temperature=0.1, noise="student-t", optimize_temperature=True)
    with pytest.warns(match="temperature: the optimum lies on the lower bound"):
        model.fit(X, y)
    assert model.temperature_ == pytest.approx(1e-6 * np.mean((y - np.median(y)) ** 2))  # none is far from it
    higher = [model.log_marginal_likelihood([*model.kernel_.theta, np.log(T)]) for T in (1e-5, 1e-4, 1e-3)]
    assert model.log_marginal_likelihood_ > higher[0] > higher[1] > higher[2]


@pytest.mark.parametrize("case", ["clean", "outliers", "offset"])
def test_the_noise_is_found_whatever_outliers_and_offset_there_are(case):
    """Of 1e-4, which is far below the bound that mean squares of the targets would set."""
    X = np.random.default_rng(0).uniform(-1, 1, (60, 1))
    y = np.sin(3 * X[:, 0]) + 0.01 * np.random.default_rng(1).standard_t(4, 60)
    if case == "outliers":
        y[[7, 30]] = 1e4, -1e4
    kernel = 1.0 * RBF(0.5, (0.05, 5.0))
    model = StudentTProcessRegressor(kernel, temperature=0.01, noise="student-t", optimize_temperature=True)
    model.fit(X, y + 100 * (case == "offset"))
    assert 3e-5 < model.temperature_ < 3e-4


def test_many_degrees_of_freedom_are_gaussian_noise():
    X, y, Xt = data(outputs=2)
    near = fitted(X=X, y=y, noise="student-t", noise_df=1e9)
    gaussian = fitted(X=X, y=y, noise="gaussian", df=1e9)
    for ours, theirs in zip(near.predict(Xt, return_std=True), gaussian.predict(Xt, return_std=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(near.log_marginal_likelihood_, gaussian.log_marginal_likelihood_, rtol=1e-6)
    np.testing.assert_allclose(near.leave_one_out().mean, gaussian.leave_one_out().mean, rtol=1e-5)
    np.testing.assert_allclose(near.loo_log_score(), gaussian.loo_log_score(), rtol=1e-5)


@pytest.mark.parametrize("noise", NOISES)
def test_units_outputs_and_files(noise, tmp_path):
    X, Y = contaminated(40, outputs=2)
    settings = {"noise": noise, "optimize_temperature": True, "optimizer": "fmin_l_bfgs_b"}
    kernel, Xt, c = ConstantKernel(1.0, (1e-6, 1e12)) * RBF(0.8, "fixed"), np.array([[0.4], [1.0]]), 1e3
    one = fitted(kernel, X, Y[:, 0], **settings)
    scaled = fitted(
        ConstantKernel(c**2, (1e-6, 1e12)) * RBF(0.8, "fixed"), X, c * Y[:, 0], **settings | {"temperature": 0.1 * c**2}
    )
    np.testing.assert_allclose(scaled.predict(Xt), c * one.predict(Xt), rtol=1e-3)
    fixed = [fitted(kernel, X, y, noise=noise, normalize_y=True) for y in (Y, Y[:, 0], Y[:, 1])]
    for index, law in enumerate(model.predictive(Xt, noise="clean") for model in fixed[1:]):
        both = fixed[0].predictive(Xt, noise="clean")
        np.testing.assert_allclose(both.mean[:, index], law.mean)
        np.testing.assert_allclose(both.variance[:, index], law.variance)
    assert fixed[0].log_marginal_likelihood_ == pytest.approx(sum(m.log_marginal_likelihood_ for m in fixed[1:]))
    assert fixed[0].sample_y(Xt, 3, 0).shape == (2, 2, 3)
    np.testing.assert_allclose(fixed[0].predict_gradient(Xt)[0][:, 0, 0], fixed[1].predict_gradient(Xt)[0][:, 0])
    stpbnn.save(one, tmp_path / "model.npz")
    again = stpbnn.load(tmp_path / "model.npz")
    assert again.noise_df_ == one.noise_df_
    np.testing.assert_allclose(again.predictive(Xt, noise=True).mean, one.predictive(Xt, noise=True).mean, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trend": "linear"}, "trend: got 'linear' with noise='student-t', expected 'zero'"),
        ({"temperature": 0.0}, "temperature: got 0 with noise='student-t'"),
        ({"temperature": np.ones(12)}, "temperature: got an array with noise"),
        ({"noise_df": 0.0}, "noise_df: got 0.0"),
        ({"contamination": 0.6}, "contamination: got 0.6, expected a number between 0 and 0.5"),
        ({"optimize_df": True, "optimizer": "fmin_l_bfgs_b"}, "optimize_df: got True with noise='student-t'"),
        (
            {"noise": "robust", "optimize_noise_df": True, "optimizer": "fmin_l_bfgs_b"},
            "optimize_noise_df: got True with noise='robust'",
        ),
        ({"noise": "students-t"}, "did you mean 'student-t'"),
    ],
)
def test_what_outliers_do_not_go_with_is_refused(settings, message):
    X, y = contaminated()
    with pytest.raises(ValueError, match=message):
        fitted(X=X, y=y, **{"noise": "student-t"} | settings)


def test_other_words_for_the_noise_of_new_targets_are_refused():
    X, y = contaminated()
    model = fitted(X=X, y=y, noise="robust")
    with pytest.raises(ValueError, match="noise: got 'yes', expected True, False or 'clean'"):
        model.predictive(X, noise="yes")


def test_variances_far_below_those_of_the_prior_are_not_lost_in_rounding():
    """Noise of so many degrees of freedom is Gaussian: its posterior in 40 digits. The order of rows is none."""
    rng = np.random.default_rng(0)
    X, Xt, T = rng.uniform(-1, 1, size=(30, 1)), np.linspace(-0.8, 0.8, 5)[:, None], 1e-7
    kernel, y = ConstantKernel(100.0) * RBF(1.0), np.sin(3 * X[:, 0])
    with mpmath.workdps(40):
        K, cross = mpmath.matrix(kernel(X) + T * np.eye(30)), mpmath.matrix(kernel(X, Xt))
        solved = [mpmath.lu_solve(K, cross[:, i]) for i in range(5)]
        taken = [sum(cross[j, i] * solved[i][j] for j in range(30)) for i in range(5)]
        expected = np.array([float(mpmath.sqrt(100 - each)) for each in taken])
    model = fitted(kernel, X, y, noise="student-t", noise_df=1e9, temperature=T)
    np.testing.assert_allclose(model.predict(Xt, return_std=True)[1], expected, rtol=1e-3)
    np.testing.assert_allclose(np.diag(model.predict(Xt, return_cov=True)[1]) ** 0.5, expected, rtol=1e-3)
    y[::6] += 4
    order = rng.permutation(30)
    stds = [
        fitted(kernel, X[i], y[i], noise="student-t", temperature=T).predict(Xt, True)[1]
        for i in (order, order.argsort())
    ]
    np.testing.assert_allclose(*stds, rtol=1e-3)
