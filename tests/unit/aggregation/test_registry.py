from __future__ import annotations

import pytest

from fedkd.aggregation import AGGREGATORS, make_aggregator
from fedkd.errors import ConfigError


def test_names():
    assert set(AGGREGATORS) == {"mean_logits", "mean_probabilities", "confidence_weighted", "median_logits"}
    assert all(type(make_aggregator(name)) is kind for name, kind in AGGREGATORS.items())


def test_masking_excludes_the_median_alone():
    assert [name for name, kind in AGGREGATORS.items() if kind.needs == "each"] == ["median_logits"]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"method.aggregator = 'mean_logit'.*did you mean 'mean_logits'\?") as refusal:
        make_aggregator("mean_logit")
    assert refusal.value.key == "method.aggregator"
    assert all(name in refusal.value.allowed for name in AGGREGATORS)


def test_the_registry_is_closed():
    with pytest.raises(TypeError):
        AGGREGATORS["mine"] = AGGREGATORS["mean_logits"]
