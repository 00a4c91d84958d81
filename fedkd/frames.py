"""Runs and rounds as pandas tables, one column a number; nested records become dotted columns (`student.accuracy`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from fedkd.records import Record, RoundRecord, RunRecord
from fedkd.reporting.settings import differing
from fedkd.run_reports import read_reported, read_run

if TYPE_CHECKING:
    import pandas as pd


def rounds_frame(run: RunRecord | Path | str) -> pd.DataFrame:
    """Return one row a round, with a column for every field of a `RoundRecord`.

    Accuracies are fractions, seconds are seconds, bytes are counts; what nobody measured is NaN. Fields that are no
    numbers stay as they are: `replied` holds a tuple of clients. What is by name has a column a name
    (`metrics.student/macro_f1`).

    Args:
        run: a run's record, or its folder, finished or not.

    Raises:
        RunFolderError: the folder is not a run's, or is damaged.
    """
    record = run if isinstance(run, RunRecord) else read_run(run)
    return _frame(RoundRecord, record.history)


def runs_frame(run_dirs: Iterable[Path | str]) -> pd.DataFrame:
    """Return one row a run: the keys by which the configurations differ, then every field of its `RunRecord` but
    `history`.

    Keys have their dotted path (`method.name`) and are missing (NaN) where a run has no such key. Those that results do
    not depend on, such as the run's name and its engine, are left out.

    Args:
        run_dirs: run folders, finished or not; the rows keep their order.

    Raises:
        RunFolderError: a folder is not a run's, or is damaged.
    """
    import pandas as pd

    runs = [read_reported(run_dir) for run_dir in run_dirs]
    settings = {key: [_setting(each.config, key) for each in runs] for key in differing(runs)}
    results = _frame(RunRecord, [each.run for each in runs]).drop(columns="history")
    return pd.concat([pd.DataFrame(settings, index=results.index), results], axis="columns")


def _frame(kind: type[Record], records: Sequence[Record]) -> pd.DataFrame:
    """A row for each record, and the columns that its type has, whatever is measured."""
    import pandas as pd

    table: dict[str, Any] = {}
    for column, annotation in _columns(kind):
        values = [_value(record, column) for record in records]
        if get_origin(annotation) is dict:
            table |= _by_key(column, values)
        else:
            table[column] = pd.Series(values, dtype="float64" if float in _alternatives(annotation) else None)
    return pd.DataFrame(table)


def _by_key(column: str, values: Sequence[Mapping[str, Any] | None]) -> dict[str, list[Any]]:
    """A column for each key that some row has."""
    keys = dict.fromkeys(key for value in values for key in value or {})
    return {f"{column}.{key}": [(value or {}).get(key) for value in values] for key in keys}


def _columns(kind: type[Record], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of a record's fields, and their annotations."""
    for name, field in kind.model_fields.items():
        classes = [each for each in _alternatives(field.annotation) if isinstance(each, type)]
        nested = next((each for each in classes if issubclass(each, Record)), None)
        if nested is None:
            yield prefix + name, field.annotation
        else:
            yield from _columns(nested, f"{prefix}{name}.")


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """X and None of `X | None`; else the annotation alone."""
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


def _value(record: Record | None, column: str) -> Any:
    """The field that a dotted name leads to; `None` where the record that holds it is missing."""
    value: Any = record
    for name in column.split("."):
        value = None if value is None else getattr(value, name)
    return value


def _setting(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; `None` where the configuration has no such key."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
