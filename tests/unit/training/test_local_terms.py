"""Local terms: FedProx's by hand, rows that are looked up by class, and what is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from fedkd.errors import ConfigError, PayloadError
from fedkd.training.config import TrainingConfig
from fedkd.training.local_terms import LocalBatch, LocalTerm, Proximal, ToldRows
from fedkd.training.loop import train_supervised

ROWS = ToldRows(torch.tensor([7, 0, 2]), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))


def batch_of(model: nn.Module, start: dict[str, Tensor]) -> LocalBatch:
    inputs = torch.zeros(2, 2)
    return LocalBatch(model, inputs, torch.tensor([0, 1]), model(inputs), start)


def test_the_proximal_term_by_hand() -> None:
    """w = (1, 2; 3, 4), b = (0, 1), from w₀ = 0 and b₀ = (1, 1): 0.5/2 · (1 + 4 + 9 + 16 + 1) = 7.75; its gradient is
    0.5 · (w − w₀).
    """
    model = nn.Linear(2, 2)
    model.weight.data, model.bias.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0.0, 1.0])
    value = Proximal(0.5)(batch_of(model, {"weight": torch.zeros(2, 2), "bias": torch.ones(2)}))
    assert value.item() == pytest.approx(7.75)
    value.backward()
    torch.testing.assert_close(model.weight.grad, torch.tensor([[0.5, 1.0], [1.5, 2.0]]))
    torch.testing.assert_close(model.bias.grad, torch.tensor([-0.5, 0.0]))


@pytest.mark.parametrize("mu", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(mu) -> None:
    with pytest.raises(ConfigError, match=r"mu = .* is not allowed: finite and at least 0"):
        Proximal(mu)


def test_rows_are_found_by_class() -> None:
    values_ND, present_N = ROWS.of(torch.tensor([2, 1, 7, 2]))
    assert values_ND.tolist() == [[5.0, 6.0], [0.0, 0.0], [1.0, 2.0], [5.0, 6.0]]
    assert present_N.tolist() == [True, False, True, True]


def test_without_rows_none_is_found() -> None:
    values_ND, present_N = ToldRows(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3)).of(torch.tensor([0, 1]))
    assert values_ND.tolist() == [[0.0] * 3] * 2
    assert present_N.tolist() == [False, False]


@pytest.mark.parametrize(
    ("keys", "values", "match"),
    [
        (torch.tensor([0, 1]), torch.zeros(3, 2), r"int64 \[2\], torch.float32 \[3, 2\]"),
        (torch.tensor([0.0]), torch.zeros(1, 2), "float32"),
        (torch.tensor([0]), torch.zeros(1, 2, dtype=torch.float64), "float64"),
        (torch.tensor([0]), torch.zeros(1), r"allowed: int64 \[M\] keys"),
        (torch.tensor([4, 4]), torch.zeros(2, 2), r"keys \[4, 4\]; allowed: each once"),
        (torch.tensor([4]), torch.tensor([[float("inf")]]), "not finite"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(keys, values, match) -> None:
    with pytest.raises(PayloadError, match=match):
        ToldRows(keys, values)


class Towards(LocalTerm):
    """Squared distance of the logits to the row of each sample's class, over the samples that have one."""

    needs_rows = True

    def __init__(self, weight: float) -> None:
        self.weight, self.calls = weight, 0

    def __call__(self, batch: LocalBatch) -> Tensor:
        self.calls += 1
        values_ND, present_N = batch.told.of(batch.labels_N)
        return self.weight * ((batch.logits_NC - values_ND).square().sum(1) * present_N).mean()


class NotScalar(LocalTerm):
    def __call__(self, batch: LocalBatch) -> Tensor:
        return batch.logits_NC


class NoTensor(LocalTerm):
    def __call__(self, batch: LocalBatch) -> Tensor:
        return float(batch.logits_NC.detach().mean())


class NoTerm:
    pass


def train(model: nn.Module, problem, *terms: LocalTerm, told: ToldRows | None = None, **values: object) -> list[float]:
    config = TrainingConfig.model_validate({"epochs": 1, "batch_size": 21, **values})
    return train_supervised(model, *problem, config, num_classes=3, seed=0, terms=terms, told=told)


def test_a_term_that_needs_rows_waits_for_them_and_then_counts(make_model, problem) -> None:
    """One batch of all samples: the loss grows by the term of the untouched model, worked out sample by sample."""
    term, rows = Towards(0.5), ToldRows(torch.tensor([1]), torch.tensor([[1.0, -1.0, 2.0]]))
    (plain,) = train(make_model(), problem)
    assert train(make_model(), problem, term) == [plain]
    assert term.calls == 0
    logits_NC = make_model()(problem[0]).detach()
    apart = sum(float((logits_NC[n] - rows.values_MD[0]).square().sum()) for n in range(21) if problem[1][n] == 1)
    assert train(make_model(), problem, term, told=rows) == pytest.approx([plain + 0.5 * apart / 21], rel=1e-5)


def test_terms_of_the_configuration_and_of_the_method_are_both_added(make_model, problem) -> None:
    named, given = make_model(), make_model()
    train(named, problem, epochs=3, terms=[{"name": "proximal", "mu": 0.5}])
    train(given, problem, Proximal(0.5), epochs=3)
    both = make_model()
    train(both, problem, Proximal(0.25), epochs=3, terms=[{"name": "proximal", "mu": 0.25}])
    vectors = [nn.utils.parameters_to_vector(model.parameters()) for model in (named, given, both)]
    assert torch.equal(vectors[0], vectors[1])
    torch.testing.assert_close(vectors[0], vectors[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("term", "given"), [(NotScalar(), r"shape \[21, 3\]"), (NoTensor(), "a float")])
def test_a_term_that_is_no_scalar_tensor_is_refused(term, given, make_model, problem) -> None:
    with pytest.raises(ConfigError, match=f"terms = '{type(term).__name__}' .* this returns a.*{given}|{given}"):
        train(make_model(), problem, term)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("proximal", "mu = .*Field required"),
        ({"name": "proximal", "mu": -1.0}, "mu = -1.0"),
        (f"{__name__}:NoTerm", "a LocalTerm; this makes a NoTerm"),
    ],
    ids=str,
)
def test_what_is_no_term_is_refused_with_the_section(value, match) -> None:
    with pytest.raises(ValidationError, match=match):
        TrainingConfig.model_validate({"terms": [value]})
