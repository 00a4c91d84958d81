"""Batches, epochs and optimisers: the pieces of the loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedkd.seeding import torch_rng
from fedkd.training.config import OptimizerSection
from fedkd.training.loop import batches, run_epoch
from fedkd.training.optimizers import make_optimizer


@settings(deadline=None, max_examples=30)
@given(num_samples=st.integers(0, 60), batch_size=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_every_sample_is_in_exactly_one_batch(num_samples, batch_size, seed):
    pieces = batches(num_samples, batch_size, torch_rng(seed))
    assert sorted(index for piece in pieces for index in piece.tolist()) == list(range(num_samples))


@settings(deadline=None, max_examples=30)
@given(num_samples=st.integers(2, 60), batch_size=st.integers(2, 20))
def test_no_batch_holds_one_sample_and_all_but_the_last_are_full(num_samples, batch_size):
    sizes = [len(piece) for piece in batches(num_samples, batch_size, torch_rng(0))]
    assert all(size == batch_size for size in sizes[:-1])
    assert 2 <= sizes[-1] <= batch_size + 1


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "sizes"),
    [(0, 4, []), (1, 4, [1]), (5, 4, [5]), (9, 4, [4, 5]), (10, 4, [4, 4, 2]), (3, 1, [1, 2])],
)
def test_sizes_of_batches(num_samples, batch_size, sizes):
    assert [len(piece) for piece in batches(num_samples, batch_size, torch_rng(0))] == sizes


def test_the_generator_decides_the_order_and_moves_on():
    rng = torch_rng(0)
    first, second = (torch.cat(batches(50, 8, rng)) for _ in range(2))
    assert torch.equal(first, torch.cat(batches(50, 8, torch_rng(0))))
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.arange(50))


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("sgd", torch.optim.SGD, {"lr": 0.5, "weight_decay": 0.25, "momentum": 0.75, "nesterov": False}),
        ("adam", torch.optim.Adam, {"lr": 0.5, "weight_decay": 0.25, "betas": (0.9, 0.999)}),
        ("adamw", torch.optim.AdamW, {"lr": 0.5, "weight_decay": 0.25, "betas": (0.9, 0.999)}),
    ],
)
def test_make_optimizer(name, kind, expected):
    parameter = nn.Parameter(torch.zeros(2))
    config = OptimizerSection(optimizer=name, learning_rate=0.5, momentum=0.75, weight_decay=0.25)
    optimizer = make_optimizer(iter([parameter]), config)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert group["params"] == [parameter]
    assert {key: group[key] for key in expected} == expected


def test_run_epoch_steps_once_per_batch_and_returns_the_mean_over_samples():
    """On loss(w) = w·mean(x) the slope of batch i is mean(x_i), so both the weight and the mean loss are known."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 1.0)
    x_N = torch.tensor([1.0, 2.0, 3.0, 4.0, 6.0])
    loss = run_epoch(
        weight,
        torch.optim.SGD(weight.parameters(), lr=0.1),
        [torch.tensor([0, 1, 2]), torch.tensor([3, 4])],
        lambda indices: weight(x_N[indices][:, None]).mean(),
    )
    # batch means 2 and 5; weight 1.0, then 1.0 - 0.1 * 2 = 0.8, then 0.8 - 0.1 * 5 = 0.3
    assert weight.weight.item() == pytest.approx(0.3)
    assert loss == pytest.approx((3 * 2.0 * 1.0 + 2 * 5.0 * 0.8) / 5)


def test_run_epoch_puts_the_model_in_training_mode(make_model, problem):
    model = make_model(batch_norm=True).eval()
    images, labels = problem
    run_epoch(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        [torch.arange(21)],
        lambda indices: nn.functional.cross_entropy(model(images[indices]), labels[indices]),
    )
    assert model.training
    assert model[2].num_batches_tracked == 1


@pytest.mark.parametrize("max_grad_norm", [0.0, 1e-3, 1e6])
def test_the_gradient_is_clipped_to_its_norm(max_grad_norm, make_model, problem):
    images, labels = problem
    model, free = make_model(), make_model()
    for net, norm in ((model, max_grad_norm), (free, 0.0)):
        run_epoch(
            net,
            torch.optim.SGD(net.parameters(), lr=1.0),
            [torch.arange(21)],
            lambda indices, net=net: nn.functional.cross_entropy(net(images[indices]), labels[indices]),
            max_grad_norm=norm,
        )
    steps = [
        nn.utils.parameters_to_vector(make_model().parameters()) - nn.utils.parameters_to_vector(net.parameters())
        for net in (model, free)
    ]
    if max_grad_norm == 1e-3:
        assert steps[0].norm().item() == pytest.approx(1e-3, rel=1e-2)
        cosine = nn.functional.cosine_similarity(steps[0].double(), steps[1].double(), dim=0)
        assert cosine.item() == pytest.approx(1.0, abs=1e-3)
    else:
        assert torch.equal(*steps)


def test_no_batches_change_nothing(make_model):
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    def never(indices: torch.Tensor) -> torch.Tensor:
        raise AssertionError(f"asked for the loss of {indices}")

    assert run_epoch(model, optimizer, [], never) == 0.0
