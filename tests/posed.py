"""Problems that networks pose, solved in double precision as the regressors do: for tests of the scale room."""

from typing import NamedTuple

import jax

from stpbnn.scale import NetworkProblem, OrderParameterPosterior, pose


class Conditioned(NamedTuple):
    """A problem with the posterior of its order parameters."""

    problem: NetworkProblem
    posterior: OrderParameterPosterior


def condition(net, X, y, temperature, closure="nested", keep_mean=False, seed=0):
    with jax.enable_x64(True):
        problem = pose(net, X, y, temperature, closure, keep_mean=keep_mean, mixture=True)
        return Conditioned(problem, problem.posterior(seed))


def predictive(fitted, x, *, noise=False, joint=False):
    with jax.enable_x64(True):
        return fitted.problem.mixture(fitted.posterior, x, noise=noise, joint=joint)


def saddle_points(net, X, y, temperature, closure="nested"):
    with jax.enable_x64(True):
        return pose(net, X, y, temperature, closure).saddle_points()
