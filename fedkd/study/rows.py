"""A study's results as tidy rows: one a cell, and one a cell and round. Accuracies are fractions, bytes are counts.

A row maps `cell`, every axis, `seed` and the figures to values; `None` is what a method has not, or nobody measured.
No row holds a time, so that equal studies have equal tables; seconds have a table of their own.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from fedkd.errors import RunFolderError
from fedkd.records import RunRecord
from fedkd.reporting.measures import ACCURACIES, phase_seconds
from fedkd.study.cells import Cell
from fedkd.study.folder import CellOutcome
from fedkd.study.points import word

Row = dict[str, Any]
Result = tuple[Cell, CellOutcome, RunRecord | None]
"""A cell, how it ended, and its run where it is done."""

BASELINES = ("local_only", "centralised")
FIGURES = tuple(f"{name}_accuracy" for name in (*ACCURACIES, *BASELINES))


def result_rows(results: Iterable[Result]) -> list[Row]:
    """Return one row for each cell that has ended; those that failed have their error and no figures."""
    return [
        _head(cell)
        | {"state": outcome.state, "rounds": None if run is None else len(run.history)}
        | _final(run)
        | {"error": outcome.error}
        for cell, outcome, run in results
    ]


def round_rows(results: Iterable[Result]) -> list[Row]:
    """Return one row for each round of each cell that is done; its bytes are that round's."""
    rows = []
    for cell, _, run in results:
        for index, record in enumerate(run.history if run else ()):
            figures = {f"{name}_accuracy": accuracy(record) for name, accuracy in ACCURACIES.items()}
            for name in BASELINES:
                history = getattr(run.baselines, f"{name}_history") if run else ()
                figures[f"{name}_accuracy"] = history[index] if index < len(history) else None
            traffic = {"bytes_up": record.bytes.up, "bytes_down": record.bytes.down}
            rows.append(_head(cell) | {"round": record.server_round} | figures | traffic)
    return rows


def second_rows(results: Iterable[Result]) -> list[Row]:
    """Return what each cell took: wall time of its last start, and the phases of its rounds."""
    return [
        _head(cell)
        | {"seconds": outcome.seconds, "resumed": outcome.resumed}
        | {f"{phase}_seconds": value for phase, value in phase_seconds(run.seconds).items()}
        for cell, outcome, run in results
        if run is not None
    ]


def _head(cell: Cell) -> Row:
    return {"cell": cell.name, **cell.point, "seed": cell.seed}


def _final(run: RunRecord | None) -> Row:
    if run is None:
        return dict.fromkeys((*FIGURES, "bytes_up", "bytes_down"))
    figures = {f"{name}_accuracy": accuracy(run) for name, accuracy in ACCURACIES.items()}
    figures |= {f"{name}_accuracy": getattr(run.baselines, name) for name in BASELINES}
    return figures | {"bytes_up": run.bytes.up, "bytes_down": run.bytes.down}


def to_table(rows: Sequence[Row], axes: Sequence[str]) -> pa.Table:
    """Return rows as an Arrow table; an axis whose values are of several kinds becomes text."""
    names = list(rows[0]) if rows else []
    columns = {name: [row[name] for row in rows] for name in names}
    return pa.table({name: _column(name, values, axes) for name, values in columns.items()})


def _column(name: str, values: list[Any], axes: Sequence[str]) -> pa.Array:
    if name in axes:
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            values = [None if value is None else float(value) for value in values]
        elif len(kinds) > 1:
            values = [None if value is None else word(value) for value in values]
        return pa.array(values)
    if name.endswith(("_accuracy", "seconds")):
        return pa.array(values, pa.float64())
    return pa.array(values, pa.int64() if name in {"seed", "rounds", "round", "bytes_up", "bytes_down"} else None)


def to_csv(table: pa.Table) -> bytes:
    """Return a table as CSV with one line of names; missing values are empty."""
    buffer = io.BytesIO()
    pa.csv.write_csv(table, buffer, pa.csv.WriteOptions(quoting_style="needed"))
    return buffer.getvalue()


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer)
    return buffer.getvalue()


def read_csv(path: Path) -> list[Row]:
    """Return the rows of a CSV that `to_csv` made.

    Raises:
        RunFolderError: the file is missing, or is no CSV.
    """
    try:
        rows: list[Row] = pa.csv.read_csv(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as cause:
        raise RunFolderError(f"cannot read {path}: {cause}") from cause
    return rows


def axes_of(row: Mapping[str, Any]) -> list[str]:
    """Return the axes of a row: what stands between the cell's name and its seed."""
    names = list(row)
    return names[1 : names.index("seed")]
