"""The distiller's benchmark runs in small, and its loop by hand ends with the distiller's bits."""

from __future__ import annotations

from benchmarks import distiller


def test_every_case_ends_with_the_same_bits(capsys):
    assert distiller.main(["--quick"]) == 0
    table = capsys.readouterr().out
    assert [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("| k")] == list(distiller.CASES)
    assert "in every case: yes" in table
