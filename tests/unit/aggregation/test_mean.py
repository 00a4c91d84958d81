"""The means, each against its formula in scipy or torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp, softmax
from scipy.stats import entropy, gmean

from fedkd.aggregation.mean import ConfidenceWeighted, MeanLogits, MeanProbabilities

LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(2, 6)),
    elements=st.floats(-30, 30, width=32),
)
property_test = settings(deadline=None, max_examples=30)


@property_test
@given(LOGITS)
def test_mean_logits_agrees_with_torch(logits_KNC):
    expected = torch.from_numpy(logits_KNC).double().mean(dim=0).numpy()
    np.testing.assert_allclose(MeanLogits()(logits_KNC), expected, rtol=1e-6, atol=1e-6)


@property_test
@given(LOGITS)
def test_mean_logits_is_the_geometric_mean_of_distributions(logits_KNC):
    expected = gmean(softmax(logits_KNC.astype(np.float64), axis=2), axis=0)
    np.testing.assert_allclose(
        softmax(MeanLogits()(logits_KNC).astype(np.float64), axis=1),
        expected / expected.sum(axis=1, keepdims=True),
        rtol=1e-4,
    )


@property_test
@given(LOGITS)
def test_mean_probabilities_is_the_log_of_the_mixture(logits_KNC):
    log_probs = torch.log_softmax(torch.from_numpy(logits_KNC).double(), dim=2).numpy()
    expected = logsumexp(log_probs, axis=0) - np.log(len(logits_KNC))
    np.testing.assert_allclose(MeanProbabilities()(logits_KNC), expected, rtol=1e-5, atol=1e-6)


@property_test
@given(LOGITS)
def test_confidence_weights_are_one_minus_the_normalised_entropy_plus_the_floor(logits_KNC):
    num_classes = logits_KNC.shape[2]
    entropy_KN = entropy(softmax(logits_KNC.astype(np.float64), axis=2), axis=2, base=num_classes)
    expected = np.stack(
        [
            np.average(logits_KNC[:, n], axis=0, weights=np.maximum(1 - entropy_KN[:, n], 0) + 1e-3)
            for n in range(logits_KNC.shape[1])
        ]
    )
    np.testing.assert_allclose(ConfidenceWeighted()(logits_KNC), expected, rtol=1e-5, atol=1e-5)


def test_a_client_sure_against_a_class_vetoes_it_among_logits_but_not_among_probabilities():
    logits_KNC = np.array([[[2.0, 0.0]], [[2.0, 0.0]], [[-50.0, 0.0]]], np.float32)
    assert MeanLogits()(logits_KNC).argmax() == 1
    assert MeanProbabilities()(logits_KNC).argmax() == 0


def test_a_sure_client_outweighs_unsure_ones():
    logits_KNC = np.array([[[8.0, 0.0, 0.0]], [[0.0, 0.1, 0.0]], [[0.0, 0.1, 0.0]]], np.float32)
    weighted, plain = ConfidenceWeighted()(logits_KNC), MeanLogits()(logits_KNC)
    assert weighted[0, 0] > 0.95 * 8
    assert plain[0, 0] == pytest.approx(8 / 3)


def test_clients_that_know_nothing_are_averaged_thanks_to_the_floor():
    logits_KNC = np.array([[[1.0, 1.0]], [[3.0, 3.0]]], np.float32)
    np.testing.assert_allclose(ConfidenceWeighted()(logits_KNC), [[2.0, 2.0]], rtol=1e-6)


def test_a_class_no_client_believes_in_stays_finite():
    logits_KNC = np.array([[[0.0, -1e6]], [[0.0, -1e6]]], np.float32)
    teacher = MeanProbabilities()(logits_KNC)
    assert teacher[0, 0] == 0.0
    assert -710 < teacher[0, 1] < -700, "the log of the smallest normal float64"
