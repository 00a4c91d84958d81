from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedkd.errors import ModelError
from fedkd.models.registry import build_model, num_parameters
from fedkd.models.resnet import BasicBlock, CifarResNet, batch_norm, group_norm, resnet20
from fedkd.seeding import isolated_torch_rng, torch_rng


@pytest.mark.parametrize(("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")])
@pytest.mark.parametrize("norm", [batch_norm, group_norm])
def test_parameters_are_those_of_the_paper(depth: int, millions: str, norm: object) -> None:
    """He et al. 2016, Table 6."""
    count = num_parameters(CifarResNet(3, 10, depth, norm))  # type: ignore[arg-type]
    assert f"{count / 1e6:.{len(millions) - 2}f}" == millions


@pytest.mark.parametrize(("name", "total"), [("resnet8", 75_290), ("resnet20", 269_722), ("resnet56", 853_018)])
def test_parameters_are_those_counted_by_hand(name: str, total: int) -> None:
    n = {"resnet8": 1, "resnet20": 3, "resnet56": 9}[name]
    convolutions = 9 * (3 * 16 + 2 * n * 16**2 + 16 * 32 + (2 * n - 1) * 32**2 + 32 * 64 + (2 * n - 1) * 64**2)
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    assert convolutions + norms + 65 * 10 == total
    assert num_parameters(build_model(name, (3, 32, 32), 10, seed=0)) == total
    assert num_parameters(build_model(f"{name}_gn", (3, 32, 32), 10, seed=0)) == total


@pytest.mark.parametrize("n", [1, 3, 9])
def test_layers_lie_on_the_maps_of_the_paper(n: int) -> None:
    """He et al. 2016, §4.2: 1 + 2n layers on 32×32 maps (16 of them), 2n on 16×16 (32), 2n on 8×8 (64)."""
    model = CifarResNet(3, 10, 6 * n + 2, batch_norm)
    seen: list[tuple[int, ...]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(tuple(output.shape[1:])))
    model(torch.zeros(2, 3, 32, 32))
    assert Counter(seen) == {(16, 32, 32): 1 + 2 * n, (32, 16, 16): 2 * n, (64, 8, 8): 2 * n}


@pytest.mark.parametrize("depth", [2, 7, 9, 18, 0, -4])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(ModelError, match=f"depth = {depth} is not allowed: give 6n \\+ 2"):
        CifarResNet(3, 10, depth, batch_norm)


@given(height=st.integers(1, 9), width=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_the_shortcut_subsamples_and_pads_with_zero_maps(height: int, width: int) -> None:
    block = BasicBlock(16, 32, batch_norm)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    maps = torch.rand(2, 16, height, width, generator=torch_rng(0)) - 0.5
    expected = torch.zeros(2, 32, math.ceil(height / 2), math.ceil(width / 2))
    for row in range(expected.shape[2]):
        for column in range(expected.shape[3]):
            expected[:, :16, row, column] = maps[:, :, 2 * row, 2 * column].clamp(min=0)
    assert torch.equal(block.eval()(maps), expected)


def test_a_block_of_equal_widths_adds_its_input() -> None:
    block = BasicBlock(16, 16, group_norm).eval()
    maps = torch.rand(2, 16, 5, 5, generator=torch_rng(0))
    assert torch.equal(block(maps), torch.relu(block.residual(maps) + maps))


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8), (31, 33)])
def test_any_image_size_fits(size: tuple[int, int]) -> None:
    assert build_model("resnet8", (2, *size), 7, seed=0)(torch.zeros(3, 2, *size)).shape == (3, 7)


def test_convolutions_start_as_he_initialises_them() -> None:
    """He et al. 2015, eq. 10: standard deviation √(2 / fan-in)."""
    with isolated_torch_rng(0):
        model = resnet20((3, 32, 32), 10)
    for module in model.stage3.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * module.in_channels)), rel=0.03)


def test_group_norm_keeps_no_statistics_and_batch_norm_does() -> None:
    assert not dict(build_model("resnet8_gn", (1, 8, 8), 10, seed=0).named_buffers())
    assert dict(build_model("resnet8", (1, 8, 8), 10, seed=0).named_buffers())


@pytest.mark.parametrize(("name", "independent"), [("resnet8_gn", True), ("resnet8", False)])
def test_only_group_norm_keeps_samples_apart_in_training(name: str, independent: bool) -> None:
    model = build_model(name, (1, 8, 8), 10, seed=0)
    images = torch.rand(4, 1, 8, 8, generator=torch_rng(0))
    together, apart = model(images)[:2], model(images[:2])
    assert torch.allclose(together, apart, atol=1e-5) is independent


def test_a_group_holds_eight_maps() -> None:
    assert [group_norm(maps).num_groups for maps in (16, 32, 64)] == [2, 4, 8]
