"""NNGPKernel: the infinite-width kernel of a network as a scikit-learn kernel object."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from stpbnn import _validation as check
from stpbnn._memory import refuse_beyond
from stpbnn._precision import in_float64
from stpbnn.kernels import hyperparameters
from stpbnn.kernels.by_precisions import by_precisions
from stpbnn.network import Convolutional, FullyConnected, Network, NetworkHolder

__all__ = ["NNGPKernel"]

Bounds = Any  # "fixed", a pair (lower, upper), or one of these for each precision


class NNGPKernel(NetworkHolder, Kernel):
    r"""The kernel of an infinitely wide network, for scikit-learn's Gaussian processes and for Student's t-processes.

    .. math:: K_0 = \frac{X X^T}{\lambda_0 N_0} \;(+ 1/\lambda_b), \qquad
              K_l = \frac{\kappa(K_{l-1})}{\lambda_l} \;(+ 1/\lambda_b), \qquad K = K_L

    The hyper-parameters are the prior precisions of the network, one number where one was given for all layers. They
    are parameters of the kernel too, for `set_params` and grids over ``kernel__weight_precision``. As everywhere in
    scikit-learn, `theta` and `bounds` hold their logarithms.

    Parameters
    ----------
    network : FullyConnected or Convolutional
        Depth, activation and the precisions λ (inverse variances) to start from, and of a convolutional network its
        windows and its readout. Widths, channels and outputs do not matter.
    weight_precision_bounds : "fixed", a pair of floats, or a sequence of L + 1 of these
        Bounds of λ_0..λ_L in the search, or that they are not learned.
    bias_precision_bounds : "fixed" or a pair of floats
        The same for λ_b; without meaning where there are no biases.
    weight_precision : float, sequence of L + 1 floats or None
        λ to start from in the place of the network's; None leaves its own.
    bias_precision : float or None
        The same for λ_b.

    Raises
    ------
    ValueError
        For anything but a network, for bounds that are not pairs of positive numbers in rising order, and for
        precisions as the network itself.

    References
    ----------
    Theory notes, section 2. Lee et al., ICLR 2018; Matthews et al., ICLR 2018.

    Examples
    --------
    >>> kernel = NNGPKernel(FullyConnected((10, 10), "relu"))
    >>> kernel(np.eye(2)).round(4)
    array([[0.125 , 0.0617],
           [0.0617, 0.125 ]])
    >>> kernel.theta, (2.0 * kernel).hyperparameters[1].name
    (array([0.]), 'k2__weight_precision')
    """

    def __init__(
        self,
        network: Network,
        weight_precision_bounds: Bounds = (1e-5, 1e5),
        bias_precision_bounds: Bounds = (1e-5, 1e5),
        weight_precision: float | Sequence[float] | None = None,
        bias_precision: float | None = None,
    ) -> None:
        self.network = network
        self.weight_precision_bounds = weight_precision_bounds
        self.bias_precision_bounds = bias_precision_bounds
        if weight_precision is not None:
            self.weight_precision = weight_precision
        if bias_precision is not None:
            self.bias_precision = bias_precision
        _ = self.hyperparameters  # checks network and bounds

    @property
    def weight_precision(self) -> float | Sequence[float]:
        """λ, or λ_0..λ_L, of the network."""
        return self._net.weight_precision

    @weight_precision.setter
    def weight_precision(self, value: float | Sequence[float]) -> None:
        self.network = self._net.set_params(weight_precision=value)

    @property
    def bias_precision(self) -> float | None:
        """λ_b of the network; None where there are no biases."""
        return self._net.bias_precision

    @bias_precision.setter
    def bias_precision(self, value: float | None) -> None:
        self.network = self._net.set_params(bias_precision=value)

    def set_params(self, **params: Any) -> NNGPKernel:
        """Set parameters by name, those of the network as network__widths; network and bounds are checked."""
        super().set_params(**params)
        _ = self.hyperparameters
        return self

    def __sklearn_clone__(self) -> NNGPKernel:
        return type(self)(**{name: clone(value, safe=False) for name, value in self.get_params(deep=False).items()})

    @property
    def _net(self) -> Network:
        """The network, once it is checked."""
        return check.instance("network", self.network, FullyConnected, Convolutional)

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """The precisions, with their bounds: those of the layers together, or apart where some of them are fixed."""
        names = hyperparameters.names(self._net)
        weights = [name for name in names if name.startswith("weight")]
        bounds = _bounds("weight_precision_bounds", self.weight_precision_bounds, len(weights))
        bounds += _bounds("bias_precision_bounds", self.bias_precision_bounds, 1)
        fixed = [isinstance(bound, str) for bound in bounds[: len(weights)]]
        if len(weights) > 1 and (all(fixed) or not any(fixed)):
            together = "fixed" if all(fixed) else np.array(bounds[: len(weights)])
            own = [Hyperparameter("weight_precision", "numeric", together, len(weights))]
            return own + [Hyperparameter(name, "numeric", bounds[-1]) for name in names[len(weights) :]]
        return [Hyperparameter(name, "numeric", bound) for name, bound in zip(names, bounds, strict=False)]

    @property
    def _free(self) -> np.ndarray:
        return np.repeat(*np.array([(not each.fixed, each.n_elements) for each in self.hyperparameters]).T).astype(bool)

    @property
    def theta(self) -> np.ndarray:
        """Logarithms of the precisions that are not fixed."""
        return hyperparameters.log_values(self._net)[self._free]

    @theta.setter
    def theta(self, theta: ArrayLike) -> None:
        free, values = self._free, hyperparameters.log_values(self._net)
        theta = np.asarray(theta, dtype=np.float64)
        if theta.shape != (free.sum(),):
            raise ValueError(f"theta: got shape {theta.shape}, expected {(int(free.sum()),)}, one for each precision")
        values[free] = theta
        self.network = hyperparameters.with_values(self._net, values)

    @in_float64
    def __call__(self, X: ArrayLike, Y: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """Return the kernel between X and Y, and with `eval_gradient` its derivatives in theta.

        Parameters
        ----------
        X : array of shape (n, N_0)
            Inputs.
        Y : array of shape (m, N_0) or None
            Other inputs; None means X.
        eval_gradient : bool
            Whether to return also the derivatives in the logarithms of the precisions, for Y=None only.

        Returns
        -------
        array of shape (n, m), and where asked an array of shape (n, n, number of hyper-parameters)
        """
        X = check.inputs("X", X)
        self._net.refuse_features("X", X.shape[1])
        Y = None if Y is None else check.inputs("Y", Y, features=X.shape[1])
        eval_gradient = check.boolean("eval_gradient", eval_gradient)
        entries = len(X) * (len(X) if Y is None else len(Y)) * (1 + len(self._free) * eval_gradient)
        refuse_beyond(8 * entries, f"X: got {len(X)} inputs, whose kernels", "take fewer at once")
        if eval_gradient and Y is not None:
            raise ValueError("eval_gradient: got True with Y, expected Y=None: the gradient is known for K(X, X)")
        if eval_gradient:
            return by_precisions(self._net).entries_and_slopes(X, self._free)
        return by_precisions(self._net).entries(X, Y)

    @in_float64
    def linearised(self, inputs: Any) -> tuple[Float[np.ndarray, "P P"], Callable[..., Float[np.ndarray, " n"]]]:
        """Return the lower triangle of the kernel on `Inputs`, and what takes W to Σ_ij W_ij ∂K_ij/∂θ."""
        self._net.refuse_features("X", inputs.X.shape[1])
        K, pulled = by_precisions(self._net).linearised(inputs)
        free = self._free
        return K, in_float64(lambda lower: pulled(lower)[free])

    @in_float64
    def contract(self, inputs: Any, lower: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " n"]:
        """Return Σ_ij W_ij ∂K_ij/∂θ on `Inputs` for symmetric W, whose lower triangle is read."""
        return by_precisions(self._net).pulled(inputs, lower)[self._free]

    @in_float64
    def diag(self, X: ArrayLike) -> np.ndarray:
        """Return the variances K(x, x), (n,), at inputs X (n, N_0)."""
        X = check.inputs("X", X)
        self._net.refuse_features("X", X.shape[1])
        return by_precisions(self._net).variances(X)

    def is_stationary(self) -> bool:
        """Return False: the kernel depends on the inputs, not on their distance alone."""
        return False

    def __repr__(self) -> str:
        net = self._net
        values = np.exp(hyperparameters.log_values(net))
        listed = [f"{name}={value:.3g}" for name, value in zip(hyperparameters.names(net), values, strict=True)]
        return f"NNGPKernel({', '.join([net.sigma.name, f'depth={net.depth}', *listed])})"


def _bounds(what: str, value: Any, count: int) -> list[Any]:
    """Return one pair of bounds or "fixed" for each of `count` hyper-parameters."""
    items = list(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else [value]
    if len(items) == 2 and all(isinstance(item, numbers.Real) for item in items):
        items = [tuple(items)]
    items = items * count if len(items) == 1 else items
    if len(items) != count or not all(map(_valid, items)):
        raise ValueError(
            f"{what}: got {value!r}, expected 'fixed', a pair (lower, upper) of positive numbers, or one of these for "
            f"each of {check.plural(count, 'precision')}"
        )
    return items


def _valid(bound: Any) -> bool:
    if isinstance(bound, str):
        return bound == "fixed"
    pair = np.asarray(bound, dtype=object)
    if pair.shape != (2,) or not all(isinstance(end, numbers.Real) and not isinstance(end, bool) for end in bound):
        return False
    return 0 < bound[0] <= bound[1]
