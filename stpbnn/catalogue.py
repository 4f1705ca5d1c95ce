"""The catalogue of theories and processes, from which cards, grids, samplers and reports take their names and rules.

A new theory or process is one entry here, beside the class or program that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from stpbnn.network import FullyConnected, Network

__all__ = ["PROCESSES", "THEORIES", "Process", "Theory", "known_theories", "long_name", "short_name"]


@dataclass(frozen=True)
class Theory:
    """A theory of networks, or of processes that are derived from them.

    Parameters
    ----------
    key : str
        Its name in calls and cards.
    label : str
        Its name in tables and figures.
    regressor : str
        The class in `stpbnn.regressors`.
    applies : callable
        applies(network, process) says whether the theory is known for a network, or for a process of this name.
    takes : tuple of str
        Which of the settings particles, cluster, random_state, mean, df, noise, noise_df, trend and solver the
        regressor has.
    settings : mapping
        Further settings, which are always the same.
    on_request : callable
        on_request(network) says whether it is solved only where it is asked for by name.
    condition : str
        When it applies, for messages.
    classifier : str
        The class in `stpbnn.classifiers` that it is for targets that are classes; none where it is not known for them.
    """

    key: str
    label: str
    regressor: str
    applies: Callable[[Network, str | None], bool]
    takes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    on_request: Callable[[Network], bool] = lambda net: False
    condition: str = ""
    classifier: str = ""


@dataclass(frozen=True)
class Process:
    """A process that is derived from a network: a Gaussian process whose kernel has a random scale.

    Parameters
    ----------
    name : str
        Its name in calls and cards.
    symbol : str
        The symbol of the scale, over whose logarithm chains run.
    program : str
        The function in `stpbnn.programs` that makes its NumPyro model.
    regressor : str
        The class in `stpbnn.regressors` that has the same law in closed form.
    sentence : str
        The law in a line, formatted with the attributes of a posterior.
    has_df : bool
        Whether it has degrees of freedom.
    has_widths : bool
        Whether the widths of the network have a part in it.
    theories : mapping
        What another theory leaves out, by its class; formatted with its `name` and the `relative` variance 2/N of Q.
    beyond : str
        What a network whose activation is not linear does beyond the process.
    """

    name: str
    symbol: str
    program: str
    regressor: str
    sentence: str
    has_df: bool = False
    has_widths: bool = False
    theories: Mapping[str, str] = field(default_factory=dict)
    beyond: str = ""


def _dense(net: Network) -> TypeGuard[FullyConnected]:
    from stpbnn.network import FullyConnected

    return isinstance(net, FullyConnected)


def _images(net: Network) -> bool:
    """Return whether a network is convolutional and has an order parameter for each pair of positions, or one scale."""
    from stpbnn.network import Convolutional

    known = isinstance(net, Convolutional) and (net.depth == 1 or net.local)
    return known and net.outputs == 1 and net.likelihood == "gaussian"


def _proportional(net: Network, process: str | None) -> bool:
    several = process is None and net.likelihood == "gaussian"  # at any depth
    one_matrix = net.outputs == 1 or net.depth == 1
    return _images(net) or (_dense(net) and process != "student-t" and (one_matrix or several))


def _adaptive(net: Network, process: str | None) -> bool:
    return _dense(net) and process is None


def _one_cluster(net: Network) -> bool:
    """Return whether the adaptive kernel is known for the whole network alone, at the price of its posterior."""
    return net.depth > 2 or (net.depth == 2 and net.outputs > 1)


def _zero_mean(net: Network, process: str | None) -> bool:
    from stpbnn.scale import keeps_mean

    return _dense(net) and process is None and keeps_mean(net, "auto")


def _finite(net: Network, process: str | None) -> bool:
    from stpbnn.scale import LATTICE_DEPTH, enters_by_product

    if not _dense(net):
        return _images(net)
    if process == "student-t" or net.depth > LATTICE_DEPTH:
        return False
    if net.likelihood == "categorical":
        return net.depth == 1  # with one scale for all outputs
    matrices = process is None and enters_by_product(net, "nested") and min(net.widths) >= net.outputs
    return net.outputs == 1 or matrices


THEORIES: dict[str, Theory] = {
    theory.key: theory
    for theory in (
        Theory(
            "infinite",
            "infinite width",
            "NNGPRegressor",
            lambda net, process: True,
            takes=("noise", "noise_df", "trend", "solver"),
            classifier="NNGPClassifier",
        ),
        Theory(
            "proportional",
            "proportional limit",
            "ProportionalLimitRegressor",
            _proportional,
            takes=("mean", "trend", "solver"),
            classifier="ProportionalLimitClassifier",
        ),
        Theory(
            "zero-mean",
            "mean dropped",
            "ProportionalLimitRegressor",
            _zero_mean,
            takes=("trend", "solver"),
            settings={"mean": "drop"},
            on_request=lambda net: True,
            condition="the proportional limit keeps a mean of the features, that it could drop, for one hidden layer, "
            "one output and an activation that is not odd",
        ),
        Theory(
            "finite",
            "finite width",
            "FiniteWidthRegressor",
            _finite,
            takes=("random_state", "mean", "trend", "solver"),
            classifier="FiniteWidthClassifier",
        ),
        Theory(
            "adaptive",
            "adaptive kernel",
            "AdaptiveKernelRegressor",
            _adaptive,
            takes=("particles", "cluster", "random_state"),
            on_request=_one_cluster,
            condition="the adaptive kernel is for fully-connected networks and real targets, and for no process",
        ),
        Theory(
            "student-t",
            "Student's t-process",
            "StudentTProcessRegressor",
            lambda net, process: process == "student-t",
            takes=("df", "trend", "solver"),
            settings={"noise": "gaussian", "optimizer": None},
            condition="it is that of a [process] of this name",
        ),
    )
}

PROCESSES: dict[str, Process] = {
    process.name: process
    for process in (
        Process(
            "student-t",
            symbol="r",
            program="student_t_network",
            regressor="StudentTProcessRegressor",
            sentence="Student's t-process of ν = {df:g} degrees of freedom, the network of infinite width whose "
            "readout has a random scale: f | r ~ N(0, r K), r ~ InvGamma(ν/2, (ν − 2)/2)",
            has_df=True,
            theories={
                "NNGPRegressor": "“{name}” has the same kernel and r = 1, a Gaussian process that does not learn its "
                "scale."
            },
        ),
        Process(
            "finite-width",
            symbol="Q",
            program="scale_mixture",
            regressor="FiniteWidthRegressor",
            sentence="law of finite width in function space, a Gaussian process whose kernel has random order "
            "parameters: f | Q ~ N(0, K(Q)), Q ~ Gamma(N/2, N/2) in each layer",
            has_widths=True,
            theories={
                "ProportionalLimitRegressor": "“{name}” puts one value in the place of Q, whose prior has the relative "
                "variance {relative}."
            },
            beyond="A network of this width does more than rescale its kernel: its hidden units turn towards the task. "
            "That is not in this process; a card without [process] samples the network itself.",
        ),
    )
}


def known_theories(network: Network, process: str | None = None, *, on_request: bool = False) -> dict[str, str]:
    """Return the keys of the theories that are known for a network, or a process derived from it, by their labels.

    Those that are solved only where they are asked for by name are left out unless `on_request`.
    """
    return {
        theory.label: theory.key
        for theory in THEORIES.values()
        if (network.likelihood == "gaussian" or theory.classifier)
        and theory.applies(network, process)
        and (on_request or not theory.on_request(network))
    }


def long_name(name: str) -> str:
    """Return the label of a theory, whichever of its names is given; other names as they are.

    Examples
    --------
    >>> long_name("finite"), long_name("finite width"), long_name("ridge")
    ('finite width', 'finite width', 'ridge')
    """
    return THEORIES[name].label if name in THEORIES else name


def short_name(name: str) -> str:
    """Return the key of a theory, whichever of its names is given; other names as they are.

    Examples
    --------
    >>> short_name("finite width"), short_name("finite")
    ('finite', 'finite')
    """
    return next((theory.key for theory in THEORIES.values() if theory.label == name), name)
