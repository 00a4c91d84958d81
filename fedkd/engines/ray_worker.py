"""What runs inside a Ray worker: the client app, and parts of the server's work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ray
import torch
from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp

from fedkd.distillation.shards import Exchange
from fedkd.engines.gloo import joined, open_store
from fedkd.errors import FedkdError
from fedkd.flower.internals import pack_records, unpack_records, with_content
from fedkd.flower.simulated_grid import RUN_ID, answer

Result = TypeVar("Result")

_CONTENTS_KEPT = 8
"""Number of message contents that a worker caches: a round has one for each architecture."""


@dataclass(frozen=True)
class SetUp:
    """How a worker prepares itself.

    Attributes:
        load_app: returns the client app; it may prepare the process for it.
        run_config: the `run_config` of every context.
        paths: the module search path of the driver; workers use it, too.
    """

    load_app: Callable[[], ClientApp]
    run_config: UserConfig
    paths: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))


@dataclass(frozen=True)
class ClientTask:
    """A message for one client.

    Attributes:
        message: the message.
        content: a list with a Ray reference to the content, if the message comes without it; else `None`.
        node_config: says which client it is.
    """

    message: Message
    content: list[Any] | None
    node_config: UserConfig


@dataclass(frozen=True)
class Raised:
    """A `FedkdError` that the work raised, as a result, so that Ray returns it unchanged."""

    error: FedkdError


class Worker:
    """One process with one torch thread.

    Args:
        set_up: a list with a Ray reference to a `SetUp`; in a list, the worker fetches it, not Ray.
    """

    def __init__(self, set_up: list[Any]) -> None:
        torch.set_num_threads(1)
        arrived: SetUp = ray.get(set_up[0])
        sys.path += [path for path in arrived.paths if path not in sys.path]
        self._app, self._run_config = arrived.load_app(), arrived.run_config
        self._contents: dict[str, RecordDict] = {}
        self._store: Any = None

    def machine(self) -> str:
        """Return Ray's id of the machine on which this worker runs."""
        return str(ray.get_runtime_context().get_node_id())

    def answer(self, tasks: Sequence[ClientTask], *states: bytes | None) -> list[Any]:
        """Answer the messages of some clients, one after the other.

        Args:
            tasks: one for each client.
            states: the packed state of each client; `None` for none.

        Returns:
            First a list with (reply, seconds, whether the client has a state) for every task; then the packed state of
            the client of every task.
        """
        replies, kept = [], []
        for task, state in zip(tasks, states, strict=True):
            message = task.message
            if task.content is not None:
                message = with_content(message, self._fetch(task.content[0]))
            context = Context(
                run_id=RUN_ID,
                node_id=message.metadata.dst_node_id,
                node_config=task.node_config,
                state=RecordDict() if state is None else unpack_records(state),
                run_config=self._run_config,
            )
            reply, seconds = answer(self._app, message, context)
            kept.append(pack_records(context.state) if context.state else None)
            replies.append((reply, seconds, kept[-1] is not None))
        return [replies, *kept]

    def run(self, function: Callable[[Any], Result], item: Any) -> Result | Raised:
        """Process one item of the server's work."""
        try:
            return function(item)
        except FedkdError as error:
            return Raised(error)

    def open_store(self) -> int:
        """Open the store through which the workers of a collective find each other; return its port."""
        self._store = open_store()
        return int(self._store.port)

    def join(self, function: Callable[[Exchange], Result], rank: int, size: int, port: int) -> Result | Raised:
        """Do one worker's part of a collective; the worker of rank 0 is the one that opened the store."""
        with joined(rank, size, port, self._store if rank == 0 else None) as exchange:
            return self.run(function, exchange)

    def _fetch(self, reference: Any) -> RecordDict:
        """Return a message content; it is fetched once, however many clients it is for."""
        key = reference.hex()
        if key not in self._contents:
            while len(self._contents) >= _CONTENTS_KEPT:
                del self._contents[next(iter(self._contents))]
            self._contents[key] = ray.get(reference)
        return self._contents[key]
