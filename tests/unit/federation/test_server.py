"""What the server makes of a round: public samples, teacher, student, scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, log_loss

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RoundError
from fedkd.federation.workspace import open_workspace

Make = Callable[..., ExperimentConfig]
CLASSES = np.arange(10)
NUM_PUBLIC, NUM_TEST = 24, 40
MASKED = {"enabled": True, "value_bits": 20}
TWO_ARCHITECTURES = {"models": ["mlp", "cnn"]}


def one_hot(choices_N: np.ndarray, value: float = 5.0) -> torch.Tensor:
    """Logits [N, 10] that are `value` at the chosen class and 0 elsewhere."""
    return torch.from_numpy(np.eye(10, dtype=np.float32)[choices_N] * np.float32(value))


def scripted_logits(client: int, num_samples: int) -> np.ndarray:
    """Other logits [N, 10] for each client, some of them far beyond ±3."""
    return np.random.default_rng(client).normal(scale=4.0, size=(num_samples, 10)).astype(np.float32)


def scripted(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(scripted_logits(client, len(logits_NC)))


def student_answers(config: ExperimentConfig, weights: dict[str, np.ndarray]) -> np.ndarray:
    """What a student answers on the test split, by torch alone."""
    workspace = open_workspace(config)
    model = workspace.build_model(config.student.model, seed=0)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    with torch.no_grad():
        return model.eval()(workspace.test_inputs).numpy()


@pytest.mark.parametrize("secure", [{}, MASKED], ids=["plain", "masked"])
def test_the_teacher_is_the_mean_of_the_clipped_answers(
    make_config: Make, federate: Any, payloads: Any, secure: dict[str, Any]
) -> None:
    """The teacher of round 1 goes to the clients in round 2; a level of 20 bits of ±3 is 6e-6 wide."""
    config = make_config(
        run={"rounds": 2}, method={"name": "fedmd"}, payload={"clipping_range": 3.0}, secure_aggregation=secure
    )
    grid = federate(config, answer=scripted).grid
    expected_NC = np.mean([scripted_logits(client, NUM_PUBLIC).clip(-3, 3) for client in range(4)], axis=0)
    for message in grid.asked(2).values():
        indices_N, teacher_NC = payloads.teacher(message)
        np.testing.assert_array_equal(indices_N, np.arange(NUM_PUBLIC))
        np.testing.assert_allclose(teacher_NC, expected_NC, atol=1e-5 if secure else 1e-6)
    assert all(payloads.teacher(message) is None for message in grid.asked(1).values())


def test_without_clip_the_teacher_is_the_mean_of_the_answers_as_they_are(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    config = make_config(run={"rounds": 2}, method={"name": "fedmd"}, payload={"clip": False, "clipping_range": 3.0})
    _, teacher_NC = payloads.teacher(federate(config, answer=scripted).grid.asked(2)[0])
    expected_NC = np.mean([scripted_logits(client, NUM_PUBLIC) for client in range(4)], axis=0)
    np.testing.assert_allclose(teacher_NC, expected_NC, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("secure", [{}, MASKED], ids=["plain", "masked"])
def test_the_teacher_is_sharpened_after_it_was_aggregated(
    make_config: Make, federate: Any, payloads: Any, secure: dict[str, Any]
) -> None:
    """Entropy reduction is softmax(mean of probabilities / T) (Itahara et al. 2021, eq. 13)."""
    method = {"aggregator": "mean_probabilities", "refine": [{"name": "entropy_reduction", "temperature": 0.1}]}
    config = make_config(run={"rounds": 2}, clients=TWO_ARCHITECTURES, method=method, secure_aggregation=secure)
    _, teacher_NC = payloads.teacher(federate(config, answer=scripted).grid.asked(2)[1])
    probs = [softmax(scripted_logits(client, NUM_PUBLIC), axis=1) for client in range(4)]
    expected_NC = softmax(np.mean(probs, axis=0, dtype=np.float64) / 0.1, axis=1)
    np.testing.assert_allclose(softmax(teacher_NC, axis=1), expected_NC, atol=1e-4 if secure else 1e-5)


def test_answers_of_feddf_models_are_clipped_before_they_become_a_teacher(
    make_config: Make, federate: Any, payloads: Any, same_bits: Any
) -> None:
    """A client whose model answers ±1e6 on every sample teaches what one does that answers ±clipping_range.

    The client is of another architecture than the student, whose average its weights do not enter.
    """
    config = make_config(method={"name": "feddf"}, clients=TWO_ARCHITECTURES, payload={"clipping_range": 20.0})

    def student(value: float) -> dict[str, np.ndarray]:
        def lie(client: int, reply: Message) -> Message:
            if client != 1 or reply.metadata.message_type != "train":
                return reply
            weights = payloads.weights_up(reply)
            *_, matrix, bias = weights
            signs = np.where(CLASSES < 5, 1, -1).astype(np.float32)
            changed = {matrix: np.zeros_like(weights[matrix]), bias: np.float32(value) * signs}
            return payloads.change(reply, weights=weights | changed)

        return federate(config, to_server=lie).result.student

    at_the_range = student(20.0)
    assert same_bits(student(1e6), at_the_range)
    assert not same_bits(student(10.0), at_the_range), "the client's answers do count"


@pytest.mark.parametrize("method", ["feddf", "fedavg"])
def test_weights_are_averaged_by_examples_within_each_architecture(
    make_config: Make, federate: Any, payloads: Any, method: str
) -> None:
    """With no epoch of distillation the student is the average of its architecture; the other's is sent in round 2."""
    config = make_config(
        run={"rounds": 2},
        method={"name": method},
        clients=TWO_ARCHITECTURES,
        student={"epochs": 0},
        data={"partition": {"kind": "dirichlet"}},
    )

    def counted(client: int, reply: Message) -> Message:
        if reply.metadata.message_type != "train":
            return reply
        return payloads.change(reply, metrics={"num_examples": 10 * (client + 1)})

    grid = federate(config, to_server=counted).grid
    replies, instructions = grid.replied(1), grid.asked(2)
    for first, second, examples in ((0, 2, (10, 30)), (1, 3, (20, 40))):
        sent = [payloads.weights_up(replies[client]) for client in (first, second)]
        average = payloads.weights_down(instructions[first])
        for key in average:
            expected = np.average([weights[key] for weights in sent], axis=0, weights=examples)
            np.testing.assert_allclose(average[key], expected, rtol=1e-5, atol=1e-7)


