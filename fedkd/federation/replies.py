"""From messages to contributions: every reply is validated here; a bad one is refused, named and counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Message

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import PayloadError, PublicSetMismatchError
from fedkd.federation.messages import Absence, TrainReply, content_of, payload_bytes, reply_from_records
from fedkd.federation.weights import check_weights, load_weights
from fedkd.federation.workspace import Workspace
from fedkd.methods import Contribution, Method
from fedkd.payload import PayloadSeam
from fedkd.records import Refusal
from fedkd.training.evaluation import predict_logits
from fedkd.types import FloatArray

_PROBES = 64
"""Public samples on which received weights must give finite logits."""


@dataclass
class Round:
    """The replies of one round, sorted out. Contributions and replies are in the order of clients."""

    contributions: list[Contribution] = field(default_factory=list)
    replies: list[TrainReply] = field(default_factory=list)
    test_logits: list[FloatArray] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    bytes_up: int = 0


class ReplyDesk:
    """Sorts replies out.

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
        self._seam = PayloadSeam(config.payload)

    def sort_out(
        self, messages: Iterable[Message], senders: dict[int, int], server_round: int, num_samples: int
    ) -> Round:
        """Validate each reply.

        Args:
            messages: the replies, in any order.
            senders: the clients that were asked, by node.
            server_round: the round they must answer.
            num_samples: public samples of the round.

        Returns:
            What can be used, and what became of the rest: of every client that was asked, exactly one thing.
        """
        result = Round()
        usable: dict[int, tuple[TrainReply, Contribution, FloatArray | None]] = {}
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
                usable[client] = (reply, *self._validate(reply, server_round, num_samples))
                result.bytes_up += payload_bytes(message.content)
            except PayloadError as problem:
                result.refused.append(Refusal(client=client, reason=problem.reason, detail=problem.detail))
        result.late.extend(waiting.values())
        for client in sorted(usable):
            reply, contribution, test_logits = usable[client]
            result.replies.append(reply)
            result.contributions.append(contribution)
            if test_logits is not None:
                result.test_logits.append(test_logits)
        result.dropped.sort()
        result.late.sort()
        result.refused.sort(key=lambda refusal: -1 if refusal.client is None else refusal.client)
        return result

    def _open(self, message: Message, client: int) -> TrainReply | Absence:
        reply = reply_from_records(content_of(message))
        if reply.client != client:
            raise PayloadError("sender", f"the reply says it is of client {reply.client}; its node is client {client}")
        return reply

    def _validate(
        self, reply: TrainReply, server_round: int, num_samples: int
    ) -> tuple[Contribution, FloatArray | None]:
        data = self._workspace.data
        if reply.public_digest != data.public_digest:
            raise PublicSetMismatchError(reply.public_digest, data.public_digest)
        if reply.server_round != server_round:
            raise PayloadError("round", f"the reply is to round {reply.server_round}; this is round {server_round}")
        if reply.metrics.num_examples < 1:
            raise PayloadError("examples", f"num_examples = {reply.metrics.num_examples}; at least 1")
        architecture = self._config.client_model(reply.client)
        contribution = Contribution(
            client=reply.client,
            architecture=architecture,
            num_examples=reply.metrics.num_examples,
            logits_NC=self._logits(reply, num_samples) if self._method.sends == "logits" else None,
            weights=self._weights(reply, architecture) if self._method.sends == "weights" else None,
        )
        return contribution, self._test_logits(reply)

    def _logits(self, reply: TrainReply, num_samples: int) -> FloatArray:
        if reply.logits is None:
            raise PayloadError("missing", f"no logits; method {self._method.name} needs them")
        return self._seam.receive(reply.logits, num_samples=num_samples, num_classes=self._workspace.data.num_classes)

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
        if not (self._config.evaluates_clients(reply.server_round) and self._method.sends == "logits"):
            return None
        logits_NC = reply.test_logits
        if logits_NC is None:
            raise PayloadError("missing", "no answers on the test split, which were asked for")
        expected = (len(self._workspace.data.test.labels_N), self._workspace.data.num_classes)
        if logits_NC.dtype != np.float32 or logits_NC.shape != expected or not np.isfinite(logits_NC).all():
            given = f"{logits_NC.dtype}{logits_NC.shape}"
            raise PayloadError("shape", f"answers on the test split are {given}; finite float32{expected}")
        return logits_NC
