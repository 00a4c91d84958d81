"""The peer: a round of Flower's SecAgg, its own `SecAggWorkflow` at the server and its own `secaggplus_mod` at every
client, all in one process. Between them messages are packed and unpacked as on a wire; that counts in bytes and not in
seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.ndarrays_arithmetic import parameters_addition
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.compat.common import recorddict_compat
from flwr.server.compat import LegacyContext
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import WorkflowState

from benchmarks.secure_rounds import Clock, best_of
from fedkd.engines.local import LocalGrid
from fedkd.flower.internals import (
    pack_records,
    quiet_logger,
    task_identity,
    unpack_records,
    with_content,
)
from fedkd.flower.simulated_grid import RUN_ID

MODULUS, TARGET_RANGE, CLIPPING_RANGE, NUM_EXAMPLES = 1 << 32, 1 << 16, 30.0, 1000

FloatArray = npt.NDArray[np.float64]


class _Grid(LocalGrid):
    """Loses the masked vectors of the first nodes, the third exchange, and counts the bytes of the last node."""

    def __init__(self, app: ClientApp, num_clients: int, drop_outs: int) -> None:
        super().__init__(app, num_clients, {})
        self.transport, self.sent, self.received = Clock(), 0, 0
        self._leaving = set(self.get_node_ids()[:drop_outs])
        self._exchanges = 0
        self._watched = self.get_node_ids()[-1]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Replies that share no object with the client, to requests that share none with the server."""
        with self.transport.running():
            requests = [self._carried(message) for message in messages]
        replies = list(super().send_and_receive(requests, timeout=timeout))
        if failed := [reply for reply in replies if reply.has_error()]:
            raise SystemExit(f"Flower's client failed: {failed[0].error.reason}")
        self._exchanges += 1
        with self.transport.running():
            arrived = [self._carried(reply) for reply in replies]
        return [each for each in arrived if self._exchanges != 3 or each.metadata.src_node_id not in self._leaving]

    def _carried(self, message: Message) -> Message:
        packed = pack_records(message.content)
        self.sent += len(packed) if message.metadata.src_node_id == self._watched else 0
        self.received += len(packed) if message.metadata.dst_node_id == self._watched else 0
        return with_content(message, unpack_records(packed))


class _AllClients(FedAvg):
    """Asks everybody, and keeps what the round came to."""

    def __init__(self, proxies: list[GridClientProxy]) -> None:
        super().__init__()
        self.mean: Parameters | None = None
        self._proxies = proxies

    def configure_fit(self, server_round, parameters, client_manager):
        """Ask everybody."""
        del server_round, client_manager
        return [(proxy, FitIns(parameters, {})) for proxy in self._proxies]

    def aggregate_fit(self, server_round, results, failures):
        """Take the mean, which every result holds."""
        del server_round, failures
        self.mean = results[0][1].parameters
        return None, {}


def _client_app(vector_D: FloatArray) -> ClientApp:
    app = ClientApp(mods=[secaggplus_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        del context
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([vector_D]), NUM_EXAMPLES, {})
        return Message(recorddict_compat.fitres_to_recorddict(result, keep_input=False), reply_to=message)

    return app


def whole_round(num_clients: int, length: int, *, drop_outs: int = 2) -> dict[str, float]:
    """CPU seconds of a round with a majority as threshold, as ours has; drop-outs leave after they have shared. Bytes
    are a survivor's, of protocol messages alone: no model is sent.
    """
    vector = np.random.default_rng(0).normal(0, 10, length)
    grid = _Grid(_client_app(vector), num_clients, drop_outs)
    strategy = _AllClients([GridClientProxy(node, grid, RUN_ID) for node in grid.get_node_ids()])
    state = RecordDict({MAIN_CONFIGS_RECORD: ConfigRecord({Key.CURRENT_ROUND: 1})})
    state[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(Parameters([], ""), keep_input=False)
    context = LegacyContext(Context(RUN_ID, 0, {}, state, {}), strategy=strategy)
    workflow = SecAggWorkflow(
        num_clients // 2 + 1,
        max_weight=NUM_EXAMPLES,
        clipping_range=CLIPPING_RANGE,
        quantization_range=TARGET_RANGE,
        modulus_range=MODULUS,
    )
    stages = {
        "keys": workflow.setup_stage,
        "share": workflow.share_keys_stage,
        "mask": workflow.collect_masked_vectors_stage,
        "unmask": workflow.unmask_stage,
    }
    seconds: dict[str, float] = {}
    progress = WorkflowState()
    with task_identity(RUN_ID, 0), quiet_logger():
        for name, run_stage in stages.items():
            carrying, clock = grid.transport.cpu, Clock()
            with clock.running():
                if not run_stage(grid, context, progress):
                    raise SystemExit(f"Flower's stage {name!r} failed")
            seconds[f"cpu {name}"] = clock.cpu - (grid.transport.cpu - carrying)
    if strategy.mean is None:
        raise SystemExit("Flower's round came to nothing")
    (mean,) = parameters_to_ndarrays(strategy.mean)
    if not np.allclose(mean, np.clip(vector, -CLIPPING_RANGE, CLIPPING_RANGE), atol=2 * CLIPPING_RANGE / TARGET_RANGE):
        raise SystemExit("Flower's masked mean is not the plain mean")
    return {"cpu": sum(seconds.values()), **seconds, "up_bytes": grid.sent, "down_bytes": grid.received}


def mask_expansion(num_masks: int, length: int) -> float:
    """The least CPU seconds in which Flower expands one mask and adds it, times the masks."""
    total = [np.zeros((), np.int64), np.zeros(length, np.int64)]
    shapes = [(), (length,)]
    return num_masks * best_of(
        min(num_masks, 7),
        lambda: parameters_addition(total, pseudo_rand_gen(secrets.token_bytes(32), MODULUS, shapes)),
    )
