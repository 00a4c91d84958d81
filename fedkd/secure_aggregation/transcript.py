"""What a round's parties hold in common, as hashes. Every key, every share and every signature depends on them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from fedkd.secure_aggregation.graph import Topology
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.wire import Session, pack_ids


def cohort_digest(parameters: SessionParameters, members: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """Hash parameters and members: (client, mask key, share key) in ascending order of clients.

    It also decides the graph's order, so that nobody can choose it without choosing keys.
    """
    entry = struct.Struct("<I32s32s")
    parts = [parameters.to_bytes(), struct.pack("<I", len(members)), *(entry.pack(*member) for member in members)]
    return _hash(b"fedkd/cohort", *parts)


def transcript_digest(cohort: bytes, topology: Topology) -> bytes:
    """Hash the cohort and how its secrets are shared: the transcript of the round."""
    return _hash(b"fedkd/transcript", cohort, struct.pack("<II", topology.num_neighbours, topology.threshold))


def graph_seed(cohort: bytes) -> bytes:
    """What orders the graph's ring."""
    return _hash(b"fedkd/graph", cohort)


def advertisement_message(session: Session, client: int, mask_key: bytes, share_key: bytes) -> bytes:
    """What a client signs when it advertises its keys."""
    where = struct.pack("<16sII", session.tag, session.server_round, client)
    return b"fedkd/advertisement" + where + mask_key + share_key


def survivors_message(session: Session, transcript: bytes, alive: Sequence[int]) -> bytes:
    """What a client signs when it is told who is alive."""
    where = struct.pack("<16sI", session.tag, session.server_round)
    return b"fedkd/survivors" + where + transcript + pack_ids(sorted(alive))


def seed_commitment(transcript: bytes, client: int, seed: bytes) -> bytes:
    """The commitment to a client's own mask seed, which is random and so hidden by the hash."""
    return _hash(b"fedkd/commitment", transcript, struct.pack("<I", client), seed)


def _hash(label: bytes, *parts: bytes) -> bytes:
    digest = hashlib.sha256(label)
    for part in parts:
        digest.update(part)
    return digest.digest()
