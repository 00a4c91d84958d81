from __future__ import annotations

from collections.abc import Callable

import pytest

from fedkd.errors import RunFolderError, StudyError
from fedkd.study import Study
from fedkd.study.folder import CellOutcome, StudyFolder
from fedkd.study.progress import estimate_seconds
from fedkd.study.runner import pending_cells

MakeStudy = Callable[[str], Study]
GRID = 'seeds = [0, 1]\n[grid]\n"method.name" = ["fkd", "fedavg"]\n'


@pytest.fixture
def begun(study: MakeStudy) -> Study:
    """A study whose folder is there."""
    loaded = study(GRID)
    with StudyFolder(loaded.folder).locked():
        StudyFolder(loaded.folder).write_plan(loaded)
    return loaded


def ended(study: Study, *states: str, seconds: float = 1.0) -> dict[str, CellOutcome]:
    return {
        cell.name: CellOutcome.model_validate({"cell": cell.name, "state": state, "seconds": seconds})
        for cell, state in zip(study.cells, states, strict=False)
    }


@pytest.mark.parametrize(
    "text",
    [GRID, GRID.replace("[0, 1]", "[0, 1, 2]"), GRID.replace('"fedavg"', '"fedavg", "feddf"')],
)
def test_cells_can_be_added(begun: Study, study: MakeStudy, text: str) -> None:
    StudyFolder(begun.folder).check(study(text))


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        (GRID.replace("[0, 1]", "[0]"), "cell method.name=fkd,seed=1 is no longer in"),
        (GRID + '[fixed]\n"training.epochs" = 9\n', "method.name=fkd,seed=0 has training.epochs = 2 there and 9 in"),
    ],
)
def test_cells_cannot_be_changed_or_taken_away(begun: Study, study: MakeStudy, text: str, difference: str) -> None:
    with pytest.raises(StudyError) as caught:
        StudyFolder(begun.folder).check(study(text))
    assert difference in str(caught.value)
    assert str(begun.folder) in str(caught.value)


def test_a_folder_keeps_the_study_and_how_cells_ended(begun: Study) -> None:
    folder = StudyFolder(begun.folder)
    assert folder.copy_path.read_text() == begun.path.read_text()
    outcomes = ended(begun, "done", "failed")
    for outcome in outcomes.values():
        folder.write_outcome(outcome)
    assert folder.read_outcomes(begun) == outcomes


def test_one_process_at_a_time_runs_a_study(begun: Study) -> None:
    with (
        StudyFolder(begun.folder).locked(),
        pytest.raises(RunFolderError, match="is being written by another process"),
        StudyFolder(begun.folder).locked(),
    ):
        pytest.fail("locked twice")


def test_what_is_left_to_run(begun: Study) -> None:
    outcomes = ended(begun, "done", "failed")
    assert [cell.name for cell in pending_cells(begun, outcomes)] == [cell.name for cell in begun.cells[2:]]
    retried = pending_cells(begun, outcomes, retry_failed=True)
    assert [cell.name for cell in retried] == [begun.cells[1].name]


def test_time_is_estimated_from_whole_cells_of_the_same_point_where_there_are_any(begun: Study) -> None:
    assert estimate_seconds(begun, {}, begun.cells, 1) is None
    assert estimate_seconds(begun, ended(begun, "failed"), begun.cells[1:], 1) is None
    outcomes = ended(begun, "done", seconds=10.0)
    outcomes |= {begun.cells[2].name: CellOutcome(cell=begun.cells[2].name, state="done", seconds=30.0)}
    left = [begun.cells[1], begun.cells[3]]
    assert estimate_seconds(begun, outcomes, left, 1) == 40.0
    assert estimate_seconds(begun, outcomes, left, 2) == 30.0  # no sooner than its longest cell
    assert estimate_seconds(begun, ended(begun, "done", seconds=10.0), begun.cells[2:], 1) == 20.0
    part = {name: outcome.model_copy(update={"resumed": True}) for name, outcome in outcomes.items()}
    assert estimate_seconds(begun, part, left, 1) is None
