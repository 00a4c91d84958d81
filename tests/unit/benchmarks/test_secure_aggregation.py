"""Secure aggregation's benchmark runs, counts what it says it counts, and divides the right way round."""

from __future__ import annotations

import pytest

from benchmarks import flower_secagg, secure_rounds
from benchmarks.secure_aggregation import as_markdown


def test_rounds_of_both_are_measured():
    ours, flower = secure_rounds.whole_round(5, 1000), flower_secagg.whole_round(5, 1000)
    assert 4000 < ours["up_bytes"] < 8000 < flower["up_bytes"]  # 4 bytes a number, and 8
    parts = [value for name, value in flower.items() if name.startswith("cpu ")]
    assert len(parts) == 4
    assert min(parts) > 0
    assert flower["cpu"] == pytest.approx(sum(parts))


def test_masking_is_measured_against_its_keystream():
    measured = secure_rounds.masking(3, 50_000, repeats=2)
    assert measured["masking_cpu"] > 0
    assert measured["keystream_cpu"] > 0
    assert flower_secagg.mask_expansion(2, 1000) > 0


def test_table_divides_the_right_way_round():
    table = as_markdown(
        {
            "masking": {"masking_cpu": 3.0, "keystream_cpu": 2.0},
            "masking/flower": {"cpu": 30.0},
            "round": {"cpu": 0.5, "up_bytes": 40.0, "down_bytes": 10.0},
            "round/flower": {"cpu": 50.0, "cpu share": 50.0, "up_bytes": 80.0, "down_bytes": 20.0},
            "thousand": {"cpu": 30.0, "peak_gib": 0.75},
        },
        quick=False,
    )
    measured = [row.split("|")[2].strip() for row in table.splitlines() if row.startswith("|")][2:]
    assert measured == ["1.5", "10", "0.5", "50", "100", "0.5", "0.5", "30", "0.75"]
