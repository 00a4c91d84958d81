"""A server that does not keep to the protocol, and what it learns: nothing beyond one sum.

`Adversary` holds everything a server ever sees, and tries to strip one client's vector of its masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy import stats

from fedkd.secure_aggregation import SecureClient, ServerStage, Session, Stage, VectorLayout, errors
from fedkd.secure_aggregation.masking import apply_masks
from fedkd.secure_aggregation.messages import MaskedInput, MaskRequest, ShareRequest, UnmaskingShares, UnmaskRequest
from fedkd.secure_aggregation.packing import reduce
from fedkd.secure_aggregation.unmasking import _left_by, _recover_secret

VICTIM = 3


@dataclass
class Adversary:
    """Collects shares of the victim's two secrets from whoever gives them."""

    running: object
    seed_shares: dict[int, int] = field(default_factory=dict)
    key_shares: dict[int, int] = field(default_factory=dict)

    def ask(self, client, alive, dead, **signed):
        """Tell one client its own story of who is alive; keep what it says of the victim."""
        request = UnmaskRequest(tuple(alive), tuple(dead), **signed).to_bytes(self.running.parameters.session)
        reply = self.running.answer(ServerStage.UNMASKING_SHARES, client, request)
        share = UnmaskingShares.read(reply, None).shares[self.running.ids.index(VICTIM)]
        (self.seed_shares if VICTIM in alive else self.key_shares)[client] = share

    @property
    def learned(self):
        """Which of the victim's secrets the collected shares give."""
        cohort = self.running.server._collector.cohort
        known = set()
        for alive, shares in ((True, self.seed_shares), (False, self.key_shares)):
            if len(shares) >= cohort.threshold:
                released = {holder: {VICTIM: share} for holder, share in shares.items()}
                _recover_secret(cohort, VICTIM, alive, released, frozenset())
                known.add("seed" if alive else "key")
        return known


def at_unmasking(make_round, num_clients, **changes):
    running = make_round(num_clients, **changes)
    running.run(until=ServerStage.UNMASKING_SHARES)
    return running, Adversary(running)


def test_telling_clients_different_survivors_never_gives_both_secrets(make_round):
    running, adversary = at_unmasking(make_round, 7)
    others = [client for client in running.ids if client != VICTIM]
    for client in others[:3]:
        adversary.ask(client, others, [VICTIM])
    for client in [*others[3:], VICTIM]:
        adversary.ask(client, running.ids, [])
    assert adversary.learned == {"seed"}  # 4 of 7 shares; the other 3 are one short, and nobody answers twice


def test_asking_a_client_for_both_shares_gives_one(make_round):
    running, adversary = at_unmasking(make_round, 5)
    for client in running.ids:
        adversary.ask(client, running.ids, [])
    others = running.ids[1:]
    for client in others:
        with pytest.raises(errors.ReplayError):
            adversary.ask(client, others, [VICTIM])
    assert adversary.learned == {"seed"}


def test_declaring_a_client_dead_whose_vector_came_leaves_its_own_mask(make_round):
    """The server may call a client dead after its vector came, and take out its pairwise masks; not its own mask."""
    running, adversary = at_unmasking(make_round, 5, layout=VectorLayout(1, 3000), ring_bits=32)
    others = running.ids[1:]
    for client in others:
        adversary.ask(client, others, [VICTIM])
    assert adversary.learned == {"key"}
    cohort = running.server._collector.cohort
    stripped = MaskedInput.read(running.replies[ServerStage.MASKED_INPUTS][VICTIM], running.parameters).vector_D

    released = {holder: {VICTIM: share} for holder, share in adversary.key_shares.items()}
    private, _ = _recover_secret(cohort, VICTIM, False, released, frozenset())
    apply_masks(stripped, [mask.inverse() for mask in _left_by(VICTIM, private, cohort, frozenset(others))])
    assert_uniform(stripped, running.parameters.ring_bits)


def test_active_server_cannot_show_two_sets_of_survivors(make_round):
    running = make_round(6, trust="active")
    running.run(until=ServerStage.UNMASKING_SHARES)
    adversary = Adversary(running)
    true = UnmaskRequest.read(running.requests[ServerStage.UNMASKING_SHARES][10], None)
    others = running.ids[1:]
    for client in others:
        with pytest.raises(errors.SurvivorListError, match="signed for"):
            adversary.ask(client, others, [VICTIM], signers=true.signers, signatures=true.signatures)
    assert adversary.learned == set()


def test_partial_sum_is_not_revealed(make_round):
    running, adversary = at_unmasking(make_round, 6)
    for client in running.ids[:3]:
        with pytest.raises(errors.BelowThresholdError):
            adversary.ask(client, running.ids[:3], running.ids[3:])
    assert adversary.learned == set()


