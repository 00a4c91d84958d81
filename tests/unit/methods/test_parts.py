"""Each method's parts, and its keys' defaults."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import softmax

from fedkd.aggregation import unchanged
from fedkd.aggregation.mean import ConfidenceWeighted, MeanLogits, MeanProbabilities
from fedkd.aggregation.robust import MedianLogits
from fedkd.distillation import DistillationConfig
from fedkd.errors import ConfigError
from fedkd.methods import Contribution, Method, MethodConfig, build_method
from fedkd.methods.base import previous_weights
from fedkd.methods.fedavg import FedAvgConfig, FedProxConfig, compose
from fedkd.methods.feddf import FedDFConfig, average_weights
from fedkd.methods.fedmd import FedMDConfig
from fedkd.methods.fkd import FkdConfig
from fedkd.seeding import numpy_rng

CONFIGS = [MethodConfig, FkdConfig, FedMDConfig, FedDFConfig, FedAvgConfig, FedProxConfig]
WITH_TEACHER = [FkdConfig, FedMDConfig, FedDFConfig]


def contribution(client: int, num_examples: int, value: float | None) -> Contribution:
    weights = None if value is None else {"w": np.full(2, value, np.float32)}
    return Contribution(client, "cnn", num_examples, weights=weights)


@pytest.fixture
def logits_KNC():
    return numpy_rng(0, "logits").normal(scale=3, size=(4, 5, 3)).astype(np.float32)


def parts(method: Method) -> dict[str, object]:
    names = ("sends", "adopts", "sharpen", "start", "distils", "proximal_mu")
    return {name: getattr(method, name) for name in names}


def test_fkd_sends_logits_and_the_student_goes_on_from_the_round_before():
    method = build_method(FkdConfig())
    assert type(method.aggregate) is MeanLogits
    assert parts(method) == {
        "sends": "logits",
        "adopts": "model",
        "sharpen": unchanged,
        "start": previous_weights,
        "distils": True,
        "proximal_mu": 0.0,
    }


def test_fedmd_has_a_consensus_and_no_student():
    method = build_method(FedMDConfig())
    assert type(method.aggregate) is MeanLogits
    assert parts(method) == {
        "sends": "logits",
        "adopts": "consensus",
        "sharpen": unchanged,
        "start": None,
        "distils": False,
        "proximal_mu": 0.0,
    }


def test_feddf_averages_weights_before_it_distils():
    method = build_method(FedDFConfig())
    assert type(method.aggregate) is MeanLogits
    assert parts(method) == {
        "sends": "weights",
        "adopts": "model",
        "sharpen": unchanged,
        "start": average_weights,
        "distils": True,
        "proximal_mu": 0.0,
    }


@pytest.mark.parametrize(
    ("config", "mu"), [(FedAvgConfig(), 0.0), (FedProxConfig(), 0.01), (FedProxConfig(proximal_mu=0.5), 0.5)], ids=repr
)
def test_references_average_weights_and_have_no_teacher(config, mu, logits_KNC):
    method = compose(config, average_weights)
    assert method.name == config.name
    assert method.aggregate is None
    assert method.teacher(logits_KNC) is None
    assert parts(method) == {
        "sends": "weights",
        "adopts": "model",
        "sharpen": unchanged,
        "start": average_weights,
        "distils": False,
        "proximal_mu": mu,
    }


@pytest.mark.parametrize(
    ("aggregator", "kind"),
    [
        ("mean_logits", MeanLogits),
        ("mean_probabilities", MeanProbabilities),
        ("confidence_weighted", ConfidenceWeighted),
        ("median_logits", MedianLogits),
    ],
)
@pytest.mark.parametrize("config_type", WITH_TEACHER)
def test_the_aggregator_is_a_key(config_type, aggregator, kind, logits_KNC):
    method = build_method(config_type(aggregator=aggregator))
    assert type(method.aggregate) is kind
    assert np.array_equal(method.teacher(logits_KNC), kind()(logits_KNC))


@pytest.mark.parametrize("config_type", WITH_TEACHER)
def test_an_unknown_aggregator_is_a_config_error(config_type):
    with pytest.raises(ConfigError, match=r"did you mean 'median_logits'\?"):
        build_method(config_type(aggregator="medan_logits"))


def test_fkd_with_ds_fl_keys_has_its_teacher(logits_KNC):
    """Itahara et al. 2021: the mean of probabilities, through a softmax at T = 0.1."""
    config = FkdConfig(aggregator="mean_probabilities", sharpening="entropy_reduction")
    teacher_NC = build_method(config).teacher(logits_KNC)
    mean_NC = softmax(logits_KNC.astype(np.float64), axis=2).mean(axis=0)
    np.testing.assert_allclose(softmax(teacher_NC, axis=1), softmax(mean_NC / 0.1, axis=1), rtol=1e-4)


def test_previous_weights_hands_back_the_round_before():
    previous = {"w": np.ones(2, np.float32)}
    assert previous_weights(previous, [contribution(0, 3, 5.0)]) is previous


def test_average_weights_weighs_by_examples_and_skips_those_without_weights():
    previous = {"w": np.zeros(2, np.float32)}
    sent = [contribution(0, 1, 1.0), contribution(1, 3, 5.0), contribution(2, 100, None)]
    np.testing.assert_array_equal(average_weights(previous, sent)["w"], [4.0, 4.0])


@pytest.mark.parametrize("contributions", [[], [contribution(0, 3, None)]])
def test_average_weights_of_nobody_keeps_the_model(contributions):
    previous = {"w": np.ones(2, np.float32)}
    assert average_weights(previous, contributions) is previous


def test_defaults_every_method_shares():
    for config in (kind() for kind in CONFIGS):
        assert (config.temperature, config.alpha, config.public_per_round) == (1.0, 1.0, 0)
        assert not config.batch_norm_alignment
        if not isinstance(config, FedMDConfig):
            assert config.digestion.model_dump() == DistillationConfig(epochs=1).model_dump() | {"terms": ()}


def test_defaults_of_each_method():
    own = {
        kind: {key: getattr(kind(), key) for key in kind.model_fields if key not in MethodConfig.model_fields}
        for kind in CONFIGS
    }
    assert own == {
        MethodConfig: {},
        FkdConfig: {"aggregator": "mean_logits", "sharpening": "none", "era_temperature": 0.1},
        FedMDConfig: {"aggregator": "mean_logits"},
        FedDFConfig: {"aggregator": "mean_logits"},
        FedAvgConfig: {},
        FedProxConfig: {"proximal_mu": 0.01},
    }
    digestion = FedMDConfig().digestion
    assert (digestion.epochs, digestion.batch_size, digestion.optimizer.name) == (1, 256, "adam")
    assert (digestion.learning_rate, digestion.loss) == (0.001, "l1")


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_key_but_the_name_is_described(kind):
    assert all(field.description for key, field in kind.model_fields.items() if key != "name")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (FkdConfig, {"temperature": 0}),
        (FkdConfig, {"alpha": 1.1}),
        (FkdConfig, {"alpha": -0.1}),
        (FkdConfig, {"public_per_round": -1}),
        (FkdConfig, {"sharpening": "era"}),
        (FkdConfig, {"era_temperature": 0.0}),
        (FedProxConfig, {"proximal_mu": -1.0}),
        (FedAvgConfig, {"proximal_mu": 0.1}),
        (FedMDConfig, {"digestion": {"loss": "huber"}}),
    ],
    ids=repr,
)
def test_values_out_of_range_and_keys_of_other_methods_are_refused(kind, values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        kind(**values)
