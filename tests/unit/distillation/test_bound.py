"""err(S) ≤ err(T) + P[S ≠ T], over every case there is, and the limits of a disagreement against the binomial."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest

from fedkd.distillation import DistillationConfig, Distiller
from fedkd.distillation.bound import Answered, disagreement_gap, gap_curve, teacher_bound, upper_limit
from fedkd.distillation.executor import LocalExecutor
from fedkd.errors import ConfigError, PayloadError
from fedkd.training.evaluation import predict_logits


def logits(classes_N, num_classes: int = 3):
    return np.eye(num_classes, dtype=np.float32)[np.asarray(classes_N)]


def test_the_bound_and_its_exact_form_hold_for_every_student_teacher_and_truth():
    """All 3^6 cases of two samples and three classes, counted sample by sample."""
    for s, t, y in product(product(range(3), repeat=2), repeat=3):
        found = teacher_bound(logits(s), logits(t), np.array(y))
        cases = list(zip(s, t, y, strict=True))
        assert found.student_error == sum(a != c for a, _, c in cases) / 2
        assert found.teacher_error == sum(b != c for _, b, c in cases) / 2
        assert found.disagreement == sum(a != b for a, b, _ in cases) / 2
        assert found.bound == found.teacher_error + found.disagreement >= found.student_error
        assert found.student_error == found.teacher_error + found.forgotten - found.corrected
        both_wrong_apart = sum(b not in (a, c) and a != c for a, b, c in cases) / 2
        assert found.bound - found.student_error == 2 * found.corrected + both_wrong_apart


def test_the_bound_is_reached_by_a_student_that_only_forgets():
    found = teacher_bound(logits([1, 1, 0, 0]), logits([0, 1, 0, 0]), np.array([0, 0, 0, 0]))
    assert found.student_error == found.bound == 0.5


@pytest.mark.parametrize(
    ("events", "samples", "delta"), [(0, 20, 0.05), (3, 50, 0.05), (49, 50, 0.01), (400, 999, 0.1)]
)
def test_the_limit_is_where_so_few_events_become_as_rare_as_delta(events, samples, delta):
    limit = upper_limit(events, samples, delta)
    assert binom.cdf(events, samples, limit) == pytest.approx(delta)
    test = binomtest(events, samples, alternative="less")
    assert limit == pytest.approx(test.proportion_ci(1 - delta, method="exact").high)


def test_the_limit_is_too_low_no_more_often_than_delta():
    """Summed over all outcomes, not drawn."""
    for probability in (0.01, 0.1, 0.5, 0.93):
        limits = np.array([upper_limit(events, 40, 0.05) for events in range(41)])
        assert binom.pmf(np.arange(41), 40, probability)[limits < probability].sum() <= 0.05
    assert upper_limit(40, 40) == 1.0


def test_the_gap_is_held_out_less_learnt_disagreement():
    point = disagreement_gap(Answered(logits([0, 1, 2, 1]), logits([0, 1, 2, 2]), logits([0, 1]), logits([1, 1])), 0.1)
    assert point == (4, 0.25, 0.5, 0.25, upper_limit(1, 2, 0.1))


def test_more_public_samples_close_the_gap(digits, make_student):
    config = DistillationConfig(epochs=60, batch_size=16, learning_rate=0.01)

    def distil(size: int) -> Answered:
        student, public = make_student(), digits.public.take(torch.arange(size))
        Distiller(student, config).distil(public, seed=0)
        return Answered(
            predict_logits(student, public.images_NCHW),
            public.teacher_logits_NC.numpy(),
            predict_logits(student, digits.test_images_NCHW),
            digits.test_teacher_NC,
        )

    small, large = gap_curve(distil, [20, 500], executor=LocalExecutor())
    assert (small.size, large.size) == (20, 500)
    assert small.gap > 0.15
    assert large.gap < 0.1
    assert large.held_out < large.limit < small.held_out


def test_what_does_not_fit_is_refused():
    with pytest.raises(PayloadError, match="equal"):
        teacher_bound(logits([0]), logits([0, 1]), np.array([0, 1]))
    with pytest.raises(PayloadError, match="labels_N"):
        teacher_bound(logits([0]), logits([0]), np.array([0, 1]))
    for arguments in ((1, 0), (-1, 5), (6, 5), (1, 5, 0.0), (1, 5, 1.0)):
        with pytest.raises(ConfigError):
            upper_limit(*arguments)
    for sizes in ([], [0]):
        with pytest.raises(ConfigError, match="sizes"):
            gap_curve(lambda _: pytest.fail("nothing to distil"), sizes, executor=LocalExecutor())
