"""The tree of errors, their messages and exit codes, and their way through a pickle."""

from __future__ import annotations

import copy
import pickle

import pytest

from fedkd import errors
from fedkd.errors import (
    ConfigError,
    DataError,
    DeploymentError,
    EngineError,
    FedkdError,
    ModelError,
    PartitionError,
    PayloadError,
    PolicyError,
    PublicSetMismatchError,
    RoundError,
    RunFolderError,
    SecureAggregationError,
    StudyError,
    nearest,
)

EXAMPLES = [
    FedkdError("plain"),
    ConfigError("training.epochs", -1, "at least 0"),
    DataError("no such file"),
    PartitionError("more clients than samples"),
    ModelError("unknown"),
    PayloadError("shape", "logits have shape (3,)"),
    PublicSetMismatchError("a" * 64, "b" * 64),
    SecureAggregationError("2 clients are left; the minimum cohort is 3"),
    RoundError("nobody left"),
    PolicyError("maximum_rounds", "this is round 3 here; at most 2"),
    EngineError("no worker can be placed"),
    DeploymentError("the SuperLink does not answer"),
    RunFolderError("not empty"),
    StudyError("no such cell"),
]
every_error = pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)


def test_the_tree():
    parents = {
        kind: kind.__base__
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, FedkdError) and kind is not FedkdError
    }
    assert parents == {
        ConfigError: FedkdError,
        DataError: FedkdError,
        PartitionError: DataError,
        ModelError: FedkdError,
        PayloadError: FedkdError,
        PublicSetMismatchError: PayloadError,
        PolicyError: FedkdError,
        RoundError: FedkdError,
        SecureAggregationError: FedkdError,
        EngineError: FedkdError,
        DeploymentError: FedkdError,
        RunFolderError: FedkdError,
        StudyError: FedkdError,
    }
    assert {type(error) for error in EXAMPLES} == {FedkdError, *parents}


def test_what_the_caller_can_mend_exits_with_two():
    mendable = {type(error) for error in EXAMPLES if error.exit_code == 2}
    assert mendable == {ConfigError, DataError, PartitionError, ModelError, RunFolderError, StudyError}
    assert {error.exit_code for error in EXAMPLES} == {1, 2}


def test_a_config_error_names_key_value_and_what_is_allowed():
    error = ConfigError("training.optimizer", "lion", "one of sgd, adam")
    assert str(error) == "training.optimizer = 'lion' is not allowed: one of sgd, adam"
    assert (error.key, error.value, error.allowed) == ("training.optimizer", "lion", "one of sgd, adam")


def test_a_payload_error_carries_its_reason():
    error = PayloadError("dtype", "logits came as int64")
    assert str(error) == "dtype: logits came as int64"
    assert (error.reason, error.detail) == ("dtype", "logits came as int64")


def test_a_mismatch_shows_both_digests_in_short():
    error = PublicSetMismatchError("0123456789abcdef", "fedcba9876543210")
    assert error.reason == "public_digest"
    assert "0123456789ab…" in error.detail
    assert "fedcba987654…" in error.detail
    assert "abcdef" not in error.detail


@every_error
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_errors_come_back_from_another_process_as_they_were(error, protocol):
    error.add_note("seen on client 3")
    back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 (pickled on the line itself)
    for other in (back, copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.args == error.args
        assert vars(other) == vars(error)
        assert other.exit_code == error.exit_code


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("adm", " (did you mean 'adam'?)"),
        ("ADAM", " (did you mean 'adam'?)"),
        ("sdg", " (did you mean 'SGD'?)"),
        ("quux", ""),
        ("", ""),
    ],
)
def test_nearest(word, answer):
    assert nearest(word, ["SGD", "adam", "adamw"]) == answer


def test_nearest_of_nothing_is_nothing():
    assert nearest("adam", iter(())) == ""
