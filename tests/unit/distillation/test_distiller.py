"""The distiller on scikit-learn's digits, with a teacher that was trained on them."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from fedkd.distillation import DistillationConfig, Distiller
from fedkd.distillation.distiller import PublicBatch
from fedkd.losses.kd import SOFT_LOSSES
from fedkd.records import Distillation
from fedkd.seeding import derive_seed, isolated_torch_rng
from fedkd.training.config import TrainingConfig
from fedkd.training.evaluation import predict_logits, score
from fedkd.training.loop import train_supervised

FAST = DistillationConfig(epochs=3, batch_size=64, learning_rate=0.01)


def make_student(seed: int = 1, dropout: float = 0.0) -> nn.Module:
    with isolated_torch_rng(seed):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10)
        )


def same_bits(first: nn.Module, second: nn.Module) -> bool:
    left, right = first.state_dict(), second.state_dict()
    return all(torch.equal(left[key], right[key]) for key in left)


class Digits(NamedTuple):
    """1,000 public digits with the teacher's answers and true classes, and 400 digits nobody learnt from."""

    public: PublicBatch
    test_images_NCHW: Tensor
    test_labels_N: np.ndarray
    test_teacher_NC: np.ndarray


@pytest.fixture(scope="module")
def digits() -> Digits:
    images, labels = load_digits(return_X_y=True)
    images_NCHW = torch.from_numpy(images / 16).float().reshape(-1, 1, 8, 8)
    labels_N = torch.from_numpy(labels).long()
    with isolated_torch_rng(0):
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    config = TrainingConfig(epochs=15, optimizer="adam", learning_rate=0.005)
    train_supervised(teacher, images_NCHW[:397], labels_N[:397], config, num_classes=10, seed=0)
    public_NCHW, test_NCHW = images_NCHW[397:1397], images_NCHW[1397:]
    return Digits(
        PublicBatch(public_NCHW, torch.from_numpy(predict_logits(teacher, public_NCHW)), labels_N[397:1397]),
        test_NCHW,
        labels_N[1397:].numpy(),
        predict_logits(teacher, test_NCHW),
    )


@pytest.fixture
def small(digits) -> PublicBatch:
    return digits.public.take(torch.arange(200))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_student_answers_like_its_teacher_where_neither_was_shown_the_digits(digits, temperature):
    student = make_student()
    config = DistillationConfig(epochs=12, learning_rate=0.005)
    unlabelled = PublicBatch(digits.public.images_NCHW, digits.public.teacher_logits_NC)
    report = Distiller(student, config, temperature=temperature).distil(unlabelled, seed=0)
    answers_NC = predict_logits(student, digits.test_images_NCHW)
    agreement = (answers_NC.argmax(axis=1) == digits.test_teacher_NC.argmax(axis=1)).mean()
    assert agreement > 0.9
    assert report.agreement > 0.97
    assert report.last_loss < 0.1 * report.first_loss
    teacher_accuracy = score(digits.test_teacher_NC, digits.test_labels_N).accuracy
    assert teacher_accuracy > 0.8, "a teacher worth following"
    assert score(answers_NC, digits.test_labels_N).accuracy > teacher_accuracy - 0.05


@pytest.mark.parametrize("loss", SOFT_LOSSES)
def test_every_soft_loss_brings_the_student_closer(loss, small):
    config = DistillationConfig(epochs=15, learning_rate=0.01, loss=loss)
    report = Distiller(make_student(), config).distil(small, seed=0)
    assert report.epochs == 15
    assert report.last_loss < 0.5 * report.first_loss
    assert report.agreement > 0.8


def test_the_report_is_measured_on_the_student_as_it_leaves(small):
    student = make_student()
    report = Distiller(student, FAST).distil(small, seed=0)
    agreement = (
        predict_logits(student, small.images_NCHW).argmax(1) == small.teacher_logits_NC.argmax(1).numpy()
    ).mean()
    assert report.agreement == agreement
    assert (report.epochs, report.stopped_early) == (3, False)


