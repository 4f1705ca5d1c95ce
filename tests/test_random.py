"""Seeds and generators: draws that repeat where they are asked to, and new ones where they are not."""

import numpy as np
import pytest

from stpbnn import FullyConnected, NNGPRegressor, StudentTProcessRegressor
from stpbnn.predictive import Gaussian, JointGaussian, JointStudentT, Mixture, StudentT
from stpbnn.regressors.optimise import minimise

X = np.linspace(-1, 1, 5)[:, None]
ZERO, ONE = np.zeros(3), np.ones(3)
LAWS = [
    Gaussian(ZERO, ONE),
    JointGaussian(ZERO, ONE, np.eye(3)),
    StudentT(ZERO, ONE, 5.0),
    JointStudentT.of(ZERO, np.eye(3), 5.0),
    Mixture(np.array([0.5, 0.5]), np.zeros((2, 3)), np.ones((2, 3))),
]


def check(draw):
    """New draws without a seed and from a generator that moves on; the same ones from the same seed."""
    assert np.any(draw(None) != draw(None))
    np.testing.assert_array_equal(draw(3), draw(3))
    assert np.any(draw(3) != draw(4))
    rng = np.random.default_rng(3)
    first, second = draw(rng), draw(rng)
    assert np.any(first != second)
    again = np.random.default_rng(3)
    np.testing.assert_array_equal(draw(again), first)
    np.testing.assert_array_equal(draw(again), second)
    np.testing.assert_array_equal(draw(np.random.RandomState(3)), draw(3))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_laws(law):
    check(lambda source: law.sample(4, random_state=source))
    with pytest.raises(ValueError, match="expected a whole number from 0 to"):
        law.sample(4, random_state="seed")


@pytest.mark.parametrize("model", [NNGPRegressor(FullyConnected((5,))), StudentTProcessRegressor(optimizer=None)])
def test_functions_of_a_posterior(model):
    model.fit(X, np.sin(X[:, 0]))
    check(lambda source: model.sample_y(X + 0.1, 2, source))
    assert np.any(model.sample_y(X) != model.sample_y(X))


def test_draws_of_a_generator_have_their_law():
    drawn = LAWS[0].sample(40_000, random_state=np.random.default_rng(0))
    assert np.all(np.abs(drawn.mean(axis=0)) < 4 / 200)
    assert np.all(np.abs(drawn.var(axis=0) - 1) < 4 * 2**0.5 / 200)


def test_restarts():
    """Starts are drawn within the bounds, from a generator as from a seed."""
    starts = []

    def optimizer(objective, start, bounds):
        starts.append(start.copy())
        return start, objective(start, eval_gradient=False)

    bowl = lambda theta: (float(np.sum(theta**2)), 2 * theta)  # noqa: E731
    for source in (np.random.default_rng(0), np.random.default_rng(0), np.random.default_rng(1)):
        minimise(
            bowl,
            np.zeros(1),
            np.array([[-1.0, 1.0]]),
            ["scale"],
            optimizer=optimizer,
            n_restarts=2,
            random_state=source,
        )
    first, same, other = np.reshape(starts, (3, 3))
    np.testing.assert_array_equal(first, same)
    assert np.any(first != other)
    assert np.all(np.abs(starts) <= 1)
