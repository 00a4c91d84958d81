"""The `[attack]` section: which clients of a simulation lie, and how."""

from __future__ import annotations

from pydantic import Field, field_validator

from fedkd.attacks.lies import LIES
from fedkd.parts import PartConfig, build_part
from fedkd.payload.steps import Step
from fedkd.types import Section


class AttackConfig(Section):
    """Clients that lie about their rows; nobody unless some are named."""

    clients: tuple[int, ...] = Field((), strict=False, description="partition ids of the clients that lie")
    lie: PartConfig = Field(
        PartConfig(name="rotate_logits"),
        description="what they do to their rows: rotate_logits, least_likely, or a step",
    )

    @field_validator("clients")
    @classmethod
    def _partition_ids(cls, clients: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(clients)) < len(clients) or any(client < 0 for client in clients):
            raise ValueError("partition ids from 0, each once")
        return clients

    def steps(self, client: int) -> tuple[Step, ...]:
        """What this client does to its rows before anything else.

        Raises:
            ConfigError: a lie that is unknown, or an argument that it does not take.
        """
        if client not in self.clients:
            return ()
        return (build_part(self.lie, LIES, "attack.lie", Step),)
