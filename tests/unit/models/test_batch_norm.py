"""Batch-norm alignment is exact: against the teacher's own layer, and between networks trained on different digits."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn

from fedkd.errors import ModelError
from fedkd.models.batch_norm import BatchNormAlignment, align_batch_norm, batch_norm_layers
from fedkd.models.registry import build_model
from fedkd.training.config import TrainingConfig
from fedkd.training.loop import train_supervised

LAYERS = {"1d": (nn.BatchNorm1d, ()), "1d of maps": (nn.BatchNorm1d, (7,)), "2d": (nn.BatchNorm2d, (4, 3))}


def random_norm(make: type[nn.Module], channels: int, generator: torch.Generator, **keys) -> nn.Module:
    norm = make(channels, **keys)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(channels, generator=generator)

    norm.running_mean.copy_(draw(-3, 3))
    norm.running_var.copy_(draw(0.1, 5))
    with torch.no_grad():
        norm.weight.copy_(draw(0.2, 2) * draw(-1, 1).sign())
        norm.bias.copy_(draw(-2, 2))
    return norm.eval()


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@settings(max_examples=25)
@given(st.integers(0, 2**30), st.integers(1, 16), st.sampled_from(sorted(LAYERS)))
def test_behind_its_map_the_student_answers_like_the_teacher(seed, channels, kind):
    make, rest = LAYERS[kind]
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (random_norm(make, channels, generator, eps=eps) for eps in (1e-5, 1e-3))
    inputs = 5 * torch.randn(32, channels, *rest, generator=generator) + 1
    with torch.no_grad():
        assert relative_error(student(align_batch_norm(student, teacher)(inputs)), teacher(inputs)) < 1e-5


def test_in_float64_the_map_is_exact():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (random_norm(nn.BatchNorm2d, 5, generator).double() for _ in range(2))
    inputs = torch.randn(8, 5, 3, 3, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        assert relative_error(student(align_batch_norm(student, teacher)(inputs)), teacher(inputs)) < 1e-13


def test_layers_without_weights_of_their_own_are_aligned_by_their_statistics():
    generator = torch.Generator().manual_seed(1)
    plain = nn.BatchNorm1d(4, affine=False).eval()
    plain.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    teacher = random_norm(nn.BatchNorm1d, 4, generator)
    inputs = torch.randn(16, 4, generator=generator)
    with torch.no_grad():
        assert relative_error(plain(align_batch_norm(plain, teacher)(inputs)), teacher(inputs)) < 1e-6
        assert relative_error(teacher(align_batch_norm(teacher, plain)(inputs)), plain(inputs)) < 1e-5


def test_aligning_to_itself_is_the_identity():
    norm = random_norm(nn.BatchNorm1d, 6, torch.Generator().manual_seed(2))
    inputs = torch.randn(10, 6)
    np.testing.assert_allclose(align_batch_norm(norm, norm)(inputs), inputs, rtol=1e-5, atol=1e-5)


def dead_norm() -> nn.Module:
    norm = nn.BatchNorm1d(3).eval()
    with torch.no_grad():
        norm.weight[1] = 0
    return norm


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (dead_norm(), nn.BatchNorm1d(3).eval(), r"weight 0 in channels \[1\]"),
        (nn.BatchNorm1d(3).train(), nn.BatchNorm1d(3).eval(), r"student's batch norm is in training mode"),
        (nn.BatchNorm1d(3).eval(), nn.BatchNorm1d(3).train(), r"teacher's batch norm is in training mode"),
        (nn.BatchNorm1d(3).eval(), nn.BatchNorm1d(4).eval(), r"of 3 channels .* one of 4"),
        (nn.BatchNorm1d(3, track_running_stats=False).eval(), nn.BatchNorm1d(3).eval(), "no running statistics"),
        (nn.GroupNorm(1, 3), nn.BatchNorm1d(3).eval(), "is a GroupNorm: only batch norm"),
    ],
)
def test_what_cannot_be_aligned_is_refused(student, teacher, message):
    with pytest.raises(ModelError, match=message):
        align_batch_norm(student, teacher)


@pytest.fixture(scope="module")
def networks() -> tuple[nn.Module, nn.Module, Tensor]:
    """Two networks of one architecture, one trained on the digits 0 to 4 and one on 5 to 9, and digits of both."""
    images, labels = load_digits(return_X_y=True)
    images_NCHW = torch.from_numpy(images / 16).float().reshape(-1, 1, 8, 8)
    labels_N = torch.from_numpy(labels).long()
    trained = []
    for seed, mine in enumerate((labels_N < 5, labels_N >= 5)):
        model = build_model("resnet8", (1, 8, 8), 10, seed=seed)
        config = TrainingConfig(epochs=1, learning_rate=0.05)
        train_supervised(model, images_NCHW[mine][:320], labels_N[mine][:320], config, num_classes=10, seed=seed)
        trained.append(model.eval())
    return trained[0], trained[1], images_NCHW[-100:]


def test_layer_by_layer_a_trained_network_answers_like_the_other(networks):
    """At each layer, what the teacher's layer was given: the student's aligned layer makes of it what it made."""
    student, teacher, images_NCHW = networks
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def remember(name: str):
        def hook(_, inputs, output):
            seen[name] = (inputs[0], output)

        return hook

    hooks = [layer.register_forward_hook(remember(name)) for name, layer in batch_norm_layers(teacher).items()]
    with torch.no_grad(), BatchNormAlignment(student, teacher):
        teacher(images_NCHW)
        layers = batch_norm_layers(student)
        assert set(seen) == set(layers)
        assert len(seen) == 7
        for name, (inputs, output) in seen.items():
            assert relative_error(layers[name](inputs), output) < 1e-5, name
    for hook in hooks:
        hook.remove()


def test_the_whole_network_is_the_student_with_the_teachers_layers_until_it_is_closed(networks):
    """Independent reference: a copy of the student whose batch-norm layers are overwritten by the teacher's."""
    student, teacher, images_NCHW = networks
    copied = copy.deepcopy(student)
    for name, layer in batch_norm_layers(copied).items():
        layer.load_state_dict(teacher.get_submodule(name).state_dict())
    before = copy.deepcopy(student.state_dict())
    with torch.no_grad():
        alone = student(images_NCHW)
        with BatchNormAlignment(student, teacher):
            assert relative_error(student(images_NCHW), copied(images_NCHW)) < 1e-5
        assert torch.equal(student(images_NCHW), alone)
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    assert relative_error(alone, copied(images_NCHW).detach()) > 1e-2


