from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from fedkd.records import (
    Baselines,
    ClientScores,
    Refusal,
    RoundRecord,
    RunRecord,
    StudentScore,
    TeacherScore,
)
from fedkd.reporting import cost_table, result_table, round_line

MakeRun = Callable[..., RunRecord]


def shown(table: Table) -> list[list[str]]:
    """The table as a terminal shows it: the cells of each line that has any, and the title as one cell."""
    terminal = io.StringIO()
    Console(width=120, file=terminal).print(table)
    lines = terminal.getvalue().splitlines()
    return [[cell.strip() for cell in line.replace("┃", "│").strip("│ ").split("│")] for line in lines]


def test_result_table_stands_the_student_between_its_baselines(make_run: MakeRun) -> None:
    rows = shown(result_table(make_run()))
    assert rows[0] == ["fkd, seed 0, 10 rounds"]
    assert ["student", "80.2 %", "+15.1 points"] in rows
    assert ["ensemble teacher", "85.2 %", ""] in [[*row, ""][:3] for row in rows]
    texts = {row[0]: row[1] for row in rows if len(row) > 1}
    assert texts["clients, mean"] == "68.9 %"
    assert texts["clients, worst"] == "52.8 %"
    assert texts["local-only (baseline)"] == "65.1 %"
    assert texts["centralised (baseline)"] == "95.3 %"


def test_balanced_accuracies_follow_where_they_were_measured(make_run: MakeRun) -> None:
    run = make_run()
    student = run.student.model_copy(update={"balanced_accuracy": 0.75})
    baselines = run.baselines.model_copy(update={"local_only_balanced": 0.6})
    rows = shown(result_table(run.model_copy(update={"student": student, "baselines": baselines})))
    assert ["student, balanced", "75.0 %", "+15.0 points"] in rows
    balanced = [row[:2] for row in rows if "balanced" in row[0]]
    assert balanced == [["student, balanced", "75.0 %"], ["local-only, balanced", "60.0 %"]]
    assert not any("balanced" in row[0] for row in shown(result_table(run)))


def test_what_a_method_lacks_is_a_dash(make_run: MakeRun) -> None:
    run = make_run(
        student=StudentScore(), ensemble_teacher=TeacherScore(), clients=ClientScores(), baselines=Baselines(), rounds=1
    )
    rows = shown(result_table(run))
    assert rows[0] == ["fkd, seed 0, 1 round"]
    assert ["student", "–", "–"] in rows
    assert sum(row[1] == "–" for row in rows if len(row) > 1) == 6


def test_a_method_name_is_no_markup(make_run: MakeRun) -> None:
    assert shown(result_table(make_run(method="[red]x[/]")))[0] == ["[red]x[/], seed 0, 10 rounds"]


def test_cost_table_has_bytes_phases_and_lost_replies(make_run: MakeRun) -> None:
    texts = {row[0]: row[1] for row in shown(cost_table(make_run())) if len(row) > 1}
    assert texts["bytes up"] == "16.0 MB"
    assert texts["bytes down"] == "4.1 MB"
    assert texts["local training"] == "1 min 26 s"
    assert texts["wall time"] == "42.0 s"
    assert (texts["refused replies"], texts["dropped replies"], texts["late replies"]) == ("1", "1", "2")


def test_cost_table_is_silent_on_replies_where_none_was_lost(make_run: MakeRun) -> None:
    assert not [row for row in shown(cost_table(make_run(1))) if "replies" in row[0]]


def test_round_line_is_one_line_with_everything_that_happened(make_round: Callable[..., RoundRecord]) -> None:
    refused = (Refusal(client=1, reason="shape", detail=""), Refusal(client=None, reason="dtype", detail=""))
    line = round_line(make_round(1, refused=refused, late=(2,), dropped=(3, 4)))
    assert line == (
        "round 1 · student 38.6 % · ensemble teacher 43.6 % · clients, mean 42.0 % · clients, worst 24.6 % · "
        "8/8 replied · 2 refused (dtype, shape) · 2 dropped · 1 late · up 1.6 MB · down 401.0 kB · 4.2 s"
    )


def test_round_line_says_where_a_round_was_not_completed() -> None:
    line = round_line(RoundRecord(server_round=2, completed=False, selected=(0, 1), replied=(1,)))
    assert line.startswith("round 2 not completed · student – · ")
    assert "1/2 replied" in line
