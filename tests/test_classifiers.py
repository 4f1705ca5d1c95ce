"""Closed-form classifiers against scikit-learn's, real networks, quadrature and algebra written out."""

import numpy as np
import pytest
from conformance import checks
from quick_cases import cases
from scipy.integrate import quad
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logsumexp, roots_hermitenorm, softmax
from scipy.stats import gamma, norm
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import ConstantKernel
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stpbnn
from stpbnn import FiniteWidthClassifier, FullyConnected, NNGPClassifier, NNGPKernel, ProportionalLimitClassifier
from stpbnn.latent import Bernoulli, Categorical, average_softmax, expectation_propagation, propagate_softmax

CLASSIFIERS = [NNGPClassifier, ProportionalLimitClassifier, FiniteWidthClassifier]
OF_NETWORKS = CLASSIFIERS[1:]
NET = FullyConnected((20,), "erf", weight_precision=(0.5, 0.1), bias_precision=2.0)


LARGE = ("check_classifiers_train", "check_classifiers_train(readonly_memmap=True)")  # 300 examples of three classes


@checks(NNGPClassifier(), long=LARGE)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@checks(ProportionalLimitClassifier(), long=True)  # what it adds to those before and after it is its scale alone
def test_scikit_learn_conformance_of_the_proportional_limit(estimator, check):
    check(estimator)


@checks(
    FiniteWidthClassifier(),
    long=(  # their inputs have shapes of their own; infinite width goes through all of them
        *LARGE,
        "check_classifiers_train(readonly_memmap=True,X_dtype=float32)",
        "check_classifiers_classes",
        "check_estimators_dtypes",
        "check_classifier_data_not_an_array",
        "check_methods_subset_invariance",
        "check_pipeline_consistency",
        "check_estimators_pickle",
    ),
)
def test_scikit_learn_conformance_of_networks(estimator, check):
    check(estimator)


def data(P=25, N0=4, classes=2, seed=0):
    """Inputs, labels that follow them with some noise, and test inputs."""
    rng = np.random.default_rng(seed)
    X, Xt = rng.normal(size=(P, N0)), rng.normal(size=(9, N0))
    scores = X @ rng.normal(size=(N0, classes)) + 0.7 * rng.normal(size=(P, classes))
    return X, scores.argmax(axis=1), Xt


def peer(X, y, net, scale=1.0):
    """Return scikit-learn's classifier with the kernel of the network times a scale."""
    return GaussianProcessClassifier(ConstantKernel(scale) * NNGPKernel(net), optimizer=None).fit(X, y)


@pytest.mark.parametrize("net", cases([NET], [NET, FullyConnected((9, 8), "relu", weight_precision=0.02)]))
def test_infinite_width_is_scikit_learns_classifier(net):
    """Evidence, its gradient and the latent law; probabilities are the exact average over that law.

    scikit-learn closes with an approximation of the logistic function, which is good to 2e-4.
    """
    X, y, Xt = data()
    model = NNGPClassifier(net, approximation="laplace").fit(X, y)
    reference = GaussianProcessClassifier(NNGPKernel(net), optimizer=None).fit(X, y)
    value, slope = reference.log_marginal_likelihood(reference.kernel_.theta, eval_gradient=True)
    ours, our_slope = model.log_marginal_likelihood(eval_gradient=True)
    assert ours == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(our_slope, slope, atol=1e-5)
    mean, variance = reference.latent_mean_and_variance(Xt)
    law = model.latent(Xt)
    np.testing.assert_allclose(law.mean, mean, atol=1e-6)
    np.testing.assert_allclose(law.variance, variance, atol=1e-6)

    def averaged(m, v):
        return quad(lambda z: expit(m + v**0.5 * z) * np.exp(-z * z / 2) / (2 * np.pi) ** 0.5, -9, 9, epsabs=1e-10)[0]

    exact = [averaged(m, v) for m, v in zip(mean, variance, strict=True)]
    np.testing.assert_allclose(model.predict_proba(Xt)[:, 1], exact, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(Xt), reference.predict_proba(Xt), atol=2e-4)
    np.testing.assert_array_equal(model.predict(Xt), reference.predict(Xt))
    assert model.converged_


