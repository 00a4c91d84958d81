"""Each method's parts, and its keys' defaults."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import softmax

from fedkd.aggregation import Aggregator
from fedkd.aggregation.mean import ConfidenceWeighted, MeanLogits, MeanProbabilities
from fedkd.aggregation.robust import MedianLogits
from fedkd.distillation import DistillationConfig, ObjectiveConfig
from fedkd.errors import ConfigError
from fedkd.methods import Contribution, Method, MethodConfig, build_method
from fedkd.methods.base import previous_weights
from fedkd.methods.checks import distribution_of
from fedkd.methods.fedavg import FedAvgConfig, FedProxConfig, compose
from fedkd.methods.feddf import FedDFConfig, average_weights
from fedkd.methods.fedmd import FedMDConfig
from fedkd.methods.fkd import FkdConfig
from fedkd.methods.uploads import ClassLogits, ModelWeights, PublicLogits, Votes
from fedkd.parts import PartConfig
from fedkd.payload import Rows
from fedkd.seeding import numpy_rng
from fedkd.training.local_terms import LocalTerm, Proximal

CONFIGS = [MethodConfig, FkdConfig, FedMDConfig, FedDFConfig, FedAvgConfig, FedProxConfig]
MEAN = PartConfig(name="mean_logits")
WITH_TEACHER = [FkdConfig, FedMDConfig, FedDFConfig]


def contribution(client: int, num_examples: int, value: float | None) -> Contribution:
    weights = None if value is None else {"w": np.full(2, value, np.float32)}
    return Contribution(client, "cnn", num_examples, weights=weights)


@pytest.fixture
def logits_KNC():
    return numpy_rng(0, "logits").normal(scale=3, size=(4, 5, 3)).astype(np.float32)


def parts(method: Method) -> dict[str, object]:
    names = ("uploads", "adopts", "refine", "start", "distils", "tells", "local_terms")
    return {name: getattr(method, name) for name in names}


def teacher_of(method: Method, logits_KNC: np.ndarray) -> np.ndarray:
    """The teacher's logits, as a round makes them."""
    assert method.aggregate is not None
    rows = Rows.of(np.arange(logits_KNC.shape[1]), method.aggregate(logits_KNC))
    return method.refinement.measured(rows).values_ND


def test_fkd_sends_logits_and_the_student_goes_on_from_the_round_before():
    method = build_method(FkdConfig())
    assert type(method.aggregate) is MeanLogits
    assert parts(method) == {
        "uploads": (PublicLogits(),),
        "adopts": "model",
        "refine": (),
        "start": previous_weights,
        "distils": "student",
        "tells": "teacher",
        "local_terms": (),
    }


def test_fedmd_has_a_consensus_and_no_student():
    method = build_method(FedMDConfig())
    assert type(method.aggregate) is MeanLogits
    assert parts(method) == {
        "uploads": (PublicLogits(),),
        "adopts": "soft_labels",
        "refine": (),
        "start": None,
        "distils": "nothing",
        "tells": "teacher",
        "local_terms": (),
    }


def test_feddf_averages_weights_before_it_distils():
    method = build_method(FedDFConfig())
    assert type(method.aggregate) is MeanLogits
    assert parts(method) == {
        "uploads": (ModelWeights(),),
        "adopts": "model",
        "refine": (),
        "start": average_weights,
        "distils": "all",
        "tells": "teacher",
        "local_terms": (),
    }


