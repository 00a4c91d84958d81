"""Part c: many clients that each do next to nothing, so that what grows with their number shows.

MNIST's 60,000 training samples, dealt evenly; a linear model of 7,850 parameters; 100 public samples; two rounds of fkd
in which every client takes part and none is measured. Quick: scikit-learn's digits and few clients.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path

from torch import nn

from benchmarks.engines import LOCAL, RAY
from benchmarks.measure import ROOT, Case
from fedkd.types import InputShape

ROUNDS = 2


def softmax(input_shape: InputShape, num_classes: int) -> nn.Module:
    """Multinomial logistic regression; a model factory of a user's own, as `student.model` takes it."""
    layers = OrderedDict(flatten=nn.Flatten(), linear=nn.Linear(math.prod(input_shape), num_classes))
    return nn.Sequential(layers)


def cases(data_root: Path, *, quick: bool) -> list[Case]:
    """1,000 and 10,000 clients, each on both engines."""
    toml = ROOT / "simulations" / ("digits.toml" if quick else "mnist.toml")
    sizes = [] if quick else [f"data.root={data_root}", "data.train_size=59_900"]
    return [
        Case(
            f"c/{number}/{name}",
            "benchmarks.experiments:run_fedkd",
            {"toml": str(toml), "overrides": [*_overrides(number), *sizes, *engine]},
        )
        for number in ((100,) if quick else (1_000, 10_000))
        for name, engine in (("local", LOCAL), ("ray", RAY))
    ]


def client_rounds(case_name: str) -> int:
    """How often a client took part in a case of this name."""
    return int(case_name.split("/")[1]) * ROUNDS


def _overrides(number: int) -> list[str]:
    model = "benchmarks.many_clients:softmax"
    return [
        "data.public.size=100",
        "data.test_size=300",
        "data.partition.kind=iid",
        "data.partition.min_size=1",
        f"clients.number={number}",
        f"clients.models=['{model}']",
        f"student.model='{model}'",
        f"run.rounds={ROUNDS}",
        "run.evaluate_clients_every=0",
        "run.baselines=false",
        "run.device=cpu",
        "training.epochs=1",
        "student.epochs=1",
    ]
