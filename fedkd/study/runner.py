"""Run the cells of a study that are left, and keep what became of each.

Guarantees:
    - A cell that is done is never run again, one that was started goes on from its last snapshot.
    - A cell that fails, or whose process dies twice, costs no other cell.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedkd.config.experiment import ExperimentConfig, RayConfig, with_absolute_paths
from fedkd.engines.tasks import Died, open_tasks
from fedkd.errors import FedkdError
from fedkd.experiment import resume, run
from fedkd.storage.files import locked
from fedkd.study.cells import Cell, Study
from fedkd.study.folder import LOCKS_FOLDER, CellOutcome, StudyFolder

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 60.0
"""How long a cell waits for a process that still writes its folder: a worker outlives a killed driver by seconds."""


class StudyObserver:
    """Is told how a study goes on; does nothing by itself."""

    def on_start(
        self, study: Study, outcomes: Mapping[str, CellOutcome], pending: Sequence[Cell], workers: int
    ) -> None:
        """These cells have ended before, those will run, so many at a time."""

    def on_outcome(self, cell: Cell, outcome: CellOutcome) -> None:
        """A cell has ended."""


def pending_cells(study: Study, outcomes: Mapping[str, CellOutcome], *, retry_failed: bool = False) -> list[Cell]:
    """Return the cells that have not ended, or those that failed where these are to be tried again."""
    if retry_failed:
        return [cell for cell in study.cells if cell.name in outcomes and outcomes[cell.name].state == "failed"]
    return [cell for cell in study.cells if cell.name not in outcomes]


def run_study(
    study: Study, ray: RayConfig, observer: StudyObserver | None = None, *, retry_failed: bool = False
) -> dict[str, CellOutcome]:
    """Run what is left of a study.

    Args:
        study: see `fedkd.study.load_study`.
        ray: how many workers, and of which cluster; one worker without a cluster is this process.
        observer: told of every cell that ends; nobody is by default.
        retry_failed: run the cells that failed before, and only these.

    Returns:
        How each cell ended, by name; cells that have not run are missing.

    Raises:
        StudyError: the folder holds another study.
        RunFolderError: the folder cannot be written, or another process is at it.
        EngineError: workers cannot be started.
    """
    observer = observer or StudyObserver()
    folder = StudyFolder(study.folder)
    folder.check(study)
    with folder.locked():
        folder.check(study)
        folder.write_plan(study)
        outcomes = folder.read_outcomes(study)
        pending = pending_cells(study, outcomes, retry_failed=retry_failed)
        if not pending:
            return outcomes
        cells = {cell.name: cell for cell in pending}
        experiments = [_placed(cell.config, folder.cells_path) for cell in pending]
        with open_tasks(ray, at_most=len(pending)) as places:
            observer.on_start(study, outcomes, pending, places.workers)
            for experiment, result in places.results(run_cell, experiments):
                name = experiment.run.name
                ended = result if isinstance(result, CellOutcome) else _died(name, result)
                folder.write_outcome(ended)
                outcomes[name] = ended
                observer.on_outcome(cells[name], ended)
        return outcomes


def _placed(config: ExperimentConfig, cells_path: Path) -> ExperimentConfig:
    """The experiment as a worker gets it: every path is absolute."""
    run_section = config.run.model_copy(update={"output": str(cells_path)})
    return with_absolute_paths(config.model_copy(update={"run": run_section}))


def _died(name: str, death: Died) -> CellOutcome:
    return CellOutcome(cell=name, state="failed", error=f"two worker processes died while they ran it: {death.why}")


def run_cell(config: ExperimentConfig) -> CellOutcome:
    """Run one cell, or go on with it; whatever goes wrong becomes its outcome."""
    began = time.perf_counter()
    name, output = config.run.name, Path(config.run.output)
    path = output / name
    resumed = False
    try:
        with locked(path, output / LOCKS_FOLDER / f"{name}.lock", patience=_LOCK_SECONDS):
            resumed = (path / "config.toml").is_file()
            if resumed:
                resume(path)
            else:
                _clear(path)
                run(config)
    except Exception as error:  # any of them is this cell's alone
        logger.debug("cell %s failed", name, exc_info=True)
        return CellOutcome(cell=name, state="failed", error=_line(error), seconds=time.perf_counter() - began)
    return CellOutcome(cell=name, state="done", seconds=time.perf_counter() - began, resumed=resumed)


def _clear(path: Path) -> None:
    """Remove a run folder that was stopped before it said what it is."""
    if path.exists():
        shutil.rmtree(path)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, FedkdError) else f"{type(error).__name__}: {text}"
