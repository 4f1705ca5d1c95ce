"""Closed-form classifiers."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from stpbnn import FiniteWidthClassifier, NNGPClassifier, ProportionalLimitClassifier

CLASSIFIERS = [NNGPClassifier, ProportionalLimitClassifier, FiniteWidthClassifier]


@parametrize_with_checks([classifier() for classifier in CLASSIFIERS])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)
