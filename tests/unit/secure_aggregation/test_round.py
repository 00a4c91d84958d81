"""Whole rounds: the masked result is the plain sum, exactly, whoever drops out; or there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.secure_aggregation import (
    ServerStage,
    Session,
    VectorLayout,
    decode,
    encode,
    errors,
    round_weights,
    smallest_ring_bits,
)
from fedkd.secure_aggregation.graph import choose_topology

STAGES = list(ServerStage)[1:6]


@pytest.mark.parametrize("trust", ["curious", "active"])
@pytest.mark.parametrize("stage", STAGES)
def test_sum_is_exact_with_drop_outs_at_any_stage(make_round, stage, trust):
    if trust == "curious" and stage is ServerStage.CONFIRMATIONS:
        stage = ServerStage.MASKED_INPUTS
    running = make_round(7, trust=trust)
    running.run({stage: {17, 31}})
    result = running.require_exact()
    assert result.dropped == {stage: (17, 31)}
    assert (17 in result.survivors) == (stage in STAGES[3:])


@given(data=st.data())
@settings(max_examples=30)
def test_sum_is_exact_or_there_is_none(make_round, data):
    num_clients = data.draw(st.integers(2, 9), "clients")
    trust = data.draw(st.sampled_from(["curious", "active"]), "trust")
    ring_bits = data.draw(st.integers(18, 64), "ring bits")
    layout = VectorLayout(
        data.draw(st.integers(1, 40), "weights"),
        data.draw(st.integers(1, 40), "values"),
        data.draw(st.integers(0, 3), "counters"),
    )
    running = make_round(num_clients, trust=trust, ring_bits=ring_bits, layout=layout)
    left, drop = set(running.ids), {}
    for stage in STAGES:
        if trust == "curious" and stage is ServerStage.CONFIRMATIONS:
            continue
        drop[stage] = data.draw(st.sets(st.sampled_from(running.ids), max_size=2), f"drop at {stage}")
    try:
        running.run(drop)
    except errors.BelowThresholdError:
        gone = set().union(*drop.values())
        cohort = num_clients - len(drop[ServerStage.ADVERTISEMENTS])
        threshold = choose_topology(cohort, trust).threshold if cohort >= 2 else 2
        assert len(left - gone) < max(threshold, 2)
    else:
        absent = set().union(*(drop[stage] for stage in STAGES[:3]))
        assert running.require_exact().survivors == tuple(sorted(left - absent))


@pytest.mark.parametrize("trust", ["curious", "active"])
@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_up_to_n_minus_t_clients_may_drop_out(make_round, trust, gone):
    running = make_round(6, trust=trust)  # t = 4, both more than half and two thirds of six
    leaving = {ServerStage.MASKED_INPUTS: running.ids[:gone]}
    if gone <= 2:
        running.run(leaving)
        running.require_exact()
        return
    with pytest.raises(errors.BelowThresholdError, match="the threshold is 4"):
        running.run(leaving)


@pytest.mark.parametrize("trust", ["curious", "active"])
def test_sum_on_a_sparse_graph_is_exact(make_round, trust):
    running = make_round(64, trust=trust, layout=VectorLayout(1, 3))
    drop = {stage: running.ids[at : at + 1] for at, stage in enumerate(STAGES) if at != 3 or trust == "active"}
    running.run(drop)
    assert len(running.require_exact().survivors) == 61
    assert 0 < len(running.clients[running.ids[-1]].state.memory.previous_cohort) == 61


def test_sparse_graph_refuses_a_neighbourhood_that_has_left(make_round):
    running = make_round(64, layout=VectorLayout(1, 1))
    running.run(until=ServerStage.MASKED_INPUTS)
    stage = running.server._collector
    hood = stage.cohort.holders[running.ids[5]]
    for client in set(running.ids) - set(hood[:-2]):
        reply = running.answer(ServerStage.MASKED_INPUTS, client, running.requests[ServerStage.MASKED_INPUTS][client])
        running.server.receive(client, reply)
    with pytest.raises(errors.BelowThresholdError, match="hold shares of client"):
        running.server.advance()


def test_mean_by_examples_lies_within_the_bound(make_round):
    layout = VectorLayout(num_weights=1, values_per_weight=50, num_counters=2)
    running = make_round(5, layout=layout, weight_bits=6, value_bits=12, ring_bits=smallest_ring_bits(5, 12, 6))
    rng = np.random.default_rng(1)
    values, weights = rng.normal(0, 3, (5, 1, 50)), rng.integers(0, 64, (5, 1))
    for client, each, weight in zip(running.ids, values, weights, strict=True):
        running.vectors[client] = encode(each, weight, running.parameters, counters_E=[int(weight[0]), client])
    running.run({ServerStage.MASKED_INPUTS: {running.ids[4]}})
    decoded = decode(running.server.result.total_D, running.parameters, 4)
    expected = np.average(np.clip(values[:4], -4, 4), axis=0, weights=weights[:4, 0])
    assert np.abs(decoded.means_GC - expected).max() < running.parameters.step
    np.testing.assert_array_equal(decoded.total_weights_G, weights[:4].sum(axis=0))
    np.testing.assert_array_equal(decoded.counters_E, [weights[:4].sum(), sum(running.ids[:4])])
    assert decoded.clipped_fraction == pytest.approx((np.abs(values[:4]) > 4).mean())


def test_confidence_weighted_mean_of_each_sample_lies_within_the_bound(make_round):
    layout = VectorLayout(num_weights=30, values_per_weight=4)
    running = make_round(5, layout=layout, weight_bits=8, value_bits=12, ring_bits=smallest_ring_bits(5, 12, 8))
    rng = np.random.default_rng(2)
    logits_KNC, confidences_KN = rng.normal(0, 2, (5, 30, 4)), rng.uniform(0, 1, (5, 30))
    weights_KN = [round_weights(each, 8) for each in confidences_KN]
    for client, logits, weights in zip(running.ids, logits_KNC, weights_KN, strict=True):
        running.vectors[client] = encode(logits, weights, running.parameters)
    running.run()
    decoded = decode(running.server.result.total_D, running.parameters, 5)
    weights_KN1 = np.array(weights_KN, dtype=float)[:, :, None]
    expected = (np.clip(logits_KNC, -4, 4) * weights_KN1).sum(axis=0) / weights_KN1.sum(axis=0)
    assert np.abs(decoded.means_GC - expected).max() < running.parameters.step


def test_two_runs_share_no_byte_of_masks(make_round):
    masked = []
    for _ in range(2):
        running = make_round(4, layout=VectorLayout(1, 400))
        running.run()
        masked.append(running.replies[ServerStage.MASKED_INPUTS][3])
    first, second = (np.frombuffer(each, np.uint8)[-800:] for each in masked)
    assert (first == second).mean() < 0.05


def test_groups_are_summed_apart(make_round):
    for group in (0, 1):
        running = make_round(4, session=Session("run", 1, group))
        running.run()
        running.require_exact()
    other = replace(running.parameters, session=Session("run", 1, 0))
    assert other.session.tag != running.parameters.session.tag
