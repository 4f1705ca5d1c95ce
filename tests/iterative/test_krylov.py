"""Krylov spaces and spectral measures against dense diagonalisation."""

import numpy as np
import pytest

from stpbnn.iterative import Krylov, spectral_measure

RNG = np.random.default_rng(1)
P = 300
EIGENVALUES = 50.0 * np.arange(1, P + 1) ** -1.5
ROTATION, _ = np.linalg.qr(RNG.normal(size=(P, P)))
K = (ROTATION * EIGENVALUES) @ ROTATION.T


def grown(K, start, blocks=None):
    space = Krylov(lambda V: K @ V, start, most=len(K))
    while (blocks is None or space.dimension < blocks * start.shape[1]) and space.grow():
        pass
    return space


def probes(count, seed):
    Z = np.random.default_rng(seed).normal(size=(P, count))
    return Z * np.sqrt(P) / np.linalg.norm(Z, axis=0)


def measured(count=16, blocks=8, seed=0, K=K):
    Z = probes(count, seed)
    space = grown(K, Z, blocks)
    pairs = space.pairs()
    along = pairs.vectors.T @ space.coordinates(Z)
    values, vectors = space.closed(pairs)
    return spectral_measure(pairs, along, P, np.trace(K), np.sum(K**2), closed=(values, vectors @ along))


def test_a_space_that_has_grown_to_the_end_has_all_eigenvalues():
    space = grown(K, RNG.normal(size=(P, 7)))
    pairs = space.pairs()
    assert space.whole
    np.testing.assert_allclose(pairs.values, np.sort(EIGENVALUES), rtol=1e-9)
    vectors = space.rotated(pairs.vectors)
    np.testing.assert_allclose(K @ vectors, vectors * pairs.values, atol=1e-10)


def test_a_space_ends_where_the_matrix_has_nothing_more():
    low = K[:, :3] @ K[:3]
    start = np.column_stack([low[:, 0], low[:, 1], low[:, 0]])  # one of them twice
    space = grown(low, start)
    assert space.whole
    assert space.dimension == 3
    np.testing.assert_allclose(space.pairs().values, np.linalg.eigvalsh(low)[-3:], rtol=1e-8)


def test_a_space_stays_orthonormal_where_a_block_is_mostly_rounding():
    """A kernel of 50 inputs, each four times: eigenvalues fall to rounding within the fifth block."""
    places = np.repeat(RNG.normal(size=(50, 3)), 4, axis=0)
    matrix = np.exp(-np.sum((places[:, None] - places) ** 2, axis=2) / 2)
    space = grown(matrix, RNG.normal(size=(200, 12)))
    basis = space.rotated(np.eye(space.dimension))
    np.testing.assert_allclose(basis.T @ basis, np.eye(space.dimension), atol=1e-11)
    expected = np.linalg.eigvalsh(matrix)[-50:]
    np.testing.assert_allclose(space.pairs().values[-50:], expected, atol=1e-12 * expected[-1])


def test_residuals_are_those_of_the_vectors():
    space = grown(K, probes(8, 2), blocks=6)
    pairs = space.pairs()
    vectors = space.rotated(pairs.vectors)
    residuals = np.linalg.norm(K @ vectors - vectors * pairs.values, axis=0)
    np.testing.assert_allclose(pairs.residuals, residuals, atol=1e-9)


@pytest.mark.parametrize("s", [0.01, 0.1, 1.0])
def test_traces_and_log_determinants_are_known_within_their_errors(s):
    log_det, freedom = np.log1p(EIGENVALUES / s).sum(), np.sum(EIGENVALUES / (EIGENVALUES + s))
    misses = []
    for seed in range(6):
        measure = measured(seed=seed)
        k, w = measure.nodes, measure.weights
        found = w @ np.log1p(k / s), w @ (k / (k + s))
        errors = measure.error(lambda k: np.log1p(k / s)), measure.error(lambda k: k / (k + s))
        misses += [(found[0] - log_det) / errors[0], (found[1] - freedom) / errors[1]]
        assert found[0] == pytest.approx(log_det, rel=0.02)
    assert np.sqrt(np.mean(np.square(misses))) < 2


def test_the_moments_that_are_known_are_exact():
    measure = measured()
    moments = [measure.weights @ measure.nodes**power for power in range(3)]
    np.testing.assert_allclose(moments, [P, np.trace(K), np.sum(K**2)], rtol=1e-10)
    assert measure.error(np.square) == pytest.approx(0, abs=1e-9)


PLACES = np.arange(1, P + 1)


@pytest.mark.parametrize("blocks", [2, 4])
@pytest.mark.parametrize(
    "eigenvalues",
    [EIGENVALUES, 100 * np.exp(-PLACES / 5), 100.0 * PLACES**-3.0, 100 * np.exp(-PLACES / 20), 10.0 * (PLACES <= 20)],
    ids=["power", "exponential", "cubes", "slow", "one value 20 times"],
)
@pytest.mark.parametrize("T", [1e-3, 0.1])
def test_the_error_covers_what_a_space_that_stops_early_leaves_open(eigenvalues, blocks, T):
    """Kernels whose log determinants are known: of 20 seeds 19 lie within three errors."""
    matrix, exact, within = (ROTATION * eigenvalues) @ ROTATION.T, np.log(eigenvalues + T).sum(), 0
    for seed in range(20):
        measure = measured(seed=seed, blocks=blocks, K=(matrix + matrix.T) / 2)
        found = measure.weights @ np.log(np.maximum(measure.nodes, 0) + T)
        within += abs(found - exact) < 3 * measure.error(lambda k: np.log(np.maximum(k, 0) + T)) + 1e-9
    assert within >= 19


def test_two_rules_lie_on_either_side_of_the_truth():
    """The rule of Gauss and that with nodes at zero, of the quadratic form of one vector."""
    z = probes(4, 5)
    space = grown(K, z, blocks=3)
    pairs = space.pairs()
    along = pairs.vectors.T @ space.coordinates(z)
    values, vectors = space.closed(pairs)
    np.testing.assert_allclose(values[:4], 0, atol=1e-9)
    inside = np.einsum("ip,ip->p", ROTATION.T @ z, (ROTATION.T @ z) * np.log(EIGENVALUES + 0.1)[:, None])
    gauss = np.log(pairs.values + 0.1) @ along**2
    closed = np.log(np.maximum(values, 0) + 0.1) @ (vectors @ along) ** 2
    assert (closed < inside).all()
    assert (inside < gauss).all()
    assert (gauss - closed < 10 * np.maximum(gauss - inside, inside - closed)).all()


def test_a_kernel_that_is_not_positive_is_named():
    indefinite = K - 5.0 * np.outer(ROTATION[:, 5], ROTATION[:, 5])
    space = grown(indefinite, probes(8, 3), blocks=12)
    pairs = space.pairs()
    with pytest.raises(ValueError, match=r"not positive semidefinite .* eigenvalues -"):
        spectral_measure(pairs, pairs.vectors.T @ space.coordinates(probes(8, 3)), P, 1.0, 1.0)
