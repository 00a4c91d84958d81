"""One contract a row: what a client is sent that it must not answer. It raises, and its secrets are gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedkd.secure_aggregation import ClientState, SecureClient, ServerStage, Session, Stage, errors, keys, new_identity
from fedkd.secure_aggregation.graph import Topology
from fedkd.secure_aggregation.messages import (
    AdvertiseRequest,
    ConfirmRequest,
    MaskRequest,
    PublicKeys,
    ShareRequest,
    UnmaskRequest,
)

KINDS = {
    ServerStage.SHARES: ShareRequest,
    ServerStage.MASKED_INPUTS: MaskRequest,
    ServerStage.CONFIRMATIONS: ConfirmRequest,
    ServerStage.UNMASKING_SHARES: UnmaskRequest,
}
VICTIM, LEFT = 3, 38  # of clients 3, 10, 17, 24, 31, 38; the last leaves before it shares
NEW_KEYS = PublicKeys(45, b"m" * 32, b"k" * 32)


def refuse(running, stage, alter, error, match, *, client=VICTIM):
    """Run up to a stage, alter its request, and check that the client refuses it and forgets its secrets."""
    requests = running.run({ServerStage.SHARES: {LEFT}}, until=stage)
    session = running.parameters.session
    forged = alter(KINDS[stage].read(requests[client], session))
    with pytest.raises(error, match=match) as caught:
        running.answer(stage, client, forged.to_bytes(session))
    assert type(caught.value) is error
    assert running.clients[client].state == ClientState(
        stage=Stage.ABORTED, memory=running.clients[client].state.memory
    )
    with pytest.raises(errors.StageError, match="aborted"):
        running.answer(stage, client, requests[client])


def members(change):
    return lambda message: replace(message, members=tuple(change(list(message.members))))


def swap(at, **changes):
    return members(lambda listed: [*listed[:at], listed[at]._replace(**changes), *listed[at + 1 :]])


def parameter(**changes):
    return lambda message: replace(message, parameters=replace(message.parameters, **changes))


@pytest.mark.parametrize(
    ("alter", "error", "match"),
    [
        pytest.param(members(lambda m: [*m, NEW_KEYS]), errors.KeyListError, "keys of 7 clients; 6", id="too many"),
        pytest.param(members(lambda m: m[:1]), errors.BelowThresholdError, "minimum cohort is 2", id="too few"),
        pytest.param(members(lambda m: [m[0], m[2], *m[2:]]), errors.KeyListError, "listed twice", id="client twice"),
        pytest.param(members(lambda m: m[::-1]), errors.KeyListError, "ascending order", id="out of order"),
        pytest.param(
            members(lambda m: [*m[:1], m[1]._replace(mask_key=m[2].mask_key), *m[2:]]),
            errors.KeyListError,
            "keys are the same",
            id="key twice",
        ),
        pytest.param(
            members(lambda m: [*m[:1], m[1]._replace(mask_key=m[1].share_key), *m[2:]]),
            errors.KeyListError,
            "keys are the same",
            id="one key for both uses",
        ),
        pytest.param(members(lambda m: m[1:]), errors.KeyListError, "own keys are missing", id="own missing"),
        pytest.param(swap(0, mask_key=b"x" * 32), errors.KeyListError, "not the ones", id="own mask key replaced"),
        pytest.param(swap(0, share_key=b"x" * 32), errors.KeyListError, "not the ones", id="own share key replaced"),
        pytest.param(swap(1, mask_key=bytes(32)), errors.LowOrderKeyError, "low order", id="low-order mask key"),
        pytest.param(
            swap(2, share_key=b"\1" + bytes(31)), errors.LowOrderKeyError, "low order", id="low-order share key"
        ),
        pytest.param(
            lambda m: replace(m, topology=Topology(5, 3)),
            errors.PolicyError,
            "threshold = 3.*4 to 6",
            id="threshold low",
        ),
        pytest.param(
            lambda m: replace(m, topology=Topology(5, 7)), errors.PolicyError, "threshold = 7", id="threshold too high"
        ),
        pytest.param(
            lambda m: replace(m, topology=Topology(2, 2)),
            errors.PolicyError,
            "num_neighbours = 2",
            id="graph too sparse",
        ),
        pytest.param(parameter(clipping_range=9.0), errors.PolicyError, "clipping_range = 9.0", id="clipping range"),
        pytest.param(parameter(value_bits=9), errors.PolicyError, "value_bits = 9", id="value bits"),
        pytest.param(parameter(weight_bits=3), errors.PolicyError, "weight_bits = 3", id="weight bits"),
        pytest.param(parameter(trust="active"), errors.PolicyError, "trust = 'active'", id="trust"),
        pytest.param(parameter(ring_bits=32), errors.PolicyError, "differ from those", id="not as invited"),
        pytest.param(
            parameter(student_digest=b"x" * 32), errors.PolicyError, "differ from those", id="another student"
        ),
        pytest.param(
            parameter(public_set_digest=b"x" * 32), errors.DigestMismatchError, "public set", id="another public set"
        ),
        pytest.param(parameter(session=Session("run", 2)), errors.PolicyError, "differ from those", id="another round"),
    ],
)
def test_share_request_is_refused(make_round, alter, error, match):
    refuse(make_round(6), ServerStage.SHARES, alter, error, match)


@pytest.mark.parametrize(
    ("alter", "error", "match"),
    [
        pytest.param(swap(1, signature=b"x" * 64), errors.SignatureError, "client 10", id="forged signature"),
        pytest.param(
            members(lambda m: [*m[:1], m[1]._replace(signature=m[2].signature), *m[2:]]),
            errors.SignatureError,
            "client 10",
            id="another's signature",
        ),
        pytest.param(swap(1, mask_key=b"x" * 32), errors.SignatureError, "client 10", id="key replaced in transit"),
        pytest.param(
            members(lambda m: [each._replace(signature=b"") for each in m]),
            errors.SignatureError,
            "client 3",
            id="unsigned",
        ),
        pytest.param(
            members(lambda m: [*m[:-1], NEW_KEYS._replace(signature=b"x" * 64)]),
            errors.SignatureError,
            "client 45: it is not in the roster",
            id="stranger",
        ),
        pytest.param(
            lambda m: replace(m, topology=Topology(5, 3)), errors.PolicyError, "threshold = 3.*4 to 6", id="threshold"
        ),
    ],
)
def test_share_request_of_an_active_server_is_refused(make_round, alter, error, match):
    refuse(make_round(6, trust="active"), ServerStage.SHARES, alter, error, match)


def _sealed(at, change):
    return lambda m: replace(m, sealed=(*m.sealed[:at], change(m.sealed), *m.sealed[at + 1 :]))


def _flip(sealed):
    return bytes([*sealed[:-1], sealed[-1] ^ 1])


def _senders(change):
    def alter(message):
        pairs = change(list(zip(message.senders, message.sealed, strict=True)))
        return replace(message, senders=tuple(p[0] for p in pairs), sealed=tuple(p[1] for p in pairs))

    return alter


@pytest.mark.parametrize(
    ("alter", "error", "match"),
    [
        pytest.param(lambda m: replace(m, sharers=m.sharers[1:]), errors.ListedDeadError, "client 3", id="listed dead"),
        pytest.param(
            lambda m: replace(m, sharers=(*m.sharers, 45)), errors.SurvivorListError, "client 45", id="unknown"
        ),
        pytest.param(
            lambda m: replace(m, sharers=(*m.sharers, 10)), errors.SurvivorListError, "10 is listed twice", id="twice"
        ),
        pytest.param(_senders(lambda p: [*p, p[0]]), errors.SurvivorListError, "10 is listed twice", id="sender twice"),
        pytest.param(
            _senders(lambda p: [*p, (45, p[0][1])]), errors.SurvivorListError, "client 45", id="sender unknown"
        ),
        pytest.param(
            _senders(lambda p: [*p, (3, p[0][1])]), errors.SurvivorListError, "client 3", id="sender is oneself"
        ),
        pytest.param(
            _senders(lambda p: [*p, (38, p[0][1])]), errors.AbortedPeerError, "client 38", id="sender has left"
        ),
        pytest.param(
            _senders(lambda p: p[1:]), errors.MalformedMessageError, "client 10.*missing", id="shares missing"
        ),
        pytest.param(_sealed(1, lambda s: _flip(s[1])), errors.ShareDecryptionError, "client 17", id="tampered"),
        pytest.param(_sealed(1, lambda s: s[2]), errors.ShareDecryptionError, "client 17", id="another's shares"),
        pytest.param(
            lambda m: replace(m, sharers=(3, 10), senders=(10,), sealed=m.sealed[:1]),
            errors.BelowThresholdError,
            "2 clients of the neighbourhood have shared; the threshold is 4",
            id="below threshold",
        ),
    ],
)
def test_mask_request_is_refused(make_round, alter, error, match):
    refuse(make_round(6), ServerStage.MASKED_INPUTS, alter, error, match)


def test_decryption_error_names_the_sender(make_round):
    running = make_round(6)
    request = running.run(until=ServerStage.MASKED_INPUTS)[VICTIM]
    message = _sealed(1, lambda s: _flip(s[1]))(MaskRequest.read(request, None))
    with pytest.raises(errors.ShareDecryptionError) as caught:
        running.answer(ServerStage.MASKED_INPUTS, VICTIM, message.to_bytes(running.parameters.session))
    assert caught.value.client == 17


def test_share_that_is_no_element_of_the_field_is_refused(make_round):
    running = make_round(4)
    state = running.run(until=ServerStage.MASKED_INPUTS) and running.clients[VICTIM].state
    message = MaskRequest.read(running.requests[ServerStage.MASKED_INPUTS][VICTIM], None)
    label = keys.encryption_label(state.transcript, 10, VICTIM)
    forged = keys.seal(state.secrets.opening_keys[10], b"\xff" * 66, label)
    altered = replace(message, sealed=(forged, *message.sealed[1:]))
    with pytest.raises(errors.ShareDecryptionError, match=r"client 10: .* no element"):
        running.answer(ServerStage.MASKED_INPUTS, VICTIM, altered.to_bytes(running.parameters.session))


def _listed(**changes):
    return lambda m: replace(m, **changes)


LISTINGS = [
    pytest.param(_listed(alive=(10, 17, 24, 31), dead=(3,)), errors.ListedDeadError, "client 3", id="listed dead"),
    pytest.param(_listed(dead=(10,)), errors.SurvivorListError, "10 is listed both", id="both alive and dead"),
    pytest.param(
        _listed(alive=(3, 10, 10, 17, 24, 31)), errors.SurvivorListError, "10 is listed twice as alive", id="twice"
    ),
    pytest.param(
        _listed(alive=(3, 10, 17, 24), dead=(31, 31)),
        errors.SurvivorListError,
        "31 is listed twice as dead",
        id="dead twice",
    ),
    pytest.param(_listed(dead=(45,)), errors.SurvivorListError, "45 is listed but", id="unknown"),
    pytest.param(_listed(dead=(38,)), errors.SurvivorListError, "38 is listed but", id="had left before"),
    pytest.param(_listed(alive=(3, 10, 17, 24)), errors.SurvivorListError, "31 has shared and", id="not listed"),
    pytest.param(
        _listed(alive=(3, 10, 17), dead=(24, 31)),
        errors.BelowThresholdError,
        "3 clients .* alive.* 4",
        id="below threshold",
    ),
]


@pytest.mark.parametrize(("alter", "error", "match"), LISTINGS)
def test_unmask_request_is_refused(make_round, alter, error, match):
    refuse(make_round(6), ServerStage.UNMASKING_SHARES, alter, error, match)


@pytest.mark.parametrize(("alter", "error", "match"), LISTINGS)
def test_confirm_request_is_refused(make_round, alter, error, match):
    refuse(make_round(6, trust="active"), ServerStage.CONFIRMATIONS, alter, error, match)


def _signed(at, **changes):
    def alter(message):
        signers, signatures = list(message.signers), list(message.signatures)
        signers[at], signatures[at] = changes.get("signer", signers[at]), changes.get("signature", signatures[at])
        return replace(message, signers=tuple(signers), signatures=tuple(signatures))

    return alter


@pytest.mark.parametrize(
    ("alter", "error", "match"),
    [
        *LISTINGS,
        pytest.param(
            _listed(alive=(3, 10, 17, 24), dead=(31,)),
            errors.SurvivorListError,
            "not those.*signed for",
            id="others than signed",
        ),
        pytest.param(_signed(1, signature=b"x" * 64), errors.SignatureError, "client 10", id="forged"),
        pytest.param(
            lambda m: replace(m, signatures=m.signatures[::-1]),
            errors.SignatureError,
            "client 3",
            id="swapped signatures",
        ),
        pytest.param(
            _signed(1, signer=3), errors.SurvivorListError, "3 is listed twice as a signer", id="signer twice"
        ),
        pytest.param(_signed(1, signer=38), errors.SurvivorListError, "38 has signed", id="signer dead"),
        pytest.param(_signed(1, signer=45), errors.SurvivorListError, "45 has signed", id="signer unknown"),
        pytest.param(
            lambda m: replace(m, signers=m.signers[:3], signatures=m.signatures[:3]),
            errors.BelowThresholdError,
            "3 clients of the neighbourhood have signed",
            id="too few signatures",
        ),
        pytest.param(_listed(signers=(), signatures=()), errors.BelowThresholdError, "0 clients", id="no signatures"),
    ],
)
def test_unmask_request_of_an_active_server_is_refused(make_round, alter, error, match):
    refuse(make_round(6, trust="active"), ServerStage.UNMASKING_SHARES, alter, error, match)


@pytest.mark.parametrize("stage", list(KINDS))
@pytest.mark.parametrize("session", [Session("other", 1), Session("run", 2), Session("run", 1, group=1)])
def test_message_of_another_session_is_refused(make_round, stage, session):
    running = make_round(4, trust="active")
    request = running.run(until=stage)[VICTIM]
    foreign = KINDS[stage].read(request, None).to_bytes(session)
    with pytest.raises(errors.WrongSessionError, match=f"round {session.server_round}"):
        running.answer(stage, VICTIM, foreign)
    assert running.clients[VICTIM].stage is Stage.ABORTED


def test_invitation_whose_header_and_parameters_differ_is_refused(make_round):
    running = make_round(4)
    forged = AdvertiseRequest(running.parameters).to_bytes(Session("run", 2))
    with pytest.raises(errors.WrongSessionError):
        running.answer(ServerStage.ADVERTISEMENTS, VICTIM, forged)


@pytest.mark.parametrize("digest", ["student", "public set"])
def test_work_on_another_student_or_public_set_is_refused(make_round, digest):
    running = make_round(4)
    request = running.run(until=ServerStage.MASKED_INPUTS)[VICTIM]
    given = {"student": b"s" * 32, "public set": b"p" * 32} | {digest: b"x" * 32}
    with pytest.raises(errors.DigestMismatchError, match=digest):
        running.clients[VICTIM].mask(
            request, running.vectors[VICTIM], student_digest=given["student"], public_set_digest=given["public set"]
        )
    assert running.clients[VICTIM].stage is Stage.ABORTED


@pytest.mark.parametrize(
    "vector",
    [np.zeros(10, np.int64), np.zeros(9, np.uint32), np.zeros((10, 1), np.uint32), np.full(10, 2**20, np.uint32)],
)
def test_vector_that_does_not_fit_is_refused(make_round, vector):
    running = make_round(4)
    running.run(until=ServerStage.MASKED_INPUTS)
    running.vectors[VICTIM] = vector
    with pytest.raises(errors.InputError, match="vector_D"):
        running.answer(ServerStage.MASKED_INPUTS, VICTIM, running.requests[ServerStage.MASKED_INPUTS][VICTIM])
    assert running.clients[VICTIM].stage is Stage.ABORTED


@pytest.mark.parametrize("trust", ["curious", "active"])
def test_second_unmask_is_refused(make_round, trust):
    running = make_round(4, trust=trust)
    running.run()
    before = running.clients[VICTIM].state
    with pytest.raises(errors.ReplayError, match="unmasked already"):
        running.answer(ServerStage.UNMASKING_SHARES, VICTIM, running.requests[ServerStage.UNMASKING_SHARES][VICTIM])
    assert running.clients[VICTIM].state == before
    assert before.stage is Stage.DONE


@pytest.mark.parametrize("stage", [ServerStage.ADVERTISEMENTS, ServerStage.SHARES, ServerStage.MASKED_INPUTS])
def test_message_that_is_replayed_within_a_round_is_refused(make_round, stage):
    running = make_round(4)
    running.run(until=ServerStage.UNMASKING_SHARES)
    with pytest.raises(errors.StageError):
        running.answer(stage, VICTIM, running.requests[stage][VICTIM])
    assert running.clients[VICTIM].stage is Stage.ABORTED


def test_round_is_not_begun_twice(make_round):
    running = make_round(4)
    running.run()
    running.clients[VICTIM] = running.clients[VICTIM].next_round()
    with pytest.raises(errors.ReplayError, match="round 1 of run 'run'"):
        running.answer(ServerStage.ADVERTISEMENTS, VICTIM, running.requests[ServerStage.ADVERTISEMENTS][VICTIM])


def test_client_is_in_one_sum_a_round(make_round):
    """Two groups of one round with the same student: their sums would tell its vector apart."""
    running = make_round(4)
    running.run()
    other = make_round(4, session=Session("run", 1, group=1))
    other.clients[VICTIM] = running.clients[VICTIM].next_round()
    with pytest.raises(errors.ReplayError, match="round 1 of run 'run'"):
        other.run()


def test_confirmation_is_refused_where_identities_do_not_sign(make_round):
    running = make_round(4)
    running.run(until=ServerStage.UNMASKING_SHARES)
    with pytest.raises(errors.StageError, match="only where trust = 'active'"):
        running.answer(ServerStage.CONFIRMATIONS, VICTIM, b"")


def test_unmasking_without_confirmation_is_refused(make_round):
    running = make_round(4, trust="active")
    running.run(until=ServerStage.CONFIRMATIONS)
    with pytest.raises(errors.StageError, match="'confirmed'"):
        running.answer(ServerStage.UNMASKING_SHARES, VICTIM, b"")


def test_active_server_needs_credentials(policy, parameters):
    terms = parameters(trust="active")
    with pytest.raises(errors.ParameterError, match="credentials = None"):
        SecureClient(3, policy(terms), public_set_digest=b"p" * 32)


def test_identity_of_another_does_not_pass(make_round):
    running = make_round(4, trust="active")
    running.private[10] = new_identity().private
    with pytest.raises(errors.SignatureError, match="client 10"):
        running.run()


def _second_round(make_round, **policy):
    first = make_round(5)
    first.run()
    second = make_round(5, session=Session("run", 2), policy=policy)
    for client, party in first.clients.items():
        second.clients[client] = second.make_client(client, party.next_round().state)
    return second


def test_cohort_that_differs_by_one_client_is_refused_where_asked(make_round):
    second = _second_round(make_round, refuse_adjacent_cohorts=True)
    with pytest.raises(errors.AdjacentCohortError, match="by client 31 alone"):
        second.run({ServerStage.MASKED_INPUTS: {31}})
    assert second.clients[VICTIM].stage is Stage.ABORTED


@pytest.mark.parametrize(("asked", "leaving"), [(False, {31}), (True, {31, 24}), (True, set())])
def test_other_cohorts_are_not_refused(make_round, asked, leaving):
    second = _second_round(make_round, refuse_adjacent_cohorts=asked)
    second.run({ServerStage.MASKED_INPUTS: leaving})
    second.require_exact()
