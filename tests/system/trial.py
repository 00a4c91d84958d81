"""The deployment that system tests share, as an operator has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fedkd.deploy import Deployment, open_deployment, read_status
from fedkd.deploy.operator import list_nodes
from fedkd.deploy.terminal import problems
from fedkd.errors import DeploymentError, RunFolderError
from fedkd.records import RoundRecord, RunRecord
from fedkd.run_reports import read_run

FEDKD = (sys.executable, "-c", "from fedkd.cli.main import main; main()")


class Trial:
    """A deployment in a folder.

    Args:
        folder: the deployment's.
        experiment: over its sites.
        sh: runs a program.
        wait_for: looks until something holds.
    """

    def __init__(self, folder: Path, experiment: Path, sh: Callable[..., str], wait_for: Callable[..., None]) -> None:
        self.folder, self.experiment = folder, experiment
        self._sh, self._wait_for = sh, wait_for

    @property
    def deployment(self) -> Deployment:
        """As it is now."""
        return open_deployment(self.folder)

    def begin(self, name: str, *overrides: str) -> subprocess.Popen[str]:
        changes = [word for change in (f"run.name={name}", *overrides) for word in ("--set", change)]
        command = [*FEDKD, "deploy", "run", str(self.folder), str(self.experiment), *changes]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, name: str, *overrides: str) -> str:
        """Run an experiment to its end; what was printed."""
        process = self.begin(name, *overrides)
        printed, _ = process.communicate(timeout=400)
        assert process.returncode == 0, printed
        return printed

    def record(self, name: str) -> RunRecord:
        return read_run(self.deployment.runs / name)

    def rounds(self, name: str) -> tuple[RoundRecord, ...]:
        """The rounds of a run so far."""
        try:
            return self.record(name).history
        except RunFolderError:
            return ()

    def wait_for_round(self, name: str, what: str, holds: Callable[[RoundRecord], bool], after: int = 0) -> int:
        """Wait until a round after another is of some kind; its number."""

        def found() -> list[int]:
            return [each.server_round for each in self.rounds(name) if each.server_round > after and holds(each)]

        self._wait_for(what, lambda: bool(found()), 240.0)
        return found()[0]

    def container(self, service: str) -> str:
        labels = (f"project={self.deployment.settings.project}", f"service={service}")
        filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        return self._sh("docker", "ps", "--all", "--quiet", *filters).strip()

    def problems(self) -> str:
        return " ".join(" ".join(problems(read_status(self.deployment))).split())

    def wait_until_online(self, number: int) -> None:
        """Wait until so many nodes are online, and no other is registered."""

        def online() -> bool:
            try:
                nodes = [status for status in list_nodes(self.deployment).values() if status != "unregistered"]
            except DeploymentError:
                return False
            return nodes == ["online"] * number

        self._wait_for(f"{number} nodes online", online, 240.0)

    def compose(self, *arguments: str) -> str:
        return self._sh("docker-compose", *arguments, cwd=self.folder)

    def audit(self, client: int) -> list[str]:
        return (self.deployment.site(client) / "state" / "audit.jsonl").read_text().splitlines()