def test_precisions_are_learned_as_scikit_learn_learns_them():
    X, y, _ = data(40)
    net = FullyConnected((20,), "erf", weight_precision=(0.5, 0.1))
    reference = GaussianProcessClassifier(NNGPKernel(net)).fit(X, y)
    ours = NNGPClassifier(net, approximation="laplace")
    model = clone(ours).set_params(optimizer="fmin_l_bfgs_b").fit(X, y)
    assert model.log_marginal_likelihood_ == pytest.approx(reference.log_marginal_likelihood_value_, abs=1e-4)
    assert model.log_marginal_likelihood_ > ours.fit(X, y).log_marginal_likelihood_ + 0.1
    assert list(model.hyperparameters_) == ["weight_precision[0]", "weight_precision[1]"]
    assert model.converged_


@pytest.mark.parametrize("classifier", OF_NETWORKS)
def test_saddle_point_and_mixture_have_scikit_learns_evidence_at_every_scale(classifier):
    """The action and the integral over the scale, by SciPy, of the evidence that scikit-learn computes."""
    X, y, Xt = data()
    net = FullyConnected((15,), "erf", weight_precision=(0.5, 0.05))
    N, model = 15, classifier(net, approximation="laplace").fit(X, y)

    def evidence(Q):
        return peer(X, y, net, Q).log_marginal_likelihood_value_

    if classifier is ProportionalLimitClassifier:
        found = minimize_scalar(
            lambda u: N * (np.exp(u) - u) - 2 * evidence(np.exp(u)), (-0.5, 0.0, 0.5), options={"xtol": 1e-9}
        )
        assert model.order_parameters_[0] == pytest.approx(np.exp(found.x), rel=1e-5)
        assert model.action_ == pytest.approx(found.fun, abs=1e-6)
        mean, variance = peer(X, y, net, model.order_parameters_[0]).latent_mean_and_variance(Xt)
        np.testing.assert_allclose(model.latent(Xt).mean, mean, atol=1e-6)
        np.testing.assert_allclose(model.latent(Xt).variance, variance, atol=1e-6)
    else:
        law = gamma(N / 2, scale=2 / N)
        nodes, weights = np.polynomial.legendre.leggauss(60)
        Q, weights = 2 * (nodes + 1), 2 * weights  # between 0 and 4
        integrand = weights * law.pdf(Q) * np.exp([evidence(q) - evidence(1.0) for q in Q])
        assert model.log_marginal_likelihood_ == pytest.approx(np.log(integrand.sum()) + evidence(1.0), abs=1e-6)
        assert model.order_parameters_[0] == pytest.approx(integrand @ Q / integrand.sum(), rel=1e-5)
        probabilities = np.stack([peer(X, y, net, q).predict_proba(Xt)[:, 1] for q in Q])
        expected = integrand @ probabilities / integrand.sum()
        np.testing.assert_allclose(model.predict_proba(Xt)[:, 1], expected, atol=2e-4)
    assert model.converged_


def test_three_outputs_have_one_scale_of_three_times_the_width():
    """Saddle point and mixture, by SciPy, of the softmax evidence of infinite width with the precision λ/Q."""
    X, y, Xt = data(15, classes=3)
    N, C = 8, 3

    def at(Q):
        return NNGPClassifier(FullyConnected((1,), "erf", C, weight_precision=(0.5, 0.2 / Q))).fit(X, y)

    def action(u):
        return N * C * (np.exp(u) - u) - 2 * at(np.exp(u)).log_marginal_likelihood_

    net = FullyConnected((N,), "erf", C, weight_precision=(0.5, 0.2))
    saddle, finite = (kind(net).fit(X, y) for kind in OF_NETWORKS)
    found = minimize_scalar(action, (-0.5, 0.0, 0.5), options={"xtol": 1e-9})
    assert saddle.order_parameters_[0] == pytest.approx(np.exp(found.x), rel=1e-5)
    assert saddle.action_ == pytest.approx(found.fun, abs=1e-6)
    np.testing.assert_allclose(saddle.predict_proba(Xt), at(np.exp(found.x)).predict_proba(Xt), atol=1e-6)
    law = gamma(N * C / 2, scale=2 / (N * C))
    nodes, weights = np.polynomial.legendre.leggauss(50)
    Q, weights = 2 * (nodes + 1), 2 * weights  # between 0 and 4
    points = [at(q) for q in Q]
    logs = np.array([point.log_marginal_likelihood_ for point in points])
    integrand = weights * law.pdf(Q) * np.exp(logs - logs.max())
    assert finite.log_marginal_likelihood_ == pytest.approx(np.log(integrand.sum()) + logs.max(), abs=1e-6)
    assert finite.order_parameters_[0] == pytest.approx(integrand @ Q / integrand.sum(), rel=1e-5)
    expected = np.tensordot(integrand / integrand.sum(), [point.predict_proba(Xt) for point in points], 1)
    np.testing.assert_allclose(finite.predict_proba(Xt), expected, atol=1e-5)
    assert saddle.converged_
    assert finite.converged_


