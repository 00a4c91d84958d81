"""The held-out part of a distillation: never learnt from, measured, and watched by `patience`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedkd.distillation import DistillationConfig, Distiller, ObjectiveConfig, PublicBatch
from fedkd.seeding import derive_seed
from fedkd.training.evaluation import predict_logits

FAST = DistillationConfig(epochs=3, batch_size=64, learning_rate=0.01)


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
    config = FAST.model_copy(update={"holdout_fraction": fraction, "patience": patience})
    Distiller(student, config).distil(numbered(20), seed=0)
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
        Distiller(student, FAST.model_copy(update={"holdout_fraction": 0.5})).distil(numbered(20), seed)
        parts.append(set(student.seen[False]))
    assert parts[0] == parts[1] != parts[2]


def held_out_by_hand(public: PublicBatch, fraction: float, seed: int) -> PublicBatch:
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    return public.take(
        torch.randperm(len(public.images_NCHW), generator=rng)[: int(len(public.images_NCHW) * fraction)]
    )


def test_patience_stops_early_and_returns_to_the_best(small, make_student, same_bits):
    """A step size at which the student overshoots: the distillation of as many epochs as the best had ends the same."""
    reckless = {"learning_rate": 0.1, "batch_size": 16, "holdout_fraction": 0.25}
    student = make_student()
    report = Distiller(student, DistillationConfig(epochs=20, patience=2, **reckless)).distil(small, seed=0)
    assert report.stopped_early
    assert 3 <= report.epochs < 20
    best = make_student()
    config = DistillationConfig(epochs=report.epochs - 2, **reckless)
    Distiller(best, config).distil(small, seed=0)
    assert same_bits(student, best)

    held_out = held_out_by_hand(small, 0.25, seed=0)
    losses = []
    for epochs in range(1, report.epochs + 1):
        other = make_student()
        Distiller(other, DistillationConfig(epochs=epochs, **reckless)).distil(small, seed=0)
        logits_NC = torch.from_numpy(predict_logits(other, held_out.images_NCHW))
        divergence = nn.KLDivLoss(reduction="batchmean", log_target=True)
        losses.append(divergence(logits_NC.log_softmax(1), held_out.teacher_logits_NC.log_softmax(1)).item())
    assert int(np.argmin(losses)) == report.epochs - 3, "the best epoch is the one two before the stop"


def test_the_best_epoch_is_the_one_at_the_temperature_of_the_distillation(small, make_student, same_bits):
    """At T = 4 another epoch has the least held-out loss than at T = 1; the student returns to the former."""
    objective = ObjectiveConfig(temperature=4.0)
    steps = {"learning_rate": 0.02, "batch_size": 16, "holdout_fraction": 0.25, "objective": objective}
    held_out = held_out_by_hand(small, 0.25, seed=0)
    students, losses = [make_student() for _ in range(8)], []
    for epochs, student in enumerate(students, start=1):
        Distiller(student, DistillationConfig(epochs=epochs, **steps)).distil(small, seed=0)
        logits_NC = torch.from_numpy(predict_logits(student, held_out.images_NCHW))
        divergence = nn.KLDivLoss(reduction="batchmean", log_target=True)
        pairs = [(logits_NC / t, held_out.teacher_logits_NC / t) for t in (4.0, 1.0)]
        losses.append([divergence(ours.log_softmax(1), theirs.log_softmax(1)).item() for ours, theirs in pairs])
    best_at_four, best_at_one = np.argmin(losses, axis=0)
    assert best_at_four != best_at_one
    patient = make_student()
    Distiller(patient, DistillationConfig(epochs=8, patience=100, **steps)).distil(small, seed=0)
    assert same_bits(patient, students[best_at_four])


def test_without_patience_the_last_epoch_stays(small, make_student, same_bits):
    reckless = DistillationConfig(epochs=5, learning_rate=0.1, batch_size=16, holdout_fraction=0.25)
    student, plain = make_student(), make_student()
    report = Distiller(student, reckless).distil(small, seed=0)
    assert (report.epochs, report.stopped_early) == (5, False)
    Distiller(plain, reckless.model_copy(update={"patience": 100})).distil(small, seed=0)
    assert not same_bits(student, plain), "the best of the five epochs was not the last"


def test_agreement_is_that_of_the_held_out_part(small, make_student):
    student = make_student()
    report = Distiller(student, FAST.model_copy(update={"holdout_fraction": 0.25})).distil(small, seed=0)
    held_out = held_out_by_hand(small, 0.25, seed=0)
    answers = predict_logits(student, held_out.images_NCHW).argmax(axis=1)
    assert report.agreement == np.mean(answers == held_out.teacher_logits_NC.argmax(1).numpy())
