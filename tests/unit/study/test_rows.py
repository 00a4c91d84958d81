from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet
import pytest

from fedkd.errors import RunFolderError
from fedkd.study.rows import axes_of, read_csv, to_csv, to_parquet, to_table

ROWS = [
    {"cell": "a,b", "method.name": "fkd", "alpha": 1, "seed": 0, "student_accuracy": 0.1 + 0.2, "error": 'a "b"'},
    {"cell": "c", "method.name": "fedmd", "alpha": 0.5, "seed": 1, "student_accuracy": None, "error": ""},
]


def test_csv_and_parquet_give_the_numbers_back_exactly(tmp_path: Path) -> None:
    table = to_table(ROWS, ["method.name", "alpha"])
    path = tmp_path / "rows.csv"
    path.write_bytes(to_csv(table))
    assert read_csv(path) == ROWS
    assert pyarrow.parquet.read_table(io.BytesIO(to_parquet(table))).to_pylist() == ROWS
    assert axes_of(read_csv(path)[0]) == ["method.name", "alpha"]


def test_equal_tables_have_equal_bytes() -> None:
    first, second = (to_table([dict(row) for row in ROWS], ["alpha"]) for _ in range(2))
    assert to_csv(first) == to_csv(second)
    assert to_parquet(first) == to_parquet(second)


def test_an_axis_of_several_kinds_becomes_text() -> None:
    rows = [{"axis": value} for value in (1, "auto", True, None)]
    assert to_table(rows, ["axis"])["axis"].to_pylist() == ["1", "auto", "true", None]
    assert to_table(rows[:1] + rows[-1:], ["axis"])["axis"].to_pylist() == [1, None]


def test_a_csv_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"absent\.csv"):
        read_csv(tmp_path / "absent.csv")
