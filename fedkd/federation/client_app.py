"""The Flower `ClientApp`: unpacks a message, lets the client do its part, packs the reply.

A client's model lives in `Context.state` between rounds, unless the server's takes its place at the start of each; so
does what its upload and its codec remember.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig, load_config, parse_config
from fedkd.errors import ConfigError, PayloadError
from fedkd.federation.client import Client, ClientState, Work
from fedkd.federation.messages import (
    TrainInstruction,
    hello_to_records,
    instruction_from_records,
    reply_to_records,
)
from fedkd.federation.references import compose_method
from fedkd.federation.secure.messages import SecureRequest, answer_to_records, has_request, request_from_records
from fedkd.federation.secure.participant import SecureParticipant, credentials_of, sends_early_keys
from fedkd.federation.threads import one_torch_thread
from fedkd.federation.workspace import open_workspace
from fedkd.flower.app_bundle import EXPERIMENT_KEY
from fedkd.flower.packing import is_packed, pack_message, unpack_message
from fedkd.secure_aggregation import ClientState as SecureState

DEFAULT_EXPERIMENT = Path(__file__).parents[2] / "simulations" / "digits.toml"
"""What an empty experiment stands for; it travels in the app's bundle, beside the package."""

MODEL, _UPLOAD, _CODEC, _ROUNDS, _SECURE = "model", "upload", "codec", "rounds", "secure_aggregation"
"""Records of a context's state."""

Compose = Callable[[Context], Client]
"""Makes the client that a context belongs to, with what it holds."""

Mod = Callable[[Message, Context, Callable[[Message, Context], Message]], Message]
"""Flower's: (message, context, the app behind the mod) -> reply."""


def config_of(context: Context) -> ExperimentConfig:
    """The experiment that a context belongs to: `DEFAULT_EXPERIMENT` where the run config leaves it empty.

    Raises:
        ConfigError: the run config does not hold an experiment, or one that is not allowed.
    """
    experiment = context.run_config.get(EXPERIMENT_KEY)
    return _parsed(experiment if isinstance(experiment, str) else repr(experiment))


@lru_cache(maxsize=8)
def _parsed(experiment: str) -> ExperimentConfig:
    """A process sees the same configuration in every message."""
    if experiment == "":
        return load_config(DEFAULT_EXPERIMENT)
    try:
        values = json.loads(experiment)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ConfigError(EXPERIMENT_KEY, experiment, "a configuration as JSON, as `fedkd config --flower` prints it")
    return parse_config(values)


def compose_client(context: Context) -> Client:
    """The client of a simulation, or of a Flower runtime that starts the app: its data are what the experiment names.

    Raises:
        FedkdError: the experiment, its data or its keys cannot be used.
    """
    config, client = config_of(context), int(context.node_config["partition-id"])
    return Client(
        client=client,
        config=config,
        method=compose_method(config.method),
        workspace=open_workspace(config),
        credentials=credentials_of(config.secure_aggregation, client),
    )


def _as_it_was_asked(message: Message, context: Context, answer: Callable[[Message, Context], Message]) -> Message:
    """Unpack a packed message, and pack the reply to it."""
    reply = answer(unpack_message(message), context)
    return pack_message(reply) if is_packed(message) else reply


def build_client_app(compose: Compose, mods: Sequence[Mod] = ()) -> ClientApp:
    """Make a client app; wherever it runs, `compose` alone knows who the client is and what it holds.

    `mods` are called with each message after it was unpacked, the first outermost.
    """
    app = ClientApp(mods=[_as_it_was_asked, *mods])

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        """Introduce this client to the server."""
        return Message(hello_to_records(compose(context).hello()), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        """Take part in a round."""
        return _train(compose(context), message, context)

    @app.query("secure")
    def secure(message: Message, context: Context) -> Message:
        """Take part in a stage of secure aggregation that needs no training."""
        return _secure(compose(context), request_from_records(message.content), message, context)

    return app


def _train(client: Client, message: Message, context: Context) -> Message:
    instruction = instruction_from_records(message.content)
    if has_request(message.content):
        return _secure(client, request_from_records(message.content), message, context, instruction)
    if client.config.secure_aggregation.enabled:
        raise PayloadError("secure_aggregation", "this client answers under secure aggregation only")
    with one_torch_thread():
        reply, state = client.train(instruction, load_state(context))
    keep_state(state, context)
    return Message(reply_to_records(reply), reply_to=message)


def _secure(
    client: Client,
    request: SecureRequest,
    message: Message,
    context: Context,
    instruction: TrainInstruction | None = None,
) -> Message:
    config = client.config
    participant = SecureParticipant(client, _kept(context))

    def work(instruction: TrainInstruction) -> Work:
        with one_torch_thread():
            done = client.work(instruction, load_state(context))
        keep_state(client.kept(done, {}, instruction.server_round), context)
        return done

    answer = participant.answer(request, instruction, work, early=sends_early_keys(config, request.server_round))
    context.state[_SECURE] = ConfigRecord({"kept": participant.kept})
    return Message(answer_to_records(answer), reply_to=message)


def forget_secrets(context: Context) -> None:
    """Leave the round: nothing that is secret in it is kept."""
    kept = _kept(context)
    if kept is not None:
        context.state[_SECURE] = ConfigRecord({"kept": SecureState.from_bytes(kept).wiped().to_bytes()})


def _kept(context: Context) -> bytes | None:
    """What this client remembers of secure aggregation."""
    kept = context.state.config_records[_SECURE]["kept"] if _SECURE in context.state else None
    return kept if isinstance(kept, bytes) else None


def keep_state(state: ClientState, context: Context) -> None:
    """Write what a client keeps into its context."""
    for name, arrays in ((MODEL, state.model or {}), (_UPLOAD, state.upload), (_CODEC, state.codec)):
        if arrays:
            context.state[name] = ArrayRecord({key: Array(np.asarray(array)) for key, array in arrays.items()})
        elif name in context.state:
            del context.state[name]
    if state.codec:
        context.state[_ROUNDS] = ConfigRecord({"codec": state.codec_round})


def load_state(context: Context) -> ClientState:
    """What a client has kept."""
    model, upload, codec = (_arrays(context, name) for name in (MODEL, _UPLOAD, _CODEC))
    rounds = context.state.config_records.get(_ROUNDS, ConfigRecord({"codec": 0}))
    return ClientState(model or None, upload, codec, int(cast(int, rounds["codec"])) if codec else 0)


def _arrays(context: Context, name: str) -> Weights:
    return {key: array.numpy() for key, array in context.state.array_records.get(name, ArrayRecord()).items()}