def test_every_architecture_of_feddf_learns_from_the_teacher(
    make_config: Make, federate: Any, payloads: Any, same_bits: Any
) -> None:
    """Model fusion of prototypes (Lin et al. 2020, alg. 3): distillation changes the models of both architectures."""
    sections = {"run": {"rounds": 2}, "method": {"name": "feddf"}, "clients": TWO_ARCHITECTURES}
    averaged, distilled = (
        federate(make_config(**sections, student={"epochs": epochs})).grid.asked(2) for epochs in (0, 1)
    )
    for client in (0, 1):
        down = [payloads.weights_down(messages[client]) for messages in (averaged, distilled)]
        assert not same_bits(*down)


def test_fkd_clients_of_another_architecture_get_the_teacher_in_place_of_the_student(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    grid = federate(make_config(run={"rounds": 2}, clients=TWO_ARCHITECTURES)).grid
    for client, message in grid.asked(2).items():
        assert (payloads.weights_down(message) is None) == (client % 2 == 1)
        assert (payloads.teacher(message) is None) == (client % 2 == 0)


def test_public_samples_are_drawn_anew_for_every_round(make_config: Make, federate: Any, payloads: Any) -> None:
    def drawn(**sections: Any) -> list[np.ndarray]:
        grid = federate(make_config(**sections, method={"public_per_round": 8})).grid
        rounds = [[*map(payloads.public_indices, grid.asked(number).values())] for number in (1, 2, 3)]
        assert all(np.array_equal(each, of_round[0]) for of_round in rounds for each in of_round)
        return [of_round[0] for of_round in rounds]

    rounds = drawn(run={"rounds": 3})
    for indices_N in rounds:
        assert len(set(indices_N.tolist())) == 8
        assert indices_N.tolist() == sorted(indices_N.tolist())
        assert set(indices_N.tolist()) <= set(range(NUM_PUBLIC))
    assert len({tuple(indices_N) for indices_N in rounds}) == 3
    np.testing.assert_array_equal(rounds, drawn(run={"rounds": 3}))
    assert not np.array_equal(rounds, drawn(run={"rounds": 3, "seed": 1}))


def test_the_teacher_of_the_last_round_is_sent_with_the_samples_that_it_answers(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    grid = federate(make_config(run={"rounds": 4}, method={"name": "fedmd", "public_per_round": 8})).grid
    for server_round in (2, 3, 4):
        before = payloads.public_indices(grid.asked(server_round - 1)[0])
        np.testing.assert_array_equal(payloads.teacher(grid.asked(server_round)[0])[0], before)


def test_all_public_samples_are_asked_for_by_default(make_config: Make, federate: Any, payloads: Any) -> None:
    grid = federate(make_config()).grid
    np.testing.assert_array_equal(payloads.public_indices(grid.asked(1)[0]), np.arange(NUM_PUBLIC))


def test_the_student_learns_on_the_samples_that_were_answered(make_config: Make, federate: Any, payloads: Any) -> None:
    """The report of a distillation without a step: the agreement of the first student with the teacher, by torch."""
    config = make_config(method={"public_per_round": 8}, student={"epochs": 0})
    result, grid = federate(config, answer=scripted)
    workspace = open_workspace(config)
    model = workspace.build_model("mlp", seed=0)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in result.student.items()})
    indices_N = payloads.public_indices(grid.asked(1)[0])
    with torch.no_grad():
        choices_N = model.eval()(workspace.public_inputs[torch.from_numpy(indices_N).long()]).argmax(dim=1).numpy()
    teacher_NC = np.mean([scripted_logits(client, 8) for client in range(4)], axis=0)
    assert result.history[0].distillation.agreement == (choices_N == teacher_NC.argmax(axis=1)).mean()


