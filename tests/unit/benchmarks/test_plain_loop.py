"""The plain loop is an independent account of a round, written without the federation: both end in the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.experiments import plain_settings, student_digest
from benchmarks.plain_loop import Scores, State, add_gradients, batches, mean_weights, run
from benchmarks.plain_problem import World, make_world
from benchmarks.plain_two_processes import deal, run_on_two
from fedkd.config.experiment import ExperimentConfig
from fedkd.data.federated import load_federated_data
from fedkd.engines.simulation import simulate
from fedkd.errors import ConfigError
from fedkd.federation.observers import Observer

MakeConfig = Callable[..., ExperimentConfig]


def plain_world(config: ExperimentConfig) -> World:
    data = load_federated_data(config.data, config.clients.number, config.run.seed)
    return make_world(plain_settings(config), data, range(config.clients.number))


def as_bytes(student: State) -> dict[str, bytes]:
    return {key: tensor.numpy().tobytes() for key, tensor in student.items()}


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("method", ["fedavg", "fkd"])
def test_the_local_engine_ends_in_the_bytes_of_the_plain_loop(tiny_config: MakeConfig, method: str, model: str) -> None:
    config = tiny_config(
        method={"name": method},
        clients={"number": 3, "models": [model]},
        student={"model": model, "epochs": 2, "batch_size": 32},
    )
    result = simulate(config, Observer())
    student, scores = run(plain_world(config))
    assert result.student is not None
    assert as_bytes(student) == {key: array.tobytes() for key, array in result.student.items()}
    assert [record.student.accuracy for record in result.history] == [score.student for score in scores]
    assert [record.ensemble_teacher.accuracy for record in result.history] == [score.teacher for score in scores]
    assert [record.clients.worst_accuracy for record in result.history] == [min(score.clients) for score in scores]
    assert [record.clients.mean_accuracy for record in result.history] == pytest.approx(
        [mean(score.clients) for score in scores]
    )


def test_student_and_teacher_agree_as_often_as_the_local_engine_says(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    agreements = [record.distillation for record in simulate(config, Observer()).history]
    _, scores = run(plain_world(config))
    assert [distillation and distillation.agreement for distillation in agreements] == [s.agreement for s in scores]


@pytest.mark.parametrize("method", ["fedavg", "fkd"])
def test_clients_need_not_be_evaluated(tiny_config: MakeConfig, method: str) -> None:
    config = tiny_config(method={"name": method}, run={"rounds": 2, "device": "cpu", "evaluate_clients_every": 0})
    result = simulate(config, Observer())
    student, scores = run(plain_world(config))
    assert result.student is not None
    assert as_bytes(student) == {key: array.tobytes() for key, array in result.student.items()}
    assert [(score.clients, score.teacher) for score in scores] == [((), None)] * 2
    assert [record.clients.mean_accuracy for record in result.history] == [None, None]


@pytest.mark.parametrize("method", ["fedavg", "fkd"])
def test_the_student_learns_and_depends_on_the_seed(tiny_config: MakeConfig, method: str) -> None:
    students = []
    for seed in (0, 1):
        config = tiny_config(
            method={"name": method},
            run={"seed": seed, "rounds": 4, "device": "cpu"},
            student={"model": "mlp", "epochs": 20, "batch_size": 8},
        )
        world = plain_world(config)
        student, scores = run(world)
        assert scores[-1].student > 0.3  # of ten classes
        students.append(as_bytes(student))
        assert as_bytes(student) != as_bytes(world.new_model().state_dict())
    assert students[0] != students[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fedavg", "fkd"])
def test_a_second_process_changes_no_byte(tiny_config: MakeConfig, method: str) -> None:
    config = tiny_config(method={"name": method})
    student, scores = run(plain_world(config))
    marks: list[str] = []
    on_two: tuple[State, Sequence[Scores]] = run_on_two(
        plain_settings(config), config.data, 3, lambda: marks.append("start"), lambda: marks.append("round")
    )
    assert as_bytes(on_two[0]) == as_bytes(student)
    assert on_two[1] == scores
    assert marks == ["start", "round", "round", "round"]


@pytest.mark.parametrize("shards", [2, 3, 7, 50])
def test_shards_add_up_to_the_gradient_of_the_batch(shards: int) -> None:
    rng = torch.Generator().manual_seed(0)
    images, teacher = torch.randn(10, 1, 4, 4, generator=rng), torch.randn(10, 3, generator=rng)
    student = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    weight = student[1].weight
    add_gradients(student, images.double(), teacher.double(), shards)
    p_student = torch.softmax(student(images.double()), dim=1)
    p_teacher = torch.softmax(teacher.double(), dim=1)  # d KL / d logits = p_student - p_teacher
    expected = (p_student - p_teacher).T @ images.double().flatten(1) / 10
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, expected.detach())


def test_shards_change_the_student_by_rounding_only(tiny_config: MakeConfig) -> None:
    config = tiny_config(run={"rounds": 1, "device": "cpu"})
    one, _ = run(plain_world(config))
    sharded = config.student.model_copy(update={"shards": 3})
    three, _ = run(plain_world(config.model_copy(update={"student": sharded})))
    assert as_bytes(one) != as_bytes(three)
    moved = max(float((one[key] - three[key]).abs().max()) for key in one)
    assert moved < config.student.learning_rate  # less than one step of Adam


def test_a_last_batch_of_one_sample_joins_the_one_before() -> None:
    rng = torch.Generator().manual_seed(0)
    pieces = batches(33, 16, rng)
    assert [len(piece) for piece in pieces] == [16, 17]
    assert sorted(torch.cat(pieces).tolist()) == list(range(33))


def test_weights_are_averaged_by_numbers_of_samples() -> None:
    states = [{"w": torch.tensor([0.0, 4.0])}, {"w": torch.tensor([4.0, 8.0])}]
    assert mean_weights(states, [3, 1])["w"].tolist() == [1.0, 5.0]


def test_clients_are_dealt_to_both_hands_by_size() -> None:
    mine, others = deal([5, 100, 40, 50, 5])
    assert sorted(mine + others) == [0, 1, 2, 3, 4]
    assert sorted(mine) == [1]
    assert sorted(others) == [0, 2, 3, 4]


@pytest.mark.parametrize(
    ("key", "sections"),
    [
        ("run.evaluate_clients_every", {"run": {"evaluate_clients_every": 2}}),
        ("clients.models", {"clients": {"number": 3, "models": ["mlp", "cnn"]}}),
        ("clients.dropout_rate", {"clients": {"number": 3, "models": ["mlp"], "dropout_rate": 0.1}}),
        ("training.optimizer", {"training": {"optimizer": "adam"}}),
        ("training.weight_decay", {"training": {"weight_decay": 0.1}}),
        ("student.objective", {"student": {"model": "mlp", "objective": {"loss": "l1"}}}),
        ("payload.encoding", {"payload": {"encoding": "int8"}}),
        ("student.objective", {"student": {"model": "mlp", "objective": {"temperature": 2.0}}}),
        ("method", {"method": {"name": "fedmd"}}),
    ],
)
def test_what_the_plain_loop_does_not_do_is_refused(
    tiny_config: MakeConfig, key: str, sections: dict[str, dict[str, object]]
) -> None:
    with pytest.raises(ConfigError, match="the plain loop") as error:
        plain_settings(tiny_config(**sections))
    assert error.value.key == key


def test_a_digest_tells_keys_dtypes_shapes_and_values_apart() -> None:
    array = np.zeros((2, 3), np.float32)
    others = [
        {"b": array},
        {"a": array.astype(np.int32)},
        {"a": array.reshape(3, 2)},
        {"a": array + np.float32(1e-30)},
    ]
    digests = {student_digest(weights) for weights in [{"a": array}, *others]}
    assert len(digests) == 5
    assert student_digest({"a": np.asfortranarray(array)}) in digests
