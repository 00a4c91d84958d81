"""What a model minimises: losses by name or import path, and what goes together."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError

from fedkd.distillation import DistillationConfig, Distiller, ObjectiveConfig, PublicBatch, Term
from fedkd.distillation.objective import RelationConfig
from fedkd.errors import ConfigError
from fedkd.losses import distance_loss

OWN = "users_losses:kl_at_temperature"
FAST = DistillationConfig(epochs=3, learning_rate=0.01, batch_size=50)


def with_objective(**keys) -> DistillationConfig:
    return FAST.model_copy(update={"objective": ObjectiveConfig(**keys)})


def kl_at_temperature(student_logits_NC, teacher_values_ND, temperature):
    """T²·KL by PyTorch's module, on the first C of what the teacher says."""
    teacher_NC = teacher_values_ND[:, : student_logits_NC.shape[1]]
    divergence = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)
    pair = (F.log_softmax(values / temperature, dim=1) for values in (student_logits_NC, teacher_NC))
    return temperature**2 * divergence(*pair)


def each(student_logits_NC, teacher_values_ND, temperature):
    return (student_logits_NC - teacher_values_ND).abs().mean(dim=1) / temperature


def as_float(student_logits_NC, teacher_values_ND, temperature):
    return each(student_logits_NC, teacher_values_ND, temperature).mean().item()


@pytest.fixture
def users_module(monkeypatch):
    """A user's module, as if installed."""
    module = ModuleType("users_losses")
    module.__dict__.update(kl_at_temperature=kl_at_temperature, each=each, as_float=as_float, number=3)
    monkeypatch.setitem(sys.modules, "users_losses", module)


@pytest.mark.usefixtures("users_module")
def test_a_loss_by_import_path_teaches_as_the_registered_one_of_the_same_formula(small, make_student):
    named, own = make_student(), make_student()
    expected = Distiller(named, with_objective(temperature=3.0)).distil(small, seed=0)
    report = Distiller(own, with_objective(loss=OWN, temperature=3.0)).distil(small, seed=0)
    assert report.last_loss == pytest.approx(expected.last_loss, rel=1e-5)
    for one, other in zip(named.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("users_module")
@pytest.mark.parametrize("patience", [0, 2])
def test_a_teacher_may_say_more_than_logits(small, make_student, patience):
    wide = PublicBatch(small.images_NCHW, F.pad(small.teacher_logits_NC, (0, 4), value=99.0))
    reports = []
    for public in (small, wide):
        config = with_objective(loss=OWN).model_copy(update={"holdout_fraction": 0.3, "patience": patience})
        reports.append(Distiller(make_student(), config).distil(public, seed=0))
    assert reports[0] == reports[1]
    assert reports[0].agreement > 0.3, "not that with the values beyond the logits"


@pytest.mark.usefixtures("users_module")
@pytest.mark.parametrize(
    ("loss", "allowed"),
    [
        ("users_losses:number", "a function; this is a int"),
        ("users_losses:missing", "has no attribute 'missing'"),
        ("no_such_module_anywhere:loss", "does not import"),
        ("users_losses:each", r"returns a scalar tensor; this returns Tensor of shape \[50\]"),
        ("users_losses:as_float", "returns a scalar tensor; this returns float"),
    ],
)
def test_an_import_path_that_leads_to_no_loss_is_refused(loss, allowed, small, make_student):
    with pytest.raises(ConfigError, match=rf"objective\.loss = '{loss}' is not allowed: .*{allowed}"):
        Distiller(make_student(), with_objective(loss=loss)).distil(small, seed=0)


def test_a_module_that_fails_on_import_is_refused_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "users_broken_losses.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="RuntimeError: no licence"):
        ObjectiveConfig(loss="users_broken_losses:loss").soft_loss()


@pytest.mark.parametrize("loss", ["k1", "cosine", "a:", ":b", "a.b", ".a:b", "a:b:c"])
def test_what_is_neither_a_name_nor_an_import_path_is_refused(loss):
    with pytest.raises(ValidationError, match=r"one of kl, reverse_kl, js, l1, mse, or package\.module:function"):
        ObjectiveConfig(loss=loss)


def test_the_terms_of_the_objective_are_learnt_by(small, make_student, same_bits):
    relation = RelationConfig(loss="distance", student="3", weight=0.5)
    configured, built, plain = make_student(), make_student(), make_student()
    Distiller(configured, with_objective(terms=(relation,))).distil(small, seed=0)
    Distiller(built, FAST, terms=[Term(distance_loss, "3", "", weight=0.5)]).distil(small, seed=0)
    Distiller(plain, FAST).distil(small, seed=0)
    assert same_bits(configured, built)
    assert not same_bits(configured, plain)


@pytest.mark.parametrize(("loss", "temperature"), [("kl", 4.0), ("mse", 1.0), (OWN, 4.0)])
def test_another_temperature_is_taken_where_the_loss_has_one(loss, temperature):
    objective = ObjectiveConfig(loss=loss, label_smoothing=0.1).at(4.0, 0.5)
    assert objective == ObjectiveConfig(loss=loss, temperature=temperature, alpha=0.5, label_smoothing=0.1)
