"""The distiller on scikit-learn's digits: it teaches, repeats itself, and leaves alone what is not its own."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from fedkd.distillation import DistillationConfig, Distiller, ObjectiveConfig, PublicBatch
from fedkd.errors import ConfigError
from fedkd.losses.kd import SOFT_LOSSES
from fedkd.records import Distillation
from fedkd.training.evaluation import predict_logits, score

FAST = DistillationConfig(epochs=3, batch_size=64, learning_rate=0.01)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_student_answers_like_its_teacher_where_neither_was_shown_the_digits(digits, temperature, make_student):
    student = make_student()
    config = DistillationConfig(epochs=12, learning_rate=0.005)
    unlabelled = PublicBatch(digits.public.images_NCHW, digits.public.teacher_logits_NC)
    config = config.model_copy(update={"objective": ObjectiveConfig(temperature=temperature)})
    report = Distiller(student, config).distil(unlabelled, seed=0)
    answers_NC = predict_logits(student, digits.test_images_NCHW)
    agreement = (answers_NC.argmax(axis=1) == digits.test_teacher_NC.argmax(axis=1)).mean()
    assert agreement > 0.9
    assert report.agreement > 0.97
    assert report.last_loss < 0.1 * report.first_loss
    teacher_accuracy = score(digits.test_teacher_NC, digits.test_labels_N).accuracy
    assert teacher_accuracy > 0.8, "a teacher worth following"
    assert score(answers_NC, digits.test_labels_N).accuracy > teacher_accuracy - 0.05


@pytest.mark.parametrize("loss", SOFT_LOSSES)
def test_every_soft_loss_brings_the_student_closer(loss, small, make_student):
    config = DistillationConfig(epochs=15, learning_rate=0.01, objective=ObjectiveConfig(loss=loss))
    report = Distiller(make_student(), config).distil(small, seed=0)
    assert report.epochs == 15
    assert report.last_loss < 0.5 * report.first_loss
    assert report.agreement > 0.8


def test_the_report_is_measured_on_the_student_as_it_leaves(small, make_student):
    student = make_student()
    report = Distiller(student, FAST).distil(small, seed=0)
    agreement = (
        predict_logits(student, small.images_NCHW).argmax(1) == small.teacher_logits_NC.argmax(1).numpy()
    ).mean()
    assert report.agreement == agreement
    assert (report.epochs, report.stopped_early) == (3, False)


def test_the_seed_decides_the_bits(small, make_student, same_bits):
    students = [make_student(dropout=0.5) for _ in range(3)]
    reports = [
        Distiller(s, FAST.model_copy(update={"holdout_fraction": 0.2})).distil(small, seed)
        for s, seed in zip(students, (3, 3, 4), strict=True)
    ]
    assert same_bits(students[0], students[1])
    assert reports[0] == reports[1]
    assert not same_bits(students[0], students[2])


def test_the_global_generators_are_neither_read_nor_moved(small, make_student, same_bits):
    saved = torch.get_rng_state()
    try:
        students = [make_student(dropout=0.5) for _ in range(2)]
        for global_seed, student in enumerate(students):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
            Distiller(student, FAST).distil(small, seed=0)
            assert torch.equal(torch.get_rng_state(), before[0])
            assert random.getstate() == before[1]
            assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002
        assert same_bits(*students)
    finally:
        torch.set_rng_state(saved)


def test_no_epochs_leave_the_student_untouched_and_measure_it(small, make_student, same_bits):
    student = make_student()
    report = Distiller(student, DistillationConfig(epochs=0, holdout_fraction=0.5, patience=1)).distil(small, seed=0)
    assert same_bits(student, make_student())
    assert report == Distillation(epochs=0, first_loss=0.0, last_loss=0.0, agreement=report.agreement)
    assert 0 <= report.agreement < 0.5, "an untrained student agrees by chance"


def test_a_kept_optimizer_remembers_and_a_fresh_one_does_not(small, make_student, same_bits):
    students = {keep: make_student() for keep in (True, False)}
    distillers = {keep: Distiller(student, FAST, keep_optimizer=keep) for keep, student in students.items()}
    for distiller in distillers.values():
        distiller.distil(small, seed=0)
    assert same_bits(students[True], students[False]), "in the first round there is nothing to remember"
    for distiller in distillers.values():
        distiller.distil(small, seed=1)
    assert not same_bits(students[True], students[False])


def weights_of(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def only_the_first_step(optimizer: torch.optim.Optimizer, num_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The whole rate for one of the steps of this call, and then none."""
    assert num_steps == 3 * 4, "200 samples in batches of 64, three times"
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: float(done == 0))


