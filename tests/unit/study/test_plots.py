from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from fedkd.study.curves import MOST_PANELS, mean_of, panels, with_bytes_so_far, with_steps
from fedkd.study.plots import study_plots

AXES = ["method.name", "data.partition.dirichlet_alpha"]


def rounds_of(methods: list[str], alphas: list[float], seeds: int = 2, rounds: int = 3) -> list[dict]:
    return [
        {
            "cell": f"{method}{alpha}{seed}",
            "method.name": method,
            "data.partition.dirichlet_alpha": alpha,
            "seed": seed,
            "round": number,
            "student_accuracy": None if method == "fedmd" else 0.1 * number + 0.02 * seed,
            "clients_mean_accuracy": 0.05 * number,
            "bytes_up": 100 * (1 + seed),
            "bytes_down": 50,
        }
        for method in methods
        for alpha in alphas
        for seed in range(seeds)
        for number in range(1, rounds + 1)
    ]


def finals_of(rounds: list[dict]) -> list[dict]:
    last = max(row["round"] for row in rounds)
    return [row | {"state": "done"} for row in rounds if row["round"] == last]


def test_every_plot_is_drawn_and_reads_as_xml() -> None:
    rounds = rounds_of(["fkd", "fedmd"], [0.1, 1.0])
    plots = study_plots(finals_of(rounds), rounds, AXES)
    assert list(plots) == [
        "rounds",
        "bytes",
        "axis-data-partition-dirichlet-alpha",
        "map-method-name-data-partition-dirichlet-alpha",
    ]
    for svg in plots.values():
        ElementTree.fromstring(svg)  # noqa: S314 (our own)
    assert "fkd ends at 31.0 %" in plots["rounds"]
    assert "fedmd (clients&#x27; mean) ends at 15.0 %" in plots["rounds"]
    assert plots == study_plots(finals_of(rounds), rounds, AXES)


def test_a_study_of_one_point_has_its_two_curves() -> None:
    rounds = [{key: value for key, value in row.items() if key not in AXES} for row in rounds_of(["fkd"], [1.0])]
    assert list(study_plots(finals_of(rounds), rounds, [])) == ["rounds", "bytes"]
    assert study_plots([], [], []) == {}


def test_curves_are_means_with_their_deviation() -> None:
    (panel,) = panels(with_steps(rounds_of(["fkd"], [1.0]), "round"), AXES[:1], AXES[0], mean_of("round"))
    (curve,) = panel.curves
    assert curve.x == (1.0, 2.0, 3.0)
    assert curve.mean == pytest.approx((11.0, 21.0, 31.0))
    assert curve.deviation == pytest.approx((2**0.5,) * 3)  # of 10 and 12, and so on


def test_bytes_add_up_within_a_cell() -> None:
    spent = with_bytes_so_far(rounds_of(["fkd"], [1.0]))
    assert [row["spent"] for row in spent] == [150, 300, 450, 250, 500, 750]


def test_more_points_than_panels_are_cut() -> None:
    rounds = rounds_of(["fkd"], [float(alpha) for alpha in range(1, MOST_PANELS + 3)], seeds=1, rounds=1)
    svg = study_plots(finals_of(rounds), rounds, AXES)["rounds"]
    assert svg.count("ends at") == MOST_PANELS