def test_cohort_of_the_servers_own_clients_is_refused(make_round, policy):
    """A victim among made-up clients: with pinned identities there are none to make up."""
    running = make_round(5, trust="active")
    request = ShareRequest.read(running.run(until=ServerStage.SHARES)[VICTIM], None)
    made_up = make_round(5, trust="active")  # the same ids under identities that the server has drawn itself
    forged = ShareRequest.read(made_up.run(until=ServerStage.SHARES)[VICTIM], None)
    mixed = replace(request, members=(request.members[0], *forged.members[1:]))
    with pytest.raises(errors.SignatureError, match="client 10"):
        running.answer(ServerStage.SHARES, VICTIM, mixed.to_bytes(running.parameters.session))


@pytest.mark.parametrize("changed", ["student_digest", "public_set_digest"])
def test_clients_told_of_different_students_or_questions_have_masks_that_do_not_cancel(make_round, changed):
    """ "Eluding secure aggregation": one client is given another student than all others. Nothing opens."""
    running = make_round(4)
    requests = running.run(until=ServerStage.SHARES)
    session = running.parameters.session
    fooled = running.make_client(VICTIM, replace(running.clients[VICTIM].state, parameters=None))
    told = {"student_digest": b"s" * 32, "public_set_digest": b"p" * 32} | {changed: b"x" * 32}
    fooled._public_set_digest = told["public_set_digest"]
    request = ShareRequest.read(requests[VICTIM], session)
    forged = replace(request, parameters=replace(request.parameters, **{changed: b"x" * 32}))
    running.clients[VICTIM] = fooled
    running.server.receive(VICTIM, fooled.share(forged.to_bytes(session)))
    for client in running.ids[1:]:
        running.server.receive(client, running.answer(ServerStage.SHARES, client, requests[client]))
    masking = running.server.advance()
    with pytest.raises(errors.ShareDecryptionError):
        fooled.mask(masking[VICTIM], running.vectors[VICTIM], **told)
    for client in running.ids[1:]:
        with pytest.raises(errors.ShareDecryptionError, match="client 3"):
            running.answer(ServerStage.MASKED_INPUTS, client, masking[client])


def test_replay_of_an_earlier_rounds_keys_is_refused(make_round):
    old = make_round(4)
    old.run()
    running = make_round(4, session=Session("run", 2))
    request = ShareRequest.read(running.run(until=ServerStage.SHARES)[VICTIM], None)
    stale = ShareRequest.read(old.requests[ServerStage.SHARES][VICTIM], None)
    with pytest.raises(errors.KeyListError, match="own keys"):
        running.answer(
            ServerStage.SHARES, VICTIM, replace(request, members=stale.members).to_bytes(running.parameters.session)
        )


def test_shares_cannot_be_sent_back_to_their_sender_or_on_to_another(make_round):
    running = make_round(4)
    requests = running.run(until=ServerStage.MASKED_INPUTS)
    mine, theirs = (MaskRequest.read(requests[client], None) for client in (3, 10))
    reflected = replace(mine, sealed=(theirs.sealed[0], *mine.sealed[1:]))  # what 3 sealed for 10, given to 3
    with pytest.raises(errors.ShareDecryptionError, match="client 10"):
        running.answer(ServerStage.MASKED_INPUTS, 3, reflected.to_bytes(running.parameters.session))


def assert_uniform(vector, ring_bits):
    """Chi-square over the low and the high byte, Kolmogorov and Smirnov over the whole, each at one in a million."""
    for shift in (0, ring_bits - 8):
        counts = np.bincount((vector >> np.uint32(shift)).astype(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6
    assert stats.kstest(vector / 2.0**ring_bits, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("ring_bits", [18, 24, 32])
def test_what_the_server_sees_of_one_client_is_uniform(make_round, ring_bits):
    running = make_round(3, layout=VectorLayout(1, 30_000), ring_bits=ring_bits, value_bits=9)
    for client in running.ids:
        running.vectors[client] = np.full(30_002, 7, np.uint32)
    running.run()
    masked = {
        client: MaskedInput.read(reply, running.parameters).vector_D
        for client, reply in running.replies[ServerStage.MASKED_INPUTS].items()
    }
    for vector in masked.values():
        assert_uniform(vector, ring_bits)
    difference = masked[3] - masked[10]
    reduce(difference, ring_bits)
    assert_uniform(difference, ring_bits)  # two clients' vectors do not share a mask
    with pytest.raises(AssertionError):
        assert_uniform(running.vectors[3], ring_bits)


def test_sum_without_own_masks_taken_out_is_uniform(make_round):
    """Pairwise masks cancel out in the sum; each survivor's own mask still hides it."""
    running, _ = at_unmasking(make_round, 3, layout=VectorLayout(1, 30_000), ring_bits=32)
    assert_uniform(running.server._collector.listing.total_D, 32)


def test_client_that_is_killed_and_restored_does_not_unmask_twice(make_round, policy):
    running, adversary = at_unmasking(make_round, 4)
    adversary.ask(VICTIM, running.ids, [])
    restored = SecureClient(
        VICTIM, policy(running.parameters), public_set_digest=b"p" * 32, state=running.clients[VICTIM].state
    )
    with pytest.raises(errors.ReplayError):
        restored.unmask(running.requests[ServerStage.UNMASKING_SHARES][VICTIM])
    assert restored.stage is Stage.DONE
