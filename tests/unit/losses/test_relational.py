"""Relations between samples and between tasks, against loops in NumPy and scipy's distances."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.special import huber
from scipy.stats import ortho_group

from fedkd.errors import ModelError
from fedkd.losses import angle_loss, distance_loss, similarity_loss, task_geometry, task_geometry_loss
from fedkd.seeding import numpy_rng

LOSSES = {"similarity": similarity_loss, "distance": distance_loss, "angle": angle_loss}
NUM_SAMPLES = st.integers(2, 7)


def features(*path: str | int, shape: tuple[int, ...] = (6, 4)) -> torch.Tensor:
    return torch.from_numpy(numpy_rng(0, *path).normal(size=shape))


def expected_distance(student: np.ndarray, teacher: np.ndarray) -> float:
    ours, theirs = (pdist(each) / pdist(each).mean() for each in (student, teacher))
    return float(huber(1.0, ours - theirs).mean())


def expected_angle(student: np.ndarray, teacher: np.ndarray) -> float:
    def cosine(each: np.ndarray, i: int, j: int, k: int) -> float:
        first, second = each[i] - each[j], each[k] - each[j]
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    triples = list(permutations(range(len(student)), 3))
    return float(np.mean([huber(1.0, cosine(student, *each) - cosine(teacher, *each)) for each in triples]))


def expected_similarity(student: np.ndarray, teacher: np.ndarray) -> float:
    grams = [each @ each.T for each in (student, teacher)]
    ours, theirs = (gram / np.linalg.norm(gram, axis=1, keepdims=True) for gram in grams)
    return float(np.square(ours - theirs).sum() / len(student) ** 2)


@settings(max_examples=20)
@given(NUM_SAMPLES, st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**20))
def test_distance_agrees_with_scipy(num_samples, width, other_width, seed):
    student, teacher = features(seed, "s", shape=(num_samples, width)), features(seed, "t", shape=(num_samples, 2))
    found = float(distance_loss(student, teacher))
    assert found == pytest.approx(expected_distance(student.numpy(), teacher.numpy()), rel=1e-9, abs=1e-15)


@settings(max_examples=20)
@given(st.integers(3, 7), st.integers(1, 5), st.integers(0, 2**20))
def test_angle_agrees_with_a_loop_over_triples(num_samples, width, seed):
    student, teacher = features(seed, "s", shape=(num_samples, width)), features(seed, "t", shape=(num_samples, 3))
    found = float(angle_loss(student, teacher))
    assert found == pytest.approx(expected_angle(student.numpy(), teacher.numpy()), rel=1e-9, abs=1e-15)


@settings(max_examples=20)
@given(NUM_SAMPLES, st.integers(1, 5), st.integers(0, 2**20))
def test_similarity_agrees_with_numpy(num_samples, width, seed):
    student, teacher = features(seed, "s", shape=(num_samples, width)), features(seed, "t", shape=(num_samples, 3))
    found = float(similarity_loss(student, teacher))
    assert found == pytest.approx(expected_similarity(student.numpy(), teacher.numpy()), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name):
    student, teacher = features("student").requires_grad_(), features("teacher", shape=(6, 9))
    assert torch.autograd.gradcheck(lambda values: LOSSES[name](values, teacher), student)


@pytest.mark.parametrize("name", LOSSES)
def test_a_turned_and_scaled_teacher_is_no_loss(name):
    """Relations stay under rotation and scale; distances and angles under a shift, too."""
    teacher = features("teacher")
    turn = torch.from_numpy(ortho_group.rvs(4, random_state=0))
    shift = 0.0 if name == "similarity" else 3.0
    assert float(LOSSES[name](2.5 * teacher @ turn + shift, teacher)) == pytest.approx(0.0, abs=1e-12)
    assert float(LOSSES[name](teacher.square(), teacher)) > 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_maps_are_taken_as_vectors(name):
    student, teacher = features("s", shape=(5, 2, 3, 2)), features("t", shape=(5, 7))
    assert torch.equal(LOSSES[name](student, teacher), LOSSES[name](student.flatten(1), teacher))


@pytest.mark.parametrize("name", LOSSES)
def test_samples_that_coincide_give_finite_gradients(name):
    student = torch.ones(4, 3, requires_grad=True)
    loss = LOSSES[name](student, features("t", shape=(4, 3)).float())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize(("loss", "too_few"), [(distance_loss, 1), (angle_loss, 1), (angle_loss, 2)])
def test_too_few_samples_have_no_relations(loss, too_few):
    student = torch.randn(too_few, 3, requires_grad=True)
    value = loss(student, torch.randn(too_few, 5))
    value.backward()
    assert value.item() == 0.0
    assert torch.count_nonzero(student.grad) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_other_numbers_of_samples_are_refused(name):
    with pytest.raises(ModelError, match=r"features of \[2, 3\] samples"):
        LOSSES[name](torch.zeros(2, 3), torch.zeros(3, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_low_precision_is_computed_in_float32(name, dtype):
    student, teacher = (30 * features(who).to(dtype) for who in ("s", "t"))
    value = LOSSES[name](student, teacher)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(LOSSES[name](student.double(), teacher.double())), rel=1e-4)


def expected_cka(first: np.ndarray, second: np.ndarray) -> float:
    """By features, ‖XᵀY‖²/(‖XᵀX‖·‖YᵀY‖); ours goes by samples."""
    first, second = (each - each.mean(axis=0) for each in (first, second))
    cross, own, other = (np.linalg.norm(each) for each in (first.T @ second, first.T @ first, second.T @ second))
    return float(cross**2 / (own * other))


def test_the_geometry_of_tasks_is_linear_cka():
    outputs = [features(task, shape=(12, width)) for task, width in enumerate((3, 5, 20))]
    geometry_MM = task_geometry(outputs).numpy()
    expected_MM = [[expected_cka(first.numpy(), second.numpy()) for second in outputs] for first in outputs]
    np.testing.assert_allclose(geometry_MM, expected_MM, rtol=1e-9)
    np.testing.assert_allclose(np.diag(geometry_MM), 1.0, rtol=1e-12)


def test_the_loss_of_geometry_is_the_mean_over_pairs_of_tasks():
    student = [features("s", task, shape=(12, 4)) for task in range(3)]
    teacher = [features("t", task, shape=(12, 6)) for task in range(3)]
    ours, theirs = task_geometry(student).numpy(), task_geometry(teacher).numpy()
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([(ours[pair] - theirs[pair]) ** 2 for pair in pairs])
    assert float(task_geometry_loss(student, teacher)) == pytest.approx(expected, rel=1e-9)
    turned = [each @ torch.from_numpy(ortho_group.rvs(6, random_state=1)) + 1 for each in teacher]
    assert float(task_geometry_loss(turned, teacher)) == pytest.approx(0.0, abs=1e-20)


def test_the_gradient_of_geometry():
    student = [features("s", task, shape=(5, 2)).requires_grad_() for task in range(3)]
    teacher = [features("t", task, shape=(5, 3)) for task in range(3)]
    assert torch.autograd.gradcheck(lambda *values: task_geometry_loss(values, teacher), student)


@pytest.mark.parametrize(("tasks", "message"), [(1, "no geometry: at least 2"), (3, "3 student tasks do not fit")])
def test_tasks_that_do_not_fit_are_refused(tasks, message):
    with pytest.raises(ModelError, match=message):
        task_geometry_loss([torch.zeros(4, 2)] * tasks, [torch.zeros(4, 2)] * min(tasks, 2))
