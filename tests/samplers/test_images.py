"""Posteriors of convolutional networks: linear ones against exact averages over the readout, and what is recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz import rhat
from numpyro.infer.util import log_density

from stpbnn import Convolutional, programs, sample
from stpbnn.kernels import patch_kernels
from stpbnn.samplers import Langevin, functions, paper_scales
from stpbnn.samplers.draws.observables import kernel_scales

RNG = np.random.default_rng(0)
X, XT = RNG.normal(size=(6, 16)), RNG.normal(size=(2, 16))
Y = np.array([1.0, -1.0, 2.0, 0.5, -2.0, 1.5])
LOCAL = Convolutional((2,), 2, 2, image=(4, 4, 1), activation="linear", weight_precision=(1.0, 0.5))
T, SETTINGS = 0.2, {"warmup": 100, "draws": 300, "chains": 4, "progress": False}


def z(found, expected, error):
    """Return the difference of a posterior mean (chain, draw, ...) from a number, in standard errors of both."""
    values = np.asarray(found)
    blocks = values.reshape(values.shape[0] * 15, -1, *values.shape[2:]).mean(axis=1)
    own = blocks.std(axis=0, ddof=1) / len(blocks) ** 0.5
    return (values.mean(axis=(0, 1)) - expected) / np.hypot(own, error)


@pytest.fixture(scope="module")
def local():
    return sample(LOCAL, X, Y, temperature=T, X_test=XT, keep_draws=4, **SETTINGS)


@pytest.fixture(scope="module")
def exact():
    """Posterior means of f and of Q with their errors: draws of Q from the prior, weighted by the evidence of each.

    Given the readout a linear network is a Gaussian process of the kernel Σ_ij Q_ij C_ij / (λ_1 d).
    """
    v = np.random.default_rng(1).normal(size=(20_000, 4, 2))
    Q = v @ np.swapaxes(v, 1, 2) / 2
    K = np.einsum("sij,ijpq->spq", Q, patch_kernels(LOCAL, np.concatenate([X, XT]))) / (0.5 * 4)
    A, k = K[:, :6, :6] + T * np.eye(6), K[:, 6:, :6]
    alpha = np.linalg.solve(A, np.broadcast_to(Y[:, None], (len(A), 6, 1)))[..., 0]
    log = -(alpha @ Y + np.linalg.slogdet(A)[1]) / 2
    w = np.exp(log - log.max())
    w /= w.sum()

    def mean(values):
        found = np.einsum("s,s...->...", w, values)
        return found, np.sqrt(np.einsum("s,s...->...", w**2, (values - found) ** 2))

    assert 1 / np.sum(w**2) > 500
    return mean(np.einsum("spq,sq->sp", k, alpha)), mean(Q)


def test_linear_network_against_exact_averages(local, exact):
    (f, error), (Q, error_Q) = exact
    assert np.abs(z(local["predictions"]["f_mean"], f, error)).max() < 4
    assert np.abs(z(local["predictions"]["f"], f, error)).max() < 4
    assert np.abs(z(local["posterior"]["readout_overlap"], Q, error_Q)).max() < 4
    assert local.attrs["verdict"]


def unadjusted(model):
    """Small steps of the reference's dynamics, many a draw: its own 1e-3, one a draw, would take too long."""
    return Langevin(model, step_size=0.02, scales=paper_scales(LOCAL, T), num_steps=100)


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["nuts", "mala", "tempered", unadjusted])
def test_other_samplers_against_exact_averages(exact, sampler):
    """With the readout integrated, and of the unadjusted dynamics, which moves all weights, explicit."""
    readout = "explicit" if sampler is unadjusted else "marginal"
    draws = sample(LOCAL, X, Y, temperature=T, X_test=XT, sampler=sampler, readout=readout, **SETTINGS | {"draws": 900})
    f = draws["predictions"]["f"]
    assert float(rhat(f).max()) < 1.02
    assert np.abs(z(f, *exact[0])).max() < 5


def test_what_is_recorded(local):
    group, weights = local["posterior"], local["weights"]
    assert dict(group["readout_overlap"].sizes) == {"chain": 4, "draw": 300, "position": 4, "other_position": 4}
    assert dict(group["position_overlap"].sizes) == {"chain": 4, "draw": 300, "reference": 2, "position": 4}
    trace = np.einsum("cdii->cd", group["readout_overlap"]) / 4
    np.testing.assert_allclose(trace, group["readout_norm"], rtol=1e-5)
    assert weights["W1"].dims == ("chain", "draw", "row_1", "column_1", "channel_0", "channel_1")
    assert weights["v"].dims == ("chain", "draw", "position_and_channel")
    again = functions(local, XT)
    kept = local["predictions"]["f_mean"].sel(draw=again["draw"])
    np.testing.assert_allclose(again["f_mean"], kept, rtol=1e-3, atol=1e-4)


