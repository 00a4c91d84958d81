from pathlib import Path

import pytest

from fedkd.data.prediction_texts import load_texts
from fedkd.errors import DataError


def test_a_file_a_folder_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("second", encoding="utf-8")
    (tmp_path / "sub" / "a.TXT").write_text("ça va", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"text": "x"}\n{"text": "y", "label": 1}\n')
    assert load_texts(tmp_path / "b.txt") == (["b.txt"], ["second"])
    assert load_texts(tmp_path) == (["b.txt", "sub/a.TXT"], ["second", "ça va"])
    assert load_texts(tmp_path / "c.jsonl") == (["c.jsonl[0]", "c.jsonl[1]"], ["x", "y"])


def test_what_holds_no_texts_is_named(tmp_path: Path) -> None:
    for name, content, match in [
        ("photo.png", b"x", r"photo\.png' is not there or holds no texts; allowed: a \.txt file"),
        ("blank.txt", b" \n", r"blank\.txt' is empty"),
        ("latin.txt", b"\xff", r"latin\.txt' cannot be read"),
        ("bad.jsonl", b'{"text": ""}', "line 1, holds an empty text"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=match):
            load_texts(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty' holds no texts; expected \*\.txt"):
        load_texts(tmp_path / "empty")
    with pytest.raises(DataError, match=r"absent\.txt' is not there"):
        load_texts(tmp_path / "absent.txt")