def not_in_round_two(server_round: int, num_rounds: int) -> float:
    assert num_rounds == 4
    return 1.0 if server_round != 2 else 0.0


@pytest.mark.parametrize("keep", [True, False])
def test_schedules_begin_anew_with_each_call_and_know_the_round(keep, small, make_student):
    """SGD without momentum: each call moves the weights by one step, and not at all in the round of factor 0."""
    part = {"optimizer": "sgd", "momentum": 0.0, "schedule": f"{__name__}:only_the_first_step"}
    config = FAST.model_validate(FAST.model_dump() | part | {"round_schedule": f"{__name__}:not_in_round_two"})
    student = make_student()
    distiller = Distiller(student, config, keep_optimizer=keep)
    moved = []
    for server_round in (1, 2, 3):
        before = weights_of(student)
        distiller.distil(small, seed=server_round, server_round=server_round, num_rounds=4)
        moved.append(float((weights_of(student) - before).norm()))
    assert moved[1] == 0.0
    assert min(moved[0], moved[2]) > 0.0


def test_a_fresh_optimizer_goes_on_like_a_new_distiller(small, make_student, same_bits):
    student, other = make_student(), make_student()
    distiller = Distiller(student, FAST)
    for seed in range(2):
        distiller.distil(small, seed)
        Distiller(other, FAST).distil(small, seed)
    assert same_bits(student, other)


def test_labels_correct_a_wrong_teacher_where_alpha_is_below_one(small, make_student):
    wrong = PublicBatch(small.images_NCHW, small.teacher_logits_NC.roll(1, dims=1), small.labels_N)
    accuracies = {}
    for alpha in (0.0, 1.0):
        student = make_student()
        config = DistillationConfig(epochs=10, learning_rate=0.01, objective=ObjectiveConfig(alpha=alpha))
        Distiller(student, config).distil(wrong, seed=0)
        accuracies[alpha] = score(predict_logits(student, small.images_NCHW), small.labels_N.numpy()).accuracy
    assert accuracies[0.0] > 0.9
    assert accuracies[1.0] < 0.2


def test_alpha_below_one_without_labels_is_refused(small, make_student):
    unlabelled = PublicBatch(small.images_NCHW, small.teacher_logits_NC)
    with pytest.raises(ConfigError, match=r"alpha = 0.5 is not allowed: 1 where labels_N is None"):
        Distiller(make_student(), DistillationConfig(objective=ObjectiveConfig(alpha=0.5))).distil(unlabelled, seed=0)


def test_the_first_loss_is_the_loss_of_the_first_epoch(small, make_student):
    """One batch, one epoch: what is reported is the mixed loss of the untouched student in training mode."""
    student = make_student()
    logits_NC = make_student().train()(small.images_NCHW).detach().double()
    teacher_NC = small.teacher_logits_NC.double()
    soft = nn.KLDivLoss(reduction="batchmean", log_target=True)(
        (logits_NC / 3).log_softmax(1), (teacher_NC / 3).log_softmax(1)
    )
    expected = 0.25 * nn.CrossEntropyLoss()(logits_NC, small.labels_N).item() + 0.75 * 9 * soft.item()
    config = DistillationConfig(epochs=1, batch_size=200, objective=ObjectiveConfig(temperature=3.0, alpha=0.75))
    report = Distiller(student, config).distil(small, seed=0)
    assert report.first_loss == report.last_loss == pytest.approx(expected, rel=1e-5)


def test_the_gradient_norm_bounds_a_step(small, make_student):
    student = make_student()
    config = DistillationConfig(
        epochs=1, batch_size=200, optimizer="sgd", learning_rate=1.0, momentum=0.0, max_grad_norm=0.01
    )
    Distiller(student, config).distil(small, seed=0)
    before, after = (nn.utils.parameters_to_vector(m.parameters()).detach() for m in (make_student(), student))
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_smoothed_labels_take_the_place_of_hard_ones(small, make_student):
    logits_NC = make_student().train()(small.images_NCHW).detach()
    expected = nn.CrossEntropyLoss(label_smoothing=0.3)(logits_NC, small.labels_N).item()
    config = DistillationConfig(epochs=1, batch_size=200, objective=ObjectiveConfig(alpha=0.0, label_smoothing=0.3))
    report = Distiller(make_student(), config).distil(small, seed=0)
    assert report.first_loss == pytest.approx(expected, rel=1e-5)
