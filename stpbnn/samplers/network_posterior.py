"""sample(): the posterior of a network by Markov chain Monte Carlo, as an ArviZ DataTree."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import xarray as xr
from numpy.typing import ArrayLike
from numpyro.distributions import Distribution

from stpbnn import _validation as check
from stpbnn.network import Convolutional, FullyConnected, Network
from stpbnn.programs import above
from stpbnn.samplers.chains import Chains, Plan, collect
from stpbnn.samplers.draws import checked_data, encoded, numbers_of_a_chain, rotate
from stpbnn.samplers.network_law import READOUTS, NetworkLaw, inputs_of
from stpbnn.samplers.transitions import Sampler, Tempered, named

__all__ = ["sample"]

KEEP = ("observables", "weights")


def sample(
    net: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    temperature: Any = None,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    sampler: str | Sampler = "hmc",
    readout: str | None = None,
    warmup: int = 500,
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    keep: str = "observables",
    until: Mapping[str, float] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    block: int | None = None,
    keep_draws: int = 0,
    ladder: tuple[int, float] | None = None,
    progress: bool = True,
) -> xr.DataTree:
    r"""Sample the posterior of a Bayesian network.

    .. math:: p(\theta \mid X, y) \propto \exp\Big(-\frac{1}{2T} \sum_\mu |y^\mu - f(x^\mu)|^2\Big)\, p(\theta)

    or, of a network whose targets are classes, the probability of the labels to the power 1/T times the prior.

    Chains start from draws of the prior and run side by side in JAX's default precision, vectorised on one device or
    spread over several. Ctrl-C returns the draws that are finished.

    Parameters
    ----------
    net : FullyConnected or Convolutional
        The network.
    X : array of shape (P, N_0)
        Training inputs.
    y : array of shape (P,) or (P, D)
        Training targets; for the likelihoods of classes a label of any kind for each input, (P,).
    temperature : float, numpyro.distributions.Distribution or None
        T > 0, the variance of the Gaussian likelihood; a distribution makes it a variable of the posterior. Of classes
        the inverse power of the likelihood: T = 1 is Bayes, T < 1 a cold posterior. None means 0.01, for classes 1.
    X_test : array of shape (n, N_0) or None
        Points at which the function is recorded at every draw.
    y_test : array of shape (n,) or (n, D) or None
        Targets there, for the test loss.
    sampler : {"hmc", "nuts", "tempered", "mala", "langevin"} or callable
        The Markov chain: Hamiltonian Monte Carlo and the no-U-turn sampler, both with steps that are exact for the
        prior, replica exchange for posteriors of several modes (`tempered_log_evidence` has their evidence),
        Metropolis-adjusted Langevin, or the unadjusted dynamics of the reference, which is biased at its step
        size of 1e-3. A callable takes the NumPyro model and returns a NumPyro MCMCKernel.
    readout : {"marginal", "explicit"} or None
        How the last layer is treated: "marginal" integrates it exactly and draws it given the hidden weights;
        "explicit" samples its weights along with all others, the only way for classes. None means the first that is
        known for the likelihood.
    warmup, draws, chains : int
        Adaptation steps and recorded draws of each chain, and the number of chains.
    seed : int
        Seed of everything random: the same call on the same device gives the same draws.
    keep : {"observables", "weights"}
        What is kept of a draw: functions, losses and order parameters, or all weights as well.
    until : mapping of str to float, optional
        Stop before `draws` as soon as every test prediction (the training loss, without test points) has a bulk
        effective sample size of "ess" and an R-hat of "rhat" at most, looked at after every block; or after "seconds"
        in all. {"ess": 400, "rhat": 1.01}, for example.
    checkpoint : path, optional
        A folder to which blocks are written: where `block` is given each before the next begins, else the finished
        ones as soon as the last write is five seconds ago, and all in the end. The same call goes on from there after
        an interruption of any kind, with the same draws, bit for bit; with greater `draws` it adds to them.
    block : int, optional
        Draws of a block, at most `draws`; it changes no draw. By default 100, or fewer where they are large.
    keep_draws : int
        How many draws, evenly spaced over all chains, leave their weights in the group `weights`, for predictions at
        inputs that come later (`stpbnn.samplers.functions`); fewer where they have more than 8 MB. It changes no draw.
    ladder : (int, float) or None
        Of "tempered" alone: how many replicas it has, and the β of the last one, the power to which that takes the
        likelihood; by default those of `Tempered`. The colder the posterior, the more replicas; a last β of 0.1 is hot
        enough for modes that go away at 10 T, and a ladder that ends above 0 gives no evidence.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    xarray.DataTree
        Groups in ArviZ's schema. `posterior`: readout_norm (λ_L |v|²/N_L, mean one under the prior), kernel_scale
        (for each layer, tr K̂_l / tr(κ(K̂_{l-1})/λ_l) over the training inputs), kernel_overlap (of the last hidden
        kernel with that of infinite width and with y yᵀ; up to P = 1000), of a convolutional network of at most 64
        positions and one output readout_overlap (Q_ij = λ_L Σ_a v_ai v_aj / N_L) and position_overlap (the overlaps of
        the kernel at each position), train_loss and test_loss (squared error
        summed over outputs, averaged over rows), temperature where it is random, weights on request. `predictions`: f
        at the test points, and with the marginal readout f_mean and f_variance, its moments given the hidden weights;
        eigenmode, the coefficients of f (or its mean given the hidden weights) at the training inputs in the leading
        eigenmodes of the kernel of infinite width, which are in `constant_data` (up to P = 1000).
        Of classes losses are negative log likelihoods; `posterior` has test_brier, test_accuracy and
        test_calibration_error of every draw, `predictions` class_probability (test_point, class); scores of averaged
        probabilities are those of `stpbnn.classification.posterior_scores`. Targets are recorded as -1 and +1, or as
        unit vectors; `classes` is an attribute of the root.
        `weights`: the whitened weights of the draws that `keep_draws` asks for, in single precision.
        `log_likelihood`: y, one entry a training point. `posterior_predictive`: y, a draw of new targets at the
        training points (up to P = 1000). `sample_stats`, `observed_data`, `constant_data`, `predictions_constant_data`.
        Settings, versions, device and wall time, why sampling `stopped` (draws, precision, seconds, interrupted), and
        the `verdict` and `remedy` of `stpbnn.samplers.diagnose` are attributes of the root.

    Raises
    ------
    ValueError
        For data that are not finite numbers of matching shapes, or too large for the precision, settings out of range,
        more than fits into memory, a folder that holds something else or the checkpoint of another run or is in use,
        kernels that cannot sample the network, and chains that leave the finite numbers.
    KeyboardInterrupt
        If sampling was interrupted before the first draw was finished.
    OSError
        If a block cannot be written; those before it stay, and the same call goes on.

    References
    ----------
    Theory notes, section 1. Pacelli et al., Nat. Mach. Intell. 5, 1497 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.eye(4)
    >>> posterior = sample(FullyConnected((5,), "linear"), X, X[:, 0], temperature=0.1, X_test=X[:2],
    ...                    warmup=50, draws=10, chains=2, progress=False)
    >>> dict(posterior["predictions"]["f"].sizes)
    {'chain': 2, 'draw': 10, 'test_point': 2}
    """
    check.instance("net", net, FullyConnected, Convolutional)
    of_classes, told_classes = net.likelihood != "gaussian", {}
    if of_classes:
        y, y_test, classes = encoded(net, y, y_test)
        told_classes = {"classes": json.dumps(classes.tolist())}
    if temperature is None:
        temperature = 1.0 if of_classes else 0.01
    if readout is None:
        readout = "explicit" if of_classes else "marginal"
    original = checked_data(net, X, y, X_test, y_test)
    plan = Plan(warmup, draws, chains, seed, until, checkpoint, block, keep_draws, progress)
    settings = {"readout": check.one_of("readout", readout, READOUTS), "keep": check.one_of("keep", keep, KEEP)}
    settings |= told_classes
    if of_classes and readout == "marginal":
        raise ValueError(
            f"readout: got 'marginal' with a {net.likelihood} likelihood, expected 'explicit': the readout can be "
            "integrated with the Gaussian likelihood alone"
        )
    if of_classes and isinstance(temperature, Distribution):
        raise ValueError(
            f"temperature: got a prior with a {net.likelihood} likelihood, expected a number: T = 1 is Bayes, a "
            "smaller one a cold posterior"
        )
    if isinstance(temperature, Distribution):
        temperature = above("temperature", temperature, 0, "and a variance is positive")
    else:
        temperature = check.number("temperature", temperature)
    told = sampler if isinstance(sampler, str) else ""
    if not callable(sampler):
        named(sampler, net, temperature)  # refuses an unknown name
    if ladder is not None:
        sampler, settings["ladder"] = _tempered(sampler, ladder)
    rotated = keep == "observables" and isinstance(net, FullyConnected)  # inputs, into the directions that they span
    units = "widths" if isinstance(net, FullyConnected) else "features in each layer,"
    whose = f"net: got {units} {net.units}, whose weights and features"
    moved = numbers_of_a_chain(net, original, rotated=rotated)
    plan.refuse_beyond_memory(moved, whose, "take narrower layers or fewer points")
    if ladder is not None:
        whose = f"ladder: got {ladder[0]} replicas, whose weights and features"
        plan.refuse_beyond_memory(int(ladder[0]) * moved, whose, "take fewer replicas")
    rotation = rotate(original.X, original.X_test) if rotated else None
    law = NetworkLaw(net, readout, keep, sampler, temperature if isinstance(temperature, Distribution) else None)
    engine = Chains(law, plan, inputs_of(net, original, rotation, temperature))
    return collect(net, original, engine, settings, sampler=told, temperature=temperature)


def _tempered(sampler: str | Sampler, ladder: Any) -> tuple[Sampler, str]:
    """Return replica exchange with this ladder, and the ladder as text; ValueError where it is none."""
    if sampler != "tempered":
        raise ValueError(f"ladder: got {check.shown(ladder)} with sampler={check.shown(sampler)}, expected 'tempered'")
    if not isinstance(ladder, (tuple, list)) or len(ladder) != 2:
        raise ValueError(
            f"ladder: got {check.shown(ladder)}, expected the number of replicas and the power of the last, (18, 0.1)"
        )
    replicas, lowest = check.integer("ladder", ladder[0], minimum=2), check.number("ladder", ladder[1], inclusive=True)
    if lowest >= 1:
        raise ValueError(f"ladder: got {check.shown(ladder)}, expected a power of the last replica from 0 to below 1")
    return partial(Tempered, replicas=replicas, lowest=lowest), json.dumps([replicas, lowest])
