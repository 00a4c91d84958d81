"""Every reason for which a client or the server of secure aggregation stops, as one tree.

SecureAggregationError
├── ParameterError              parameters that cannot be meant
│   └── CapacityError           the sum could wrap around
├── InputError                  a client's own numbers cannot be encoded
├── UndefinedMeanError          a mean over a total weight of zero
├── MalformedMessageError       bytes that are not the expected message
├── WrongSessionError           a message of another run, group or round
├── ReplayError                 something that is done once is asked for again
├── StageError                  a message out of order
├── StateError                  a client's kept state cannot be read
├── PolicyError                 less protection than the client's policy asks for
│   ├── AdjacentCohortError     the cohort differs from the last one by one client
│   └── DigestMismatchError     another student or public set than announced
├── KeyListError                keys too many, too few, duplicated, one's own missing
│   └── LowOrderKeyError        a key that makes every shared secret zero
├── SurvivorListError           clients listed twice, both alive and dead, unknown, or differently than before
│   └── ListedDeadError         the client itself is listed dead
├── AbortedPeerError            a share from a client that has left
├── BelowThresholdError         too few clients are left
├── UnknownClientError          a message from a client that is no member
├── DuplicateMessageError       a second message of one client in one stage
├── LateMessageError            a message of a client that was declared dead
├── VectorMismatchError         a masked vector of another ring or length
└── ClientFaultError            a fault of one client, which `client` names
    ├── SignatureError              a signature that is missing or not the client's
    ├── ShareDecryptionError        an encrypted share that was tampered with
    └── UnrecoverableSecretError    a client's shares do not fit what it has committed to
"""

from __future__ import annotations

from fedkd.errors import SecureAggregationError


class ParameterError(SecureAggregationError):
    """A parameter holds something it must not."""


class CapacityError(ParameterError):
    """The sum over all clients could exceed the ring and wrap around."""


class InputError(SecureAggregationError):
    """A client's own numbers cannot be encoded: not finite, or of the wrong shape or range."""


class UndefinedMeanError(SecureAggregationError):
    """No client gave any weight to a value, so its mean does not exist."""


class MalformedMessageError(SecureAggregationError):
    """Bytes are not the expected message: wrong type, length, count or padding."""


class WrongSessionError(SecureAggregationError):
    """A message belongs to another run, group or round."""


class ReplayError(SecureAggregationError):
    """A round, or an unmasking, is asked for a second time."""


class StageError(SecureAggregationError):
    """A message came out of order, or after an abort."""


class StateError(SecureAggregationError):
    """A client's kept state cannot be read."""


class PolicyError(SecureAggregationError):
    """A client is offered less protection than its policy asks for, or other parameters than its own."""


class AdjacentCohortError(PolicyError):
    """The cohort differs from the last round's by one client, whose input a subtraction would reveal."""


class DigestMismatchError(PolicyError):
    """The student or the public set is not the one that was announced."""


class KeyListError(SecureAggregationError):
    """The list of keys is too long, too short, holds a key twice, or lacks the client's own."""


class LowOrderKeyError(KeyListError):
    """A public key is of low order: whatever the private key, the shared secret would be zero."""


class SurvivorListError(SecureAggregationError):
    """Clients are listed twice, both alive and dead, not at all, or differently than before."""


class ListedDeadError(SurvivorListError):
    """A client that is asked to unmask is itself listed dead."""


class AbortedPeerError(SecureAggregationError):
    """A share came from a client that had left before."""


class BelowThresholdError(SecureAggregationError):
    """Fewer clients are left than the reconstruction threshold or the minimum cohort asks for."""


class UnknownClientError(SecureAggregationError):
    """A message came from a client that was not invited."""


class DuplicateMessageError(SecureAggregationError):
    """A client sent a second message in one stage."""


class LateMessageError(SecureAggregationError):
    """A message came from a client that had been declared dead."""


class VectorMismatchError(SecureAggregationError):
    """A masked vector is of another ring or length than the session's."""


class ClientFaultError(SecureAggregationError):
    """Base of faults that are one client's. `client` names it."""

    def __init__(self, client: int, detail: str) -> None:
        self.client = client
        super().__init__(f"client {client}: {detail}")


class SignatureError(ClientFaultError):
    """A signature is missing or is not the client's."""


class ShareDecryptionError(ClientFaultError):
    """An encrypted share was tampered with, by the client that sent it or on its way."""


class UnrecoverableSecretError(ClientFaultError):
    """The shares of a client's secret do not fit its public key or its commitment, whichever of them are combined."""
