from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fedkd.data.jsonl_source import is_jsonl, load_jsonl, read_texts
from fedkd.data.texts import LabelledTexts
from fedkd.errors import DataError

GOOD = [{"text": "buy now", "label": 1}, {"text": "see you at ten", "label": 0, "origin": "x"}]


def _write(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_file_is_a_source_without_a_test_split(tmp_path: Path) -> None:
    source = load_jsonl(_write(tmp_path / "mails.jsonl", *GOOD, "", {"text": "ça va ?", "label": 0}))
    assert isinstance(source.train, LabelledTexts)
    assert source.train.texts == ("buy now", "see you at ten", "ça va ?")
    assert source.train.labels_N.tolist() == [1, 0, 0]
    assert (source.test, source.num_classes, source.class_names) == (None, 2, ("0", "1"))


def test_strings_are_classes_in_alphabetical_order(tmp_path: Path) -> None:
    lines = [{"text": name, "label": name} for name in ("spam", "ham", "spam")]
    source = load_jsonl(_write(tmp_path / "mails.jsonl", *lines))
    assert source.class_names == ("ham", "spam")
    assert source.train.labels_N.tolist() == [1, 0, 1]


def test_integers_are_classes_in_their_order(tmp_path: Path) -> None:
    lines = [{"text": str(number), "label": number} for number in (10, 2, 10)]
    source = load_jsonl(_write(tmp_path / "mails.jsonl", *lines))
    assert source.class_names == ("2", "10")
    assert source.train.labels_N.tolist() == [1, 0, 1]


def test_a_folder_has_splits_and_either_may_be_compressed(tmp_path: Path) -> None:
    content = "\n".join(json.dumps(line) for line in GOOD).encode()
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(content))
    assert load_jsonl(tmp_path).test is None
    _write(tmp_path / "test.jsonl", {"text": "hello", "label": 0})
    source = load_jsonl(tmp_path)
    assert source.test is not None
    assert source.test.labels_N.tolist() == [0]
    (tmp_path / "COPY.JSONL.GZ").write_bytes(gzip.compress(content))
    for name in ("train.jsonl.gz", "COPY.JSONL.GZ"):
        assert load_jsonl(tmp_path / name).train.labels_N.tolist() == source.train.labels_N.tolist() == [1, 0]


def test_half_a_pair_is_named_where_labels_are_ignored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 1, holds half of a surrogate pair"):
        read_texts(_write(tmp_path / "new.jsonl", '{"text": "\\ud800"}'))


def test_texts_are_read_without_labels(tmp_path: Path) -> None:
    assert read_texts(_write(tmp_path / "new.jsonl", {"text": "a"}, {"text": "b", "label": 3})) == ["a", "b"]
    assert is_jsonl(Path("x.JSONL.gz"))
    assert not is_jsonl(Path("x.json"))


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{'text'", "line 3, is no JSON"),
        ("[" * 200_000, "line 3, is no JSON"),
        ('["a", 1]', "line 3, holds a list; allowed: an object"),
        ({"label": 1}, "line 3, lacks the key 'text'"),
        ({"text": "a", "labels": 1}, r"line 3, lacks the key 'label' \(did you mean 'labels'"),
        ({"text": " \n", "label": 1}, "line 3, holds an empty text"),
        ({"text": 7, "label": 1}, "line 3, holds a int as text"),
        ({"text": "a", "label": -1}, "line 3, holds the label -1"),
        ({"text": "a", "label": True}, "line 3, holds the label True"),
        ({"text": "a", "label": 1.0}, r"line 3, holds the label 1\.0"),
        ({"text": "a", "label": None}, "line 3, holds the label None"),
        ({"text": "a", "label": ""}, "line 3, holds the label ''"),
        ('{"text": "\\ud800", "label": 1}', "line 3, holds half of a surrogate pair"),
        ({"text": "a", "label": "1"}, "holds integers and strings as labels"),
    ],
)
def test_a_bad_line_is_named(line: Any, match: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "mails.jsonl", *GOOD, line)
    with pytest.raises(DataError, match=match) as caught:
        load_jsonl(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_utf_8_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "mails.jsonl"
    path.write_bytes(json.dumps(GOOD[0]).encode() + b'\n{"text": "\xff", "label": 0}\n')
    with pytest.raises(DataError, match="line 2, is no JSON"):
        load_jsonl(path)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds the class 1 only; allowed: at least two"):
        load_jsonl(_write(tmp_path / "mails.jsonl", GOOD[0], GOOD[0]))


def test_a_test_class_that_nobody_trains_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", *GOOD)
    _write(tmp_path / "test.jsonl", {"text": "a", "label": 2})
    with pytest.raises(DataError, match=r"test\.jsonl.* holds the label 2 without training texts"):
        load_jsonl(tmp_path)


def test_files_that_are_not_there_or_broken_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl' does not exist"):
        load_jsonl(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match=r"holds no texts; expected .*train\.jsonl"):
        load_jsonl(tmp_path)
    with pytest.raises(DataError, match="holds no texts; allowed: at least one line"):
        load_jsonl(_write(tmp_path / "empty.jsonl", "", " "))
    for name, content in (("plain.jsonl.gz", b"{}"), ("cut.jsonl.gz", gzip.compress(b'{"text": "a"}' * 99)[:-9])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}' cannot be read"):
            load_jsonl(tmp_path / name)
    _write(tmp_path / "train.jsonl", *GOOD)
    (tmp_path / "train.jsonl.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds train\.jsonl and train\.jsonl\.gz; allowed: one of them"):
        load_jsonl(tmp_path)
