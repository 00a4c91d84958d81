from __future__ import annotations

import builtins
import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedkd.data.vocabulary import SMALLEST, Vocabulary
from fedkd.errors import DataError
from fedkd.types import PADDING_TOKEN

TEXTS = ["The cat sat on the mat.", "the cat ate the rat", "A rat sat on a hat: 100 %!"] * 3


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.learn(TEXTS, 300)


def test_frequent_words_become_one_token(vocabulary: Vocabulary) -> None:
    tokens_NL = vocabulary.encode(["the cat", "THE CAT", "zq"], 6)
    assert tokens_NL.dtype == np.uint16
    assert (tokens_NL != PADDING_TOKEN).sum(axis=1).tolist() == [2, 2, 3]
    assert tokens_NL[0].tolist() == tokens_NL[1].tolist()
    assert SMALLEST < vocabulary.size <= 300
    assert tokens_NL.max() < vocabulary.size


def test_merges_are_those_of_counting_by_hand() -> None:
    """Eight times "ab", as often "ab c"; the pair (a, b) is the first to merge, then the space with it."""
    vocabulary = Vocabulary.learn(["ab"] * 8, SMALLEST + 2)
    assert vocabulary.encode(["ab"], 3)[0].tolist() == [SMALLEST + 1, 0, 0]
    assert vocabulary.encode(["ba"], 4)[0].tolist()[3] == 0


@example(text="[PAD]", length=1)
@given(text=st.text(min_size=1).filter(str.strip), length=st.integers(1, 12))
def test_every_text_has_tokens_and_a_longer_row_begins_with_the_shorter(
    vocabulary: Vocabulary, text: str, length: int
) -> None:
    rows = vocabulary.encode([text], length)[0], vocabulary.encode([text], 400)[0]
    assert rows[0][0] != PADDING_TOKEN
    assert rows[0].tolist() == rows[1][:length].tolist()


def test_the_name_of_the_padding_is_text_as_any_other(vocabulary: Vocabulary) -> None:
    tokens = vocabulary.encode(["a [PAD] b"], 20)[0]
    assert tokens.tolist() == vocabulary.encode(["a [pad] b"], 20)[0].tolist()
    beginning = tokens[: int((tokens != PADDING_TOKEN).sum())]
    assert (beginning != PADDING_TOKEN).all()
    assert len(beginning) >= len("a[PAD]b") - 1
    assert copy.deepcopy(vocabulary).encode(["[PAD]"], 1)[0][0] != PADDING_TOKEN


def test_order_and_process_do_not_matter() -> None:
    command = (
        f"from fedkd.data.vocabulary import Vocabulary; print(Vocabulary.learn({TEXTS!r}, 280).definition, end='')"
    )
    elsewhere = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert elsewhere == Vocabulary.learn(TEXTS[::-1], 280).definition


def test_it_travels_as_its_definition(vocabulary: Vocabulary) -> None:
    for again in (Vocabulary(vocabulary.definition), copy.deepcopy(vocabulary)):
        assert again.encode(TEXTS, 9).tolist() == vocabulary.encode(TEXTS, 9).tolist()


@pytest.mark.parametrize("definition", ["", "{}", '{"model": 1}'])
def test_what_is_no_definition_is_refused(definition: str) -> None:
    with pytest.raises(DataError, match="the vocabulary cannot be read"):
        Vocabulary(definition)


def test_a_definition_with_another_padding_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(DataError, match=r"has no token \[PAD\] with the number 0"):
        Vocabulary(vocabulary.definition.replace("[PAD]", "[XXX]"))


def test_a_size_below_all_bytes_is_refused() -> None:
    with pytest.raises(DataError, match=f"size = 256 is not allowed: at least {SMALLEST}"):
        Vocabulary.learn(TEXTS, 256)


def test_without_the_library_texts_are_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match="texts need the package 'tokenizers', which is not installed here"):
        Vocabulary.learn(TEXTS, 300)


def test_images_alone_do_not_import_the_library() -> None:
    command = (
        "import sys, fedkd.federation.client_app, fedkd.flower_app, fedkd.prediction; "
        "from fedkd.data import DataConfig, load_federated_data; load_federated_data(DataConfig(), 4, 0); "
        "sys.exit('tokenizers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
