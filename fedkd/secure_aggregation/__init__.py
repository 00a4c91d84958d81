"""Secure aggregation: the server learns the sum of the clients' vectors and nothing else, whoever drops out.

Pairwise masks with recovery from drop-outs (Bonawitz et al., CCS 2017), on a sparse graph for large cohorts (Bell et
al., CCS 2020), as state machines from bytes to bytes. It knows no transport; `docs/secure_aggregation.md` says what it
guarantees and what it does not.
"""

from fedkd.secure_aggregation.client import Credentials, SecureClient
from fedkd.secure_aggregation.client_state import ClientState, Memory, Stage
from fedkd.secure_aggregation.encoding import DecodedSum, decode, encode, round_weights
from fedkd.secure_aggregation.errors import BelowThresholdError
from fedkd.secure_aggregation.keys import KeyPair, new_identity
from fedkd.secure_aggregation.parameters import SessionParameters, Trust, VectorLayout, smallest_ring_bits
from fedkd.secure_aggregation.policy import ClientPolicy, adjacent_client
from fedkd.secure_aggregation.server import SecureServer, SumResult
from fedkd.secure_aggregation.server_stages import ServerStage
from fedkd.secure_aggregation.wire import Session

__all__ = [
    "BelowThresholdError",
    "ClientPolicy",
    "ClientState",
    "Credentials",
    "DecodedSum",
    "KeyPair",
    "Memory",
    "SecureClient",
    "SecureServer",
    "ServerStage",
    "Session",
    "SessionParameters",
    "Stage",
    "SumResult",
    "Trust",
    "VectorLayout",
    "adjacent_client",
    "decode",
    "encode",
    "new_identity",
    "round_weights",
    "smallest_ring_bits",
]
