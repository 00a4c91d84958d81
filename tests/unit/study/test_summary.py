from __future__ import annotations

from fedkd.study.markdown import markdown_table
from fedkd.study.statistics import Spread
from fedkd.study.summary import TextTable, comparisons_note, comparisons_table, failures_table, percents, points_table


def test_points_show_mean_deviation_and_number() -> None:
    rows = [
        {"m": "a", "seed": 0, "student_accuracy": 0.80, "bytes_up": 1000},
        {"m": "a", "seed": 1, "student_accuracy": 0.90, "bytes_up": 3000},
        {"m": "b", "seed": 0, "student_accuracy": None, "bytes_up": 500},
    ]
    table = points_table(rows, ["m"])
    assert table.head == ("m", "student, %", "up")
    assert table.rows == (("a", "85.0 ± 7.1 (2)", "2.0 kB"), ("b", "–", "500 B"))
    assert table.kinds == "tnn"
    assert percents(Spread(0.5, None, 1)) == "50.0 (1)"


def test_the_note_says_what_so_few_seeds_can_show() -> None:
    assert "With 3 seeds only the t-test has power" in comparisons_note("t", 4, 3)
    assert "never below 0.25: it cannot find anything" in comparisons_note("wilcoxon", 4, 3)
    assert "With" not in comparisons_note("wilcoxon", 4, 6)
    assert "for 4 comparisons" in comparisons_note("t", 4, 9)


def test_failed_cells_are_named_with_their_reason() -> None:
    rows = [
        {"cell": "x", "state": "failed", "error": "no space | here"},
        {"cell": "y", "state": "done", "error": ""},
    ]
    table = failures_table(rows)
    assert table.rows == (("x", "no space | here"),)
    assert markdown_table(table) == "| cell | error |\n| --- | --- |\n| x | no space \\| here |\n"


def test_numbers_stand_to_the_right() -> None:
    assert markdown_table(TextTable(("a", "b"), (("x", "1"),), "tn")) == "| a | b |\n| --- | ---: |\n| x | 1 |\n"


def test_a_comparison_says_what_its_points_share_and_in_what_they_differ() -> None:
    rows = [
        {"method.name": method, "data.root": "here", "seed": seed, "student_accuracy": accuracy}
        for method, accuracies in {"a": (0.5, 0.7), "b": (0.4, 0.5)}.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    (row,) = comparisons_table(rows, ["data.root", "method.name"], "t", all_pairs=False).rows
    assert row[:5] == ("data.root=here", "method.name=a", "method.name=b", "student", "2")
    assert row[5] == "+15.0"
