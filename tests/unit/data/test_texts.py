from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedkd.data.inputs import to_model_input
from fedkd.data.source import Source
from fedkd.data.texts import LabelledTexts, LabelledTokens
from fedkd.errors import DataError
from fedkd.types import TextShape

LABELS = np.array([0, 1, 1])
TOKENS = np.array([[5, 0], [3, 4], [1, 2]], dtype=np.uint16)


def test_rows_are_taken_in_order() -> None:
    texts = LabelledTexts(("a", "b", "c"), LABELS).take(np.array([2, 0]))
    assert (texts.texts, texts.labels_N.tolist(), len(texts)) == (("c", "a"), [1, 0], 2)
    tokens = LabelledTokens(TOKENS, LABELS, 6)
    assert (tokens.input_shape, len(tokens)) == (TextShape(length=2, vocabulary=6), 3)
    assert tokens.take(np.array([1])).inputs.tolist() == [[3, 4]]


def test_the_digest_is_of_tokens_and_labels() -> None:
    tokens = LabelledTokens(TOKENS, LABELS, 6)
    assert tokens.digest() == LabelledTokens(TOKENS.copy(), LABELS.copy(), 6).digest()
    assert tokens.digest() != LabelledTokens(TOKENS[::-1].copy(), LABELS, 6).digest()
    assert tokens.digest() != LabelledTokens(TOKENS, LABELS[::-1].copy(), 6).digest()


def test_models_see_integers() -> None:
    tokens_NL = to_model_input(TOKENS)
    assert tokens_NL.dtype == np.int64
    assert tokens_NL.tolist() == TOKENS.tolist()


@pytest.mark.parametrize(
    ("texts", "labels", "match"),
    [
        (("a", " ", "c"), LABELS, r"texts\[1\] is blank"),
        (("a", "b\ud800", "c"), LABELS, r"texts\[1\] holds half of a surrogate pair"),
        (("a", 2, "c"), LABELS, r"texts\[1\] is a int"),
        (("a", "b"), LABELS, "3 labels for 2 texts"),
        (("a", "b", "c"), LABELS.astype(np.int32), "labels_N is a int32 array"),
        (("a", "b", "c"), LABELS - 1, "labels_N holds -1"),
    ],
)
def test_texts_that_do_not_fit_are_refused(texts: Any, labels: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        LabelledTexts(texts, labels)


@pytest.mark.parametrize(
    ("tokens", "match"),
    [
        (TOKENS.astype(np.int64), r"tokens_NL is a int64 array of shape \(3, 2\)"),
        (TOKENS[:, 0], "allowed: a uint16 array"),
        (TOKENS[:, :0], "L at least 1"),
        (TOKENS + np.uint16(1), "holds token 6; allowed: 0 to 5"),
        (TOKENS[:2], "3 labels for 2 texts"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(tokens: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        LabelledTokens(tokens, LABELS, 6)


def test_a_source_holds_texts_or_images_and_not_both(make_images: Any) -> None:
    texts = LabelledTexts(("a", "b", "c"), LABELS)
    assert Source(texts, texts, 2, ("x", "y")).holds_texts
    with pytest.raises(DataError, match=r"test holds images of shape .*, train texts; allowed: the same"):
        Source(texts, make_images(num_classes=2), 2, ("x", "y"))
    with pytest.raises(DataError, match="holds texts, which have none"):
        Source(texts, None, 2, ("x", "y")).resized(8)
