"""Texts in a federation: who holds which, and what the vocabulary has seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedkd.data.config import DataConfig
from fedkd.data.federated import FederatedData, load_federated_data
from fedkd.data.jsonl_source import load_jsonl
from fedkd.data.texts import LabelledTexts
from fedkd.data.vocabulary import Vocabulary
from fedkd.errors import ConfigError, DataError
from fedkd.types import TextShape

NUM_TEXTS = 120


def _write(path: Path, num: int = NUM_TEXTS, change: str = "", first: int = 0) -> Path:
    """Numbered texts of two classes; the number is the first word, so that texts can be told apart."""
    words = ("meeting report monday", "prize money click")
    lines = (
        {"text": f"n{number:04d} {words[number % 2]} {change}", "label": number % 2}
        for number in range(first, first + num)
    )
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def _load(root: Path, seed: int = 0, **changes: Any) -> FederatedData:
    values: dict[str, Any] = {
        "source": "jsonl",
        "root": str(root),
        "public": {"size": 30},
        "text": {"length": 12, "vocabulary": 300},
        "partition": {"kind": "iid", "min_size": 1},
    }
    return load_federated_data(DataConfig.model_validate(values | changes), 4, seed)


def test_all_splits_are_tokens_of_one_vocabulary(tmp_path: Path) -> None:
    data = _load(_write(tmp_path / "mails.jsonl"))
    assert data.vocabulary is not None
    assert data.input_shape == TextShape(length=12, vocabulary=data.vocabulary.size)
    assert (len(data.test), data.public_inputs.shape, len(data.train)) == (24, (30, 12), 66)
    assert sorted(np.concatenate(data.partitions)) == list(range(66))
    assert data.client(1).inputs.shape[1] == 12
    splits = (data.train.inputs, data.public_inputs, data.test.inputs)
    found = np.concatenate(splits)
    expected = data.vocabulary.encode(_texts(tmp_path), 12)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, expected.tolist())), "each text once"


def _texts(folder: Path) -> tuple[str, ...]:
    train = load_jsonl(folder / "mails.jsonl").train
    assert isinstance(train, LabelledTexts)
    return train.texts


def test_the_vocabulary_is_a_function_of_the_public_texts(tmp_path: Path) -> None:
    root = _write(tmp_path / "mails.jsonl")
    before = _load(root)
    everything = _texts(tmp_path)
    assert before.vocabulary is not None
    public = [
        text for text in everything if before.vocabulary.encode([text], 12)[0].tolist() in before.public_inputs.tolist()
    ]
    assert len(public) == 30
    assert before.vocabulary.definition == Vocabulary.learn(public, 300).definition
    lines = [json.loads(line) for line in root.read_text().split("\n")]
    for line in lines:
        if line["text"] not in public:
            line["text"] = f"password {line['text']}"
    root.write_text("\n".join(map(json.dumps, lines)))
    after = _load(root)
    assert after.vocabulary is not None
    assert after.vocabulary.definition == before.vocabulary.definition
    assert after.public_digest == before.public_digest
    assert after.train.digest() != before.train.digest()


def test_the_public_set_may_be_another_file(tmp_path: Path) -> None:
    root, other = _write(tmp_path / "mails.jsonl"), _write(tmp_path / "other.jsonl", 50, "public", first=1000)
    data = _load(root, public={"source": "jsonl", "root": str(other), "size": 40, "labelled": True})
    assert data.vocabulary is not None
    words = data.vocabulary.encode(["public", "meeting"], 8)
    assert (words != 0).sum(axis=1).tolist() == [1, 1]
    assert (len(data.public_inputs), len(data.train)) == (40, 96)
    assert data.public_labels_N is not None


def test_label_noise_reaches_texts(tmp_path: Path) -> None:
    root = _write(tmp_path / "mails.jsonl")
    clean, noisy = (_load(root, heterogeneity={"label_noise": rate}).client(0) for rate in (0.0, 0.9))
    assert np.array_equal(clean.inputs, noisy.inputs)
    assert (clean.labels_N != noisy.labels_N).mean() > 0.5


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"image_size": 8}, "data.image_size = 8 is not allowed: left out with data.source = 'jsonl'"),
        ({"heterogeneity": {"feature_shift": "noise"}}, r"data\.heterogeneity\.feature_shift = 'noise' is not allowed"),
        ({"public": {"source": "mnist"}}, r"data\.public\.source = 'mnist' is not allowed: a source of texts"),
        (
            {"source": "digits"},
            r"data\.text = .* is not allowed: left out with data\.source = 'digits', wh",
        ),
        ({"source": "digits", "text": {}, "public": {"source": "jsonl"}}, r"data\.public\.source = 'jsonl' is not al"),
    ],
)
def test_what_is_for_samples_of_the_other_kind_is_refused(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        _load(tmp_path / "unread.jsonl", **changes)


def test_a_users_own_source_may_hold_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _write(tmp_path / "mails.jsonl")
    (tmp_path / "own_text_source.py").write_text("from fedkd.data.jsonl_source import load_jsonl as load\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = "own_text_source:load"
    assert _load(root, source=own).train.digest() == _load(root).train.digest()
    with pytest.raises(ConfigError, match=r"data\.heterogeneity\.feature_shift = 'noise' is not allowed"):
        _load(root, source=own, heterogeneity={"feature_shift": "noise"})
    with pytest.raises(DataError, match="must both hold images, or both texts"):
        load_federated_data(DataConfig.model_validate({"public": {"source": own, "root": str(root), "size": 3}}), 4, 0)
