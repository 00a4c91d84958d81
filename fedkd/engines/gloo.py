"""How the workers of one machine exchange tensors: torch's gloo backend over the loopback interface."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

_HOST = "127.0.0.1"
_PATIENCE = timedelta(minutes=5)
"""How long one worker waits for another at a step. A worker that dies is noticed at once."""


class GlooExchange:
    """One worker's end of an exchange; see `fedkd.distillation.shards.Exchange`."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all workers, [size, *rows]."""
        gathered = rows.new_empty(self.size, *rows.shape)
        dist.all_gather(list(gathered.unbind(0)), rows)
        return gathered


def open_store() -> TCPStore:
    """Open the store through which workers find each other, on a free port of the loopback interface."""
    return TCPStore(_HOST, 0, is_master=True, wait_for_workers=False, timeout=_PATIENCE)


@contextmanager
def joined(rank: int, size: int, port: int, store: TCPStore | None) -> Iterator[GlooExchange]:
    """Take part in an exchange while the block runs; the worker that opened the store passes it."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    store = store or TCPStore(_HOST, port, is_master=False, timeout=_PATIENCE)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    try:
        yield GlooExchange(rank, size)
    finally:
        dist.destroy_process_group()
