"""Terms on features: the same bits as a loop by hand, a teacher that is asked once, and refusals."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from fedkd.distillation import DistillationConfig, Distiller, ObjectiveConfig, PublicBatch, Term, answered_by
from fedkd.errors import ConfigError, ModelError
from fedkd.losses import (
    HintLoss,
    angle_loss,
    attention_loss,
    distance_loss,
    kd_loss,
    similarity_loss,
    task_geometry_loss,
)
from fedkd.models.registry import build_model
from fedkd.seeding import derive_seed, isolated_torch_rng
from fedkd.training.evaluation import predict_logits
from fedkd.training.loop import batches

CONFIG = DistillationConfig(epochs=2, batch_size=40, learning_rate=0.005)


def hint(seed: int = 0) -> HintLoss:
    with isolated_torch_rng(seed):
        return HintLoss((64,), (64,))


@pytest.fixture
def student() -> nn.Module:
    return build_model("cnn", (1, 8, 8), 10, seed=1)


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    return build_model("cnn", (1, 8, 8), 10, seed=2)


@pytest.fixture
def public(small: PublicBatch, teacher: nn.Module) -> PublicBatch:
    """200 digits, with the answers and the features of an untrained teacher."""
    return answered_by(teacher, small.images_NCHW, small.labels_N, ["features.2", "features", "classifier.0"])


TERMS = {
    "attention": lambda: Term(attention_loss, "features.2", "features.2", weight=2.0),
    "similarity": lambda: Term(similarity_loss, "features", "features", weight=3.0),
    "distance": lambda: Term(distance_loss, "features", "classifier.0"),
    "angle": lambda: Term(angle_loss, "classifier.0", "features", weight=2.0),
    "geometry": lambda: Term(task_geometry_loss, ("features", "classifier.0"), ("features", "classifier.0")),
    "hint": lambda: Term(hint(), "classifier.0", "classifier.0", weight=0.1),
}


def test_the_distiller_takes_the_steps_of_a_loop_by_hand(student, public, same_bits):
    other, regressor = copy.deepcopy(student), hint()
    terms = [TERMS["similarity"](), Term(regressor, "classifier.0", "classifier.0", weight=0.1)]
    by_hand(other, hint(), public, seed=5)
    config = CONFIG.model_copy(update={"objective": ObjectiveConfig(temperature=3.0)})
    Distiller(student, config, terms=terms).distil(public, seed=5)
    assert same_bits(student, other)
    assert not torch.equal(regressor.regressor.weight, hint().regressor.weight), "it learns with the student"


def by_hand(model: nn.Module, regressor: nn.Module, public: PublicBatch, seed: int) -> None:
    """Two epochs of T²·KL + 3·similarity + 0.1·hint, written on the parts of the network."""
    optimizer = torch.optim.Adam([*model.parameters(), *regressor.parameters()], lr=CONFIG.learning_rate)
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    model.train()
    for _ in range(CONFIG.epochs):
        for indices in batches(len(public.images_NCHW), CONFIG.batch_size, rng):
            maps = model.features(public.images_NCHW[indices])
            hidden = model.classifier[0](maps)
            logits = model.classifier[1:](hidden)
            theirs = {name: values[indices] for name, values in public.teacher_features.items()}
            loss = kd_loss(logits, public.teacher_logits_NC[indices], 3.0)
            loss = loss + 3.0 * similarity_loss(maps, theirs["features"])
            missed = (regressor.regressor(hidden) - theirs["classifier.0"]).square().sum()
            loss = loss + 0.1 * (missed / (2 * len(indices)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.mark.parametrize("name", TERMS)
def test_every_term_alone_is_learned(name, student, public):
    before = term_value(TERMS[name](), student, public)
    term = TERMS[name]()
    config = DistillationConfig(epochs=8, batch_size=50, learning_rate=0.005)
    Distiller(student, config, terms=[term]).distil(public, seed=0)
    assert 0 < term_value(term, student, public) < 0.7 * before


def term_value(term: Term, model: nn.Module, public: PublicBatch) -> float:
    names = (term.student,) if isinstance(term.student, str) else term.student
    features = answered_by(model, public.images_NCHW, taps=names).teacher_features
    with torch.no_grad():
        return float(term(features, public.teacher_features))


class Counting(nn.Module):
    """Counts the samples that it was shown."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner, self.samples = model, 0

    def forward(self, images_NCHW: Tensor) -> Tensor:
        self.samples += len(images_NCHW)
        return self.inner(images_NCHW)


