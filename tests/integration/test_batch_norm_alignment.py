"""A client answers through the batch norm of the student that it adopted, and keeps its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedkd.aggregation import Weights
from fedkd.federation.client import Client, ClientState, Work
from fedkd.federation.messages import TrainInstruction
from fedkd.federation.references import compose_method
from fedkd.federation.weights import load_weights, read_weights
from fedkd.federation.workspace import open_workspace
from fedkd.training.config import TrainingConfig
from fedkd.training.evaluation import predict_logits
from fedkd.training.loop import train_supervised

RESNET = {"clients": {"models": ["resnet8"], "number": 2}, "student": {"model": "resnet8"}}
BATCH_NORM = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture
def config(small_config):
    return small_config(**RESNET, method={"batch_norm_alignment": True})


@pytest.fixture
def student(config) -> Weights:
    """One that has seen all the data there are."""
    workspace = open_workspace(config)
    model = workspace.build_model("resnet8", seed=1)
    train_supervised(model, *workspace.client(1), TrainingConfig(epochs=1), num_classes=10, seed=0)
    return read_weights(model)


def work(config, weights: Weights) -> Work:
    indices_N = np.arange(20, dtype=np.int32)
    instruction = TrainInstruction(server_round=2, asked_N=indices_N, weights=weights, told=None, evaluate=True)
    return Client(0, config, compose_method(config.method), open_workspace(config)).work(instruction, ClientState())


def logits_of(done: Work) -> np.ndarray:
    """What a client answers on the public samples."""
    assert done.outgoing is not None
    return done.outgoing.rows.values_ND


def is_of_batch_norm(key: str) -> bool:
    """In a resnet8 all layers with a bias are batch norm, but for the classifier."""
    names = (*BATCH_NORM, "residual.1.", "residual.4.", "stem.1.")
    return any(name in key for name in names)


def test_the_answers_are_those_of_its_convolutions_with_the_students_layers(config, small_config, student):
    aligned, plain = work(config, student), work(small_config(**RESNET), student)
    for key, values in plain.weights.items():
        assert np.array_equal(aligned.weights[key], values), key
    workspace = open_workspace(config)
    mixed = {key: student[key] if is_of_batch_norm(key) else values for key, values in aligned.weights.items()}
    assert sum(is_of_batch_norm(key) for key in mixed) == 7 * 5  # layers, and what each of them holds
    reference = workspace.build_model("resnet8", seed=2)
    load_weights(reference, mixed)
    expected_NC = predict_logits(reference, workspace.public_inputs[:20])
    np.testing.assert_allclose(logits_of(aligned), expected_NC, rtol=1e-3, atol=1e-4)
    assert np.abs(logits_of(aligned) - logits_of(plain)).max() > 0.1
    assert np.abs(aligned.test_logits_MC - plain.test_logits_MC).max() > 0.1


def test_a_student_that_no_batch_has_passed_is_not_followed(config, small_config):
    fresh = read_weights(open_workspace(config).build_model("resnet8", seed=1))
    assert np.array_equal(logits_of(work(config, fresh)), logits_of(work(small_config(**RESNET), fresh)))


def test_an_alignment_that_cannot_be_is_an_error_of_the_client(config, student):
    from fedkd.errors import ModelError

    dead = {key: np.zeros_like(v) if key == "stem.1.weight" else v for key, v in student.items()}
    frozen = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 0})})
    with pytest.raises(ModelError, match="weight 0"), torch.no_grad():
        work(frozen, dead)