def test_what_is_held_out_of_a_distillation_is_drawn_anew_for_every_round(make_config: Make, federate: Any) -> None:
    """With steps of 1e-30 and clients that answer alike, rounds differ only in the samples that are learnt from."""
    config = make_config(run={"rounds": 2}, student={"learning_rate": 1e-30, "batch_size": 24, "holdout_fraction": 0.5})
    first, second = federate(config, answer=scripted).result.history
    assert first.student == second.student
    assert first.distillation.first_loss != second.distillation.first_loss


def test_the_scores_of_the_student_are_those_of_the_model_that_is_returned(make_config: Make, federate: Any) -> None:
    config = make_config(training={"epochs": 4}, student={"epochs": 10, "learning_rate": 0.01})
    result = federate(config).result
    labels_N = open_workspace(config).data.test.labels_N
    logits_NC = student_answers(config, result.student)
    probs_NC = torch.from_numpy(logits_NC).double().softmax(1).numpy()
    score = result.history[0].student
    assert score.accuracy == (logits_NC.argmax(axis=1) == labels_N).mean()
    assert score.accuracy > 0.2, "it has learnt something"
    assert score.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels_N, logits_NC.argmax(axis=1)))
    assert score.loss == pytest.approx(log_loss(labels_N, probs_NC, labels=CLASSES), rel=1e-6)


def wrong_on(labels_N: np.ndarray, first: int) -> np.ndarray:
    """Choices that are right but for the first few samples, where they are the next class."""
    wrong_N = np.arange(len(labels_N)) < first
    return np.where(wrong_N, (labels_N + 1) % 10, labels_N)


@pytest.mark.parametrize("secure", [{}, MASKED], ids=["plain", "masked"])
def test_clients_and_teacher_are_scored_on_what_they_answer_on_the_test_split(
    make_config: Make, federate: Any, secure: dict[str, Any]
) -> None:
    """Client k is wrong on the first 4·k samples; the mean follows three of the four clients from sample 4 on.

    On samples 0 to 3 three clients are wrong, on samples 4 to 7 two are wrong and two right. There the clients' values
    decide: the surer half, 1 and 0, wins.
    """
    config = make_config(secure_aggregation=secure)
    labels_N = open_workspace(config).data.test.labels_N

    def answer(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
        if len(logits_NC) != NUM_TEST:
            return logits_NC
        return one_hot(wrong_on(labels_N, 4 * client), value=8.0 if client < 2 else 5.0)

    result = federate(config, answer=answer).result
    record = result.history[0]
    accuracies = [1 - 4 * client / NUM_TEST for client in range(4)]
    teacher_N = wrong_on(labels_N, 4)
    assert record.clients.mean_accuracy == pytest.approx(np.mean(accuracies))
    assert record.clients.worst_accuracy == (None if secure else pytest.approx(min(accuracies)))
    assert record.ensemble_teacher.accuracy == pytest.approx((teacher_N == labels_N).mean())
    assert record.ensemble_teacher.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels_N, teacher_N))
    student_N = student_answers(config, result.student).argmax(axis=1)
    assert record.agreement == pytest.approx((student_N == teacher_N).mean())
    for matrix, rows_N, columns_N in (
        (record.confusion.student, labels_N, student_N),
        (record.confusion.ensemble_teacher, labels_N, teacher_N),
        (record.confusion.student_teacher, teacher_N, student_N),
    ):
        np.testing.assert_array_equal(matrix, confusion_matrix(rows_N, columns_N, labels=CLASSES))
    if not secure:
        balanced = [balanced_accuracy_score(labels_N, wrong_on(labels_N, 4 * client)) for client in range(4)]
        assert record.clients.mean_balanced_accuracy == pytest.approx(np.mean(balanced))


