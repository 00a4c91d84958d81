"""What the trials of a grid are said to show, on answers made to show it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.distillation.diagnosis import shortfall
from fedkd.distillation.temperature import Setting, judge, settings_of

SAMPLES, CLASSES = 400, 3
LABELS_N = np.arange(SAMPLES) % CLASSES
TEACHER_N = np.where(np.arange(SAMPLES) < 300, LABELS_N, (LABELS_N + 1) % CLASSES)
"""Right on the first 300 samples, wrong on the last 100."""


def logits(classes_N, scale: float = 5.0):
    return np.float32(scale) * np.eye(CLASSES, dtype=np.float32)[classes_N]


def student(right_where_right: int, right_where_wrong: int, copied: int, scale: float = 5.0):
    """Logits of a student that is right on so many samples where its teacher is, and of the 100 others right on some
    and copies the mistake on some; it has the third class elsewhere.
    """
    third_N = (LABELS_N + 2) % CLASSES
    answers_N = third_N.copy()
    answers_N[:right_where_right] = LABELS_N[:right_where_right]
    answers_N[300 : 300 + right_where_wrong] = LABELS_N[300 : 300 + right_where_wrong]
    last = slice(300 + right_where_wrong, 300 + right_where_wrong + copied)
    answers_N[last] = TEACHER_N[last]
    return logits(answers_N, scale)


COPIES = student(300, 2, 98)
CHOSEN = student(298, 40, 60)
BLURRED = student(220, 30, 30, scale=1.0)
TEACHER_NC = logits(TEACHER_N)


def verdicts(students, grid=(1, 2, 4), labels_N=LABELS_N):
    choice = judge(settings_of(grid), students, TEACHER_NC, labels_N)
    return choice, [trial.verdict for trial in choice.trials]


def test_too_low_copies_the_teachers_mistakes_and_too_high_is_in_doubt():
    choice, found = verdicts([COPIES, CHOSEN, BLURRED])
    assert found == ["too low", "chosen", "too high"]
    low, _, high = choice.trials
    assert (low.agreement, low.accuracy_teacher_wrong, low.agreement_teacher_wrong) == (0.995, 0.02, 0.98)
    assert low.evidence.startswith("accuracy 9.00 ± ")
    assert "below T = 2; agreement 99.5 %; right on 2.0 % of what the teacher has wrong" in low.evidence
    assert high.entropy > choice.trials[1].entropy
    assert [note.split(":")[0] for note in choice.notes] == ["T = 1 is too low", "T = 4 is too high"]
    assert choice.why == "its student is right most often: on 84.50 % of 400 held-out samples"


def test_a_low_temperature_that_is_worse_but_less_alike_is_only_worse():
    assert verdicts([student(250, 10, 30), CHOSEN, BLURRED])[1][0] == "worse"


def test_a_high_temperature_that_is_worse_but_as_sure_is_only_worse():
    assert verdicts([COPIES, CHOSEN, student(220, 30, 30)])[1][2] == "worse"


def test_another_alpha_is_worse_without_a_word_on_the_temperature():
    grid = [Setting(1, 0.5), Setting(2, 1.0), Setting(4, 0.5)]
    choice = judge(grid, [COPIES, CHOSEN, BLURRED], TEACHER_NC, LABELS_N)
    assert [trial.verdict for trial in choice.trials] == ["worse", "chosen", "worse"]
    assert choice.notes == ()


def test_what_chance_may_have_made_is_as_good():
    choice, found = verdicts([student(297, 40, 60), CHOSEN, student(298, 38, 62)])
    assert found == ["as good", "chosen", "as good"]
    assert choice.why.endswith("; T = 1, T = 4 cannot be told from it")


def test_a_choice_at_an_end_of_the_grid_says_so():
    assert (
        verdicts([CHOSEN, BLURRED], (1, 2))[0].notes[-1]
        == "T = 1 is the smallest of the grid: a smaller one may be better"
    )
    assert (
        verdicts([COPIES, CHOSEN], (1, 2))[0].notes[-1]
        == "T = 2 is the largest of the grid: a larger one may be better"
    )
    assert verdicts([CHOSEN], (1,))[0].notes == ()


def test_without_labels_too_high_is_seen_and_the_copying_student_is_chosen():
    choice, found = verdicts([COPIES, CHOSEN, BLURRED], labels_N=None)
    assert choice.temperature == 1, "this is what cannot be helped without labels"
    assert found == ["chosen", "worse", "too high"]
    assert choice.why.startswith("its student agrees with the teacher most often: on 99.50 % of 400")


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_without_labels_nothing_is_ever_too_low(seed):
    rng = np.random.default_rng(seed)
    students = [rng.normal(size=(SAMPLES, CLASSES)).astype(np.float32) + f * TEACHER_NC for f in (0.1, 0.3, 0.2)]
    assert "too low" not in verdicts(students, labels_N=None)[1]


def test_the_standard_error_is_that_of_the_paired_difference():
    rng = np.random.default_rng(0)
    first, second = rng.random(1000) < 0.7, rng.random(1000) < 0.8
    found = shortfall(first, second)
    means = [(second[rows].mean() - first[rows].mean()) for rows in (rng.integers(0, 1000, 1000) for _ in range(2000))]
    assert found.mean == pytest.approx(second.mean() - first.mean())
    assert found.error == pytest.approx(np.std(means), rel=0.1), "the bootstrap's"
    assert shortfall(first, first).error == 0
