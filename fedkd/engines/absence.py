"""The client app of simulations: clients drop out or come late as the configuration says.

Whether a client is absent is a function of the seed, the client and the round, so that it is the same on every engine.
A real client that is absent says nothing; a simulated one says so at once, so that nobody has to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from flwr.app import Context, Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.federation.client_app import build_client_app, compose_client, config_of, forget_secrets
from fedkd.federation.messages import TRAIN, Absence, reply_to_records, round_of
from fedkd.federation.secure.messages import has_request, request_from_records
from fedkd.seeding import numpy_rng


def simulated_absence(config: ExperimentConfig, client: int, server_round: int) -> Literal["dropped", "late"] | None:
    """Whether a client is simulated to be absent in a round: `dropped` before its work, or `late` after it."""
    draw = numpy_rng(config.run.seed, "client", client, "round", server_round, "absence").random()
    if draw < config.clients.dropout_rate:
        return "dropped"
    if draw < config.clients.dropout_rate + config.clients.straggler_rate:
        return "late"
    return None


def simulate_absence(message: Message, context: Context, answer: Callable[[Message, Context], Message]) -> Message:
    """A mod of the client app: answers in the place of a client that is absent."""
    config, client = config_of(context), int(context.node_config["partition-id"])
    server_round = _round_to_miss(message, config)
    absence = None if server_round is None else simulated_absence(config, client, server_round)
    if absence is None:
        return answer(message, context)
    if absence == "late":
        answer(message, context)
    else:
        forget_secrets(context)
    return Message(reply_to_records(Absence(client, absence)), reply_to=message)


def _round_to_miss(message: Message, config: ExperimentConfig) -> int | None:
    """The round of a message at which absence is simulated; `None` for any other message."""
    if has_request(message.content):
        request = request_from_records(message.content)
        return request.server_round if request.stage == config.secure_aggregation.dropout_stage else None
    return round_of(message.content) if message.metadata.message_type == TRAIN else None


app = build_client_app(compose_client, mods=[simulate_absence])
