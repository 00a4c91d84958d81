"""Distillation in shards: the whole batch's step up to rounding, and the same bits for any number of workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from fedkd.distillation import DistillationConfig, Distiller, PublicBatch
from fedkd.distillation.shards import Alone, ShardedBackward, predict_together
from fedkd.training.evaluation import predict_logits

CONFIG = DistillationConfig(epochs=3, batch_size=32, optimizer="adam")


class Threads:
    """An exchange between threads."""

    def __init__(self, rank: int, size: int, rows: list[Tensor | None], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._rows, self._barrier = rank, size, rows, barrier

    def gather(self, rows: Tensor) -> Tensor:
        self._rows[self.rank] = rows
        self._barrier.wait()
        gathered = torch.stack([part for part in self._rows if part is not None])
        self._barrier.wait()
        return gathered


def together(size: int, work: Callable[[Threads], object]) -> list[object]:
    """Let `size` threads do the same work, joined by an exchange."""
    rows: list[Tensor | None] = [None] * size
    barrier = threading.Barrier(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(Threads(rank, size, rows, barrier)), range(size)))


def plain_student() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.fixture(autouse=True)
def _keep_global_rng():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_without_batch_norm_a_step_in_shards_is_the_whole_batchs_step(small: PublicBatch, shards: int) -> None:
    whole, cut = plain_student(), plain_student()
    Distiller(whole, CONFIG).distil(small, seed=0)
    Distiller(cut, CONFIG, shards=shards).distil(small, seed=0)
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("shards", "workers"), [(2, 2), (3, 2), (4, 3), (2, 4)])
def test_the_bits_do_not_depend_on_the_number_of_workers(
    small: PublicBatch, make_student, same_bits, shards: int, workers: int, dropout: float
) -> None:
    """With one worker shards are computed by turns. Dropout is left to one thread: torch's generator is global."""
    workers = 1 if dropout else workers
    alone = make_student(dropout)
    report = Distiller(alone, CONFIG, shards=shards).distil(small, seed=0)

    students = [make_student(dropout) for _ in range(workers)]

    def distil(exchange: Threads) -> nn.Module:
        student = students[exchange.rank]
        assert Distiller(student, CONFIG, shards=shards, exchange=exchange).distil(small, seed=0) == report
        return student

    assert all(same_bits(alone, student) for student in together(workers, distil))


def test_dropout_draws_anew_for_every_shard_and_step() -> None:
    """Each of the 8 inputs is one; what dropout lets through is seen in the gradient of the weights."""
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 1, bias=False))
    seen: list[tuple[float, ...]] = []
    backward = ShardedBackward(model, 2, Alone(), seed=0)

    def loss(indices: Tensor) -> Tensor:
        dropped = model[0](torch.ones(1, 8))
        seen.append(tuple(dropped[0].tolist()))
        return model[1](dropped).mean() * len(indices)

    for _ in range(3):
        backward(loss, torch.arange(4))
    assert len(set(seen)) == 6
    again = list(seen)
    seen.clear()
    backward = ShardedBackward(model, 2, Alone(), seed=0)
    for _ in range(3):
        backward(loss, torch.arange(4))
    assert seen == again


def test_batch_norm_normalises_each_shard_by_itself_and_moves_once_a_step_to_the_weighted_mean() -> None:
    """Against PyTorch's own layer on each shard. 5 samples in 2 shards: 3 and 2."""
    features = torch.randn(5, 4)
    model, reference = nn.BatchNorm1d(4), [nn.BatchNorm1d(4), nn.BatchNorm1d(4)]
    ShardedBackward(model, 2, Alone(), seed=0)(lambda indices: model(features[indices]).square().sum(), torch.arange(5))
    reference[0](features[:3])
    reference[1](features[3:])
    for name in ("running_mean", "running_var"):
        expected = 0.6 * getattr(reference[0], name) + 0.4 * getattr(reference[1], name)
        torch.testing.assert_close(getattr(model, name), expected)
    assert model.num_batches_tracked == 1


@pytest.mark.parametrize(("samples", "sizes"), [(64, [16] * 4), (7, [3, 2, 2]), (3, [3]), (2, [2]), (1, [1])])
def test_every_shard_holds_two_samples_where_there_are_two(samples: int, sizes: list[int]) -> None:
    model, seen = nn.Linear(1, 1), []

    def loss(indices: Tensor) -> Tensor:
        seen.append(len(indices))
        return model(torch.ones(len(indices), 1)).mean()

    value = ShardedBackward(model, 4, Alone(), seed=0)(loss, torch.arange(samples))
    assert seen == sizes
    torch.testing.assert_close(value, model(torch.ones(1))[0])
    torch.testing.assert_close(model.weight.grad, torch.ones(1, 1))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("samples", [1, 512, 1397, 1797])
def test_predictions_made_together_have_the_bits_of_those_made_alone(digits, samples: int, workers: int) -> None:
    model = plain_student()
    images = torch.cat([digits.public.images_NCHW, digits.public.images_NCHW])[:samples]
    expected = predict_logits(model, images)
    for logits in together(workers, lambda exchange: predict_together(model, images, exchange)):
        assert (logits == expected).all()
        assert logits.shape == expected.shape