def test_saddle_point_of_two_layers_is_that_of_scikit_learns_evidence():
    """Without biases the nested kernel of order parameters Q_l is that of infinite width with λ_l/Q_l."""
    X, y, _ = data(15)
    net, N = FullyConnected((10, 20), "erf", weight_precision=(0.5, 0.3, 0.05)), np.array([10, 20])

    model = ProportionalLimitClassifier(net, approximation="laplace").fit(X, y)

    def action(u):
        Q = np.exp(u)
        other = FullyConnected((1, 1), "erf", weight_precision=(0.5, 0.3 / Q[0], 0.05 / Q[1]))
        return float(N @ (Q - u)) - 2 * peer(X, y, other).log_marginal_likelihood_value_

    place, h = np.log(model.order_parameters_), 1e-3
    assert model.action_ == pytest.approx(action(place), abs=1e-6)
    for e in np.eye(2):
        slope = (action(place + h * e) - action(place - h * e)) / (2 * h)
        assert abs(slope) < 1e-4 * N[0]
    assert abs(model.order_parameters_ - 1).min() > 0.003
    finite = FiniteWidthClassifier(net, approximation="laplace").fit(X, y)
    assert finite.log_marginal_likelihood_ == pytest.approx(model.log_marginal_likelihood_, abs=0.02)
    assert finite.converged_


@pytest.mark.parametrize("width", [3, 20])
def test_finite_width_against_real_linear_networks(width):
    """Networks in NumPy, weighted by the likelihood of four labels; latent functions have a prior spread of two."""
    rng = np.random.default_rng(0)
    X, y, Xt = rng.normal(size=(4, 3)), np.array([0, 1, 1, 0]), rng.normal(size=(5, 3))
    precision, draws = 0.7, 300_000
    v = rng.normal(size=(draws, width))
    effective = np.linalg.norm(v, axis=1)[:, None] * rng.normal(size=(draws, 3)) / np.sqrt(3 * width) / precision
    f = effective @ np.vstack([X, Xt]).T
    log_weights = -np.logaddexp(0, -(2 * y - 1) * f[:, :4]).sum(axis=1)
    weights = np.exp(log_weights - logsumexp(log_weights))
    model = FiniteWidthClassifier(FullyConnected((width,), "linear", weight_precision=precision)).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(Xt)[:, 1], weights @ expit(f[:, 4:]), atol=0.015)
    evidence = logsumexp(log_weights) - np.log(draws)
    assert model.log_marginal_likelihood_ == pytest.approx(evidence, abs=0.05)


