"""What is made of a study's cells: tables, summary, plots and page. Equal runs make equal bytes, but for `seconds.csv`.

Everything is made anew from the run folders, so that a study which was stopped, or grew, leaves no trace of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedkd.records import RunRecord
from fedkd.reporting import RunStore
from fedkd.reporting.text_table import TextTable
from fedkd.storage.files import read_bytes, write_atomically
from fedkd.study.cells import Cell, Study
from fedkd.study.folder import CellOutcome, StudyFolder
from fedkd.study.markdown import document, markdown_table
from fedkd.study.page import render_page
from fedkd.study.plots import study_plots
from fedkd.study.rows import Result, Row, result_rows, round_rows, second_rows, to_csv, to_parquet, to_table
from fedkd.study.summary import (
    comparisons_note,
    comparisons_table,
    failures_table,
    points_table,
    without_student,
)

RESULTS, TESTS, FAILURES = "Results", "Paired tests", "Failed cells"


def write_outputs(study: Study, outcomes: Mapping[str, CellOutcome]) -> Path:
    """Write all tables, plots and pages of what has ended so far; returns the path of the page.

    Raises:
        RunFolderError: a run folder is damaged, or the study's folder cannot be written.
    """
    folder = StudyFolder(study.folder)
    results = [_result(folder, cell, outcomes[cell.name]) for cell in study.cells if cell.name in outcomes]
    rows, rounds = result_rows(results), round_rows(results)
    for name, content in (("results", rows), ("rounds", rounds)):
        table = to_table(content, study.axes)
        folder.write(f"{name}.csv", to_csv(table))
        folder.write(f"{name}.parquet", to_parquet(table))
    folder.write("seconds.csv", to_csv(to_table(second_rows(results), study.axes)))
    plots = study_plots(rows, rounds, study.axes)
    for name, svg in plots.items():
        write_atomically(folder.plots_path / f"{name}.svg", svg.encode())
    tables = study_tables(study, rows)
    state = f"{sum(row['state'] == 'done' for row in rows)} of {len(study.cells)} cells done"
    folder.write("summary.md", _markdown(study, state, tables, plots).encode())
    page = render_page(study.config.name, state, tables, plots, read_bytes(folder.copy_path).decode())
    return folder.write("study.html", page.encode())


def _result(folder: StudyFolder, cell: Cell, outcome: CellOutcome) -> Result:
    run: RunRecord | None = None
    if outcome.state == "done":
        run = RunStore.open(folder.cells_path / cell.name).read_run()
    return cell, outcome, run


def study_tables(study: Study, rows: Sequence[Row]) -> dict[str, tuple[TextTable, str]]:
    """Return the study's tables by heading, each with a note on how to read it."""
    done = [row for row in rows if row["state"] == "done"]
    tests = comparisons_table(done, study.axes, study.config.test, all_pairs=bool(study.config.cells))
    note = "Mean ± standard deviation over seeds (number of seeds) after the last round."
    lacking = without_student(done, study.axes)
    if lacking:
        note += f" No student: {'; '.join(lacking)}; in plots and tests the clients' mean stands for it."
    return {
        RESULTS: (points_table(done, study.axes), note),
        TESTS: (tests, comparisons_note(study.config.test, len(tests.rows), len(study.config.seeds))),
        FAILURES: (failures_table(rows), "Run them again with --retry-failed."),
    }


def _markdown(study: Study, state: str, tables: Mapping[str, tuple[TextTable, str]], plots: Mapping[str, str]) -> str:
    blocks = [f"{state}."]
    for heading, (table, note) in tables.items():
        if table.rows:
            blocks += [f"## {heading}", note, markdown_table(table)]
    blocks += [f"![{name}](plots/{name}.svg)" for name in plots]
    return document(study.config.name, *blocks)
