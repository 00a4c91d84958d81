"""Rounds as TensorBoard scalars.

Where torch is installed, `import tensorboardX` loads it, to learn a type, and no option prevents that; so this is the
only module of the package that loads torch. It works without torch as well. Importing this module loads neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from fedkd.records import RoundRecord
from fedkd.reporting.measures import ACCURACIES, phase_seconds
from fedkd.storage.files import naming_failures


def scalars(record: RoundRecord) -> Iterator[tuple[str, float]]:
    """Yield tag and value of every scalar of a round; what was not measured has none."""
    for measure, accuracy in ACCURACIES.items():
        value = accuracy(record)
        if value is not None:
            yield f"accuracy/{measure}", value
    if record.student.loss is not None:
        yield "loss/student", record.student.loss
    yield "bytes/up", float(record.bytes.up)
    yield "bytes/down", float(record.bytes.down)
    for phase, seconds in phase_seconds(record.seconds).items():
        yield f"seconds/{phase}", seconds
    yield "seconds/total", record.seconds.total


class TensorBoardWriter:
    """Writes one event file; the step is `server_round`. Values are stored as float32, TensorBoard's scalar type.

    Use it as a context manager, or call `close`: events wait in a queue until then, ten seconds at most.

    Args:
        folder: where the event file goes; made where it is missing.
        first_round: of what will be written; readers forget what earlier files of the folder say of it and later ones.

    Raises:
        RunFolderError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, first_round: int = 1) -> None:
        from tensorboardX import SummaryWriter

        with naming_failures("write events to", folder):
            # An absolute path: tensorboardX would take a relative one that begins with "s3:" for a bucket.
            self._writer = SummaryWriter(logdir=str(folder.absolute()), purge_step=first_round, flush_secs=10)

    def write(self, record: RoundRecord) -> None:
        """Write the scalars of one round."""
        for tag, value in scalars(record):
            self._writer.add_scalar(tag, value, global_step=record.server_round)

    def close(self) -> None:
        """Write out what waits in the queue, and close the file. Closing twice does nothing."""
        self._writer.close()

    def __enter__(self) -> TensorBoardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
