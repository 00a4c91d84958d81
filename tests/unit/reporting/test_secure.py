"""The report's section on secure aggregation says what each stage cost and lost, and what was not summed."""

from __future__ import annotations

from collections.abc import Callable

from fedkd.records import RoundRecord, RunRecord, SecureSum

STAGES = ("advertise", "share", "mask", "unmask")


def a_sum(**changes: object) -> SecureSum:
    values: dict[str, object] = {
        "survivors": (0, 1, 3),
        "dropped": {"mask": (2,)},
        "resolution": 0.0009,
        "seconds": dict.fromkeys(STAGES, 0.25),
        "bytes_up": dict.fromkeys(STAGES, 1500),
        "bytes_down": dict.fromkeys(STAGES, 2500),
    }
    return SecureSum.model_validate(values | changes)


def test_without_secure_sums_there_is_no_section(
    make_run: Callable[..., RunRecord], section_of: Callable[..., str]
) -> None:
    assert section_of(make_run(2), "rounds") != ""
    assert section_of(make_run(2), "secure") == ""


def test_stages_are_added_up_and_failures_named(
    make_run: Callable[..., RunRecord], make_round: Callable[..., RoundRecord], section_of: Callable[..., str]
) -> None:
    history = (
        make_round(1, secure_sum=a_sum(), clipped_fraction=0.01),
        make_round(2, secure_sum=a_sum(adjacent_client=7), clipped_fraction=0.03),
        make_round(3, secure_sum=a_sum(failure="BelowThresholdError: 1 of 3"), clipped_fraction=None),
    )
    html = section_of(make_run(3, history=history), "secure")
    assert "The server saw 2 sums" in html
    assert "within 0.001." in html
    assert "Clipped were 2.0 % of all logits." in html
    for text in ("0.8 s", "4.5 kB", "7.5 kB", "BelowThresholdError: 1 of 3"):
        assert text in html
    rows = html.split("<tr>")
    (mask,) = (row for row in rows if ">mask<" in row)
    assert ">3<" in mask  # one client missing in each of three rounds
    assert any(">2<" in row and ">7<" in row for row in rows)  # the adjacent cohort of round 2


def test_groups_count_one_by_one(
    make_run: Callable[..., RunRecord], make_round: Callable[..., RoundRecord], section_of: Callable[..., str]
) -> None:
    groups = make_round(1, secure_sum=a_sum(groups=((0, 1), (3, 4), (5, 6))), clipped_fraction=None)
    html = section_of(make_run(1, history=(groups,)), "secure")
    assert "The server saw 3 sums" in html
    assert "Clipped" not in html
