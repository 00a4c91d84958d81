"""What `benchmarks/deployment.py` deploys: fedkd's apps and its site, each of which notes what happens when.

A note is a line of JSON in the file that EVENTS names; its seconds are those of the machine's monotonic clock.

    python -m benchmarks.deployed_apps SITE.toml      `fedkd client run`, noting
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

_IMPORTING = time.monotonic()

from flwr.app import Context, Message  # noqa: E402 - the time before is what the next note is compared with
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp import Grid  # noqa: E402

from fedkd import flower_app  # noqa: E402
from fedkd.federation import server_app as rounds  # noqa: E402
from fedkd.federation.client import Client  # noqa: E402
from fedkd.federation.client_app import build_client_app, config_of  # noqa: E402
from fedkd.federation.references import compose_method  # noqa: E402
from fedkd.federation.workspace import Workspace, resolve_device  # noqa: E402
from fedkd.flower.polling_grid import PollingGrid  # noqa: E402
from fedkd.site.handler import MessageHandler  # noqa: E402
from fedkd.site.local_data import read_local_data  # noqa: E402
from fedkd.site.settings import SiteConfig, load_site  # noqa: E402

EVENTS, TRIAL = "FEDKD_BENCHMARK_EVENTS", "FEDKD_BENCHMARK_TRIAL"


def note(what: str, **about: Any) -> None:
    """Add a line; what is this short is written in one piece."""
    if EVENTS in os.environ:
        with Path(os.environ[EVENTS]).open("a") as file:
            file.write(json.dumps({"what": what, "at": time.monotonic(), "process": os.getpid(), **about}) + "\n")


def started() -> float:
    """When this process was started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


class NotingGrid(PollingGrid):
    """Notes when an exchange is begun and when each of its replies is noticed.

    Args:
        grid: Flower's.
        prompt: whether to wait as fedkd does; else as Flower's own grid does.
    """

    def __init__(self, grid: Grid, prompt: bool) -> None:
        super().__init__(grid)
        self._prompt = prompt

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        asked = list(messages)
        exchange = time.monotonic_ns()
        note("sent", exchange=exchange, round=asked[0].metadata.group_id)
        wait = super().send_and_receive if self._prompt else self._grid.send_and_receive
        for reply in wait(asked, timeout=timeout):
            note("noticed", exchange=exchange, message=reply.metadata.reply_to_message_id)
            yield reply


class NotingClientApp(ClientApp):
    """Notes when a message reaches the app, and when the app has answered it."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        note("begun", message=message.metadata.message_id, started=started(), imported=_imported)
        reply = self._app(message, context)
        note("ended", message=message.metadata.message_id)
        return reply


def compose_client(context: Context) -> Client:
    """A client whose data are those of its site, read anew in every process."""
    config, client = config_of(context), int(context.node_config["partition-id"])
    place = Path(os.environ[TRIAL]) / f"client-{client}"
    site = SiteConfig(
        client=client,
        num_clients=config.clients.number,
        superlink="127.0.0.1:1",
        insecure=True,
        private=str(place / "private"),
        public=str(place / "public"),
        state=str(place / "state"),
    )
    return Client(client, config, compose_method(config.method), _workspace(site, config))


@lru_cache(maxsize=1)
def _workspace(site: SiteConfig, config: Any) -> Workspace:
    return Workspace(read_local_data(site).data(config), resolve_device(config.run.device))


def serve_site(path: Path) -> None:
    """Run a site; what it does with a message is noted."""
    answer: Callable[..., Message] = MessageHandler.answer

    def noting(self: MessageHandler, message: Message, *rest: Any) -> Message:
        note("begun", message=message.metadata.message_id)
        reply = answer(self, message, *rest)
        note("ended", message=message.metadata.message_id)
        return reply

    MessageHandler.answer = noting  # type: ignore[method-assign]
    from fedkd.site.serve import log_to_stderr, run_site

    log_to_stderr()
    run_site(load_site(path))


client_app = NotingClientApp(build_client_app(compose_client))
server_app = flower_app.app
_imported = time.monotonic()

if os.environ.get(EVENTS):
    _prompt = os.environ.get("FEDKD_BENCHMARK_PROMPT") == "1"
    rounds.PollingGrid = lambda grid: NotingGrid(grid, _prompt)  # type: ignore[misc, assignment]
    if not _prompt:
        rounds.look_often_for_objects = lambda: None  # type: ignore[assignment]

if __name__ == "__main__":
    serve_site(Path(sys.argv[1]))