@pytest.mark.parametrize(
    ("approximation", "precision", "tolerance"),
    [("laplace", 0.5, 0.01), ("laplace", 0.2, 0.02), ("laplace", 0.05, 0.08), ("ep", 0.5, 2e-4), ("ep", 0.05, 5e-3)],
)
def test_approximations_against_the_exact_posterior_of_the_latent_function(approximation, precision, tolerance):
    """Three points: quadrature in three dimensions, and over the query point given them.

    The variances of the prior are 1, 3 and 12: the more they are, the less confident Laplace's approximation is.
    """
    rng = np.random.default_rng(1)
    X, y, Xt = rng.normal(size=(3, 2)), np.array([0, 1, 0]), rng.normal(size=(6, 2))
    net = FullyConnected((1,), "erf", weight_precision=(0.5, precision))
    K = NNGPKernel(net)
    z, w = roots_hermitenorm(30)
    grid, weights = np.stack(np.meshgrid(z, z, z), axis=-1).reshape(-1, 3), np.einsum("i,j,k", w, w, w).ravel()
    f = grid @ np.linalg.cholesky(K(X)).T
    weights = weights * np.prod(expit((2 * y - 1) * f), axis=1)
    project = np.linalg.solve(K(X), K(X, Xt))
    variance = np.diag(K(Xt)) - np.einsum("pn,pn->n", K(X, Xt), project)
    nodes, node_weights = roots_hermitenorm(16)
    query = expit((f @ project)[:, :, None] + np.sqrt(variance)[:, None] * nodes) @ node_weights / node_weights.sum()
    exact = weights @ query / weights.sum()
    model = NNGPClassifier(net, approximation=approximation).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(Xt)[:, 1], exact, atol=tolerance)
    evidence = np.log(weights.sum() / np.einsum("i,j,k", w, w, w).sum())
    assert model.log_marginal_likelihood_ == pytest.approx(evidence, abs=0.1 if approximation == "laplace" else 0.01)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_propagation_is_exact_for_independent_points(temperature):
    """Evidence, mean and variance of each point, by SciPy's quadrature of the prior times the likelihood."""
    y, variances = np.array([1.0, -1.0, 1.0]), np.array([0.1, 4.0, 100.0])
    found = expectation_propagation(Bernoulli(y, temperature), np.asfortranarray(np.diag(variances)))
    evidence, spread = 0.0, found.law(np.diag(variances), variances)[1]
    for i, (label, v) in enumerate(zip(y, variances, strict=True)):

        def moment(power, label=label, v=v):
            law = norm(0, np.sqrt(v))
            integrand = lambda f: f**power * law.pdf(f) * expit(label * f) ** (1 / temperature)  # noqa: E731
            return quad(integrand, -12 * np.sqrt(v), 12 * np.sqrt(v), points=[0.0], limit=400, epsabs=0, epsrel=1e-10)[
                0
            ]

        zeroth, first, second = (moment(power) for power in range(3))
        evidence += np.log(zeroth)
        assert found.f[i] == pytest.approx(first / zeroth, rel=1e-7)
        assert spread[i] == pytest.approx(second / zeroth - (first / zeroth) ** 2, rel=1e-6)
    assert found.log_evidence == pytest.approx(evidence, rel=1e-8)
    assert found.converged


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_half_the_temperature_is_every_example_twice(classifier):
    """So it is for Laplace's approximation; expectation propagation has two sites for an example there twice."""
    X, y, Xt = data(12)
    cold = classifier(NET, temperature=0.5, approximation="laplace").fit(X, y)
    twice = classifier(NET, approximation="laplace").fit(np.vstack([X, X]), np.append(y, y))
    assert cold.log_marginal_likelihood_ == pytest.approx(twice.log_marginal_likelihood_, abs=1e-8)
    np.testing.assert_allclose(cold.order_parameters_, twice.order_parameters_, rtol=1e-7)
    np.testing.assert_allclose(cold.predict_proba(Xt), twice.predict_proba(Xt), atol=1e-7)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_softmax_against_dense_algebra(temperature):
    """The mode by SciPy, and the curvature as one matrix of C P rows."""
    X, y, Xt = data(12, classes=3)
    net, targets, C, P = FullyConnected((1,), "erf", 3, weight_precision=(0.5, 0.1)), np.eye(3)[y], 3, 12
    K = NNGPKernel(net)(X) + 1e-10 * np.eye(P)
    L = np.linalg.cholesky(K)

    def objective(x):
        f = L @ x.reshape(P, C)
        gradient = L.T @ ((targets - softmax(f, axis=1)) / temperature)
        value = (np.vdot(targets, f) - logsumexp(f, axis=1).sum()) / temperature
        return x @ x / 2 - value, x - gradient.ravel()

    found = minimize(objective, np.zeros(P * C), jac=True, method="BFGS", options={"gtol": 1e-9})
    f = L @ found.x.reshape(P, C)
    pi = softmax(f, axis=1)
    W = np.zeros((C, P, C, P))
    for i in range(P):
        W[:, i, :, i] = (np.diag(pi[i]) - np.outer(pi[i], pi[i])) / temperature
    W, prior = W.reshape(C * P, C * P), np.kron(np.eye(C), K)
    damped = np.linalg.solve(np.eye(C * P) + W @ prior, W)
    model = NNGPClassifier(net, temperature=temperature).fit(X, y)
    evidence = -found.fun - np.linalg.slogdet(np.eye(C * P) + W @ prior)[1] / 2
    assert model.log_marginal_likelihood_ == pytest.approx(evidence, abs=1e-6)
    k = np.kron(np.eye(C), NNGPKernel(net)(Xt[:1], X))
    mean = k @ ((targets - pi) / temperature).T.ravel()
    covariance = NNGPKernel(net).diag(Xt[:1]) * np.eye(C) - k @ damped @ k.T
    law = model.latent(Xt[:1])
    np.testing.assert_allclose(law.mean[0], mean, atol=1e-6)
    np.testing.assert_allclose(law.variance[0], np.diag(covariance), atol=1e-6)
    draws = softmax(np.random.default_rng(0).multivariate_normal(mean, covariance, 400_000), axis=1)
    np.testing.assert_allclose(model.predict_proba(Xt[:1])[0], draws.mean(axis=0), atol=2e-3)