def test_overlaps_position_by_position(local):
    weights = local["weights"].isel(chain=0, draw=0)
    recorded = local["posterior"].isel(chain=0).sel(draw=weights["draw"])
    seen = X.reshape(6, 2, 2, 2, 2).transpose(1, 3, 0, 2, 4).reshape(4, 6, 4)  # of 4 windows of 2 x 2 pixels
    phi = seen @ weights["W1"].to_numpy().reshape(4, 2)
    for i in range(4):
        sampled = phi[i] @ phi[i].T
        for reference, other in (("nngp", seen[i] @ seen[i].T), ("targets", np.outer(Y, Y))):
            cosine = np.vdot(sampled, other) / np.linalg.norm(sampled) / np.linalg.norm(other)
            found = recorded["position_overlap"].sel(reference=reference, position=i)
            assert float(found) == pytest.approx(cosine, rel=1e-4)
    whole, expected = np.einsum("ipa,iqa->pq", phi, phi), np.einsum("ipa,iqa->pq", seen, seen)
    cosine = np.vdot(whole, expected) / np.linalg.norm(whole) / np.linalg.norm(expected)
    assert float(recorded["kernel_overlap"].sel(reference="nngp")) == pytest.approx(cosine, rel=1e-4)
    v = weights["v"].to_numpy().reshape(4, 2)
    np.testing.assert_allclose(recorded["readout_overlap"], v @ v.T / 2, rtol=1e-5)


def test_readout_integrated_and_explicit_have_one_law():
    """The Gaussian integral over the readout, of two layers and the mean over positions."""
    net = Convolutional((3, 2), ((2, 2), (2, 1)), 1, "same", "mean", "erf", (3, 3, 1), 1, (1.0, 2.0, 0.5), 4.0)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in net.shapes(9).items()}
    hidden = {name: w for name, w in weights.items() if name not in ("v", "b3")}

    def of(program, given):
        return log_density(program(net), (X[:, :9], Y), {"temperature": T}, given)[0]

    both = jax.jit(lambda: (of(programs.marginal_network, hidden), of(programs.network, weights)))()
    f, last = jax.jit(lambda: (net.forward(weights, X[:, :9]), net.features(weights, X[:, :9])[-1]))()
    phi = np.asarray(last, dtype=float).reshape(6, 9, 2).mean(axis=1)
    A = phi @ phi.T / (0.5 * 2) + 0.25 + T * np.eye(6)
    marginal = -(Y @ np.linalg.solve(A, Y) + np.linalg.slogdet(2 * np.pi * A)[1]) / 2
    explicit = -np.sum((Y - np.asarray(f)) ** 2 / T + np.log(2 * np.pi * T)) / 2
    for found, given, log_likelihood in zip(both, (hidden, weights), (marginal, explicit), strict=True):
        log_prior = sum(-np.sum(np.asarray(w) ** 2 + np.log(2 * np.pi)) / 2 for w in given.values())
        assert float(found) == pytest.approx(log_likelihood + log_prior, rel=1e-4)


def test_scales_of_kernels_have_mean_one_under_the_prior():
    """Of the first layer, whose expected kernel is known exactly, and with windows that reach over the edge."""
    net = Convolutional((3,), 2, 1, "same", image=(3, 3, 1), weight_precision=0.5, bias_precision=4.0)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(1000, *shape)) for name, shape in net.shapes(9).items()}
    inputs = jnp.asarray(X[:, :9])
    scales = jax.jit(jax.vmap(lambda w: kernel_scales(net, inputs, net.features(w, inputs))))(weights)
    values = np.asarray(scales[:, 0], dtype=float)
    assert abs(values.mean() - 1) < 4 * values.std() / 1000**0.5


def test_refusals():
    with pytest.raises(ValueError, match=r"X: got 15 features, expected 16: images of \(4, 4, 1\)"):
        sample(LOCAL, X[:, :15], Y)
    with pytest.raises(ValueError, match=r"net: got Convolutional\(.*, expected a stpbnn.FullyConnected"):
        programs.scale_mixture(LOCAL)
