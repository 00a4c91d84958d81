"""A client's part of secure aggregation between Flower's messages and the protocol. Knows no Flower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedkd.config.experiment import ExperimentConfig, SecureAggregationConfig
from fedkd.errors import PayloadError, SecureAggregationError
from fedkd.federation.client import Client, Work
from fedkd.federation.messages import TrainInstruction
from fedkd.federation.secure.identities import ROSTER, identity_path, read_credentials
from fedkd.federation.secure.messages import SecureAnswer, SecureRequest, instruction_digest, student_digest
from fedkd.federation.secure.vector import Counts, plan_of, terms_of
from fedkd.secure_aggregation import ClientState, Credentials, SecureClient

DoWork = Callable[[TrainInstruction], Work]


def credentials_of(settings: SecureAggregationConfig, client: int) -> Credentials | None:
    """What a client signs with: its identity in the configured folder, `None` where nothing is signed.

    Raises:
        ConfigError: the client's key or the roster cannot be used.
    """
    if not settings.enabled or settings.trust != "active":
        return None
    folder = Path(settings.identities)
    return read_credentials(identity_path(folder, client), folder / ROSTER, client)


def sends_early_keys(config: ExperimentConfig, server_round: int) -> bool:
    """Whether the last answer of a round brings the keys of the next.

    Not before a round that is not there, nor where clients are dealt to groups anew, whose sessions are not known yet,
    nor where drop-outs at the exchange that this spares are simulated.
    """
    settings = config.secure_aggregation
    wanted = settings.early_keys and not settings.group_size and settings.dropout_stage != "advertise"
    return wanted and server_round < config.run.rounds


class SecureParticipant:
    """One client over the messages of one round; what it must remember between them is `kept`.

    Args:
        client: who it is and what it holds.
        kept: what it remembered last; `None` for a client that never took part.
    """

    def __init__(self, client: Client, kept: bytes | None) -> None:
        self._client = client
        self._state = ClientState() if kept is None else ClientState.from_bytes(kept)

    @property
    def kept(self) -> bytes:
        """What to remember until the next message: secrets of the round, while it lasts."""
        return self._state.to_bytes()

    def answer(
        self,
        request: SecureRequest,
        instruction: TrainInstruction | None = None,
        work: DoWork | None = None,
        *,
        early: bool = False,
    ) -> SecureAnswer:
        """Answer the server at one stage. Whatever is wrong ends the round for this client, which then keeps no secret.

        Args:
            request: the server's.
            instruction: at the mask stage, what to adopt and to answer.
            work: at the mask stage, does that.
            early: whether the last answer brings the keys of the next round.
        """
        if request.stage == "advertise":
            self._state = ClientState(memory=self._state.memory)
        data = self._client.workspace.data
        party = SecureClient(
            self._client.client,
            terms_of(self._client.config, self._client.method, data.num_classes).policy,
            public_set_digest=bytes.fromhex(data.public_digest),
            credentials=self._client.credentials,
            state=self._state,
        )
        advertisement = b""
        try:
            if request.stage == "mask":
                message = self._mask(party, request, instruction, work)
            else:
                message = getattr(party, request.stage)(request.message)
            if early and request.stage == "unmask":
                last, party = party.state.memory.session, party.next_round()
                advertisement = party.advertise_early(last._replace(server_round=last.server_round + 1))
        except (SecureAggregationError, PayloadError) as problem:
            self._state = party.state.wiped()
            return SecureAnswer(self._client.client, aborted=f"{type(problem).__name__}: {problem}")
        self._state = party.state
        return SecureAnswer(self._client.client, message, advertisement)

    def _mask(
        self, party: SecureClient, request: SecureRequest, instruction: TrainInstruction | None, work: DoWork | None
    ) -> bytes:
        if instruction is None or work is None:
            raise PayloadError("missing", "a request to mask comes with an instruction")
        name = self._client.config.client_model(self._client.client)
        if request.digests.get(name) != instruction_digest(instruction):
            raise PayloadError("digest", f"the instruction is not the one announced for {name!r}")
        done = work(instruction)
        if done.outgoing is None:
            raise PayloadError("missing", "a method whose weights travel has no rows to mask")
        data = self._client.workspace.data
        plan = plan_of(self._client.config, self._client.method, data, instruction)
        counts = Counts.of(done, data.test.labels_N)
        test_rows = done.test_rows if plan.num_test else None
        vector = plan.encode(party.state.agreed_parameters, done.outgoing.rows, test_rows, counts)
        return party.mask(
            request.message,
            vector,
            student_digest=student_digest(request.digests),
            public_set_digest=bytes.fromhex(data.public_digest),
        )
