"""The theories of a card: which it asks for, and what they predict."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from sklearn.exceptions import ConvergenceWarning

from stpbnn._interrupt import look
from stpbnn._validation import data_set, instance, plural
from stpbnn.adaptive import refuse_unknown
from stpbnn.cards import Arrays, Card
from stpbnn.catalogue import THEORIES, known_theories, short_name
from stpbnn.classifiers import NetworkClassifier, classifier_of
from stpbnn.comparison import predict_theories
from stpbnn.network import Network
from stpbnn.regressors import Estimator, load, regressor_of, save

__all__ = ["chosen", "fitted", "keep", "settings", "solve", "theory"]

logger = logging.getLogger(__name__)

KEPT_BYTES = 2**24  # of the arrays of a fitted theory that is kept

type Model = Estimator | NetworkClassifier

FILL = {"converged": False, "regressor": "", "network": "", "reason": ""}


def theory(card: Card, data: Arrays | None = None, known: xr.Dataset | None = None) -> xr.Dataset:
    """Return the predictions of the closed forms for a card: all that are known for its network or process.

    These are infinite width; the proportional limit; the mixture of finite width, for one output and up to three hidden
    layers; and the adaptive kernel, for one hidden layer, or two and one output. Of classes there are the first three,
    the proportional limit and the mixture also for several outputs of one hidden layer. A Student's t-process has its
    own closed form beside infinite width; the process of finite width has all but the adaptive kernel. A card may ask
    for some of them, for "zero-mean", the proportional limit with the mean of the features dropped where the other
    keeps it, and for the adaptive kernel of more layers and outputs, the network as one cluster. A theory without a
    solution does not lose the others: it is listed as not converged, for a `reason`.

    Parameters
    ----------
    card : Card
        The card; its seed is that of the theory that is simulated.
    data : tuple of arrays, optional
        X, y, Xt, yt of the card, where they are loaded already.
    known : xarray.Dataset, optional
        What this function returned earlier for the same card and data; the theories in it are not solved again.

    Returns
    -------
    xarray.Dataset
        As `stpbnn.comparison.predict_theories` gives it, and `reason` (theory): why a theory has not converged, or
        nothing.

    Raises
    ------
    ValueError
        If the data cannot be had, or do not suit the network, or no theory has a solution.

    Warns
    -----
    ConvergenceWarning
        If a theory has not converged, or has no solution.

    Examples
    --------
    >>> from stpbnn.cards import load_card
    >>> card = load_card("smoke-1hl-linear", ["theories.names=['infinite']"])
    >>> theory(card)["order_parameters"].sel(theory="infinite width").item()
    1.0
    """
    return solve(card, data, known)[0]


def solve(
    card: Card, data: Arrays | None = None, known: xr.Dataset | None = None
) -> tuple[xr.Dataset, dict[str, Model]]:
    """Return what `theory` returns, and the fitted regressors of what was solved, by their names in it.

    Parameters
    ----------
    card, data, known
        As for `theory`.
    """
    instance("card", card, Card)
    if known is not None:
        data_set("known", known, "theory", source="this function")
    X, y, X_test, y_test = card.load(data)
    network, further, names = card.build(), settings(card), chosen(card)
    _tell_of_idle_settings(card, names)
    there = [] if known is None else [name for name in names if name in known["theory"]]
    solved, failed, reasons, told = {}, {}, {}, []
    for name, kind in names.items():
        if name in there:
            continue
        look()
        model = model_of(kind, network, card.posterior.temperature, **further)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(X, y).predict(X_test[:1])  # where a search that is lost shows at the latest
                solved[name] = model
            except ValueError as error:
                failed[name] = error
                warnings.warn(str(error), ConvergenceWarning, stacklevel=1)
        reasons[name] = "; ".join(str(each.message) for each in caught if each.category is ConvergenceWarning)
        told += [(f"{name}: {each.message}", each.category) for each in caught]
    parts = []
    if known is not None and there:
        parts = [known.sel(theory=there)]
        why = parts[0]["reason"].to_series()
        told += [(f"{name}: {reason}", ConvergenceWarning) for name, reason in why.items() if reason]
    if solved:
        predictions = predict_theories(solved, X_test, y_test)
        converged = predictions["converged"].to_numpy()
        why = ["" if fine else reasons[name] for name, fine in zip(solved, converged, strict=True)]
        parts.append(predictions.assign(reason=("theory", why)))
    if not any(part["mean"].notnull().any() for part in parts):
        raise next(iter(failed.values()), ValueError(told[0][0]))
    for message, category in told:
        warnings.warn(message, category, stacklevel=3)
    whole = _joined(parts).reindex(theory=list(names), fill_value=FILL)
    why = [reasons[name] if name in failed else str(whole["reason"].sel(theory=name).item()) for name in names]
    whole.attrs["beside_the_chains"] = _beside_the_chains(card, solved, known)
    return whole.assign(reason=("theory", why)), solved


def _beside_the_chains(card: Card, solved: Mapping[str, Model], known: xr.Dataset | None) -> str:
    """Return what the theories have and the chains do not; the noise that was chosen, where one was, is logged."""
    if card.theories.noise != "auto":
        return card.theories.beside_the_chains
    for name, model in solved.items():
        if scores := getattr(model, "loo_log_scores_", None):
            noise = max(scores, key=scores.__getitem__)
            told = ", ".join(f"{score:.4g} for {of}" for of, score in scores.items())
            logger.info('%s: the noise "%s" is chosen by leave-one-out log scores: %s', name, noise, told)
            return card.theories.model_copy(update={"noise": noise}).beside_the_chains
    before = {} if known is None else known.attrs
    return str(before.get("beside_the_chains", card.theories.beside_the_chains))


def model_of(kind: str, network: Network, temperature: float, **further: Any) -> Model:
    """Return the regressor of a theory, or its classifier where the targets are classes; not fitted.

    Parameters
    ----------
    kind : str
        The short name of the theory.
    network, temperature
        What the posterior has.
    **further
        What `settings` returned.

    Examples
    --------
    >>> from stpbnn.network import FullyConnected
    >>> model_of("infinite", FullyConnected((9,), likelihood="bernoulli"), 1.0, particles=64).temperature
    1.0
    """
    if network.likelihood != "gaussian":
        return classifier_of(kind, network, temperature)
    return regressor_of(kind, network, temperature, **further)


def keep(models: Mapping[str, Model], folder: Path) -> None:
    """Write those fitted theories into a folder that were long searched for, each as KEY.npz, where it is not large.

    Parameters
    ----------
    models : mapping of str to regressor
        What `solve` returned.
    folder : path
        Where `fitted` finds them.
    """
    for name, model in models.items():
        if isinstance(model, NetworkClassifier):
            continue  # of whom none searches long
        if 0 < sum(array.nbytes for array in model._arrays.values()) <= KEPT_BYTES:
            with suppress(ValueError):  # of an activation that a file cannot name
                save(model, folder / f"{short_name(name)}.npz")


def fitted(card: Card, kind: str, X: np.ndarray, y: np.ndarray, folder: Path) -> tuple[Model, bool]:
    """Return the theory of a card fitted to its training set, and whether it was found in a folder.

    A file that is not that of the same settings and of the same training set, or cannot be read, is left aside.

    Parameters
    ----------
    card : Card
        The card.
    kind : str
        The short name of the theory.
    X, y : array
        The training set.
    folder : path
        Where `keep` wrote.
    """
    model = model_of(kind, card.build(), card.posterior.temperature, **settings(card))
    path = folder / f"{kind}.npz"
    if path.exists():
        try:
            there = load(path)
            same = type(there) is type(model) and there.get_params(deep=False) == model.get_params(deep=False)
            if same and np.array_equal(there.X_train_, X) and np.array_equal(there.y_train_, y):
                return there, True
        except (OSError, ValueError) as error:
            logger.debug("%s: is left aside (%s)", path, error)
    with warnings.catch_warnings(action="ignore"):  # they were told when the run was made
        return model.fit(X, y), False


def _joined(parts: list[xr.Dataset]) -> xr.Dataset:
    """Put the predictions of several theories together; what some of them do not have is NaN."""
    if len(parts) == 1:
        return parts[0]
    return xr.concat(
        parts,
        "theory",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="override",
    )


def chosen(card: Card) -> dict[str, str]:
    """Return the theories that a card asks for, by default all that are known for its network or process.

    Raises
    ------
    ValueError
        If it asks for one that is not known for its network or process, or its settings do not suit one another.
    """
    instance("card", card, Card)
    network, names, process = card.build(), card.theories.names, card.process
    known = known_theories(network, process.name if process else None, on_request=names is not None)
    names = tuple(known.values()) if names is None else names
    if unknown := [kind for kind in names if kind not in known.values()]:
        whose = f"{plural(network.depth, 'hidden layer')} and {plural(network.outputs, 'output')}"
        whose += ", of classes" * (network.likelihood != "gaussian")
        whose = f'the process "{process.name}"' if process else whose
        condition = THEORIES[unknown[0]].condition
        raise ValueError(
            f"theories.names: got {unknown[0]!r}, expected some of {', '.join(known.values())}: those that are known "
            f"for {whose}{'; ' * bool(condition)}{condition}"
        )
    found = {name: kind for name, kind in known.items() if kind in names}
    if "adaptive" in found.values():
        sizes = network.depth, network.outputs, network.widths[-1]
        refuse_unknown("theories.cluster", card.theories.cluster, *sizes)
    return found


def _tell_of_idle_settings(card: Card, names: Mapping[str, str]) -> None:
    """Log the settings of [theories] that a card gives, and that none of its theories has."""
    taken = set().union(*(THEORIES[kind].takes for kind in names.values()))
    for key, field in type(card.theories).model_fields.items():
        value = getattr(card.theories, key)
        if key not in {"names", *taken} and value != field.default:
            whose = " or ".join(f'"{name}"' for name, entry in THEORIES.items() if key in entry.takes)
            logger.warning("theories.%s: got %s without the theory %s: it changes nothing here", key, value, whose)


def settings(card: Card) -> dict[str, Any]:
    """Return the settings that the theories of a card have beside network and temperature.

    The features of a process have no mean, whatever the activation.
    """
    instance("card", card, Card)
    found: dict[str, Any] = card.theories.model_dump(exclude={"names"}, exclude_none=True)
    found["random_state"] = card.sampler.seed
    if card.process is not None:
        found["mean"] = "drop"
        if card.process.df is not None:
            found["df"] = card.process.df
    return found
