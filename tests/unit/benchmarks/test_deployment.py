"""The seconds of a deployed round are split so that they add up to it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.deployment import PHASES, split


def sent(exchange: int, server_round: int | str, at: float) -> dict[str, Any]:
    return {"what": "sent", "exchange": exchange, "round": str(server_round), "at": at}


def answered(exchange: int, name: str, begun: float, ended: float, noticed: float, **started: float) -> list[Any]:
    message = f"{exchange}-{name}"
    return [
        {"what": "begun", "message": message, "at": begun, **started},
        {"what": "ended", "message": message, "at": ended},
        {"what": "noticed", "message": message, "exchange": exchange, "at": noticed},
    ]


def test_the_client_that_answers_last_and_the_server_share_a_round() -> None:
    events = [
        sent(1, "", 0.0),  # hello, of no round
        sent(2, 1, 1.0),
        *answered(2, "a", 2.0, 3.0, 4.0),
        sent(3, 2, 10.0),
        *answered(3, "fast", 10.5, 11.0, 11.5, started=10.1, imported=10.2),
        *answered(3, "slow", 14.0, 15.0, 17.0, started=11.0, imported=13.0),
        sent(4, 3, 20.0),
        *answered(4, "a", 21.0, 22.0, 23.0),
    ]
    total, phases, exchanges = split(events)
    assert (total, exchanges) == (10.0, 1)
    assert phases == dict(zip(PHASES, (1.0, 2.0, 1.0, 1.0, 2.0, 3.0), strict=True))


def test_exchanges_of_a_round_are_added_and_a_process_that_was_there_costs_no_start() -> None:
    events = [sent(1, 1, 0.0), *answered(1, "a", 0.1, 0.2, 0.3)]
    for exchange in (2, 3):
        began = float(exchange)
        stayed = {"started": 0.0, "imported": 0.0}
        events += [
            sent(exchange, 2, began),
            *answered(exchange, "a", began + 0.25, began + 0.5, began + 0.75, **stayed),
        ]
    events += [sent(4, 3, 4.0)]
    total, phases, exchanges = split(events)
    assert (total, exchanges) == (2.0, 2)
    assert phases["process started, libraries imported"] == 0
    assert sum(phases.values()) == pytest.approx(total)
