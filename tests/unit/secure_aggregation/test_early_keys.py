"""Keys that a client sends ahead, with the last answer of a round: they serve the next one, or are lost."""

from __future__ import annotations

import pytest

from fedkd.secure_aggregation import ClientState, ServerStage, Session, Stage, errors

VICTIM = 3
SECOND = Session("run", 2)


def test_keys_of_the_next_round_can_be_sent_ahead(make_round):
    first = make_round(5)
    first.run()
    second = make_round(5, session=SECOND)
    asked = second.server.start(second.ids)
    assert set(asked) == set(second.ids)
    for client, party in first.clients.items():
        following = party.next_round()
        second.server.receive(client, following.advertise_early(SECOND))
        second.clients[client] = following
    second.requests[ServerStage.SHARES] = second.server.advance()
    second.resume()
    assert second.require_exact().survivors == second.ids


def test_keys_sent_ahead_serve_their_own_round_only(make_round):
    running = make_round(4)
    running.run(until=ServerStage.SHARES)
    client = running.make_client(3)
    client.advertise_early(SECOND)
    with pytest.raises(errors.WrongSessionError):
        client.share(running.requests[ServerStage.SHARES][3])


def test_a_client_whose_keys_were_lost_on_their_way_takes_part_with_others(make_round):
    second = make_round(5, session=SECOND)
    ahead = second.make_client(VICTIM)
    lost = ahead.advertise_early(SECOND)
    second.clients[VICTIM] = ahead.next_round()
    second.run()
    assert second.replies[ServerStage.ADVERTISEMENTS][VICTIM] != lost
    assert second.require_exact().survivors == second.ids


def begin(make_round):
    """A round that a client has begun with keys sent ahead, and this client."""
    running = make_round(4, session=SECOND)
    running.server.start(running.ids)
    for client, party in running.clients.items():
        running.server.receive(client, party.advertise_early(SECOND))
    request = running.server.advance()[VICTIM]
    return running.clients[VICTIM], request, make_round(4, session=SECOND).server.start(running.ids)[VICTIM]


def test_a_round_is_not_begun_again_once_keys_sent_ahead_are_used(make_round):
    client, request, invitation = begin(make_round)
    client.share(request)
    with pytest.raises(errors.ReplayError, match="round 2 of run 'run'"):
        client.next_round().advertise(invitation)


def test_a_round_is_not_begun_again_once_the_client_has_refused_it(make_round):
    client, request, invitation = begin(make_round)
    with pytest.raises(errors.SecureAggregationError):
        client.share(request[:-1])
    assert client.state == ClientState(stage=Stage.ABORTED, memory=client.state.memory)
    with pytest.raises(errors.ReplayError, match="round 2 of run 'run'"):
        client.next_round().advertise(invitation)


def test_keys_sent_ahead_are_replaced_once(make_round):
    client, _, invitation = begin(make_round)
    replaced = client.next_round()
    replaced.advertise(invitation)
    with pytest.raises(errors.ReplayError, match="round 2 of run 'run'"):
        replaced.next_round().advertise(invitation)
