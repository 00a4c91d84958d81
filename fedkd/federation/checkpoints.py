"""After every round: all that the next one needs, on disk. Before the first one: back from disk.

Random streams have no position to keep: each is drawn anew from the root seed and the number of the round.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedkd.federation.observers import Observer
from fedkd.federation.replies import ReplyHandler
from fedkd.federation.server import Server
from fedkd.federation.state import prefixed, under
from fedkd.flower.simulated_grid import SimulatedGrid
from fedkd.records import RoundRecord
from fedkd.storage.snapshots import Snapshot, SnapshotStore

_CODECS = "codecs/"


@dataclass(frozen=True)
class Checkpoints:
    """Where snapshots go, and where a resumed federation goes on.

    Attributes:
        store: takes the snapshots.
        snapshot: the one to go on from; `None` to begin with the first round.
        history: the rounds that it is the end of.
    """

    store: SnapshotStore
    snapshot: Snapshot | None = None
    history: tuple[RoundRecord, ...] = ()

    def save(self, server_round: int, server: Server, handler: ReplyHandler, grid: SimulatedGrid | None) -> None:
        """Write the state after a round; clients keep their own where there is no simulation.

        Raises:
            RunFolderError: the disk refuses.
        """
        arrays = server.state() | prefixed(_CODECS, handler.state())
        self.store.write(server_round, arrays, grid.take_changed_states() if grid else ())

    def restore(self, server: Server, handler: ReplyHandler, grid: SimulatedGrid | None) -> None:
        """Put server and clients back to where they were.

        Raises:
            PayloadError: the snapshot is of other models.
        """
        if self.snapshot is not None:
            server.restore(self.snapshot.server)
            handler.restore(under(self.snapshot.server, _CODECS))
            if grid is not None:
                grid.put_states(self.snapshot.clients)


class Saving(Observer):
    """Saves after every round; to be told after whoever records the round, as a round without its record is lost."""

    def __init__(
        self, checkpoints: Checkpoints, server: Server, handler: ReplyHandler, grid: SimulatedGrid | None
    ) -> None:
        self._checkpoints, self._server, self._handler, self._grid = checkpoints, server, handler, grid

    def on_round(self, record: RoundRecord) -> None:
        """Write the snapshot after this round."""
        self._checkpoints.save(record.server_round, self._server, self._handler, self._grid)
