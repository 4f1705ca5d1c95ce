"""The kernel recursion by hand, the closures against each other, and the nested one where it is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_averages import DUALS
from quick_cases import cases

from stpbnn import FullyConnected, kernels

pytestmark = pytest.mark.usefixtures("float64")
X = np.random.default_rng(0).normal(size=(6, 4))
Z = np.random.default_rng(1).normal(size=(3, 4))


NETS = [
    FullyConnected((5,), "erf"),
    FullyConnected((5, 6), "relu", weight_precision=(0.5, 2.0, 3.0)),
    FullyConnected((5, 6, 7), "erf", weight_precision=(0.5, 2.0, 3.0, 0.7), bias_precision=4.0),
]


compiled = jax.jit(kernels.renormalised, static_argnums=(0, 4))


def renormalised(net, Q, closure="nested"):
    return compiled(net.sigma, net.prior, kernels.input_gram(net.prior, jnp.array(X)), jnp.array(Q), closure)


@pytest.mark.parametrize("net", NETS, ids=str)
def test_nested_recursion_entry_by_entry(net):
    """THEORY's recursion with scalar formulas: K_l = Q_l κ(K_{l-1})/λ_l + 1/λ_b."""
    Q = np.linspace(0.5, 1.5, net.depth)
    bias = 0.0 if net.bias_precision is None else 1 / net.bias_precision
    K = np.array(X @ X.T) / (net.precisions[0] * 4) + bias
    for layer in range(net.depth):
        old = K.copy()
        for i, j in np.ndindex(K.shape):
            dual = DUALS[net.activation](old[i, i], old[j, j], old[i, j])
            K[i, j] = Q[layer] * dual / net.precisions[layer + 1] + bias
    gram = renormalised(net, Q)
    np.testing.assert_allclose(gram.entries, K, rtol=1e-7)  # arccos near u = 1 limits the reference
    np.testing.assert_allclose(gram.left, np.diag(K), rtol=1e-7)
    np.testing.assert_array_equal(gram.left, np.diag(gram.entries))


@pytest.mark.parametrize("net", NETS, ids=str)
def test_cross_kernel_is_a_block_of_the_joint_kernel(net):
    both = np.concatenate([X, Z])
    joint = kernels.nngp(net.sigma, net.prior, kernels.input_gram(net.prior, jnp.array(both)))
    cross = kernels.nngp(net.sigma, net.prior, kernels.input_gram(net.prior, jnp.array(Z), jnp.array(X)))
    np.testing.assert_allclose(cross.entries, joint.entries[6:, :6], rtol=1e-12)
    np.testing.assert_allclose(cross.left, joint.left[6:], rtol=1e-12)
    np.testing.assert_allclose(cross.right, joint.left[:6], rtol=1e-12)


@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_closures_agree_for_homogeneous_activations_without_biases(activation, depth):
    net = FullyConnected((5,) * depth, activation, weight_precision=np.linspace(0.5, 2, depth + 1))
    nested, product, wishart = (renormalised(net, np.linspace(0.4, 1.7, depth), c).entries for c in kernels.CLOSURES)
    np.testing.assert_allclose(product, nested, rtol=1e-12)
    np.testing.assert_allclose(wishart, nested, rtol=1e-12)


@pytest.mark.parametrize("closure", kernels.CLOSURES)
@pytest.mark.parametrize("net", NETS, ids=str)
def test_unit_order_parameters_give_the_nngp_kernel(net, closure):
    nngp = kernels.nngp(net.sigma, net.prior, kernels.input_gram(net.prior, jnp.array(X))).entries
    np.testing.assert_allclose(renormalised(net, np.ones(net.depth), closure).entries, nngp, rtol=1e-13)


def test_closures_of_erf_networks_agree_to_the_orders_they_should():
    """Nested and wishart differ at second order in Q − 1; the global one agrees in the last Q only."""
    net = FullyConnected((5, 6), "erf")

    def gap(Q, closure):
        return np.abs(renormalised(net, Q, closure).entries - renormalised(net, Q).entries).max()

    for direction in ([1.0, 0.0], [1.0, 1.0]):
        small, large = (gap(1 + h * np.array(direction), "wishart") for h in (1e-3, 2e-3))
        assert 3.9 < large / small < 4.1  # h²
        small, large = (gap(1 + h * np.array(direction), "global") for h in (1e-3, 2e-3))
        assert 1.9 < large / small < 2.1  # h
    assert gap(np.array([1.0, 1.7]), "global") < 1e-15
    assert gap(np.array([1.0, 1.7]), "wishart") < 1e-15


def test_nested_closure_is_exact_for_deep_linear_networks_with_biases():
    """E exp(i s·f) over networks equals that over the scale mixture with the nested kernel, not with the global one."""
    net = FullyConnected((3, 4), "linear", bias_precision=2.0)
    x, s = jnp.array([[1.0, 0.5], [-0.3, 2.0]]), jnp.array([0.9, 0.7])
    draws = 200_000
    f = jax.jit(jax.vmap(lambda key: net.forward(net.sample_prior(key, 2), x)))(
        jax.random.split(jax.random.key(0), draws)
    )
    phases = np.cos(np.asarray(f) @ s)  # real by symmetry
    gram = kernels.input_gram(net.prior, x)
    rng = np.random.default_rng(1)
    Q = jnp.array(rng.gamma([1.5, 2.0], 1 / np.array([1.5, 2.0]), size=(draws, 2)))

    def characteristic(closure):
        K = jax.jit(jax.vmap(lambda q: kernels.renormalised(net.sigma, net.prior, gram, q, closure).entries))(Q)
        return np.exp(-np.asarray(jnp.einsum("i,nij,j->n", s, K, s)) / 2)

    def z(closure):
        values = characteristic(closure)
        return (values.mean() - phases.mean()) / np.hypot(values.std(), phases.std()) * draws**0.5

    assert abs(z("nested")) < 4
    assert abs(z("global")) > 10


@pytest.mark.parametrize(
    ("closure", "activation"),
    cases([("nested", "relu"), ("wishart", "erf"), ("global", "erf")], kernels.CLOSURES, ("erf", "relu")),
)
def test_derivatives_in_the_order_parameters(closure, activation):
    """First and second derivatives exist and are right where inputs repeat, are parallel or zero."""
    net = FullyConnected((5, 6, 7), activation, bias_precision=None if activation == "relu" else 3.0)
    inputs = np.concatenate([X, X[:1], 2 * X[1:2], np.zeros((1, 4))])
    gram = kernels.input_gram(net.prior, jnp.array(inputs))

    @jax.jit
    def total(Q):
        weights = jnp.cos(jnp.arange(81.0)).reshape(9, 9)
        return jnp.vdot(weights, kernels.renormalised(net.sigma, net.prior, gram, Q, closure).entries)

    Q, h = jnp.array([0.8, 1.3, 1.1]), 1e-4
    gradient = jax.jit(jax.grad(total))
    hessian = jax.jit(jax.hessian(total))(Q)
    for i, e in enumerate(h * np.eye(3)):
        np.testing.assert_allclose(gradient(Q)[i], (total(Q + e) - total(Q - e)) / (2 * h), rtol=1e-6, atol=1e-7)
        numeric = (gradient(Q + e) - gradient(Q - e)) / (2 * h)
        np.testing.assert_allclose(hessian[i], numeric, rtol=1e-5, atol=1e-6)
