"""The floor: federated learning of one student as a plain torch loop, with fedkd's arithmetic and no framework.

Every client takes part in every round and has the student's architecture. A round:

    fkd      client: student → local epochs → logits on the public set, clipped
             server: mean of the logits → the student learns them
    fedavg   client: student → local epochs → weights
             server: mean of the weights, weighted by numbers of samples

and in both the student is scored on the test split, with `evaluate_clients` every client's model, too. The student ends
with the same bytes as that of `fedkd.federation`; the sums are therefore taken in the same order. Shapes: N samples,
C classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.plain_problem import World
from fedkd.seeding import derive_seed

State = dict[str, Tensor]


@dataclass(frozen=True)
class Reply:
    """What a client gives in a round."""

    num_samples: int
    public_logits_NC: Tensor | None
    weights: State | None
    test_logits_NC: Tensor | None


@dataclass(frozen=True)
class Scores:
    """Accuracies on the test split after a round. `clients` is empty and `teacher` absent where clients are not
    evaluated; `agreement` (student and teacher on the public set) is there where there is a teacher.
    """

    student: float
    clients: tuple[float, ...]
    teacher: float | None = None
    agreement: float | None = None


def run(world: World, on_round: Callable[[], None] = lambda: None) -> tuple[State, list[Scores]]:
    """All rounds; returns the student and the scores of every round."""
    student, scores = world.new_model(), []
    for server_round in range(1, world.settings.rounds + 1):
        replies = [client_phase(world, student, client, server_round) for client in sorted(world.clients)]
        scores.append(server_phase(world, student, replies, server_round))
        on_round()
    return student.state_dict(), scores


def client_phase(world: World, student: nn.Module, client: int, server_round: int) -> Reply:
    """One client's part of a round."""
    settings, (images, labels) = world.settings, world.clients[client]
    model = copy.deepcopy(student)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.local_rate, momentum=settings.momentum)
    seed = derive_seed(settings.seed, "client", client, "round", server_round, "training")
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    model.train()
    for _ in range(settings.local_epochs):
        for batch in batches(len(labels), settings.local_batch, rng):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    sends_logits, limit = settings.method == "fkd", settings.clipping_range
    return Reply(
        num_samples=len(labels),
        public_logits_NC=predict(model, world.public_images).clamp(-limit, limit) if sends_logits else None,
        weights=None if sends_logits else model.state_dict(),
        test_logits_NC=predict(model, world.test_images).clamp(-limit, limit) if settings.evaluate_clients else None,
    )


def server_phase(world: World, student: nn.Module, replies: Sequence[Reply], server_round: int) -> Scores:
    """The server's part of a round: the student learns from the replies, which are in the order of clients."""
    teacher = agreement = None
    test_logits = [reply.test_logits_NC for reply in replies if reply.test_logits_NC is not None]
    if world.settings.method == "fkd":
        teacher_NC = mean_logits([reply.public_logits_NC for reply in replies if reply.public_logits_NC is not None])
        distil(world, student, teacher_NC, server_round)
        agreement = accuracy(predict(student, world.public_images), teacher_NC.argmax(dim=1))
        teacher = accuracy(mean_logits(test_logits), world.test_labels) if test_logits else None
    else:
        weights = [reply.weights for reply in replies if reply.weights is not None]
        student.load_state_dict(mean_weights(weights, [reply.num_samples for reply in replies]))
    return Scores(
        student=accuracy(predict(student, world.test_images), world.test_labels),
        clients=tuple(accuracy(logits_NC, world.test_labels) for logits_NC in test_logits),
        teacher=teacher,
        agreement=agreement,
    )


def distil(world: World, student: nn.Module, teacher_NC: Tensor, server_round: int) -> None:
    """The student learns the teacher's answers on the public set: Adam on KL(teacher ‖ student)."""
    settings = world.settings
    optimizer = torch.optim.Adam(student.parameters(), lr=settings.server_rate)
    seed = derive_seed(settings.seed, "server", "round", server_round, "distillation")
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    student.train()
    for _ in range(settings.server_epochs):
        for batch in batches(len(teacher_NC), settings.server_batch, rng):
            optimizer.zero_grad()
            add_gradients(student, world.public_images[batch], teacher_NC[batch], settings.shards)
            optimizer.step()


def add_gradients(student: nn.Module, images: Tensor, teacher_NC: Tensor, shards: int) -> None:
    """Add the gradient of the batch's mean KL, piece by piece: each piece's mean weighs as much as its samples."""
    pieces = max(1, min(shards, len(images) // 2))  # batch normalisation cannot train on a piece of one sample
    for images_of_piece, teacher_of_piece in zip(
        torch.tensor_split(images, pieces), torch.tensor_split(teacher_NC, pieces), strict=True
    ):
        log_probs = F.log_softmax(student(images_of_piece), dim=1)
        teacher_log_probs = F.log_softmax(teacher_of_piece, dim=1)
        loss = F.kl_div(log_probs, teacher_log_probs, reduction="batchmean", log_target=True)
        (loss * (len(images_of_piece) / len(images))).backward()  # type: ignore[no-untyped-call]


def batches(num_samples: int, batch_size: int, rng: torch.Generator) -> list[Tensor]:
    """A random order, cut; a last batch of one sample joins the one before it."""
    pieces = list(torch.split(torch.randperm(num_samples, generator=rng), batch_size))
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [torch.cat(pieces[-2:])]
    return pieces


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, C] in evaluation mode, in batches of 512."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in torch.split(images, 512)])


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    """Mean over clients, summed in float64 in the order of clients."""
    total = logits[0].double()
    for logits_NC in logits[1:]:
        total = total + logits_NC.double()
    return (total / len(logits)).float()


def mean_weights(weights: Sequence[State], num_samples: Sequence[int]) -> State:
    """Mean over clients by share of samples, summed in the order of clients."""
    shares = [number / sum(num_samples) for number in num_samples]
    return {key: _sum([state[key] * share for state, share in zip(weights, shares, strict=True)]) for key in weights[0]}


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].clone()
    for tensor in tensors[1:]:
        total += tensor
    return total


def accuracy(logits_NC: Tensor, labels_N: Tensor) -> float:
    """Share of right answers."""
    return float((logits_NC.argmax(dim=1) == labels_N).double().mean())