@pytest.mark.parametrize(
    ("config", "terms"),
    [
        (FedAvgConfig(), ()),
        (FedProxConfig(), (Proximal(0.01),)),
        (FedProxConfig(proximal_mu=0.5), (Proximal(0.5),)),
    ],
    ids=repr,
)
def test_references_average_weights_and_have_no_teacher(config, terms):
    method = compose(config, average_weights)
    assert method.name == config.name
    assert method.aggregate is None
    assert parts(method) == {
        "uploads": (ModelWeights(),),
        "adopts": "model",
        "refine": (),
        "start": average_weights,
        "distils": "nothing",
        "tells": "teacher",
        "local_terms": terms,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distils": "everything"}, "distils is 'everything'; one of nothing, student, all"),
        ({"adopts": "weights"}, "adopts is 'weights'; one of model, soft_labels, nothing"),
        ({"tells": "clients"}, "tells is 'clients'"),
        ({"uploads": ()}, "one upload of rows"),
        ({"uploads": (PublicLogits(), ClassLogits())}, "one upload of rows"),
        ({"distils": "student"}, "needs an aggregator and a start rule"),
        ({"distils": "student", "start": previous_weights, "aggregate": None}, "needs an aggregator"),
        ({"tells": "student"}, "needs a start rule"),
        ({"adopts": "soft_labels", "aggregate": None}, "needs an aggregator"),
        ({"uploads": (ClassLogits(),)}, "keyed by class are no soft labels"),
        ({"uploads": (ClassLogits(),), "adopts": "soft_labels"}, "keyed by class are no soft labels"),
        (
            {"uploads": (ClassLogits(), ModelWeights()), "start": previous_weights, "distils": "student"},
            "keyed by class are no soft labels",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_parts_that_do_not_go_together_are_refused_when_a_method_is_built(changes, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        Method(**{"name": "mine", "uploads": (PublicLogits(),), "aggregate": MeanLogits()} | changes)
    assert (refusal.value.key, refusal.value.value) == ("method.name", "mine")


class SumButNoMean(Aggregator):
    """Says that sums are enough, and is no mean, which is all that a masked sum gives."""

    needs = "sum"

    def combine(self, stack):
        return Rows.of(stack.keys_N, stack.values_KND.sum(axis=0))


class MeanThatLearns(MeanLogits):
    """A mean that counts the rounds; no masked sum calls its `fit`."""

    def fit(self, stack, state):
        return self.combine, {"rounds": state.get("rounds", np.array(0)) + 1}


@pytest.mark.parametrize(
    ("changes", "bound", "message"),
    [
        ({}, 30.0, None),
        ({"uploads": (ClassLogits(),), "adopts": "nothing"}, 30.0, None),
        ({"aggregate": SumButNoMean()}, 30.0, "looks at each client"),
        ({"aggregate": MeanThatLearns()}, 30.0, "learns from the rows of each client"),
        ({"uploads": (ModelWeights(),)}, 30.0, "its weights travel"),
        ({"uploads": (PublicLogits(), ModelWeights())}, 30.0, "its weights travel"),
        ({"aggregate": None}, 30.0, "looks at each client"),
        ({"aggregate": MedianLogits()}, 30.0, "looks at each client"),
        ({"tells": lambda stack, teacher: {}}, 30.0, "tells each client something else"),
        ({}, np.inf, "no bound"),
        ({"uploads": (Votes(),)}, np.inf, None),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_masked_sum_carries_bounded_rows_of_which_only_a_mean_is_needed(changes, bound, message):
    method = Method(**{"name": "mine", "uploads": (PublicLogits(),), "aggregate": MeanLogits()} | changes)
    refused = method.refused_under_masks(bound)
    assert refused is None if message is None else message in str(refused)


class NeedsRows(LocalTerm):
    """A term that reads what the server has told."""

    needs_rows = True

    def __call__(self, batch):
        return batch.logits_NC.new_zeros(())


@pytest.mark.parametrize("adopts_model", [False, True])
@pytest.mark.parametrize(
    ("changes", "needs"),
    [
        ({}, {False: True, True: False}),
        ({"local_terms": (NeedsRows(),)}, {False: True, True: True}),
        ({"adopts": "soft_labels"}, {False: True, True: False}),
        ({"adopts": "nothing"}, {False: False, True: False}),
        ({"adopts": "nothing", "local_terms": (NeedsRows(),)}, {False: True, True: True}),
        ({"aggregate": None}, {False: False, True: False}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) and True not in value else None,
)
def test_rows_are_told_where_somebody_learns_from_them(changes, needs, adopts_model):
    method = Method(**{"name": "mine", "uploads": (PublicLogits(),), "aggregate": MeanLogits()} | changes)
    assert method.needs_told_rows(adopts_model=adopts_model) == needs[adopts_model]


class PlainNames(MethodConfig):
    """Keys of a method of one's own, which need not be parts."""

    aggregator: str = "mean_probabilities"
    refine: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("config", "maker"),
    [
        (PlainNames(), "method.aggregator = 'mean_probabilities'"),
        (PlainNames(aggregator="mean_logits"), ""),
        (PlainNames(aggregator="mean_logits", refine=("entropy_reduction",)), "method.refine = 'entropy_reduction'"),
        (FkdConfig.model_validate({"refine": ["entropy_reduction"]}), "method.refine = 'entropy_reduction'"),
        (FkdConfig(), ""),
    ],
    ids=["aggregator", "neither", "refine", "part", "parts of neither"],
)
def test_what_makes_the_teacher_a_distribution_is_found_in_names_and_in_parts(config, maker):
    assert distribution_of(config) == maker


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
    method = build_method(config_type.model_validate({"aggregator": aggregator}))
    assert type(method.aggregate) is kind
    assert np.array_equal(teacher_of(method, logits_KNC), kind()(logits_KNC))


@pytest.mark.parametrize("config_type", WITH_TEACHER)
def test_an_unknown_aggregator_is_a_config_error(config_type):
    with pytest.raises(ConfigError, match=r"did you mean 'median_logits'\?"):
        build_method(config_type.model_validate({"aggregator": "medan_logits"}))


def test_fkd_with_ds_fl_keys_has_its_teacher(logits_KNC):
    """Itahara et al. 2021: the mean of probabilities, through a softmax at T = 0.1."""
    config = FkdConfig.model_validate({"aggregator": "mean_probabilities", "refine": ["entropy_reduction"]})
    teacher_NC = teacher_of(build_method(config), logits_KNC)
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
        assert config.public_per_round == 0
        assert not config.batch_norm_alignment
        if not isinstance(config, FedMDConfig):
            assert config.local_distillation.model_dump() == DistillationConfig(epochs=1).model_dump()


def test_defaults_of_each_method():
    own = {
        kind: {key: getattr(kind(), key) for key in kind.model_fields if key not in MethodConfig.model_fields}
        for kind in CONFIGS
    }
    assert own == {
        MethodConfig: {},
        FkdConfig: {"upload": PartConfig(name="public_logits"), "aggregator": MEAN, "refine": ()},
        FedMDConfig: {"aggregator": MEAN},
        FedDFConfig: {"aggregator": MEAN},
        FedAvgConfig: {},
        FedProxConfig: {"proximal_mu": 0.01},
    }
    local = FedMDConfig().local_distillation
    assert (local.epochs, local.batch_size, local.optimizer.name) == (1, 256, "adam")
    assert local.learning_rate == 0.001
    assert local.objective.model_dump() == ObjectiveConfig(loss="l1").model_dump()


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_key_but_the_name_is_described(kind):
    assert all(field.description for key, field in kind.model_fields.items() if key != "name")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (FkdConfig, {"local_distillation": {"objective": {"temperature": 0}}}),
        (FkdConfig, {"local_distillation": {"objective": {"alpha": 1.1}}}),
        (FkdConfig, {"local_distillation": {"objective": {"alpha": -0.1}}}),
        (FkdConfig, {"public_per_round": -1}),
        (FkdConfig, {"sharpening": "entropy_reduction"}),
        (FkdConfig, {"refine": "entropy_reduction"}),
        (FedProxConfig, {"proximal_mu": -1.0}),
        (FedAvgConfig, {"proximal_mu": 0.1}),
        (FedMDConfig, {"local_distillation": {"objective": {"loss": "huber"}}}),
    ],
    ids=repr,
)
def test_values_out_of_range_and_keys_of_other_methods_are_refused(kind, values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        kind(**values)
