"""What runs inside a Ray worker: a client app's answers, and parts of the server's work."""

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
"""Message contents that a worker remembers: a round has one for each architecture."""


@dataclass(frozen=True)
class SetUp:
    """How a worker becomes ready.

    Attributes:
        load_app: returns the client app; it may prepare the process for it.
        run_config: what every context's `run_config` holds.
        paths: where the driver finds its modules; a worker looks there, too.
    """

    load_app: Callable[[], ClientApp]
    run_config: UserConfig
    paths: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))


@dataclass(frozen=True)
class Errand:
    """A message for one client.

    Attributes:
        message: what it was sent.
        content: a reference to the message's content, in a list, where the message comes without it.
        node_config: which client it is.
    """

    message: Message
    content: list[Any] | None
    node_config: UserConfig


@dataclass(frozen=True)
class Raised:
    """An error that work raised on purpose, on its way back."""

    error: FedkdError


class Worker:
    """One process with one torch thread.

    Args:
        set_up: a reference to a `SetUp`, in a list, so that Ray leaves it to the worker to fetch it.
    """

    def __init__(self, set_up: list[Any]) -> None:
        torch.set_num_threads(1)
        arrived: SetUp = ray.get(set_up[0])
        sys.path += [path for path in arrived.paths if path not in sys.path]
        self._app, self._run_config = arrived.load_app(), arrived.run_config
        self._contents: dict[str, RecordDict] = {}
        self._store: Any = None

    def machine(self) -> str:
        """Ray's name for the machine on which this worker is."""
        return str(ray.get_runtime_context().get_node_id())

    def answer(self, errands: Sequence[Errand], *states: bytes | None) -> list[Any]:
        """Answer for some clients, one after the other.

        Args:
            errands: for whom, and what they were sent.
            states: what each of them kept, packed; `None` for nothing.

        Returns:
            First, for every errand, (reply, seconds, whether the client keeps something); then, for every errand, what
            the client keeps, packed.
        """
        replies, kept = [], []
        for errand, state in zip(errands, states, strict=True):
            message = errand.message
            if errand.content is not None:
                message = with_content(message, self._fetch(errand.content[0]))
            context = Context(
                run_id=RUN_ID,
                node_id=message.metadata.dst_node_id,
                node_config=errand.node_config,
                state=RecordDict() if state is None else unpack_records(state),
                run_config=self._run_config,
            )
            reply, seconds = answer(self._app, message, context)
            kept.append(pack_records(context.state) if context.state else None)
            replies.append((reply, seconds, kept[-1] is not None))
        return [replies, *kept]

    def run(self, function: Callable[[Any], Result], item: Any) -> Result | Raised:
        """Do one item of the server's work."""
        try:
            return function(item)
        except FedkdError as error:
            return Raised(error)

    def meet(self) -> int:
        """Open the place where a gang meets; returns its port on this machine."""
        self._store = open_store()
        return int(self._store.port)

    def join(self, function: Callable[[Exchange], Result], rank: int, size: int, port: int) -> Result | Raised:
        """Do one worker's part of a gang's work; the first is the one that was asked to `meet`."""
        with joined(rank, size, port, self._store if rank == 0 else None) as exchange:
            return self.run(function, exchange)

    def _fetch(self, reference: Any) -> RecordDict:
        """A message content, fetched once however many clients it is for."""
        key = reference.hex()
        if key not in self._contents:
            while len(self._contents) >= _CONTENTS_KEPT:
                del self._contents[next(iter(self._contents))]
            self._contents[key] = ray.get(reference)
        return self._contents[key]
