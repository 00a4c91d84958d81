"""The state of a client at its site between two messages: its model, the secrets of secure aggregation, and its usage.
Every file is written whole or not at all, and only its owner may read it.

    STATE/usage.json            how much was asked for, in the lifetime of the folder
    STATE/run/<run id>/<name>   one file for each record of Flower's `Context.state`

A site serves one run at a time: the first message of another run removes the state of the run before. A run that
resumes another one takes over its model and nothing else, as secrets are for one run only. A run may have been resumed
several times, and the site may not have taken part each time: it then takes over the model of the newest of these runs
that it knows.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flwr.app import RecordDict

from fedkd.errors import RunFolderError
from fedkd.federation.client_app import MODEL
from fedkd.flower.internals import pack_records, unpack_records
from fedkd.storage.files import naming_failures, write_atomically

logger = logging.getLogger(__name__)

_OWNER_ONLY, _USAGE, _RUNS = 0o600, "usage.json", "run"


@dataclass(frozen=True)
class Usage:
    """How much was asked of a client: rounds over the state folder's life, and public samples in the last of them."""

    rounds: int = 0
    run: str = ""
    server_round: int = 0
    queries: int = 0


class SiteState:
    """The state folder of one client, which no other process may write.

    Args:
        folder: it; made where it is missing, for its owner alone.

    Raises:
        RunFolderError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: dict[str, bytes] = {}
        with naming_failures("make", folder):
            for each in (folder, folder / _RUNS):  # `parents` would make the upper one for everybody
                each.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self, run_id: int, resumed: str = "") -> RecordDict:
        """What was kept after the last message of this run; before its first, the model of the run that it resumes.

        Args:
            run_id: of the run that is served.
            resumed: ids of the runs that it goes on with, oldest first, with commas between them.

        Raises:
            RunFolderError: the files cannot be read, or are damaged.
        """
        runs, own = self.folder / _RUNS, self._of(run_id)
        with naming_failures("read", own):
            if not own.exists():
                _take_over(runs, resumed, own)
            for other in runs.glob("*"):
                if other != own:
                    if (other / MODEL).exists():
                        logger.warning("the model of run %s is removed: run %d takes its place", other.name, run_id)
                    shutil.rmtree(other)
            packed = {path.name: path.read_bytes() for path in own.glob("[!.]*")}
        records = RecordDict()
        for name, content in packed.items():
            try:
                records.update(unpack_records(content))
            except Exception as cause:  # protobuf's own, and Flower's on what it cannot make sense of
                raise RunFolderError(f"{own / name} is damaged ({type(cause).__name__})") from cause
        self._written = packed
        return records

    def save(self, run_id: int, records: RecordDict) -> None:
        """Keep this; what did not change is not written again.

        Raises:
            RunFolderError: the disk refuses.
        """
        folder = self._of(run_id)
        with naming_failures("make", folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        for name, record in records.items():
            packed = pack_records(RecordDict({name: record}))
            if self._written.get(name) != packed:
                write_atomically(folder / name, packed, _OWNER_ONLY)
                self._written[name] = packed
        for name in self._written.keys() - records.keys():
            with naming_failures("remove", folder / name):
                (folder / name).unlink(missing_ok=True)
            del self._written[name]

    def usage_with(self, run_id: int, server_round: int, queries: int) -> Usage:
        """What there will have been asked once a message of this round is answered. A round in which public
        samples are asked a second time, or that comes up again after another one, counts anew.

        Raises:
            RunFolderError: the count cannot be read, or is damaged.
        """
        path = self.folder / _USAGE
        with naming_failures("read", path):
            text = path.read_text(encoding="utf-8") if path.exists() else None
        try:
            before = Usage() if text is None else Usage(**json.loads(text))
        except (ValueError, TypeError) as cause:
            raise RunFolderError(f"{path} is damaged: {text:.80}") from cause
        if (before.run, before.server_round) == (str(run_id), server_round):
            asked_again = int(bool(before.queries and queries))
            return replace(before, rounds=before.rounds + asked_again, queries=before.queries + queries)
        return Usage(before.rounds + 1, str(run_id), server_round, queries)

    def keep_usage(self, usage: Usage) -> None:
        """Write it down, before the answer.

        Raises:
            RunFolderError: the disk refuses.
        """
        write_atomically(self.folder / _USAGE, json.dumps(asdict(usage)).encode(), _OWNER_ONLY)

    def _of(self, run_id: int) -> Path:
        return self.folder / _RUNS / str(run_id)


def _take_over(runs: Path, resumed: str, own: Path) -> None:
    """Let the newest resumed run that has a model here be this one, with nothing but that model. Up to the rename,
    which is one step, it is still the old one's.
    """
    known = [runs / run_id for run_id in resumed.split(",") if run_id.isdecimal()]
    newest = next((folder for folder in reversed(known) if (folder / MODEL).exists()), None)
    if newest is not None:
        for path in list(newest.iterdir()):
            if path.name != MODEL:
                path.unlink()
        newest.rename(own)
