"""What a client keeps from one message to the next, and its bytes.

A deployed client's process may live for one message only, so all of it can be written down where the engine keeps a
client's state. The bytes hold secrets: they must stay with the client.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from fedkd.secure_aggregation.errors import MalformedMessageError, ParameterError, StateError
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.wire import Reader, Session

_VERSION = 2
NO_SESSION = Session("", 0)
"""Rounds count from 1."""


class Stage(StrEnum):
    """Where a client stands: the message it waits for."""

    START = "start"
    ADVERTISED = "advertised"
    SHARED = "shared"
    MASKED = "masked"
    CONFIRMED = "confirmed"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Memory:
    """What outlives a round; it holds no secret.

    Attributes:
        session: the last one that the client has begun; an older or the same round is a replay. Keys that were sent
            ahead begin nothing until they are used: where they were lost on their way, others take their place.
        previous_cohort: the clients of the last sum that it helped to reveal.
    """

    session: Session = NO_SESSION
    previous_cohort: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Secrets:
    """What must be gone after use.

    Attributes:
        mask_private, share_private: this round's private keys.
        self_seed: the seed of the client's own mask.
        opening_keys: by neighbour, the key that opens the shares it seals for this client.
        shares: by owner, a share of its mask seed and one of its mask key.
    """

    mask_private: bytes = b""
    share_private: bytes = b""
    self_seed: bytes = b""
    opening_keys: dict[int, bytes] = field(default_factory=dict)
    shares: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientState:
    """All of a client between two messages.

    Attributes:
        stage: the message it waits for.
        memory: what outlives the round.
        session: the round it takes part in.
        parameters: as announced, once they are.
        transcript: of this round.
        threshold: shares that give a secret back.
        members: all clients that advertised keys.
        own_keys: the public mask key and share key that this client has advertised.
        mask_keys: by neighbour, its public mask key.
        sharers: all clients that shared.
        alive: the survivors that this client has signed for.
        secrets: what must be gone after use.
    """

    stage: Stage = Stage.START
    memory: Memory = field(default_factory=Memory)
    session: Session = NO_SESSION
    parameters: SessionParameters | None = None
    transcript: bytes = b""
    threshold: int = 0
    members: tuple[int, ...] = ()
    own_keys: tuple[bytes, ...] = ()
    mask_keys: dict[int, bytes] = field(default_factory=dict)
    sharers: tuple[int, ...] = ()
    alive: tuple[int, ...] = ()
    secrets: Secrets = field(default_factory=Secrets)

    @property
    def agreed_parameters(self) -> SessionParameters:
        """The parameters, which are known from the share stage on.

        Raises:
            StateError: they are not.
        """
        if self.parameters is None:
            raise StateError(f"a client at stage {self.stage.value!r} has kept no parameters")
        return self.parameters

    def wiped(self) -> ClientState:
        """After an abort: only what may outlive the round, which is not begun again."""
        begun = self.memory if self.session == NO_SESSION else replace(self.memory, session=self.session)
        return ClientState(stage=Stage.ABORTED, memory=begun)

    def to_bytes(self) -> bytes:
        """Write down everything, secrets included."""
        written = {each.name: getattr(self, each.name) for each in fields(self)}
        written["parameters"] = self.parameters.to_bytes() if self.parameters else None
        written["memory"] = [self.memory.session, sorted(self.memory.previous_cohort)]
        written["secrets"] = vars(self.secrets)
        return json.dumps({"version": _VERSION, **written}, default=bytes.hex).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ClientState:
        """Undo `to_bytes`.

        Raises:
            StateError: the bytes are no state of this version.
        """
        try:
            return _restored(json.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError, MalformedMessageError, ParameterError) as error:
            raise StateError(f"a client's kept state cannot be read: {type(error).__name__}: {error}") from None


def _restored(written: dict[str, Any]) -> ClientState:
    if written["version"] != _VERSION:
        raise ValueError(f"version {written['version']}; {_VERSION} was expected")
    last, cohort = written["memory"]
    secrets = written["secrets"]
    return ClientState(
        stage=Stage(written["stage"]),
        memory=Memory(_session(last), frozenset(map(int, cohort))),
        session=_session(written["session"]),
        parameters=_parameters(written["parameters"]),
        transcript=bytes.fromhex(written["transcript"]),
        threshold=int(written["threshold"]),
        members=tuple(map(int, written["members"])),
        own_keys=_own_keys(written["own_keys"]),
        mask_keys=_keys(written["mask_keys"]),
        sharers=tuple(map(int, written["sharers"])),
        alive=tuple(map(int, written["alive"])),
        secrets=Secrets(
            mask_private=bytes.fromhex(secrets["mask_private"]),
            share_private=bytes.fromhex(secrets["share_private"]),
            self_seed=bytes.fromhex(secrets["self_seed"]),
            opening_keys=_keys(secrets["opening_keys"]),
            shares={int(owner): (int(seed), int(key)) for owner, (seed, key) in secrets["shares"].items()},
        ),
    )


def _session(written: list[Any]) -> Session:
    run, server_round, group = written
    return Session(str(run), int(server_round), int(group))


def _parameters(written: str | None) -> SessionParameters | None:
    if written is None:
        return None
    reader = Reader(bytes.fromhex(written))
    parameters = SessionParameters.read(reader)
    reader.finish()
    return parameters


def _own_keys(written: list[str]) -> tuple[bytes, ...]:
    if len(written) not in (0, 2):
        raise ValueError(f"own_keys holds {len(written)}; a mask key and a share key, or none")
    return tuple(map(bytes.fromhex, written))


def _keys(written: dict[str, str]) -> dict[int, bytes]:
    return {int(client): bytes.fromhex(key) for client, key in written.items()}
