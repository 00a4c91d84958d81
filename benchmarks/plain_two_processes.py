"""The plain loop over two processes: what a second core can give, with nothing but pipes between them.

The clients are dealt to both by size. This process also is the server; the other waits while the server learns.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.plain_loop import Scores, State, client_phase, server_phase
from benchmarks.plain_problem import Settings, make_world
from fedkd.data.config import DataConfig
from fedkd.data.federated import load_federated_data


def run_on_two(
    settings: Settings,
    data_config: DataConfig,
    num_clients: int,
    on_start: Callable[[], None] = lambda: None,
    on_round: Callable[[], None] = lambda: None,
) -> tuple[State, list[Scores]]:
    """All rounds; returns what `plain_loop.run` returns. `on_start` is called when both processes hold their data."""
    data = load_federated_data(data_config, num_clients, settings.seed)
    mine, others = deal([len(part) for part in data.partitions])
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    worker = context.Process(target=_work, args=(far_end, settings, data_config, num_clients, others))
    worker.start()
    world = make_world(settings, data, mine)
    _receive(pipe)  # the other has its data
    on_start()
    student, scores = world.new_model(), []
    for server_round in range(1, settings.rounds + 1):
        _send(pipe, (server_round, student.state_dict()))
        by_client = {client: client_phase(world, student, client, server_round) for client in mine}
        by_client |= _receive(pipe)
        replies = [by_client[client] for client in sorted(by_client)]
        scores.append(server_phase(world, student, replies, server_round))
        on_round()
    _send(pipe, None)
    worker.join()
    return student.state_dict(), scores


def deal(sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Deal clients to two hands: the largest first, each to the hand that holds fewer samples."""
    hands: tuple[list[int], list[int]] = ([], [])
    totals = [0, 0]
    for client in sorted(range(len(sizes)), key=lambda client: -sizes[client]):
        lighter = int(totals[1] < totals[0])
        hands[lighter].append(client)
        totals[lighter] += sizes[client]
    return hands


def _work(pipe: Connection, settings: Settings, data_config: DataConfig, num_clients: int, clients: list[int]) -> None:
    """The other process: load, say so, then answer every student with the replies of these clients."""
    torch.set_num_threads(1)
    world = make_world(settings, load_federated_data(data_config, num_clients, settings.seed), clients)
    student = world.new_model()
    _send(pipe, "ready")
    while (task := _receive(pipe)) is not None:
        server_round, state = task
        student.load_state_dict(state)
        _send(pipe, {client: client_phase(world, student, client, server_round) for client in clients})


def _send(pipe: Connection, message: Any) -> None:
    """Send by plain pickle, which copies; multiprocessing's own would share tensors by file descriptors."""
    pipe.send_bytes(pickle.dumps(message))


def _receive(pipe: Connection) -> Any:
    return pickle.loads(pipe.recv_bytes())  # noqa: S301 (from our own process)