def test_the_seed_decides_the_bits(small):
    students = [make_student(dropout=0.5) for _ in range(3)]
    reports = [
        Distiller(s, FAST, holdout_fraction=0.2).distil(small, seed)
        for s, seed in zip(students, (3, 3, 4), strict=True)
    ]
    assert same_bits(students[0], students[1])
    assert reports[0] == reports[1]
    assert not same_bits(students[0], students[2])


def test_the_global_generators_are_neither_read_nor_moved(small):
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


def test_no_epochs_leave_the_student_untouched_and_measure_it(small):
    student = make_student()
    report = Distiller(student, DistillationConfig(epochs=0), holdout_fraction=0.5, patience=1).distil(small, seed=0)
    assert same_bits(student, make_student())
    assert report == Distillation(epochs=0, first_loss=0.0, last_loss=0.0, agreement=report.agreement)
    assert 0 <= report.agreement < 0.5, "an untrained student agrees by chance"


def test_a_kept_optimizer_remembers_and_a_fresh_one_does_not(small):
    students = {keep: make_student() for keep in (True, False)}
    distillers = {keep: Distiller(student, FAST, keep_optimizer=keep) for keep, student in students.items()}
    for distiller in distillers.values():
        distiller.distil(small, seed=0)
    assert same_bits(students[True], students[False]), "in the first round there is nothing to remember"
    for distiller in distillers.values():
        distiller.distil(small, seed=1)
    assert not same_bits(students[True], students[False])


def test_a_fresh_optimizer_goes_on_like_a_new_distiller(small):
    student, other = make_student(), make_student()
    distiller = Distiller(student, FAST)
    for seed in range(2):
        distiller.distil(small, seed)
        Distiller(other, FAST).distil(small, seed)
    assert same_bits(student, other)