def test_inverted_images_are_read_through_a_first_layer_of_the_other_sign(networks):
    """The stem has no bias and pads with 0: what it makes of −x is what it makes of x, of the other sign."""
    student, _, images_NCHW = networks
    turned = copy.deepcopy(student)
    turned.stem[1].running_mean.neg_()
    with torch.no_grad():
        turned.stem[1].weight.neg_()
        assert relative_error(turned(-images_NCHW), student(images_NCHW)) < 1e-5
        with BatchNormAlignment(student, turned):
            assert relative_error(student(-images_NCHW), turned(-images_NCHW)) < 1e-5


def test_an_aligned_layer_does_not_train(networks):
    student, teacher, images_NCHW = copy.deepcopy(networks[0]), networks[1], networks[2]
    alignment = BatchNormAlignment(student, teacher)
    with pytest.raises(ModelError, match="evaluation mode only"):
        student.train()(images_NCHW)
    alignment.close()
    assert torch.isfinite(student(images_NCHW)).all()


def test_pairs_name_the_layers(networks):
    student, teacher, _ = networks
    small = nn.Sequential(nn.BatchNorm2d(16)).eval()
    with pytest.raises(ModelError, match="of 1 batch-norm layers and a teacher of 7: give pairs"):
        BatchNormAlignment(small, teacher)
    with pytest.raises(ModelError, match=r"'stem\.0' is no batch-norm layer: choose one of stem\.1, stage1\.0"):
        BatchNormAlignment(small, teacher, [("0", "stem.0")])
    inputs = torch.randn(2, 16, 4, 4)
    with torch.no_grad(), BatchNormAlignment(small, student, [("0", "stem.1")]):
        np.testing.assert_allclose(small(inputs), student.stem[1](inputs), rtol=1e-4, atol=1e-4)
