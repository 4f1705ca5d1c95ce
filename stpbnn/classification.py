"""Classification by regression on class targets: one column a class; and the scores of class probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stpbnn import _validation as check
from stpbnn._labels import class_labels, distinct_classes
from stpbnn.class_grid import class_grid
from stpbnn.class_scores import ClassScores, class_scores, posterior_scores

__all__ = ["ClassScores", "accuracy", "class_grid", "class_scores", "one_hot", "posterior_scores", "predicted_classes"]


def one_hot(labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    r"""Return unit vectors as targets of a network of D outputs, and the classes that their columns stand for.

    .. math:: y^\mu_d = 1 \text{ if example } \mu \text{ is of class } d, \text{ and } 0 \text{ otherwise}

    Parameters
    ----------
    labels : array of shape (P,)
        Class labels: numbers or text.

    Returns
    -------
    targets : array of shape (P, D)
        Unit vectors.
    classes : array of shape (D,)
        The distinct labels, sorted.

    Raises
    ------
    ValueError
        If the labels are not one list of at least two classes.

    Examples
    --------
    >>> one_hot(["cat", "dog", "cat"])
    (array([[1., 0.],
           [0., 1.],
           [1., 0.]]), array(['cat', 'dog'], dtype='<U3'))
    """
    given = class_labels("labels", labels)
    classes = distinct_classes("labels", given)
    return np.eye(len(classes))[np.searchsorted(classes, given)], classes


def predicted_classes(predictions: ArrayLike, classes: ArrayLike) -> np.ndarray:
    """Return the class of the largest prediction in each row; of one output, the second class where it is positive.

    Parameters
    ----------
    predictions : array of shape (n, D), or (n,) for two classes with targets -1 and +1
        Posterior means, or draws, of the network's outputs.
    classes : array of shape (D,)
        What the columns stand for, as `one_hot` gives it.

    Returns
    -------
    array of shape (n,)
        Class labels.

    Raises
    ------
    ValueError
        If there is not one class for each column.

    Examples
    --------
    >>> predicted_classes([[0.9, 0.2], [0.1, 0.3]], ["cat", "dog"]).tolist()
    ['cat', 'dog']
    >>> predicted_classes([-0.7, 0.1], ["cat", "dog"]).tolist()
    ['cat', 'dog']
    """
    values, classes = check.numeric("predictions", predictions), class_labels("classes", classes)
    if len(np.unique(classes)) < len(classes):
        repeated = [str(each) for each in classes if np.sum(classes == each) > 1]
        raise ValueError(f"classes: got {repeated[0]} more than once, expected one class for each column")
    if values.ndim == 1:
        values = np.stack([-values, values], axis=1)
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise ValueError(
            f"predictions, classes: got shape {np.shape(predictions)} and {len(classes)} classes, expected one column "
            "a class, or one output for two classes"
        )
    check.inputs("predictions", values)
    return classes[values.argmax(axis=1)]


def accuracy(predictions: ArrayLike, labels: ArrayLike, classes: ArrayLike) -> float:
    """Return the share of the examples whose class is predicted correctly.

    Parameters
    ----------
    predictions : array of shape (n, D), or (n,) for two classes with targets -1 and +1
        Posterior means of the network's outputs.
    labels : array of shape (n,)
        True class labels.
    classes : array of shape (D,)
        What the columns stand for, as `one_hot` gives it.

    Raises
    ------
    ValueError
        If shapes do not match, or a label is none of the classes.

    Examples
    --------
    Three digits as targets of one network of three outputs.

    >>> from sklearn.datasets import load_digits
    >>> from stpbnn import FullyConnected, ProportionalLimitRegressor
    >>> X, digits = load_digits(n_class=3, return_X_y=True)
    >>> y, classes = one_hot(digits[:100])
    >>> model = ProportionalLimitRegressor(FullyConnected((200,), "erf", outputs=3), temperature=0.01)
    >>> prediction = model.fit(X[:100] / 16, y).predict(X[100:] / 16)
    >>> prediction.shape, round(accuracy(prediction, digits[100:], classes), 2)
    ((437, 3), 0.92)
    """
    found, given = predicted_classes(predictions, classes), class_labels("labels", labels)
    if found.shape != given.shape:
        raise ValueError(f"labels: got {len(given)} of them, expected {len(found)}, one for each prediction")
    unknown = np.setdiff1d(given, np.asarray(classes))
    if len(unknown):
        raise ValueError(f"labels: got {unknown.tolist()}, expected labels among {np.asarray(classes).tolist()}")
    return float(np.mean(found == given))
