"""Logit adjustment against scipy and scikit-learn in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from fedkd.losses import class_log_prior, logit_adjusted_cross_entropy
from fedkd.seeding import numpy_rng


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.sampled_from([0.001, 0.01, 0.5]))
def test_prior_is_the_log_of_each_class_share_plus_eps(labels, eps):
    prior_C = class_log_prior(torch.bincount(torch.tensor(labels), minlength=6), eps)
    expected = np.log(np.array([labels.count(c) for c in range(6)]) / len(labels) + eps)
    np.testing.assert_allclose(prior_C.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_absent_classes_have_the_log_of_eps():
    prior_C = class_log_prior(torch.tensor([0, 3, 0]), eps=0.01)
    np.testing.assert_allclose(prior_C.numpy(), np.log([0.01, 1.01, 0.01]), rtol=1e-6)


def test_loss_agrees_with_scikit_learn():
    rng = numpy_rng(0, "logits")
    logits_NC, labels_N = rng.normal(scale=3, size=(50, 4)), rng.integers(0, 3, size=50)
    prior_C = class_log_prior(torch.from_numpy(labels_N).bincount(minlength=4))
    loss = logit_adjusted_cross_entropy(torch.from_numpy(logits_NC), torch.from_numpy(labels_N), prior_C)
    shares = np.bincount(labels_N, minlength=4) / 50
    probs_NC = softmax(logits_NC + np.log(shares + 0.01), axis=1)
    assert float(loss) == pytest.approx(log_loss(labels_N, probs_NC, labels=[0, 1, 2, 3]), rel=1e-6)


def test_a_uniform_prior_leaves_cross_entropy_as_it_is():
    logits_NC = torch.from_numpy(numpy_rng(0, "logits").normal(size=(6, 3)))
    labels_N = torch.tensor([0, 1, 2, 0, 1, 2])
    loss = logit_adjusted_cross_entropy(logits_NC, labels_N, class_log_prior(labels_N.bincount(minlength=3)).double())
    expected = torch.nn.functional.cross_entropy(logits_NC, labels_N)
    assert float(loss) == pytest.approx(float(expected), rel=1e-12)


def test_the_best_constant_logits_no_longer_hold_the_prior():
    """With z + log prior, constant logits that fit a 9:1 set are equal: the prior explains the skew."""
    labels_N = torch.tensor([0] * 90 + [1] * 10)
    logits_C = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    prior_C = class_log_prior(labels_N.bincount(minlength=2), eps=1e-12).double()
    (gradient,) = torch.autograd.grad(
        logit_adjusted_cross_entropy(logits_C.expand(100, 2), labels_N, prior_C), logits_C
    )
    np.testing.assert_allclose(gradient.numpy(), 0.0, atol=1e-7)
