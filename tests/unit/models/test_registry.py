from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fedkd.models
from fedkd.errors import ModelError
from fedkd.models.registry import available_models, build_model, check_model_name, num_parameters
from fedkd.types import InputShape, TextShape

SHAPE: InputShape = (1, 8, 8)


def test_the_room_exports_the_registry() -> None:
    assert set(fedkd.models.__all__) == {"available_models", "build_model", "check_model_name", "num_parameters"}
    assert all(hasattr(fedkd.models, name) for name in fedkd.models.__all__)


def test_the_known_names() -> None:
    assert available_models() == (
        *("mlp", "cnn", "lenet5"),
        *("resnet8", "resnet20", "resnet56", "resnet8_gn", "resnet20_gn", "resnet56_gn"),
        *("resnet18", "mobilenet_v2", "shufflenet"),
        *("transformer", "transformer_small"),
    )


def test_each_kind_of_sample_has_models_of_its_own() -> None:
    assert available_models(TextShape(4, 10)) == ("transformer", "transformer_small")
    assert set(available_models(SHAPE)) == set(available_models()) - {"transformer", "transformer_small"}


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        (
            "cnn",
            TextShape(4, 10),
            "'cnn' takes images, and these are texts: choose one of transformer, transformer_small",
        ),
        ("transformer", SHAPE, "'transformer' takes texts, and these are images: choose one of mlp, cnn, "),
        ("transformer", TextShape(0, 10), "length and vocabulary are at least 1"),
    ],
)
def test_a_model_for_samples_of_the_other_kind_is_refused(name: str, shape: Any, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        build_model(name, shape, 10, seed=0)


@pytest.mark.parametrize("name", [*available_models(), "module:factory", "a.b_2.c:make", "not.there:yet"])
def test_names_and_import_paths_pass_without_an_import(name: str) -> None:
    check_model_name(name)


@pytest.mark.parametrize(
    "name", ["", ":", "a:", ":b", "a.b", "a..b:c", "a:b:c", "a-b:c", "a b:c", ".a:b", "a:b.c", "os.system('x'):y"]
)
def test_what_is_neither_a_name_nor_an_import_path_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"is not known.*choose one of mlp, cnn, .*'package.module:factory'"):
        check_model_name(name)


@pytest.mark.parametrize(
    ("typo", "meant"), [("resnet9", "resnet8"), ("lenet", "lenet5"), ("mobilenetv2", "mobilenet_v2")]
)
def test_a_typo_is_answered_with_the_nearest_name(typo: str, meant: str) -> None:
    with pytest.raises(ModelError, match=f"'{typo}' is not known .did you mean '{meant}'"):
        build_model(typo, SHAPE, 10, seed=0)


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="ab1_.:é -", max_size=8))
def test_any_text_is_an_import_path_or_refused_by_its_name(name: str) -> None:
    """The grammar again, as a regular expression."""
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", name):
        check_model_name(name)
    else:
        with pytest.raises(ModelError, match=re.escape(repr(name))):
            check_model_name(name)


@pytest.mark.parametrize("input_shape", [(1, 0, 8), (0, 8, 8), (1, 8, -1), (8, 8), (1, 1, 8, 8)])
def test_impossible_images_are_refused(input_shape: Any) -> None:
    with pytest.raises(ModelError, match=r"input_shape = .* is not allowed"):
        build_model("mlp", input_shape, 10, seed=0)


@pytest.mark.parametrize("num_classes", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(num_classes: int) -> None:
    with pytest.raises(ModelError, match=f"num_classes = {num_classes} is not allowed: give at least 2"):
        build_model("mlp", SHAPE, num_classes, seed=0)


def test_parameters_are_counted_and_buffers_are_not() -> None:
    assert num_parameters(nn.Sequential(nn.Conv2d(2, 3, 5), nn.BatchNorm2d(3))) == 2 * 3 * 25 + 3 + 2 * 3
