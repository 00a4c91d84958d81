"""One contract a row: what the server is sent that it must not use. It raises, names the client, and goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedkd.secure_aggregation import SecureServer, ServerStage, Session, errors, new_identity
from fedkd.secure_aggregation.messages import Advertisement, Confirmation, MaskedInput, Shares, UnmaskingShares
from fedkd.secure_aggregation.shamir import PRIME

LIAR = 10


def refuse(running, stage, forge, error, match):
    """Send a forged message instead of the liar's; the server refuses it, and still takes the true one."""
    with pytest.raises(error, match=match) as caught:
        running.run(tamper=lambda at, client, reply: forge(reply) if (at, client) == (stage, LIAR) else reply)
    assert type(caught.value) is error
    running.resume()
    assert running.require_exact().survivors == running.ids


def _advertise(session, **changes):
    return lambda reply: Advertisement(Advertisement.read(reply, session).keys._replace(**changes)).to_bytes(session)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        pytest.param(
            {"client": 3}, errors.MalformedMessageError, "client 10 advertises keys for client 3", id="for another"
        ),
        pytest.param({"mask_key": bytes(32)}, errors.LowOrderKeyError, "low order", id="low order"),
        pytest.param(
            {"mask_key": b"k" * 32, "share_key": b"k" * 32}, errors.KeyListError, "in use", id="one key twice"
        ),
    ],
)
def test_advertisement_is_refused(make_round, changes, error, match):
    refuse(make_round(5), ServerStage.ADVERTISEMENTS, _advertise(Session("run", 1), **changes), error, match)


def test_key_of_another_client_is_refused(make_round):
    running = make_round(5)
    copied = {}

    def forge(reply):
        return _advertise(Session("run", 1), mask_key=copied["key"])(reply)

    def tamper(stage, client, reply):
        if stage is ServerStage.ADVERTISEMENTS and client == 3:
            copied["key"] = Advertisement.read(reply, None).keys.mask_key
        return forge(reply) if (stage, client) == (ServerStage.ADVERTISEMENTS, LIAR) else reply

    with pytest.raises(errors.KeyListError, match="client 10 advertises a key that is in use"):
        running.run(tamper=tamper)


def test_advertisement_that_is_not_signed_is_refused(make_round):
    running = make_round(5, trust="active")
    forge = _advertise(running.parameters.session, signature=b"")
    refuse(running, ServerStage.ADVERTISEMENTS, forge, errors.SignatureError, "client 10")


def test_short_key_is_refused(make_round):
    refuse(make_round(5), ServerStage.ADVERTISEMENTS, lambda r: r[:-1], errors.MalformedMessageError, "ends after")


def test_shares_that_are_not_one_a_neighbour_are_refused(make_round):
    def forge(reply):
        shares = Shares.read(reply, None)
        return replace(shares, sealed=shares.sealed[1:]).to_bytes(Session("run", 1))

    refuse(make_round(5), ServerStage.SHARES, forge, errors.MalformedMessageError, "client 10 sent 3 sealed shares; 4")


@pytest.mark.parametrize(
    ("ring_bits", "length"), [(16, 10), (17, 9), (17, 11), (32, 10)], ids=["ring", "short", "long", "dtype"]
)
def test_masked_input_of_another_shape_or_ring_is_refused(make_round, parameters, ring_bits, length):
    running = make_round(5)
    other = replace(
        running.parameters, ring_bits=ring_bits, value_bits=2, layout=replace(running.parameters.layout, num_counters=0)
    )
    assert (running.parameters.ring_bits, running.parameters.layout.vector_length) == (17, 10)

    def forge(reply):
        vector = MaskedInput.read(reply, running.parameters).vector_D
        return MaskedInput((vector.repeat(2) & 0xFFFF)[:length]).to_bytes(other)

    refuse(running, ServerStage.MASKED_INPUTS, forge, errors.VectorMismatchError, r"\(17, 10\) is the session's")


def test_padding_that_is_not_zero_is_refused(make_round):
    refuse(
        make_round(5),
        ServerStage.MASKED_INPUTS,
        lambda reply: bytes([*reply[:-1], reply[-1] | 0x80]),
        errors.MalformedMessageError,
        "not zero",
    )


def test_confirmation_with_another_signature_is_refused(make_round):
    running = make_round(5, trust="active")
    forged = Confirmation(b"x" * 64).to_bytes(running.parameters.session)
    refuse(running, ServerStage.CONFIRMATIONS, lambda _: forged, errors.SignatureError, "client 10")


@pytest.mark.parametrize(("shares", "match"), [((1, 2), "released 2 shares; 5"), ((PRIME,), "no element of the field")])
def test_unmasking_shares_that_do_not_fit_are_refused(make_round, shares, match):
    forged = UnmaskingShares(shares).to_bytes(Session("run", 1))
    refuse(make_round(5), ServerStage.UNMASKING_SHARES, lambda _: forged, errors.MalformedMessageError, match)


