"""The predictive law of a regressor that stands at the end of a pipeline, or behind a search."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from stpbnn import _validation as check

__all__ = ["predictive_of"]


def predictive_of(model: Any, X: Any, noise: bool = False, *, joint: bool = False) -> Any:
    """Return the predictive law of a fitted regressor at query points, through the pipelines and searches around it.

    The steps before the regressor transform the inputs, as in `Pipeline.predict`. A search, such as `GridSearchCV`,
    gives the law of its best estimator.

    Parameters
    ----------
    model : regressor, Pipeline or search
        A fitted regressor of this library, or a Pipeline or a search that ends in one.
    X : array of shape (n, N_0), or frame
        Query points, as `model.predict` takes them.
    noise : bool
        Whether to add the noise of variance T, which gives the law of a new target.
    joint : bool
        Whether to couple the query points; otherwise the law is that of each of them alone.

    Returns
    -------
    law
        A frozen distribution of `stpbnn.predictive`.

    Raises
    ------
    ValueError
        If there is no fitted regressor with a law at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from stpbnn import NNGPRegressor
    >>> X, y = np.arange(8.0)[:, None], np.arange(8.0) % 3
    >>> model = make_pipeline(StandardScaler(), NNGPRegressor(temperature=0.1)).fit(X, y)
    >>> law = predictive_of(model, X, noise=True)
    >>> bool(np.allclose(law.mean, model.predict(X))), law.interval(0.9).shape
    (True, (8, 2))
    """
    if isinstance(model, type) or not hasattr(model, "predict"):
        raise ValueError(
            f"model: got {check.shown(model)}, expected a fitted regressor, or a Pipeline that ends in one"
        )
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise ValueError(f"model: this {type(model).__name__} is not fitted; call fit(X, y) first") from None
    if hasattr(model, "best_estimator_"):
        return predictive_of(model.best_estimator_, X, noise, joint=joint)
    if isinstance(model, Pipeline):
        if len(model) > 1:
            with check.named("X"):
                X = model[:-1].transform(X)
        return predictive_of(model[-1], X, noise, joint=joint)
    if not hasattr(model, "predictive"):
        hint = (
            ": its predictions are transformed, their law is not; take normalize_y=True, or scale y before"
            if hasattr(model, "regressor_")
            else ", which has no predictive law"
        )
        raise ValueError(
            f"model: got a {type(model).__name__}{hint}; expected a regressor of stpbnn, or a Pipeline that ends in one"
        )
    return model.predictive(X, noise=noise, joint=joint)
