"""Prediction and scores; scikit-learn is the independent source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, recall_score
from torch import nn

from fedkd.seeding import numpy_rng, torch_rng
from fedkd.training.evaluation import agreement, balanced_accuracy, confusion, predict_logits, score


@pytest.mark.parametrize("num_classes", [2, 10])
def test_score_agrees_with_scikit_learn(num_classes):
    rng = numpy_rng(0, num_classes)
    logits_NC = rng.normal(scale=4, size=(200, num_classes)).astype(np.float32)
    labels_N = rng.integers(0, num_classes, size=200)
    result = score(logits_NC, labels_N)
    probs_NC = softmax(logits_NC.astype(np.float64), axis=1)
    assert result.accuracy == accuracy_score(labels_N, logits_NC.argmax(axis=1))
    assert result.loss == pytest.approx(log_loss(labels_N, probs_NC, labels=range(num_classes)), rel=1e-9)


@pytest.mark.parametrize("absent", [(), (1, 3)], ids=["all classes", "two never occur"])
def test_balanced_accuracy_is_the_mean_recall_of_scikit_learn(absent):
    rng = numpy_rng(0, "balanced")
    present = [label for label in range(5) if label not in absent]
    labels_N = rng.choice(present, size=300, p=np.arange(1, len(present) + 1) / sum(range(1, len(present) + 1)))
    logits_NC = rng.normal(size=(300, 5)).astype(np.float32)
    logits_NC[np.arange(300), labels_N] += labels_N
    choices_N = logits_NC.argmax(axis=1)
    expected = recall_score(labels_N, choices_N, labels=present, average="macro")
    assert balanced_accuracy(logits_NC, labels_N) == pytest.approx(expected, rel=1e-12)
    assert abs(expected - accuracy_score(labels_N, choices_N)) > 0.01


def test_a_frequent_class_does_not_hide_a_rare_one():
    """Nine of ten right of class 0, none of two of class 1: (0.9 + 0) / 2."""
    labels_N = np.array([0] * 10 + [1] * 2)
    logits_NC = np.eye(2, dtype=np.float32)[[0] * 9 + [1] + [0] * 2]
    assert balanced_accuracy(logits_NC, labels_N) == pytest.approx(0.45)
    assert score(logits_NC, labels_N).accuracy == pytest.approx(0.75)


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
LOGITS = hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=FINITE)


@settings(deadline=None, max_examples=30)
@given(LOGITS, st.integers(0, 1))
def test_score_is_finite_and_counts_the_largest_logit_for_all_finite_logits(logits_NC, label):
    labels_N = np.full(len(logits_NC), label)
    result = score(logits_NC, labels_N)
    assert result.accuracy == accuracy_score(labels_N, logits_NC.argmax(axis=1))
    assert np.isfinite(result.loss)
    assert result.loss >= 0


def test_logits_that_differ_by_less_than_rounding_of_the_loss_still_rank():
    assert score(np.array([[1e-30, 2e-30]], np.float32), np.array([1])).accuracy == 1.0


def test_ties_go_to_the_lowest_class():
    logits_NC = np.array([[1, 1, 0], [0, 1, 1]], dtype=np.float32)
    assert score(logits_NC, np.array([0, 1])).accuracy == 1.0
    assert score(logits_NC, np.array([1, 2])).accuracy == 0.0


def test_equal_logits_lose_the_log_of_the_number_of_classes():
    assert score(np.full((3, 7), 1e4, np.float32), np.array([0, 3, 6])).loss == pytest.approx(np.log(7))


@pytest.mark.parametrize("batch_size", [1, 4, 21, 512])
def test_batching_changes_nothing_beyond_rounding(batch_size, make_model, problem):
    model = make_model(batch_norm=True, dropout=0.5)
    logits_NC = predict_logits(model, problem[0], batch_size)
    assert logits_NC.shape == (21, 3)
    assert logits_NC.dtype == np.float32
    with torch.no_grad():
        expected = model.eval()(problem[0]).numpy()
    np.testing.assert_allclose(logits_NC, expected, rtol=1e-5, atol=1e-6)


def test_evaluation_mode_is_used_and_statistics_stay(make_model, problem):
    model = make_model(batch_norm=True, dropout=0.5).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first, second = (predict_logits(model, problem[0]) for _ in range(2))
    assert np.array_equal(first, second), "dropout was drawn"
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not model.training


def test_logits_of_half_precision_models_come_as_float32():
    images = torch.randn(3, 1, 4, 4, generator=torch_rng(0)).bfloat16()
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2).bfloat16())
    assert predict_logits(model, images).dtype == np.float32


def test_confusion_and_agreement_are_scikit_learns():
    rng = numpy_rng(0, "confusion")
    student_NC, teacher_NC = (rng.normal(size=(300, 7)).astype(np.float32) for _ in range(2))
    labels_N = rng.integers(0, 5, size=300)  # two classes occur in answers only
    counted = confusion(student_NC, teacher_NC, labels_N)
    student_N, teacher_N = student_NC.argmax(axis=1), teacher_NC.argmax(axis=1)
    for matrix, rows_N, columns_N in (
        (counted.student, labels_N, student_N),
        (counted.ensemble_teacher, labels_N, teacher_N),
        (counted.student_teacher, teacher_N, student_N),
    ):
        np.testing.assert_array_equal(matrix, confusion_matrix(rows_N, columns_N, labels=range(7)))
    assert agreement(student_NC, teacher_NC) == accuracy_score(student_N, teacher_N)


def test_confusion_leaves_out_who_is_not_there():
    logits_NC, labels_N = np.eye(3, dtype=np.float32), np.arange(3)
    assert confusion(None, None, labels_N) is None
    alone = confusion(None, logits_NC, labels_N)
    assert (alone.student, alone.student_teacher) == (None, None)
    assert alone.ensemble_teacher == ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def test_confusion_of_more_than_a_hundred_classes_is_not_counted():
    assert confusion(np.zeros((1, 100), np.float32), None, np.zeros(1, int)) is not None
    assert confusion(np.zeros((1, 101), np.float32), None, np.zeros(1, int)) is None
