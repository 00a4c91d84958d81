"""Local training against a plain loop written anew, down to the bits."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedkd.seeding import derive_seed
from fedkd.training.config import TrainingConfig
from fedkd.training.evaluation import predict_logits, score
from fedkd.training.local_terms import Proximal
from fedkd.training.loop import train_supervised


def train(model: nn.Module, problem: tuple[Tensor, Tensor], seed: int = 0, mu: float = 0.0, **keys) -> list[float]:
    terms = (Proximal(mu),) if mu else ()
    return train_supervised(model, *problem, TrainingConfig(**keys), num_classes=3, seed=seed, terms=terms)


def vector(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def plain_loop(model, images, labels, *, epochs, batch_size, rate, momentum, decay, seed, mu=0.0) -> list[float]:
    """SGD with momentum by hand: no optimiser, no helper of the package but the seed of the order."""
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    start = [p.detach().clone() for p in model.parameters()]
    velocities: list[Tensor | None] = [None] * len(start)
    means = []
    model.train()
    for _ in range(epochs):
        order, total = torch.randperm(len(labels), generator=rng).tolist(), 0.0
        chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            single = chunks.pop()
            chunks[-1] += single
        for chunk in chunks:
            loss = nn.CrossEntropyLoss()(model(images[chunk]), labels[chunk])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            penalty = 0.0
            with torch.no_grad():
                for i, (p, gradient) in enumerate(zip(model.parameters(), gradients, strict=True)):
                    penalty += mu / 2 * float(((p - start[i]) ** 2).sum())
                    full = gradient + mu * (p - start[i]) + decay * p if mu or decay else gradient
                    velocity = velocities[i]
                    velocities[i] = full.clone() if velocity is None else momentum * velocity + full
                    p.add_(velocities[i], alpha=-rate)  # one rounding, where the machine fuses the product
            total += (float(loss.detach()) + penalty) * len(chunk)
        means.append(total / len(order))
    return means


KEYS = {"epochs": 3, "batch_size": 5, "learning_rate": 0.1, "momentum": 0.9}


def by_hand(problem, make_model, decay=0.0, mu=0.0):
    model = make_model()
    means = plain_loop(
        model, *problem, epochs=3, batch_size=5, rate=0.1, momentum=0.9, decay=decay, seed=7, mu=mu
    )  # 21 samples in fives: the last batch of each epoch takes the single one along
    return model, means


def test_equals_a_plain_loop_bit_for_bit(make_model, problem):
    model = make_model()
    losses = train(model, problem, seed=7, **KEYS)
    reference, means = by_hand(problem, make_model)
    assert torch.equal(vector(model), vector(reference))
    assert losses == pytest.approx(means, rel=1e-6)


def test_weight_decay_and_proximal_term_equal_a_plain_loop(make_model, problem):
    model = make_model()
    losses = train(model, problem, seed=7, mu=0.5, weight_decay=0.01, **KEYS)
    reference, means = by_hand(problem, make_model, decay=0.01, mu=0.5)
    torch.testing.assert_close(vector(model), vector(reference), rtol=1e-5, atol=1e-6)
    assert losses == pytest.approx(means, rel=1e-5)


def test_the_first_proximal_step_is_that_of_cross_entropy_and_the_second_is_pulled_back(make_model, problem):
    """mu·(w − w₀) is zero at w₀; after one step of size d it is mu·d."""
    rate, mu = 0.1, 0.5
    keys = {"batch_size": 21, "learning_rate": rate, "momentum": 0.0}
    one, one_prox, two, two_prox = (make_model() for _ in range(4))
    for model, epochs, weight in ((one, 1, 0.0), (one_prox, 1, mu), (two, 2, 0.0), (two_prox, 2, mu)):
        train(model, problem, mu=weight, epochs=epochs, **keys)
    assert torch.equal(vector(one), vector(one_prox))
    first_step = vector(one) - vector(make_model())
    pull = vector(two) - vector(two_prox)
    torch.testing.assert_close(pull, rate * mu * first_step, rtol=1e-3, atol=1e-7)


def test_a_large_proximal_weight_keeps_the_weights_close(make_model, problem):
    distances = []
    for mu in (0.0, 1.0, 10.0):
        model = make_model()
        train(model, problem, mu=mu, epochs=20, learning_rate=0.05, momentum=0.0)
        distances.append((vector(model) - vector(make_model())).norm().item())
    assert distances[0] > 1.3 * distances[1] > 4 * distances[2] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_seed_decides_the_bits(optimizer, make_model, problem):
    first, again, other = (make_model(dropout=0.5) for _ in range(3))
    losses = [train(m, problem, s, optimizer=optimizer) for m, s in ((first, 3), (again, 3), (other, 4))]
    assert torch.equal(vector(first), vector(again))
    assert losses[0] == losses[1]
    assert not torch.equal(vector(first), vector(other))


def test_dropout_draws_from_the_seed_too(make_model, problem):
    """One batch of all samples: the order hardly matters, the masks do."""
    losses = {train(make_model(dropout=0.5), problem, seed, epochs=1, batch_size=21)[0] for seed in range(5)}
    assert len(losses) == 5
    plain = [train(make_model(), problem, seed, epochs=1, batch_size=21)[0] for seed in range(5)]
    assert plain == pytest.approx([plain[0]] * 5, rel=1e-5)


def test_the_global_generators_are_neither_read_nor_moved(make_model, problem):
    saved = torch.get_rng_state()
    try:
        vectors = []
        for global_seed in (1, 2):
            torch.manual_seed(global_seed)
            states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002 (the global one)
            model = make_model(dropout=0.5)
            train(model, problem)
            vectors.append(vector(model))
            assert torch.equal(torch.get_rng_state(), states[0])
            assert random.getstate() == states[1]
            assert np.array_equal(np.random.get_state()[1], states[2][1])  # noqa: NPY002
        assert torch.equal(*vectors)
    finally:
        torch.set_rng_state(saved)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_it_learns(optimizer, make_model, problem):
    model = make_model(batch_norm=True)
    losses = train(model, problem, optimizer=optimizer, epochs=30, batch_size=7, learning_rate=0.03)
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]
    assert score(predict_logits(model, problem[0]), problem[1].numpy()).accuracy == 1.0


def test_no_epochs_leave_the_model_as_it_is(make_model, problem):
    model = make_model(batch_norm=True)
    assert train(model, problem, epochs=0) == []
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), make_model(batch_norm=True).state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("keys", [{}, {"logit_adjustment": True}], ids=["plain", "adjusted"])
def test_no_samples_leave_the_weights_as_they_are(keys, make_model, problem):
    model = make_model()
    assert train(model, (problem[0][:0], problem[1][:0]), epochs=2, **keys) == [0.0, 0.0]
    assert torch.equal(vector(model), vector(make_model()))


def test_the_gradient_norm_bounds_each_step(make_model, problem):
    model = make_model()
    train(model, problem, epochs=1, batch_size=7, learning_rate=1.0, momentum=0.0, max_grad_norm=0.01)
    distance = (vector(model) - vector(make_model())).norm().item()
    assert 0 < distance <= 3 * 0.01 * (1 + 1e-4), "three steps of length at most 0.01"


class Constant(nn.Module):
    """Logits that do not look at the image, so that what is learnt is the prior alone."""

    def __init__(self) -> None:
        super().__init__()
        self.logits_C = nn.Parameter(torch.zeros(3))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return self.logits_C.expand(len(images_NCHW), 3)


def test_logit_adjustment_factors_the_local_prior_out():
    """On 16:3:1 labels plain cross-entropy learns log prior; with adjustment nothing is left to learn."""
    labels_N = torch.tensor([0] * 16 + [1] * 3 + [2])
    problem = torch.zeros(20, 1, 4, 4), labels_N
    keys = {"epochs": 400, "batch_size": 20, "learning_rate": 0.5, "momentum": 0.5}
    plain, adjusted = Constant(), Constant()
    train(plain, problem, **keys)
    train(adjusted, problem, logit_adjustment=True, logit_adjustment_eps=1e-6, **keys)
    log_prior = np.log(np.array([16, 3, 1]) / 20)
    np.testing.assert_allclose(torch.log_softmax(plain.logits_C, 0).detach().numpy(), log_prior, atol=1e-2)
    np.testing.assert_allclose(adjusted.logits_C.detach().numpy(), 0.0, atol=1e-3)


@pytest.mark.parametrize("logit_adjustment", [False, True])
def test_label_smoothing_reaches_the_loss(logit_adjustment):
    """One batch, one epoch: the loss of the untouched model, on labels of which 0.2 is spread over all classes."""
    images_NCHW, labels_N = torch.zeros(4, 1, 1, 3), torch.tensor([0, 0, 0, 1])
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([1.0, -1.0])
    config = TrainingConfig(epochs=1, label_smoothing=0.2, logit_adjustment=logit_adjustment)
    (loss,) = train_supervised(model, images_NCHW, labels_N, config, num_classes=2, seed=0)
    logits_C = np.array([1.0, -1.0]) + (np.log(np.array([0.76, 0.26])) if logit_adjustment else 0)
    log_probs_C = logits_C - np.log(np.exp(logits_C).sum())
    targets_NC = 0.8 * np.eye(2)[labels_N.numpy()] + 0.1
    assert loss == pytest.approx(-(targets_NC * log_probs_C).sum(axis=1).mean(), rel=1e-5)