class Watching(nn.Module):
    """A student that writes down which samples it sees in each mode; the first pixel of a sample is its number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.seen: dict[bool, list[int]] = {True: [], False: []}

    def forward(self, images_NCHW: Tensor) -> Tensor:
        self.seen[self.training] += images_NCHW[:, 0, 0, 0].long().tolist()
        return self.linear(images_NCHW.flatten(1) / 100)


def numbered(num: int) -> PublicBatch:
    images_NCHW = torch.zeros(num, 1, 2, 2)
    images_NCHW[:, 0, 0, 0] = torch.arange(num)
    return PublicBatch(images_NCHW, torch.zeros(num, 2))


@pytest.mark.parametrize(("fraction", "num_held_out"), [(0.0, 0), (0.3, 6), (0.04, 0), (0.99, 19)])
@pytest.mark.parametrize("patience", [0, 100])
def test_held_out_samples_are_measured_and_never_learnt_from(fraction, num_held_out, patience):
    student = Watching()
    Distiller(student, FAST, holdout_fraction=fraction, patience=patience).distil(numbered(20), seed=0)
    learnt, measured = set(student.seen[True]), set(student.seen[False])
    assert len(learnt) == 20 - num_held_out
    assert len(student.seen[True]) == 3 * len(learnt), "each sample once an epoch"
    if num_held_out:
        assert learnt.isdisjoint(measured)
        assert learnt | measured == set(range(20))
    else:
        assert measured == set(range(20))


def test_the_seed_draws_the_held_out_part():
    parts = []
    for seed in (0, 0, 1):
        student = Watching()
        Distiller(student, FAST, holdout_fraction=0.5).distil(numbered(20), seed)
        parts.append(set(student.seen[False]))
    assert parts[0] == parts[1] != parts[2]


def held_out_by_hand(public: PublicBatch, fraction: float, seed: int) -> PublicBatch:
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    return public.take(
        torch.randperm(len(public.images_NCHW), generator=rng)[: int(len(public.images_NCHW) * fraction)]
    )


def test_patience_stops_early_and_returns_to_the_best(small):
    """A step size at which the student overshoots: the distillation of as many epochs as the best had ends the same."""
    keys = {"holdout_fraction": 0.25, "patience": 2}
    reckless = {"learning_rate": 0.1, "batch_size": 16}
    student = make_student()
    report = Distiller(student, DistillationConfig(epochs=20, **reckless), **keys).distil(small, seed=0)
    assert report.stopped_early
    assert 3 <= report.epochs < 20
    best = make_student()
    config = DistillationConfig(epochs=report.epochs - 2, **reckless)
    Distiller(best, config, holdout_fraction=0.25).distil(small, seed=0)
    assert same_bits(student, best)

    held_out = held_out_by_hand(small, 0.25, seed=0)
    losses = []
    for epochs in range(1, report.epochs + 1):
        other = make_student()
        Distiller(other, DistillationConfig(epochs=epochs, **reckless), holdout_fraction=0.25).distil(small, seed=0)
        logits_NC = torch.from_numpy(predict_logits(other, held_out.images_NCHW))
        divergence = nn.KLDivLoss(reduction="batchmean", log_target=True)
        losses.append(divergence(logits_NC.log_softmax(1), held_out.teacher_logits_NC.log_softmax(1)).item())
    assert int(np.argmin(losses)) == report.epochs - 3, "the best epoch is the one two before the stop"


def test_without_patience_the_last_epoch_stays(small):
    reckless = DistillationConfig(epochs=5, learning_rate=0.1, batch_size=16)
    student, plain = make_student(), make_student()
    report = Distiller(student, reckless, holdout_fraction=0.25).distil(small, seed=0)
    assert (report.epochs, report.stopped_early) == (5, False)
    Distiller(plain, reckless, holdout_fraction=0.25, patience=100).distil(small, seed=0)
    assert not same_bits(student, plain), "the best of the five epochs was not the last"


def test_agreement_is_that_of_the_held_out_part(small):
    student = make_student()
    report = Distiller(student, FAST, holdout_fraction=0.25).distil(small, seed=0)
    held_out = held_out_by_hand(small, 0.25, seed=0)
    answers = predict_logits(student, held_out.images_NCHW).argmax(axis=1)
    assert report.agreement == np.mean(answers == held_out.teacher_logits_NC.argmax(1).numpy())


def test_labels_correct_a_wrong_teacher_where_alpha_is_below_one(small):
    wrong = PublicBatch(small.images_NCHW, small.teacher_logits_NC.roll(1, dims=1), small.labels_N)
    accuracies = {}
    for alpha in (0.0, 1.0):
        student = make_student()
        Distiller(student, DistillationConfig(epochs=10, learning_rate=0.01), alpha=alpha).distil(wrong, seed=0)
        accuracies[alpha] = score(predict_logits(student, small.images_NCHW), small.labels_N.numpy()).accuracy
    assert accuracies[0.0] > 0.9
    assert accuracies[1.0] < 0.2


def test_alpha_below_one_without_labels_is_refused(small):
    unlabelled = PublicBatch(small.images_NCHW, small.teacher_logits_NC)
    with pytest.raises(ValueError, match=r"alpha = 0.5 needs labels"):
        Distiller(make_student(), FAST, alpha=0.5).distil(unlabelled, seed=0)


def test_the_first_loss_is_the_loss_of_the_first_epoch(small):
    """One batch, one epoch: what is reported is the mixed loss of the untouched student in training mode."""
    student = make_student()
    logits_NC = make_student().train()(small.images_NCHW).detach().double()
    teacher_NC = small.teacher_logits_NC.double()
    soft = nn.KLDivLoss(reduction="batchmean", log_target=True)(
        (logits_NC / 3).log_softmax(1), (teacher_NC / 3).log_softmax(1)
    )
    expected = 0.25 * nn.CrossEntropyLoss()(logits_NC, small.labels_N).item() + 0.75 * 9 * soft.item()
    config = DistillationConfig(epochs=1, batch_size=200)
    report = Distiller(student, config, temperature=3.0, alpha=0.75).distil(small, seed=0)
    assert report.first_loss == report.last_loss == pytest.approx(expected, rel=1e-5)


def test_the_gradient_norm_bounds_a_step(small):
    student = make_student()
    config = DistillationConfig(
        epochs=1, batch_size=200, optimizer="sgd", learning_rate=1.0, momentum=0.0, max_grad_norm=0.01
    )
    Distiller(student, config).distil(small, seed=0)
    before, after = (nn.utils.parameters_to_vector(m.parameters()).detach() for m in (make_student(), student))
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)
