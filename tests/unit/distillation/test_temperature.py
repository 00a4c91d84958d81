"""What the temperature protocol measures, against SciPy and scikit-learn, and how it chooses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, log_loss

from fedkd.distillation.executor import LocalExecutor
from fedkd.distillation.temperature import Setting, choose_setting, judge, settings_of
from fedkd.errors import ConfigError, PayloadError

GRID = settings_of((1, 2, 4))


def random_case(seed: int, samples: int = 50, classes: int = 4, students: int = 3):
    rng = np.random.default_rng(seed)
    teacher_NC = rng.normal(scale=2, size=(samples, classes)).astype(np.float32)
    answers = [
        (teacher_NC + rng.normal(scale=s + 1, size=teacher_NC.shape)).astype(np.float32) for s in range(students)
    ]
    return answers, teacher_NC, rng.integers(0, classes, samples)


@pytest.mark.parametrize("seed", range(3))
def test_measures_are_those_of_scipy_and_scikit_learn(seed):
    students, teacher_NC, labels_N = random_case(seed)
    choice = judge(GRID, students, teacher_NC, labels_N)
    teacher_N, teacher_probs = teacher_NC.argmax(1), softmax(teacher_NC.astype(np.float64), axis=1)
    wrong = teacher_N != labels_N
    assert (choice.samples, choice.classes, choice.labelled) == (50, 4, True)
    assert choice.teacher_accuracy == accuracy_score(labels_N, teacher_N)
    assert choice.teacher_entropy == pytest.approx(entropy(teacher_probs, axis=1).mean())
    for trial, student_NC in zip(choice.trials, students, strict=True):
        student_N, probs = student_NC.argmax(1), softmax(student_NC.astype(np.float64), axis=1)
        assert trial.agreement == accuracy_score(teacher_N, student_N)
        assert trial.divergence == pytest.approx(rel_entr(teacher_probs, probs).sum(1).mean())
        assert trial.entropy == pytest.approx(entropy(probs, axis=1).mean())
        assert trial.accuracy == accuracy_score(labels_N, student_N)
        assert trial.loss == pytest.approx(log_loss(labels_N, probs, labels=range(4)))
        assert trial.accuracy_teacher_right == accuracy_score(labels_N[~wrong], student_N[~wrong])
        assert trial.accuracy_teacher_wrong == accuracy_score(labels_N[wrong], student_N[wrong])
        assert trial.agreement_teacher_wrong == accuracy_score(teacher_N[wrong], student_N[wrong])


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_the_conditioned_shares_add_up(seed):
    students, teacher_NC, labels_N = random_case(seed)
    choice = judge(GRID, students, teacher_NC, labels_N)
    right = choice.teacher_accuracy
    for trial in choice.trials:
        assert trial.accuracy == pytest.approx(
            right * (trial.accuracy_teacher_right or 0) + (1 - right) * (trial.accuracy_teacher_wrong or 0)
        )
        assert trial.agreement == pytest.approx(
            right * (trial.accuracy_teacher_right or 0) + (1 - right) * (trial.agreement_teacher_wrong or 0)
        )


def test_a_teacher_that_is_never_wrong_leaves_nothing_to_condition_on():
    students, teacher_NC, _ = random_case(0)
    for trial in judge(GRID, students, teacher_NC, teacher_NC.argmax(1)).trials:
        assert trial.accuracy_teacher_wrong is trial.agreement_teacher_wrong is None
        assert trial.accuracy == trial.agreement == trial.accuracy_teacher_right


def one_hot(classes_N, scale: float = 5.0):
    return np.float32(scale) * np.eye(3, dtype=np.float32)[np.asarray(classes_N)]


def test_with_labels_the_most_accurate_is_chosen_then_the_lower_loss_then_the_lower_temperature():
    labels_N = np.array([0, 1, 2, 0, 1, 2])
    teacher_NC = one_hot([0, 0, 0, 0, 0, 0])
    like_teacher, better, surer = one_hot([0] * 6), one_hot([0, 1, 2, 0, 1, 0], 2), one_hot([0, 1, 2, 0, 1, 0], 1.5)

    def chosen(*students):
        return judge(GRID, students, teacher_NC, labels_N).temperature

    assert chosen(like_teacher, better, like_teacher) == 2
    assert chosen(surer, better, like_teacher) == 2, "five right with scale 2 lose less than with 1.5"
    assert chosen(like_teacher, better, better) == 2
    assert judge([GRID[2], GRID[1]], [better, better], teacher_NC, labels_N).temperature == 2


def test_without_labels_the_most_alike_is_chosen_then_the_lower_divergence():
    teacher_NC = one_hot([0, 1, 2, 0])
    off = one_hot([0, 1, 2, 1])
    choice = judge(GRID, [off, one_hot([0, 1, 2, 0], 3), one_hot([0, 1, 2, 0], 4)], teacher_NC)
    assert (choice.temperature, choice.labelled, choice.teacher_accuracy) == (4, False, None)
    assert all(
        value is None
        for trial in choice.trials
        for value in (trial.accuracy, trial.loss, trial.accuracy_teacher_right, trial.accuracy_teacher_wrong)
    )
    assert "without labels only the disagreement" in choice.notes[-1]


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(3)))
def test_neither_the_order_of_trials_nor_of_samples_matters(seed, order):
    students, teacher_NC, labels_N = random_case(seed)
    choice = judge(GRID, students, teacher_NC, labels_N)
    rows = np.random.default_rng(seed).permutation(len(labels_N))
    other = judge([GRID[i] for i in order], [students[i][rows] for i in order], teacher_NC[rows], labels_N[rows])
    assert (other.temperature, other.alpha) == (choice.temperature, choice.alpha)
    verdicts = {trial.temperature: trial.verdict for trial in choice.trials}
    assert {trial.temperature: trial.verdict for trial in other.trials} == verdicts


def test_labels_change_nothing_that_does_not_need_them():
    students, teacher_NC, labels_N = random_case(1)
    free = {"agreement", "divergence", "entropy"}
    with_labels, without = (judge(GRID, students, teacher_NC, known).trials for known in (labels_N, None))
    assert [t.model_dump(include=free) for t in with_labels] == [t.model_dump(include=free) for t in without]


def test_a_grid_is_every_temperature_with_every_alpha():
    assert settings_of([1, 4], [1.0, 0.5]) == [(1, 1), (4, 1), (1, 0.5), (4, 0.5)]
    for grid, alphas in (((), (1,)), ((1, 1), (1,)), ((0,), (1,)), ((float("nan"),), (1,)), ((1,), (1.5,)), ((1,), ())):
        with pytest.raises(ConfigError, match="one or more"):
            settings_of(grid, alphas)


def test_what_cannot_be_judged_is_refused():
    students, teacher_NC, labels_N = random_case(0)
    for changed in (
        ([students[0][:9], *students[1:]], teacher_NC, labels_N),
        ([students[0] * np.nan, *students[1:]], teacher_NC, labels_N),
        (students, teacher_NC[0], labels_N),
        (students, teacher_NC, labels_N[:9]),
        (students, teacher_NC, labels_N + 4),
    ):
        with pytest.raises(PayloadError):
            judge(GRID, *changed)
    with pytest.raises(ConfigError, match="one for each of the 2 students"):
        judge(GRID, students[:2], teacher_NC, labels_N)


def test_the_protocol_asks_the_executor_for_one_student_a_setting():
    students, teacher_NC, labels_N = random_case(2)
    asked: list[Setting] = []

    def distil(setting: Setting):
        asked.append(setting)
        return students[GRID.index(setting)]

    choice = choose_setting(distil, GRID, teacher_NC, labels_N, executor=LocalExecutor())
    assert asked == GRID
    assert choice == judge(GRID, students, teacher_NC, labels_N)
