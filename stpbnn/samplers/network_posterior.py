"""sample(): the posterior of a network by Markov chain Monte Carlo, as an ArviZ DataTree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import xarray as xr
from numpy.typing import ArrayLike

from stpbnn.network import Network
from stpbnn.samplers.chains import collect
from stpbnn.samplers.posed_network import pose
from stpbnn.samplers.transitions import Sampler

__all__ = ["sample"]


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
    >>> from stpbnn import FullyConnected
    >>> X = np.eye(4)
    >>> posterior = sample(FullyConnected((5,), "linear"), X, X[:, 0], temperature=0.1, X_test=X[:2],
    ...                    warmup=50, draws=10, chains=2, progress=False)
    >>> dict(posterior["predictions"]["f"].sizes)
    {'chain': 2, 'draw': 10, 'test_point': 2}
    """
    return collect(pose(**locals()))  # the arguments alone: nothing is assigned above
