"""Metrics against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import f1_score, top_k_accuracy_score

from fedkd.config.experiment import RunConfig
from fedkd.errors import ConfigError
from fedkd.parts import PartConfig
from fedkd.training.metrics import calibration_error, macro_f1, measure, top_k_accuracy

RNG = np.random.default_rng(0)
LOGITS_NC = RNG.normal(size=(200, 7)).astype(np.float32)
LABELS_N = RNG.integers(0, 7, size=200)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_top_k_accuracy_is_scikit_learns(k) -> None:
    expected = top_k_accuracy_score(LABELS_N, LOGITS_NC, k=k, labels=range(7))
    assert top_k_accuracy(LOGITS_NC, LABELS_N, k=k) == pytest.approx(expected)


def test_macro_f1_is_the_mean_of_each_class_against_the_rest() -> None:
    chosen_N = LOGITS_NC.argmax(axis=1)
    each = [f1_score(np.equal(LABELS_N, label), np.equal(chosen_N, label)) for label in range(7)]
    assert macro_f1(LOGITS_NC, LABELS_N) == pytest.approx(np.mean(each))


def test_macro_f1_of_classes_that_are_never_right_is_zero() -> None:
    """All choose class 0, half of them rightly: precision 1/2, recall 1, F1 2/3; class 1 has 0; class 2 is absent."""
    logits_NC = np.tile(np.array([1, 0, 0], dtype=np.float32), (4, 1))
    assert macro_f1(logits_NC, np.array([0, 0, 1, 1])) == pytest.approx((2 / 3 + 0) / 2)


def test_the_calibration_error_by_hand() -> None:
    """Two bins. Confidence 0.8 on four samples of which one is right, 0.4 of three classes on one that is right:
    (4·|1/4 − 0.8| + |1 − 0.4|) / 5 = 0.56.
    """
    sure, unsure = np.log([0.8, 0.1, 0.1]), np.log([0.4, 0.3, 0.3])
    logits_NC = np.stack([sure] * 4 + [unsure]).astype(np.float32) + 5
    assert calibration_error(logits_NC, np.array([0, 1, 2, 1, 0]), bins=2) == pytest.approx(0.56, rel=1e-5)


def test_gaps_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    """At 0.9 one of two is right, at 0.6 two of two: |0.5 − 0.9| and |1 − 0.6| on halves; in one bin they cancel."""
    logits_NC = np.log([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]).astype(np.float32)
    labels_N = np.array([0, 1, 0, 0])
    assert calibration_error(logits_NC, labels_N, bins=1) == pytest.approx(0.0, abs=1e-6)
    assert calibration_error(logits_NC, labels_N, bins=10) == pytest.approx(0.4, rel=1e-5)


def worst_class(logits_NC, labels_N, floor: float = 0.0) -> float:
    right_N = logits_NC.argmax(axis=1) == labels_N
    return max(floor, min(float(right_N[labels_N == label].mean()) for label in set(labels_N)))


def nan(logits_NC, labels_N) -> float:
    return math.nan


def text(logits_NC, labels_N) -> str:
    return "good"


def test_values_are_named_by_model_metric_and_arguments() -> None:
    values = ["macro_f1", {"name": "top_k_accuracy", "k": 2}, {"name": f"{__name__}:worst_class", "floor": 0.5}]
    measured = measure([PartConfig.model_validate(value) for value in values], "student", LOGITS_NC, LABELS_N)
    assert measured == {
        "student/macro_f1": macro_f1(LOGITS_NC, LABELS_N),
        "student/top_k_accuracy(k=2)": top_k_accuracy(LOGITS_NC, LABELS_N, k=2),
        "student/worst_class(floor=0.5)": 0.5,
    }


@pytest.mark.parametrize(("name", "given"), [("nan", "nan"), ("text", "'good'")])
def test_what_is_no_finite_number_is_refused(name, given) -> None:
    with pytest.raises(ConfigError, match=f"run.metrics = .*{name}' .* a finite number; this returns {given}"):
        measure([PartConfig(name=f"{__name__}:{name}")], "student", LOGITS_NC, LABELS_N)


@pytest.mark.parametrize(
    ("metrics", "match"),
    [
        (["macro_f2"], "did you mean 'macro_f1'"),
        ([{"name": "top_k_accuracy", "k": 0}], "k = 0"),
        (["macro_f1", "macro_f1"], "each metric once; these are macro_f1, macro_f1"),
        (["math:floor"], "called with 2 values"),
    ],
    ids=str,
)
def test_what_is_no_metric_is_refused_with_the_section(metrics, match) -> None:
    with pytest.raises(ValidationError, match=match):
        RunConfig.model_validate({"metrics": metrics})
