"""What is it worth to let a network answer through another's batch norm?

    python simulations/distillation/batch_norm.py
    python simulations/distillation/batch_norm.py --federation classes     # or brightness

Two networks: one has learnt digits; the other goes on from there on the same digits faded (0.5 + 0.3·x, of pixels x in
[−1, 1]), or inverted (−x), or has learnt the faded ones from a start of its own. The first answers faded and inverted
digits through its own batch norm and through the other's. A federation: five clients, of few classes each or each with
a brightness of its own, answer the public samples through their own batch norm, or through that of the student that
they adopted.
"""

from __future__ import annotations

import copy
import sys

import torch
from common import accuracy, arguments, data_section, dots, finish, over_seeds, table, workspace_of
from torch import Tensor, nn

from fedkd.config.experiment import parse_config
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.models.batch_norm import BatchNormAlignment, align_batch_norm, batch_norm_layers
from fedkd.training.config import TrainingConfig
from fedkd.training.loop import train_supervised

CHANGES = {"faded": lambda images: 0.5 + 0.3 * images, "inverted": lambda images: -images}


def layer_errors(student: nn.Module, teacher: nn.Module, images: Tensor) -> list[float]:
    """Of each aligned layer on what reaches it: ‖student's answer − teacher's‖ / ‖teacher's‖."""
    errors: list[float] = []

    def compare(norm: nn.Module, other: nn.Module):
        aligned = align_batch_norm(norm, other)

        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            theirs = other(inputs[0])
            errors.append(float((norm.forward(aligned(inputs[0])) - theirs).norm() / theirs.norm()))

        return norm.register_forward_pre_hook(hook)

    pairs = zip(batch_norm_layers(student).values(), batch_norm_layers(teacher).values(), strict=True)
    hooks = [compare(ours, theirs) for ours, theirs in pairs]
    with torch.no_grad():
        student(images)
    for hook in hooks:
        hook.remove()
    return errors


def networks(seed: int, data: dict, epochs: int | None) -> dict:
    workspace = workspace_of(data, seed)
    images, labels = workspace.client(0)
    test, test_labels = workspace.test_inputs, torch.from_numpy(workspace.data.test.labels_N)

    def train(model: nn.Module, of: Tensor, number: int) -> nn.Module:
        config = TrainingConfig(epochs=epochs or number, batch_size=64, optimizer="adam", learning_rate=0.005)
        train_supervised(model, of, labels, config, num_classes=10, seed=seed)
        return model.eval()

    ours = train(workspace.build_model("resnet8", seed), images, 5)
    near = {name: train(copy.deepcopy(ours), change(images), 4) for name, change in CHANGES.items()}
    far = train(workspace.build_model("resnet8", 100 + seed), CHANGES["faded"](images), 8)

    def scores(model: nn.Module, *domains: str) -> dict:
        return {name: accuracy(model, CHANGES[name](test), test_labels) for name in domains}

    def through(others: dict[str, nn.Module]) -> dict:
        found = {}
        for name, other in others.items():
            with BatchNormAlignment(ours, other):
                found |= scores(ours, name)
        return found

    worst = max(error for other in (*near.values(), far) for error in layer_errors(ours, other, test))
    print(f"seed {seed}: largest relative error of an aligned layer {worst:.1e}", file=sys.stderr, flush=True)
    return {
        "own batch norm": scores(ours, "faded", "inverted"),
        "that of a network from it": through(near),
        "that of another start": through({"faded": far, "inverted": far}),
        "the network from it": {name: accuracy(near[name], CHANGES[name](test), test_labels) for name in CHANGES},
    }


SKEWS: dict[str, dict] = {
    "classes": {"partition": {"kind": "dirichlet", "dirichlet_alpha": 0.3, "min_size": 10}},
    "brightness": {
        "partition": {"kind": "iid"},
        "heterogeneity": {"feature_shift": "brightness", "feature_shift_strength": 0.5},
    },
}


def federation(seed: int, data: dict, epochs: int | None) -> dict:
    found = {}
    for name, aligned in (("own batch norm", False), ("the student's", True)):
        config = parse_config(
            {
                "run": {"seed": seed, "rounds": 3 if epochs is None else 2, "baselines": False, "device": "cpu"},
                "data": data,
                "clients": {"number": 5, "models": ["resnet8"]},
                "training": {"epochs": epochs or 2, "optimizer": "adam", "learning_rate": 0.005},
                "method": {"batch_norm_alignment": aligned},
                "student": {"model": "resnet8", "epochs": epochs or 4, "learning_rate": 0.005},
            }
        )
        last = simulate(config, Observer()).history[-1]
        scores = {"student": last.student.accuracy, "ensemble teacher": last.ensemble_teacher.accuracy}
        scores |= {"clients, mean": last.clients.mean_accuracy}
        found[f"clients answer through {name}"] = {measure: 100 * score for measure, score in scores.items()}
    return found


def main() -> None:
    given = arguments(__doc__, seeds=3, federation=SKEWS)
    data = data_section(given, private=500, public=300, test=600, side=14)
    if given.federation:
        skewed = data | SKEWS[given.federation]
        found = over_seeds(given, lambda seed: federation(seed, skewed, given.epochs))
        measures = ("student", "ensemble teacher", "clients, mean")
        skew = given.federation
        svg = dots(f"batch-norm-{skew}", f"A federation with batch norm: clients differ in {skew}", found, measures)
    else:
        found = over_seeds(given, lambda seed: networks(seed, data, given.epochs))
        title = "One network through another's batch norm"
        svg = dots("batch-norm-networks", title, found, ("faded", "inverted"))
    finish(given, table("test accuracy, %", found), svg)


if __name__ == "__main__":
    main()
