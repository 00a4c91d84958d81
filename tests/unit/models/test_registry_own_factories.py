from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from fedkd.errors import ModelError
from fedkd.models.registry import build_model, num_parameters
from fedkd.types import InputShape

SHAPE: InputShape = (1, 8, 8)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A user's module, importable as `own_models`."""
    module = ModuleType("own_models")
    monkeypatch.setitem(sys.modules, "own_models", module)
    return module


def linear(input_shape: InputShape, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], num_classes))


def build_own(own: ModuleType, factory: Any) -> nn.Module:
    own.factory = factory  # type: ignore[attr-defined]
    return build_model("own_models:factory", SHAPE, 3, seed=5)


def test_an_own_factory_is_called_and_seeded(own: ModuleType) -> None:
    weights = [build_own(own, linear).state_dict()["1.weight"] for _ in range(2)]
    assert weights[0].shape == (3, 64)
    assert torch.equal(*weights)


def test_weights_do_not_depend_on_whether_the_module_was_imported_before(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draws_on_import.py").write_text(
        "import torch\nfrom torch import nn\ntorch.rand(3)\n"
        "def factory(input_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    state = torch.get_rng_state()
    first, again = (build_model("draws_on_import:factory", SHAPE, 3, seed=5) for _ in range(2))
    assert torch.equal(first.state_dict()["1.weight"], again.state_dict()["1.weight"])
    assert torch.equal(torch.get_rng_state(), state)


def test_lazy_layers_are_made_and_seeded(own: ModuleType) -> None:
    def lazy(input_shape: InputShape, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

    first, again = build_own(own, lazy), build_own(own, lazy)
    assert num_parameters(first) == 64 * 3 + 3
    assert torch.equal(first.state_dict()["1.weight"], again.state_dict()["1.weight"])


def test_the_check_leaves_modes_and_statistics_as_the_factory_set_them(own: ModuleType) -> None:
    def half_frozen(input_shape: InputShape, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(1).eval(), nn.BatchNorm2d(1), linear(input_shape, num_classes))

    model = build_own(own, half_frozen)
    assert [module.training for module in model.children()] == [False, True, True]
    assert model.training
    assert all(int(model.state_dict()[f"{layer}.num_batches_tracked"]) == 0 for layer in (0, 1))


def test_a_model_with_other_logits_is_refused(own: ModuleType) -> None:
    with pytest.raises(
        ModelError,
        match=r"own_models:factory.* does not fit input_shape \(1, 8, 8\) and 3 classes: .* \(2, 4\), .* \(2, 3\)",
    ):
        build_own(own, lambda input_shape, num_classes: linear(input_shape, num_classes + 1))


def test_logits_of_another_dtype_are_refused(own: ModuleType) -> None:
    class Double(nn.Flatten):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images)[:, :3].double()

    with pytest.raises(ModelError, match=r"gave torch\.float64 of shape"):
        build_own(own, lambda *_: Double())


def test_a_model_that_returns_no_tensor_is_refused(own: ModuleType) -> None:
    class Pair(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images, images

    with pytest.raises(ModelError, match="gave a value of type tuple, not logits"):
        build_own(own, lambda *_: Pair())


def test_a_model_that_breaks_on_the_images_is_refused_in_one_line(own: ModuleType) -> None:
    with pytest.raises(ModelError, match=r"cannot take samples of input_shape \(1, 8, 8\): RuntimeError: ") as caught:
        build_own(own, lambda *_: nn.Conv2d(3, 3, 1))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_factory_that_raises_is_named_with_its_cause(own: ModuleType) -> None:
    with pytest.raises(ModelError, match=r"'own_models:factory' cannot be built .* ZeroDivisionError") as caught:
        build_own(own, lambda *_: 1 // 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_factory_with_another_signature_is_refused(own: ModuleType) -> None:
    with pytest.raises(ModelError, match=r"cannot be built .* TypeError"):
        build_own(own, lambda: nn.Flatten())


def test_what_is_no_factory_is_refused(own: ModuleType) -> None:
    with pytest.raises(ModelError, match="is a value of type int, not a factory"):
        build_own(own, 3)


def test_a_factory_of_no_module_is_refused(own: ModuleType) -> None:
    with pytest.raises(ModelError, match=r"returned a value of type str, not a torch\.nn\.Module"):
        build_own(own, lambda *_: "model")


def test_a_model_error_of_the_factory_passes_unchanged(own: ModuleType) -> None:
    error = ModelError("no such width")

    def refuse(*_: object) -> nn.Module:
        raise error

    with pytest.raises(ModelError) as caught:
        build_own(own, refuse)
    assert caught.value is error


def test_a_module_that_does_not_import_is_refused(own: ModuleType) -> None:
    with pytest.raises(ModelError, match="module 'not_there' does not import"):
        build_model("not_there:factory", SHAPE, 3, seed=0)
    with pytest.raises(ModelError, match="has no attribute 'missing'"):
        build_model("own_models:missing", SHAPE, 3, seed=0)


def test_a_module_that_breaks_while_importing_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_models.py").write_text("def factory(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="'broken_models:factory' cannot be imported: SyntaxError"):
        build_model("broken_models:factory", SHAPE, 3, seed=0)