def test_feddf_clients_are_scored_by_the_models_they_sent(make_config: Make, federate: Any, payloads: Any) -> None:
    """Nobody answers the test split over the wire: the server lets the models that it holds answer it."""
    config = make_config(method={"name": "feddf"}, training={"epochs": 4})
    result, grid = federate(config)
    labels_N = open_workspace(config).data.test.labels_N
    logits = [student_answers(config, payloads.weights_up(reply)) for reply in grid.replied(1).values()]
    accuracies = [(logits_NC.argmax(axis=1) == labels_N).mean() for logits_NC in logits]
    (record,) = result.history
    assert record.clients.mean_accuracy == pytest.approx(np.mean(accuracies))
    assert record.clients.worst_accuracy == pytest.approx(min(accuracies))
    assert record.ensemble_teacher.accuracy == (np.mean(logits, axis=0).argmax(axis=1) == labels_N).mean()
    assert not any(map(payloads.measures, grid.asked(1).values()))


def test_answers_on_the_test_split_beyond_the_range_count_as_those_at_the_range(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    """One client that says ±1e30 outvotes three that say ±10, but for the server that clips it to ±20.

    A client that follows the protocol has clipped its answers; this one has not.
    """
    config = make_config(payload={"clipping_range": 20.0})
    labels_N = open_workspace(config).data.test.labels_N

    def lie(client: int, reply: Message) -> Message:
        if reply.metadata.message_type != "train":
            return reply
        choices_N = labels_N if client else (labels_N + 1) % 10
        logits_NC = one_hot(choices_N, value=10.0 if client else 1e30).numpy()
        return payloads.change(reply, test_logits=logits_NC)

    assert federate(config, to_server=lie).result.history[0].ensemble_teacher.accuracy == 1.0


@pytest.mark.parametrize(("every", "measured"), [(0, []), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
@pytest.mark.parametrize("secure", [{}, MASKED], ids=["plain", "masked"])
def test_clients_are_measured_every_so_many_rounds_and_in_the_last(
    make_config: Make, federate: Any, payloads: Any, every: int, measured: list[int], secure: dict[str, Any]
) -> None:
    config = make_config(
        run={"rounds": 5, "evaluate_clients_every": every}, method={"name": "fedmd"}, secure_aggregation=secure
    )
    result, grid = federate(config)
    asked = [number for number in range(1, 6) if any(map(payloads.measures, grid.asked(number).values()))]
    assert asked == measured
    for record in result.history:
        scores = (record.clients.mean_accuracy, record.ensemble_teacher.accuracy)
        assert [score is not None for score in scores] == [record.server_round in measured] * 2


def test_choices_are_counted_in_the_last_round_only(make_config: Make, federate: Any) -> None:
    history = federate(make_config(run={"rounds": 3})).result.history
    assert [record.confusion is None for record in history] == [True, True, False]


@pytest.mark.parametrize("secure", [{}, MASKED], ids=["plain", "masked"])
def test_a_round_with_too_few_replies_leaves_student_and_teacher_as_they_were(
    make_config: Make, federate: Any, payloads: Any, same_bits: Any, secure: dict[str, Any]
) -> None:
    """Round 2 brings one reply of four, and the public samples differ by round: what round 3 sends is of round 1."""
    config = make_config(
        run={"rounds": 3},
        clients=TWO_ARCHITECTURES | {"min_replies": 3},
        method={"public_per_round": 8},
        secure_aggregation=secure,
    )

    def silent(client: int, reply: Message) -> Message | None:
        is_training = reply.metadata.message_type == "train"
        return None if is_training and reply.metadata.group_id == "2" and client else reply

    result, grid = federate(config, to_server=silent)
    first, second, third = result.history
    assert [record.completed for record in result.history] == [True, False, True]
    assert second.student == first.student
    assert second.distillation is None
    assert third.distillation is not None
    assert second.clients.mean_accuracy is None
    assert second.ensemble_teacher.accuracy is None
    before, after = grid.asked(2), grid.asked(3)
    assert same_bits(payloads.weights_down(before[0]), payloads.weights_down(after[0]))
    for sent, kept in zip(payloads.teacher(before[1]), payloads.teacher(after[1]), strict=True):
        np.testing.assert_array_equal(sent, kept)
    np.testing.assert_array_equal(payloads.teacher(after[1])[0], payloads.public_indices(grid.asked(1)[0]))


def test_a_student_whose_loss_is_not_finite_ends_the_run(make_config: Make, federate: Any) -> None:
    config = make_config(student={"optimizer": "sgd", "learning_rate": 1e30})
    with pytest.raises(RoundError, match="diverged"):
        federate(config)
