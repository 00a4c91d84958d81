"""Whole rounds: the masked result is the plain sum, exactly, whoever drops out; or there is none."""

from __future__ import annotations

import numpy as np
import pytest

from fedkd.secure_aggregation import ServerStage

STAGES = ("advertisements", "shares", "masked inputs", "unmasking shares")


def test_sum_is_exact_and_everyone_is_in_it(make_round):
    running = make_round(5)
    running.run()
    assert running.require_exact().survivors == running.ids
    assert running.server.result.dropped == {}


@pytest.mark.parametrize("trust", ["curious", "active"])
@pytest.mark.parametrize("stage", [*STAGES, "confirmations"])
def test_sum_is_exact_with_a_drop_out_at_any_stage(make_round, stage, trust):
    if (trust, stage) == ("curious", "confirmations"):
        stage = "masked inputs"
    running = make_round(7, trust=trust)
    running.run({ServerStage(stage): {17, 31}})
    result = running.require_exact()
    assert result.dropped == {ServerStage(stage): (17, 31)}
    assert (17 in result.survivors) == (stage in ("confirmations", "unmasking shares"))
