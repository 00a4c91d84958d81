"""Every error fedkd raises on purpose, as one tree.

    FedkdError
    ├── ConfigError                 a configuration key, its value, and what is allowed
    ├── DataError                   a data source that cannot be read or does not fit
    │   └── PartitionError          a partition that cannot be made as asked
    ├── ModelError                  a model that is unknown or does not fit the data
    ├── PayloadError                something that left a client and cannot be used
    │   └── PublicSetMismatchError  client and server hold different public sets
    ├── PolicyError                 what a client's own site does not allow
    ├── RoundError                  a federation that cannot go on
    ├── SecureAggregationError      a secure sum that is refused; `fedkd/secure_aggregation/errors.py` has its kinds
    ├── EngineError                 an engine that cannot start, or went down
    ├── DeploymentError             a deployment's program failed, its SuperLink does not answer, or a run goes on
    ├── RunFolderError              a run folder that cannot be written or read
    └── StudyError                  a study file that cannot be used, or does not fit the study's folder

The command line turns any of these into one line on standard error. `ConfigError`, `DataError`, `ModelError`,
`RunFolderError` and `StudyError` are the caller's to mend and exit with 2; the others exit with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class FedkdError(Exception):
    """Base of all errors raised on purpose. They survive pickling, so that a worker process can raise them."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args), self.__dict__


class ConfigError(FedkdError):
    """A configuration key holds something it must not.

    Args:
        key: dotted path of the key, as written in the TOML (`data.partition.dirichlet_alpha`).
        value: what was given.
        allowed: what would be accepted, in words.
    """

    exit_code = 2

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key} = {value!r} is not allowed: {allowed}")


class DataError(FedkdError):
    """A data source cannot be read, or its arrays do not fit together."""

    exit_code = 2


class PartitionError(DataError):
    """A partition cannot be made as asked (more clients than samples, a minimum size out of reach)."""


class ModelError(FedkdError):
    """A model is unknown, cannot be imported, or does not fit the data."""

    exit_code = 2


class PayloadError(FedkdError):
    """What left a client cannot be used: wrong shape, dtype, class count, version, or not finite.

    Args:
        reason: one word for the counter (`"not_finite"`, `"shape"`, `"classes"`, `"dtype"`, `"version"`,
            `"public_digest"`, `"missing"`, `"malformed"`, `"client_error"`).
        detail: the argument, its value and what is allowed.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


class PublicSetMismatchError(PayloadError):
    """Client and server hold different public sets, so their logits answer different questions."""

    def __init__(self, client_digest: str, server_digest: str) -> None:
        super().__init__(
            "public_digest",
            f"the client's public set has digest {client_digest[:12]}…, the server's {server_digest[:12]}…; "
            "both must hold the same public samples in the same order",
        )


class PolicyError(FedkdError):
    """What a client's own site does not allow, whoever asks.

    Args:
        rule: the key of the policy, or one word.
        detail: what was asked, and what is allowed.
    """

    def __init__(self, rule: str, detail: str) -> None:
        self.rule, self.detail = rule, detail
        super().__init__(f"{rule}: {detail}")


class RoundError(FedkdError):
    """A federation cannot go on (no client is left that could take part)."""


class SecureAggregationError(FedkdError):
    """A client or the server of secure aggregation stops rather than reveal, or sum up, what it must not."""


class EngineError(FedkdError):
    """An engine cannot start, or failed (no worker can be placed; two workers died while they did the same work)."""


class DeploymentError(FedkdError):
    """A program that a deployment needs is missing or failed, its SuperLink does not answer, or a run goes on."""


class RunFolderError(FedkdError):
    """A run folder cannot be written, read, or is already another run's."""

    exit_code = 2


class StudyError(FedkdError):
    """A study file cannot be used, one of its cells is no experiment, or its folder holds another study."""

    exit_code = 2


def _restored(kind: type[FedkdError], args: tuple[Any, ...]) -> FedkdError:
    """Make an error anew without its constructor, which may take other arguments than `args`."""
    return kind.__new__(kind, *args)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the known word closest to `word`, upper case or lower, or an empty string."""
    spelling = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.lower(), spelling, n=1, cutoff=0.5)
    return f" (did you mean {spelling[close[0]]!r}?)" if close else ""