@pytest.mark.parametrize("session", [Session("run", 2), Session("old", 1)])
def test_message_of_another_session_is_refused(make_round, session):
    def forge(reply):
        return Shares.read(reply, None).to_bytes(session)

    refuse(make_round(5), ServerStage.SHARES, forge, errors.WrongSessionError, "Session|round")


def test_stranger_is_refused(make_round):
    running = make_round(5)
    running.run(until=ServerStage.SHARES)
    with pytest.raises(errors.UnknownClientError, match="client 99"):
        running.server.receive(99, b"")


@pytest.mark.parametrize("stage", list(ServerStage)[1:4])
def test_second_message_is_refused(make_round, stage):
    running = make_round(5)
    running.run(until=stage)
    reply = running.answer(stage, LIAR, running.requests[stage][LIAR])
    running.server.receive(LIAR, reply)
    with pytest.raises(errors.DuplicateMessageError, match="client 10"):
        running.server.receive(LIAR, reply)


def test_input_after_being_declared_dead_is_refused(make_round):
    running = make_round(5)
    running.run({ServerStage.MASKED_INPUTS: {LIAR}}, until=ServerStage.UNMASKING_SHARES)
    late = running.answer(ServerStage.MASKED_INPUTS, LIAR, running.requests[ServerStage.MASKED_INPUTS][LIAR])
    with pytest.raises(errors.LateMessageError, match="client 10 was declared dead"):
        running.server.receive(LIAR, late)
    running.resume()
    assert LIAR not in running.require_exact().survivors


@pytest.mark.parametrize("dead", [True, False])
def test_false_share_is_found_and_its_sender_named(make_round, dead):
    running = make_round(10)  # threshold 6, so that of nine shares or more three are to spare
    leaves = {31} if dead else set()

    def tamper(stage, client, reply):
        if stage is not ServerStage.UNMASKING_SHARES or client != LIAR:
            return reply
        shares = UnmaskingShares.read(reply, None).shares
        at = running.ids.index(31)
        return UnmaskingShares((*shares[:at], shares[at] ^ 1, *shares[at + 1 :])).to_bytes(Session("run", 1))

    running.run({ServerStage.MASKED_INPUTS: leaves}, tamper=tamper)
    assert running.require_exact().liars == (LIAR,)


@pytest.mark.parametrize(("dead", "named"), [(True, "public key"), (False, "commitment")])
def test_secret_that_no_shares_give_is_refused_and_its_owner_named(make_round, dead, named):
    running = make_round(5)

    def tamper(stage, client, reply):
        if stage is not ServerStage.UNMASKING_SHARES:
            return reply
        shares = UnmaskingShares.read(reply, None).shares
        return UnmaskingShares((*shares[:-1], client)).to_bytes(Session("run", 1))

    with pytest.raises(errors.UnrecoverableSecretError, match=named) as caught:
        running.run({ServerStage.MASKED_INPUTS: {31} if dead else set()}, tamper=tamper)
    assert caught.value.client == 31
    require_failed(running)


@pytest.mark.parametrize("stage", ["advertisements", "shares", "masked inputs", "confirmations", "unmasking shares"])
def test_too_few_clients_give_no_sum(make_round, stage):
    running = make_round(6, trust="active")
    leaving = running.ids[-5:] if stage == "advertisements" else running.ids[-3:]  # threshold 4; of two, minimum cohort
    with pytest.raises(errors.BelowThresholdError):
        running.run({ServerStage(stage): leaving})
    require_failed(running)


def require_failed(running):
    """Nothing comes out of a round that has failed, whatever is tried."""
    assert running.server.stage is ServerStage.FAILED
    with pytest.raises(errors.StageError, match="no sum"):
        _ = running.server.result
    with pytest.raises(errors.StageError, match="nothing to close"):
        running.server.advance()
    with pytest.raises(errors.StageError, match="came at stage 'failed'"):
        running.server.receive(LIAR, b"")


def test_server_starts_once_with_a_cohort_that_fits(make_round):
    running = make_round(5)
    with pytest.raises(errors.ParameterError, match="6 clients; num_clients = 5"):
        running.server.start(range(6))
    with pytest.raises(errors.BelowThresholdError, match="minimum cohort is 2"):
        running.server.start([1])
    running.server.start(running.ids)
    with pytest.raises(errors.StageError, match="starts once"):
        running.server.start(running.ids)


def test_active_trust_needs_a_roster(parameters):
    with pytest.raises(errors.ParameterError, match="roster = None"):
        SecureServer(parameters(trust="active"))
    SecureServer(parameters(trust="active"), roster={3: new_identity().public})


@pytest.mark.parametrize(
    ("previous", "warned"), [((3, 10, 17), 24), ((3, 10, 17, 24, 31), 31), ((3, 10), None), ((), None)]
)
def test_cohort_that_differs_by_one_client_is_told(make_round, previous, warned):
    running = make_round(4)
    running.server = SecureServer(running.parameters, minimum_cohort=2, previous_survivors=previous)
    running.run()
    assert running.server.result.adjacent_client == warned