def test_the_teacher_is_asked_once_per_sample_for_all_epochs(student, small, teacher):
    counting = Counting(teacher)
    public = answered_by(counting, small.images_NCHW, taps=["inner.features"])
    Distiller(student, CONFIG, terms=[Term(similarity_loss, "features", "inner.features")]).distil(public, seed=0)
    assert counting.samples == len(small.images_NCHW)


def test_answers_are_those_of_evaluation_mode_and_the_mode_stays(small, make_student):
    teacher = make_student(dropout=0.5).train()
    teacher[1].eval()
    modes = [module.training for module in teacher.modules()]
    public = answered_by(teacher, small.images_NCHW, small.labels_N, taps=["2"])
    assert [module.training for module in teacher.modules()] == modes
    assert public.teacher_logits_NC.numpy().tobytes() == predict_logits(teacher, small.images_NCHW).tobytes()
    assert torch.equal(public.teacher_features["2"], teacher[:3].eval()(small.images_NCHW).detach())


def test_without_batch_norm_a_batch_in_shards_teaches_the_regressor_as_the_whole_does(student, public):
    config = DistillationConfig(epochs=1, batch_size=200, optimizer="sgd", momentum=0.0, learning_rate=0.1)
    learned = []
    for shards in (1, 3):
        loss, model = hint(), copy.deepcopy(student)
        term = Term(loss, "classifier.0", "classifier.0", weight=0.1)
        Distiller(model, config, terms=[term], shards=shards).distil(public, seed=0)
        learned.append(weights_of(model, loss))
    assert float((learned[0] - learned[1]).abs().max()) < 1e-6
    assert float((learned[0] - weights_of(student, hint())).abs().max()) > 1e-4


def weights_of(*modules: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(nn.ModuleList(modules).parameters()).detach()


def test_early_stopping_returns_to_the_best_student_and_its_regressor(student, public):
    loss = hint()
    config = DistillationConfig(epochs=30, batch_size=20, learning_rate=0.05, holdout_fraction=0.3, patience=2)
    term = Term(loss, "classifier.0", "classifier.0", weight=0.1)
    report = Distiller(student, config, terms=[term]).distil(public, seed=0)
    assert report.stopped_early
    assert 2 < report.epochs < 30


def test_features_that_the_teacher_did_not_leave_are_named(student, public):
    term = Term(F.mse_loss, "features", "features.7")
    with pytest.raises(ModelError, match=r"lacks the teacher's features \['features\.7'\]"):
        Distiller(student, CONFIG, terms=[term]).distil(public, seed=0)


def test_a_module_that_the_student_lacks_is_named(student, public):
    term = Term(F.mse_loss, "featrues", "features")
    with pytest.raises(ModelError, match=r"no module 'featrues' \(did you mean 'features'\?\)"):
        Distiller(student, CONFIG, terms=[term]).distil(public, seed=0)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ConfigError, match=r"weight = .* is not allowed: finite and at least 0"):
        Term(F.mse_loss, "a", "b", weight)


@pytest.mark.parametrize(("ours", "theirs"), [("a", ("b",)), (("a", "b"), ("c",))])
def test_student_and_teacher_name_as_many_modules(ours, theirs):
    with pytest.raises(ConfigError, match=r"teacher = .* is not allowed: as many modules as the student's"):
        Term(task_geometry_loss, ours, theirs)