def test_two_outputs_of_two_classes_are_one_output_of_twice_the_variance():
    X, y, Xt = data()
    two, one = (
        NNGPClassifier(FullyConnected((1,), "erf", C, weight_precision=(0.5, 0.05 * C)), approximation="laplace")
        for C in (2, 1)
    )
    two.fit(X, y), one.fit(X, y)
    assert two.log_marginal_likelihood_ == pytest.approx(one.log_marginal_likelihood_, abs=1e-8)
    np.testing.assert_allclose(two.predict_proba(Xt), one.predict_proba(Xt), atol=1e-8)
    np.testing.assert_allclose(two.decision_function(Xt), one.decision_function(Xt), atol=1e-6)


def test_softmax_sites_of_two_classes_are_those_of_the_logistic_function():
    """Whose moments are exact: averages over even points are good to less than one per cent of them."""
    X, y, Xt = data(15)
    two, one = (
        NNGPClassifier(FullyConnected((1,), "erf", C, weight_precision=(0.5, 0.05 * C)), approximation="ep").fit(X, y)
        for C in (2, 1)
    )
    assert two.log_marginal_likelihood_ == pytest.approx(one.log_marginal_likelihood_, abs=0.02)
    np.testing.assert_allclose(two.predict_proba(Xt), one.predict_proba(Xt), atol=2e-3)
    assert two.converged_


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_softmax_sites_of_independent_examples_are_exact(temperature):
    """Evidence and the law of each example, by quadrature of the prior times the likelihood over three functions."""
    variances, chosen = np.array([0.3, 3.0, 30.0]), np.array([0, 2, 1])
    found = propagate_softmax(Categorical(np.eye(3)[chosen], temperature), np.asfortranarray(np.diag(variances)))
    z, w = roots_hermitenorm(80)
    grid, weights = np.stack(np.meshgrid(z, z, z), axis=-1).reshape(-1, 3), np.einsum("i,j,k", w, w, w).ravel()
    weights = weights / weights.sum()
    mean, covariance = found.law(np.diag(variances), variances)
    evidence = 0.0
    for i, (variance, label) in enumerate(zip(variances, chosen, strict=True)):
        f = np.sqrt(variance) * grid
        tilted = weights * softmax(f, axis=1)[:, label] ** (1 / temperature)
        evidence += np.log(tilted.sum())
        tilted /= tilted.sum()
        np.testing.assert_allclose(mean[i], tilted @ f, atol=0.01 * np.sqrt(variance))
        np.testing.assert_allclose(covariance[i], np.cov(f.T, aweights=tilted, bias=True), atol=0.03 * variance)
    assert found.log_evidence == pytest.approx(evidence, abs=0.01)
    assert found.converged


