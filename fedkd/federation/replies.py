"""From messages to contributions: every reply is validated here; a bad one is refused, named and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Message

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import PayloadError, PublicSetMismatchError
from fedkd.federation.messages import Absence, TrainReply, content_of, reply_from_records
from fedkd.federation.record_fields import evaluation_bytes, payload_bytes
from fedkd.federation.seams import honest_seam, sent_spec
from fedkd.federation.state import prefixed, under
from fedkd.federation.weights import check_weights, load_weights
from fedkd.federation.workspace import Workspace
from fedkd.methods import Contribution, Method
from fedkd.payload import Arrays, Rows, RowsSpec
from fedkd.records import Refusal
from fedkd.training.evaluation import predict_logits
from fedkd.types import FloatArray, IntArray

_PROBES = 64
"""Public samples on which received weights must give finite logits."""


@dataclass(frozen=True)
class ValidReply:
    """One reply that can be used.

    Attributes:
        reply: as it came.
        contribution: its rows or weights, decoded.
        test_logits_MC: on the test split; `None` where it was not asked.
        test_rows: the upload made on the test split; `None` where the teacher is not measured by it.
    """

    reply: TrainReply
    contribution: Contribution
    test_logits_MC: FloatArray | None
    test_rows: Rows | None


@dataclass
class Round:
    """The replies of one round, sorted out; valid ones in the order of clients."""

    valid: list[ValidReply] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    bytes_up: int = 0
    evaluation_bytes: int = 0


class ReplyHandler:
    """Sorts replies out, and keeps what codecs remember of each client.

    Args:
        config: the experiment.
        method: its method.
        workspace: the server's data.
        like: for each architecture whose weights travel, weights of the right keys, shapes and dtypes.
    """

    def __init__(
        self, config: ExperimentConfig, method: Method, workspace: Workspace, like: dict[str, Weights]
    ) -> None:
        self._config, self._method, self._workspace, self._like = config, method, workspace, like
        self._seam = honest_seam(config)
        self._memory: dict[int, tuple[int, Arrays]] = {}

    def used_round(self, client: int) -> int:
        """The last round of which this client's rows were used, where the codec remembers; else 0."""
        return self._memory.get(client, (0, {}))[0]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What codecs remember, as named arrays."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for client, (server_round, memory) in self._memory.items():
            arrays[f"{client}/round"] = np.array(server_round)
            arrays |= prefixed(f"{client}/memory/", memory)
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        for name, array in arrays.items():
            client, _, kind = name.partition("/")
            if kind == "round":
                self._memory[int(client)] = (int(array), under(arrays, f"{client}/memory/"))

    def sort_out(
        self, messages: Iterable[Message], senders: Mapping[int, int], server_round: int, asked_N: IntArray
    ) -> Round:
        """Validate each reply.

        Args:
            messages: the replies, in any order.
            senders: the clients that were asked, by node.
            server_round: the round they must answer.
            asked_N: the keys that were asked for.

        Returns:
            What can be used, and what became of the rest: of every client that was asked, exactly one thing.
        """
        result = Round()
        usable: dict[int, ValidReply] = {}
        waiting = dict(senders)
        for message in messages:
            client = waiting.pop(message.metadata.src_node_id, None)
            if client is None:
                result.refused.append(
                    Refusal(client=None, reason="sender", detail="a reply from a node that was not asked, or a second")
                )
                continue
            try:
                reply = self._open(message, client)
                if isinstance(reply, Absence):
                    (result.dropped if reply.kind == "dropped" else result.late).append(client)
                    continue
                usable[client] = self._validate(reply, server_round, asked_N)
                result.bytes_up += payload_bytes(message.content)
                result.evaluation_bytes += evaluation_bytes(message.content)
            except PayloadError as problem:
                result.refused.append(Refusal(client=client, reason=problem.reason, detail=problem.detail))
        result.late.extend(waiting.values())
        result.valid = [usable[client] for client in sorted(usable)]
        result.dropped.sort()
        result.late.sort()
        result.refused.sort(key=lambda refusal: -1 if refusal.client is None else refusal.client)
        return result

    def _open(self, message: Message, client: int) -> TrainReply | Absence:
        reply = reply_from_records(content_of(message))
        if reply.client != client:
            raise PayloadError("sender", f"the reply says it is of client {reply.client}; its node is client {client}")
        return reply

    def _validate(self, reply: TrainReply, server_round: int, asked_N: IntArray) -> ValidReply:
        data = self._workspace.data
        if reply.public_digest != data.public_digest:
            raise PublicSetMismatchError(reply.public_digest, data.public_digest)
        if reply.server_round != server_round:
            raise PayloadError("round", f"the reply is to round {reply.server_round}; this is round {server_round}")
        if reply.metrics.num_examples < 1:
            raise PayloadError("examples", f"num_examples = {reply.metrics.num_examples}; at least 1")
        architecture = self._config.client_model(reply.client)
        weights = self._weights(reply, architecture) if self._method.sends_model else None
        spec = self._spec()
        test_logits_MC = None if spec is None else self._test_logits(reply)
        test_rows = self._test_rows(reply, spec, test_logits_MC)
        contribution = Contribution(
            client=reply.client,
            architecture=architecture,
            num_examples=reply.metrics.num_examples,
            rows=None if spec is None else self._rows(reply, spec, asked_N),
            weights=weights,
        )
        return ValidReply(reply, contribution, test_logits_MC, test_rows)

    def _spec(self) -> RowsSpec | None:
        """Of the rows that leave a client; `None` where none do."""
        upload = self._method.rows_upload
        if upload is None:
            return None
        return sent_spec(self._config, upload, self._workspace.data.num_classes)

    def _rows(self, reply: TrainReply, spec: RowsSpec, asked_N: IntArray) -> Rows:
        """Decode a client's rows, and remember what the codec remembers: the last check, as a reply that is refused
        must move no memory.
        """
        if reply.rows is None:
            raise PayloadError("missing", f"no rows; method {self._method.name} needs them")
        last_round, memory = self._memory.get(reply.client, (0, {}))
        if reply.based_on not in (0, last_round):
            known = f"round {reply.based_on}; the server's last of this client is {last_round}"
            raise PayloadError("codec", f"the rows build on those of {known}")
        rows, memory = self._seam.decode(reply.rows, spec, asked_N, memory if reply.based_on else {})
        if memory:
            self._memory[reply.client] = (reply.server_round, memory)
        return rows

    def _weights(self, reply: TrainReply, architecture: str) -> Weights:
        if reply.weights is None:
            raise PayloadError("missing", f"no weights; method {self._method.name} needs them")
        check_weights(reply.weights, self._like[architecture])
        model = self._workspace.build_model(architecture, seed=0)
        load_weights(model, reply.weights)
        if not np.isfinite(predict_logits(model, self._workspace.public_inputs[:_PROBES])).all():
            raise PayloadError("not_finite", "the weights give logits that are not finite; did local training diverge?")
        return reply.weights

    def _test_logits(self, reply: TrainReply) -> FloatArray | None:
        if not self._config.evaluates_clients(reply.server_round):
            return None
        logits_MC = reply.test_logits
        if logits_MC is None:
            raise PayloadError("missing", "no answers on the test split, which were asked for")
        expected = (len(self._workspace.data.test.labels_N), self._workspace.data.num_classes)
        if logits_MC.dtype != np.float32 or logits_MC.shape != expected or not np.isfinite(logits_MC).all():
            given = f"{logits_MC.dtype}{logits_MC.shape}"
            raise PayloadError("shape", f"answers on the test split are {given}; finite float32{expected}")
        bound = self._config.payload.bound
        return logits_MC.clip(-bound, bound)

    def _test_rows(self, reply: TrainReply, spec: RowsSpec | None, test_logits_MC: FloatArray | None) -> Rows | None:
        """The upload on the test split; the logits there where the client says that it is the same."""
        if spec is None or spec.keys != "public" or test_logits_MC is None:
            return None
        test_M = np.arange(len(test_logits_MC))
        rows = Rows.of(test_M, test_logits_MC) if reply.test_rows is None else reply.test_rows
        return spec.checked(rows, test_M)
