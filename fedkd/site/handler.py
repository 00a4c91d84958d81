"""How a site handles a message: bundle, policy, client app, state, audit log; only then is there a reply."""

from __future__ import annotations

import logging

from flwr.app import Context, Error, Message

from fedkd.errors import ConfigError, FedkdError, ModelError, PayloadError, PolicyError
from fedkd.federation.client import Client
from fedkd.federation.client_app import build_client_app, config_of
from fedkd.federation.messages import HELLO, absence_from_records, one_line
from fedkd.federation.references import compose_method
from fedkd.federation.secure.messages import answer_from_records, has_request, request_from_records
from fedkd.federation.workspace import Workspace, resolve_device
from fedkd.flower.app_bundle import EXPERIMENT_KEY, RESUMED_KEY
from fedkd.flower.internals import CLIENT_RAISED, POLICY, pack_records
from fedkd.flower.packing import is_packed, pack_message, unpack_message
from fedkd.secure_aggregation import Credentials
from fedkd.site.audit import AuditLog
from fedkd.site.local_data import LocalData
from fedkd.site.policy import check_bundle, check_experiment, check_own_code, check_usage, reveals, what_is_asked
from fedkd.site.settings import SiteConfig
from fedkd.site.state import SiteState

logger = logging.getLogger(__name__)

_SAYABLE = (ConfigError, ModelError, PayloadError, PolicyError)
"""Errors about what the server sent: the server gets their text. Other errors may name files of this site: the server
gets only their type.
"""


class MessageHandler:
    """Answers the messages of a server, as far as the policy of the site allows.

    Args:
        site: the configuration of the site, with its policy.
        data: the samples of the site.
        state: the state folder of the site.
        audit: the audit log of the site.
        credentials: the identity that signs messages against an active server; `None` without one.
    """

    def __init__(
        self,
        site: SiteConfig,
        data: LocalData,
        state: SiteState,
        audit: AuditLog,
        credentials: Credentials | None = None,
    ) -> None:
        self._site, self._data, self._state, self._audit = site, data, state, audit
        self._credentials = credentials
        self._client: Client | None = None
        self._app = build_client_app(self._compose)

    def answer(self, message: Message, context: Context, bundle: bytes) -> Message:
        """Answer one message; every failure becomes an error reply.

        Raises:
            RunFolderError: the audit log cannot be written, so no reply may be sent.
        """
        was_packed = is_packed(message)
        asked, run_id, group = message.metadata.message_type, message.metadata.run_id, message.metadata.group_id
        server_round, queries = int(group) if group.isdecimal() else None, 0
        try:
            check_bundle(self._site.policy, bundle)
            self._admit(context)
            message = unpack_message(message)
            server_round, queries = what_is_asked(message)
            if server_round is not None:
                usage = self._state.usage_with(run_id, server_round, queries)
                check_usage(self._site.policy, usage)
                self._state.keep_usage(usage)
            reply = self._work(message, context)
            kind = self._kind(message, reply, context)
        except Exception as cause:  # one bad message must not end the client
            reason = _reason(cause)
            self._audit.refused(run_id, server_round, asked, reason)
            logger.warning("refused: %s", reason, exc_info=None if isinstance(cause, _SAYABLE) else cause)
            code = POLICY if isinstance(cause, PolicyError) else CLIENT_RAISED
            return Message(Error(code, f"client {self._site.client}: {reason}"), reply_to=message)
        self._audit.released(run_id, server_round, asked, kind, queries, pack_records(reply.content))
        logger.info("%s, round %s: sent %s", asked, server_round, kind)
        return pack_message(reply) if was_packed else reply

    def _admit(self, context: Context) -> None:
        """Check the experiment; code that it names by an import path is refused before it is imported."""
        check_own_code(context.run_config.get(EXPERIMENT_KEY))
        config = config_of(context)
        check_experiment(self._site, config, compose_method(config.method))

    def _compose(self, context: Context) -> Client:
        """Return the client of an experiment, with the data of this site; it is kept until the experiment changes."""
        config = config_of(context)
        if self._client is None or self._client.config is not config:
            self._client = Client(
                client=self._site.client,
                config=config,
                method=compose_method(config.method),
                workspace=Workspace(self._data.data(config), resolve_device(config.run.device)),
                credentials=self._credentials if config.secure_aggregation.trust == "active" else None,
            )
        return self._client

    def _work(self, message: Message, context: Context) -> Message:
        """Let the client app answer; its state is on disk before the reply is sent."""
        own = Context(
            run_id=context.run_id,
            node_id=context.node_id,
            node_config={"partition-id": self._site.client, "num-partitions": self._site.num_clients},
            state=self._state.load(context.run_id, str(context.run_config.get(RESUMED_KEY, ""))),
            run_config=context.run_config,
        )
        reply = self._app(message, own)
        self._state.save(own.run_id, own.state)
        return reply

    def _kind(self, message: Message, reply: Message, context: Context) -> str:
        """What is sent, in a few words, for the audit log; of rows, what they reveal."""
        if message.metadata.message_type == HELLO:
            return "introduction"
        if absence_from_records(reply.content) is not None:
            return "absence"
        config = config_of(context)
        rows = reveals(config, compose_method(config.method)) or "model weights"
        if not has_request(message.content):
            return rows
        if answer_from_records(reply.content).aborted:
            return "withdrawal"
        stage = request_from_records(message.content).stage
        return f"masked {rows}" if stage == "mask" else f"key agreement ({stage})"


def _reason(cause: Exception) -> str:
    if isinstance(cause, _SAYABLE):
        return one_line(f"{type(cause).__name__}: {cause}")
    kind = type(cause).__name__ if isinstance(cause, FedkdError) else f"unexpected {type(cause).__name__}"
    return f"{kind}; see the log of this site"