def test_softmax_is_averaged_as_by_quadrature():
    rng = np.random.default_rng(0)
    mean, root = 2 * rng.normal(size=(4, 3)), rng.normal(size=(4, 3, 3))
    z, w = roots_hermitenorm(40)
    grid, weights = np.stack(np.meshgrid(z, z, z), axis=-1).reshape(-1, 3), np.einsum("i,j,k", w, w, w).ravel()
    exact = [weights @ softmax(m + grid @ R.T, axis=1) / weights.sum() for m, R in zip(mean, root, strict=True)]
    found = average_softmax(mean, root @ root.transpose(0, 2, 1))
    np.testing.assert_allclose(found, exact, atol=1e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("temperature", cases([0.1], [1.0, 0.1]))
@pytest.mark.parametrize(
    ("classifier", "approximation"),
    [*((kind, "laplace") for kind in CLASSIFIERS), (ProportionalLimitClassifier, "ep"), (NNGPClassifier, "ep")],
)
def test_slopes_of_the_evidence_are_its_differences(classifier, approximation, temperature):
    X, y, _ = data(15, classes=3 if classifier is NNGPClassifier else 2)
    net = NET if classifier is not NNGPClassifier else NET.set_params(outputs=3)
    model = classifier(net, temperature=temperature, approximation=approximation).fit(X, y)
    theta = np.log(list(model.hyperparameters_.values()))
    _, slope = model.log_marginal_likelihood(eval_gradient=True)
    h = 1e-3
    differences = [
        (model.log_marginal_likelihood(theta + h * e) - model.log_marginal_likelihood(theta - h * e)) / (2 * h)
        for e in np.eye(len(theta))
    ]
    of_points = classifier is NNGPClassifier and approximation == "ep"  # three classes, whose evidence is averaged
    np.testing.assert_allclose(slope, differences, rtol=0.02 if of_points else 1e-4, atol=0.02 if of_points else 1e-5)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_labels_of_any_kind_and_pipelines(classifier):
    X, y, Xt = data()
    of_text = make_pipeline(StandardScaler(), classifier(NET, approximation="laplace")).fit(
        X, np.array(["no", "yes"], dtype=object)[y]
    )
    of_bools = make_pipeline(StandardScaler(), classifier(NET, approximation="laplace")).fit(X, y == 1)
    assert set(of_text.predict(Xt)) <= {"no", "yes"}
    np.testing.assert_array_equal(of_text.predict(Xt) == "yes", of_bools.predict(Xt))
    np.testing.assert_array_equal(of_text.decision_function(Xt) > 0, of_bools.predict(Xt))
    np.testing.assert_allclose(of_text.predict_proba(Xt).sum(axis=1), 1, rtol=1e-12)
    again = clone(of_text).set_params(**{f"{classifier.__name__.lower()}__network__widths": (30,)})
    assert again[-1].network.widths == (30,)


@pytest.mark.parametrize("classifier", CLASSIFIERS[:2])
def test_two_classes_have_the_better_approximation_unless_they_are_asked_for_another(classifier):
    for X, y, Xt, net, better in (
        (*data(12), FullyConnected((9,), "linear", weight_precision=0.3), "ep"),
        (*data(12, classes=3), FullyConnected((9,), "linear", 3, weight_precision=0.3), "laplace"),
    ):
        by_itself, asked = classifier(net).fit(X, y), classifier(net, approximation=better).fit(X, y)
        np.testing.assert_array_equal(by_itself.predict_proba(Xt), asked.predict_proba(Xt))


def test_ten_digits():
    X, digits = load_digits(return_X_y=True)
    X, train, test = X / 16, slice(0, 150), slice(150, 400)
    net = FullyConnected((1,), "erf", 10, weight_precision=(0.1, 0.02))
    model = NNGPClassifier(net).fit(X[train], digits[train])
    assert model.score(X[test], digits[test]) > 0.85
    several = OneVsRestClassifier(ProportionalLimitClassifier(FullyConnected((50,), "erf", weight_precision=0.1)))
    assert several.fit(X[:40], digits[:40] % 3).score(X[test], digits[test] % 3) > 0.5


LABELS = np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: NNGPClassifier().fit(X, [3, 3, 3, 3]), "y: got one class only, 3, expected at least two"),
        (lambda X: NNGPClassifier().fit(X, ["a", 1, "a", 1]), "y: got labels of mixed type, text and numbers"),
        (lambda X: NNGPClassifier(temperature=0).fit(X, LABELS), "temperature: got 0, .*give a positive number"),
        (lambda X: NNGPClassifier(temperature=-1.0).fit(X, LABELS), "temperature: got -1.0"),
        (lambda X: NNGPClassifier(FullyConnected((5,))).fit(X, [0, 1, 2, 1]), r"give FullyConnected\(..., outputs=3\)"),
        (lambda X: FiniteWidthClassifier(NET).fit(X, [0, 1, 2, 1]), r"got 1 output for 3 classes, .*outputs=3\)"),
        (
            lambda X: FiniteWidthClassifier(FullyConnected((5, 5), outputs=3)).fit(X, [0, 1, 2, 1]),
            "got 2 hidden layers and 3 outputs, expected one hidden layer for several outputs; take NNGPClassifier",
        ),
        (lambda X: FiniteWidthClassifier(FullyConnected((5,) * 4)).fit(X, LABELS), "got 4 hidden layers, expected at"),
        (lambda X: ProportionalLimitClassifier(FullyConnected((5,), outputs=4)).fit(X, LABELS), "got 4 output"),
        (
            lambda X: NNGPClassifier().fit(X, LABELS).score(X, [0, 1, 7, 1]),
            r"y: got the class 7, which the training set lacks",
        ),
        (
            lambda X: NNGPClassifier().fit(X, ["a", "b"] * 2).score(X, ["a", "c", "b", "d"]),
            r"y: got the classes 'c', 'd', which the training set lacks",
        ),
        (lambda X: NNGPClassifier().fit(X, LABELS + 0.5), "y: Unknown label type"),
        (lambda X: stpbnn.classification.one_hot(["a", 1]), "labels: got labels of mixed type"),
        (lambda X: NNGPClassifier().fit(X, np.arange(4).astype("M8[D]")), "y: got date values as labels"),
    ],
)
def test_mistakes_are_refused(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(np.arange(8.0).reshape(4, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in stpbnn.__all__ if name.endswith("Regressor")])
def test_probabilities_asked_of_a_regressor(name):
    model = getattr(stpbnn, name)()
    assert not hasattr(model, "predict_proba")
    with pytest.raises(AttributeError, match=r"predict_proba.*: it predicts numbers; take a classifier"):
        model.predict_proba(np.eye(2))


@pytest.mark.long
def test_probabilities_are_those_of_nuts_over_the_latent_function():
    """NumPyro's own sampler, softmax of three classes and logistic function of two, with the kernel of the network."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro.distributions import Bernoulli, Categorical, MultivariateNormal
    from numpyro.infer import MCMC, NUTS

    for classes in (2, 3):
        X, y, Xt = data(12, classes=classes)
        outputs = 1 if classes == 2 else 3
        net = FullyConnected((1,), "erf", outputs, weight_precision=(0.5, 1.0))
        both = np.vstack([X, Xt])
        L = np.linalg.cholesky(NNGPKernel(net)(both) + 1e-8 * np.eye(len(both)))

        def program(L=L, y=y, outputs=outputs):
            z = numpyro.sample(
                "z", MultivariateNormal(jnp.zeros(len(L)), jnp.eye(len(L))).expand([outputs]).to_event(1)
            )
            f = numpyro.deterministic("f", L @ z.T)
            law = Bernoulli(logits=f[:12, 0]) if outputs == 1 else Categorical(logits=f[:12])
            numpyro.sample("y", law, obs=y)

        mcmc = MCMC(NUTS(program), num_warmup=300, num_samples=3000, num_chains=1, progress_bar=False)
        mcmc.run(jax.random.key(0))
        f = np.asarray(mcmc.get_samples()["f"], dtype=float)[:, 12:]
        each = np.stack([expit(-f[..., 0]), expit(f[..., 0])], axis=-1) if outputs == 1 else softmax(f, axis=-1)
        for approximation in ("laplace", "ep"):
            model = NNGPClassifier(net, approximation=approximation).fit(X, y)
            np.testing.assert_allclose(model.predict_proba(Xt), each.mean(axis=0), atol=0.02)


def test_what_expectation_propagation_does_not_reach_has_remedies():
    """Labels at random under a prior of variance 1000: its iteration moves in a circle; Laplace's ends."""
    X = np.random.default_rng(0).normal(size=(12, 2))
    net = FullyConnected((20,), "erf", likelihood="categorical", outputs=3, weight_precision=(0.1, 1e-3))
    model = NNGPClassifier(net, approximation="ep", temperature=0.1)
    with pytest.warns(ConvergenceWarning, match="precision of the readout, or take approximation='laplace'$"):
        model.fit(X, np.arange(12) % 3)
    assert not model.converged_
    assert model.set_params(approximation="laplace").fit(X, np.arange(12) % 3).converged_
