"""Class targets and accuracies against scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer

import stpbnn
from stpbnn.classification import accuracy, one_hot, predicted_classes


def test_targets_are_those_of_scikit_learn():
    labels = np.random.default_rng(0).choice(["b", "a", "c"], 20)
    targets, classes = one_hot(labels)
    reference = LabelBinarizer().fit(labels)
    np.testing.assert_array_equal(targets, reference.transform(labels))
    np.testing.assert_array_equal(classes, reference.classes_)
    np.testing.assert_array_equal(predicted_classes(targets, classes), labels)


def test_accuracy_on_digits_is_that_of_each_class_against_the_rest():
    """Without a mean of y the outputs of the infinite network are D regressions: the argmax of them, written out."""
    X, digits = load_digits(n_class=4, return_X_y=True)
    X = X / 16
    train, test = slice(0, 120), slice(120, 320)
    y, classes = one_hot(digits[train])
    net = stpbnn.FullyConnected((50,), "relu", outputs=4)
    several = stpbnn.NNGPRegressor(net, temperature=0.1).fit(X[train], y).predict(X[test])
    one = stpbnn.FullyConnected((50,), "relu")
    fits = [stpbnn.NNGPRegressor(one, temperature=0.1).fit(X[train], digits[train] == c) for c in range(4)]
    alone = [fit.predict(X[test]) for fit in fits]
    expected = accuracy_score(digits[test], np.argmax(alone, axis=0))
    assert accuracy(several, digits[test], classes) == expected > 0.8
    finite = stpbnn.ProportionalLimitRegressor(net, temperature=0.1).fit(X[train], y)
    assert finite.order_parameters_.shape == (4, 4)
    assert accuracy(finite.predict(X[test]), digits[test], classes) > 0.8


def test_a_column_of_text_has_labels():
    column = np.array(["b", "a", "b"], dtype=object)
    targets, classes = one_hot(column)
    assert classes.tolist() == ["a", "b"]
    assert accuracy(targets, column, classes) == 1


def test_two_classes_of_one_output():
    f = np.array([-1.2, 0.3, 0.9, -0.1])
    assert predicted_classes(f, [7, 9]).tolist() == [7, 9, 9, 7]
    assert accuracy(f, [7, 9, 7, 7], [7, 9]) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: one_hot([3, 3]), "labels: got one class only, 3, expected at least two to tell apart; add"),
        (lambda: one_hot([[1, 2]]), r"labels: got shape \(1, 2\)"),
        (lambda: one_hot([1.0, np.nan]), "expected finite numbers or text"),
        (lambda: predicted_classes(np.ones((3, 2)), [0, 1, 2]), "expected one column a class"),
        (lambda: predicted_classes([0.5], [0, 1, 2]), "one output for two classes"),
        (lambda: predicted_classes([[np.nan, 1.0]], [0, 1]), "predictions: got 1 NaN or infinite value"),
        (lambda: accuracy([0.5, 1.0], [0], [0, 1]), "labels: got 1 of them, expected 2"),
        (lambda: accuracy([0.5, 1.0], [0, 5], [0, 1]), r"labels: got \[5\], expected labels among \[0, 1\]"),
    ],
)
def test_mistakes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
