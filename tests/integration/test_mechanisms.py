"""The table of which part of a distillation goes where: every cell is tried."""

from __future__ import annotations

import atexit
import json
import math
import re
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor, nn

from fedkd.config.experiment import load_config, parse_config
from fedkd.engines.simulation import simulate
from fedkd.errors import ConfigError, ModelError
from fedkd.experiment import run
from fedkd.federation.model_checks import check_models
from fedkd.federation.observers import Observer
from fedkd.federation.references import compose_method
from fedkd.federation.workspace import open_workspace
from fedkd.offline import open_offline
from fedkd.offline.config import parse_offline
from fedkd.reporting import RunStore
from fedkd.types import InputShape

PAGE = Path(__file__).parents[2] / "docs" / "methods" / "mechanisms.md"
PLACES = ("distill", "fkd", "feddf", "clients")
LABELLED = {"data.public.labelled": True}
RESNETS = {"clients.models": ["resnet8"], "student.model": "resnet8", "data.train_size": 60}
RELATIONS = ("similarity", "distance", "angle")
KINDS = {
    "hint": "hints",
    "attention": "attention",
    "geometry": "relations of tasks",
    "hidden_states": "hidden states of transformers",
    "attention_matrices": "attention matrices of transformers",
}
ON_TEXTS = {"hidden_states": "layers.1", "attention_matrices": "layers.1.attention.scores"}


def cells() -> dict[tuple[str, str], str]:
    """The text of each cell by (part, place), links and code made plain."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    plain = [[re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", cell).replace("`", "").strip() for cell in row] for row in rows]
    return {(row[0], place): cell for row in plain[2:] for place, cell in zip(PLACES, row[1:], strict=True)}


@cache
def mails() -> Path:
    """Two hundred short texts of two classes."""
    path = Path(tempfile.mkdtemp()) / "mails.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"{n} {'ab'[n % 2] * 3}", "label": n % 2}) for n in range(200)))
    atexit.register(shutil.rmtree, path.parent)
    return path


def section(place: str) -> str:
    return "method.local_distillation.objective" if place == "clients" else "student.objective"


def term(loss: str, place: str) -> dict[str, Any]:
    """The keys of a further loss."""
    if place != "distill":
        return {f"{section(place)}.terms": [{"loss": loss, "student": "features" if loss == "similarity" else ""}]}
    if loss in ON_TEXTS:
        small = {"teacher.model": "transformer_small", "student.model": "transformer_small"}
        text = {"data.source": "jsonl", "data.root": str(mails()), "data.text": {"length": 8, "vocabulary": 300}}
        return small | text | {"terms": [{"loss": loss, "student": [ON_TEXTS[loss]], "teacher": [ON_TEXTS[loss]]}]}
    modules = {"geometry": ["features", "classifier"], "attention": ["features.2"]}.get(loss, ["features"])
    models = {"teacher.model": "cnn", "student.model": "cnn"} if loss == "attention" else {}
    return models | {"terms": [{"loss": loss, "student": modules, "teacher": modules}]}


def cases(part: str, place: str) -> list[dict[str, Any]]:
    """What is switched on to try a cell."""
    objective, chosen = section(place), {"student.temperature_selection": {"grid": [8.0, 16.0]}}
    by_part: dict[str, list[dict[str, Any]]] = {
        "divergences kl, reverse_kl, js, and T": [
            {f"{objective}.loss": loss, f"{objective}.temperature": 4.0} for loss in ("kl", "reverse_kl", "js")
        ],
        "distances of logits mse, l1": [{f"{objective}.loss": loss} for loss in ("mse", "l1")],
        "T with mse, l1": [{f"{objective}.loss": loss, f"{objective}.temperature": 2.0} for loss in ("mse", "l1")],
        "labels beside the teacher": [LABELLED | {f"{objective}.alpha": 0.5}],
        "labels beside the teacher, unlabelled public set": [{f"{objective}.alpha": 0.5}],
        "smoothing of these labels": [LABELLED | {f"{objective}.alpha": 0.5, f"{objective}.label_smoothing": 0.2}],
        "smoothing of these labels, alpha = 1": [LABELLED | {f"{objective}.label_smoothing": 0.2}],
        "smoothing in the teacher's own training": [
            {("teacher" if place == "distill" else "training") + ".label_smoothing": 0.2}
        ],
        "choice of T": [chosen],
        "relations of samples similarity, distance, angle": [term(loss, place) for loss in RELATIONS],
        "batch-norm alignment": [RESNETS | {"method.batch_norm_alignment": True}],
    }
    by_part |= {name: [term(loss, place)] for loss, name in KINDS.items()}
    if place == "distill" and part == "batch-norm alignment":
        return [{"method.batch_norm_alignment": True}]
    return by_part[part]


def nested(keys: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in keys.items():
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return values


BASE = {
    "run.seed": 3,
    "data.train_size": 100,
    "data.test_size": 50,
    "data.public.size": 40,
    "student.model": "mlp",
    "student.epochs": 2,
}
OFFLINE = {"teacher.model": "mlp", "teacher.epochs": 2, "student.holdout_fraction": 0.0}
FEDERATED = {
    "run.rounds": 2,
    "run.baselines": False,
    "data.partition.kind": "iid",
    "clients.number": 2,
    "clients.models": ["mlp"],
    "training.epochs": 1,
    "training.learning_rate": 0.1,
}
METHODS = {
    "fkd": {"method.name": "fkd"},
    "feddf": {"method.name": "feddf"},
    "clients": {"method.name": "fedmd", "method.local_distillation.objective.loss": "kl"},
}


def learnt(keys: dict[str, Any], place: str) -> tuple[Any, ...]:
    """What a small run with these keys comes to, in numbers that any change of the learning changes."""
    return _learnt(json.dumps(keys), place)


@cache
def _learnt(text: str, place: str) -> tuple[Any, ...]:
    keys = json.loads(text)
    if place == "distill":
        weights, _ = open_offline(parse_offline(nested(BASE | OFFLINE | keys))).run()
        return tuple(float(values.sum()) for values in weights.values())
    found = simulate(parse_config(nested(BASE | FEDERATED | METHODS[place] | keys)), Observer())
    weights = {} if found.student is None else found.student
    return (found.history[-1].train_loss, *(float(values.sum()) for values in weights.values()))


def without(case: dict[str, Any], part: str) -> dict[str, Any]:
    """The same run with the part switched off: its models, its data, its hard loss."""
    kept = {
        "data.source",
        "data.root",
        "data.text",
        "data.train_size",
        "data.public.labelled",
        "clients.models",
        "student.model",
        "teacher.model",
    }
    if part.startswith("smoothing of these labels"):
        kept |= {"student.objective.alpha", "method.local_distillation.objective.alpha"}
    return {key: value for key, value in case.items() if key in kept}


@pytest.mark.parametrize(("part", "place"), sorted(cells()))
def test_every_cell_is_what_happens(part: str, place: str) -> None:
    text = cells()[part, place]
    for case in cases(part, place):
        if text.startswith("no: "):
            with pytest.raises(ConfigError) as caught:
                learnt(case, place)
            assert text.removeprefix("no: ") in str(caught.value).replace("`", "")
        else:
            assert any(text_key in text for text_key in case) or "terms" in text
            assert learnt(case, place) != learnt(without(case, part), place)


def test_clients_of_another_architecture_learn_by_the_keys_of_the_last_column() -> None:
    mixed = {"method.name": "fkd", "clients.models": ["mlp", "cnn"]}
    usual = learnt(mixed, "clients")
    for changed in (
        {"method.local_distillation.objective.loss": "js"},
        {"method.local_distillation.objective.terms": [{"loss": "distance", "student": "features"}]},
    ):
        assert learnt(mixed | changed, "clients") != usual


@pytest.mark.parametrize(
    ("keys", "error", "said"),
    [
        ({"student.objective.terms": [{"loss": "angle", "student": "feature"}]}, ModelError, "did you mean 'features'"),
        (
            {
                "clients.models": ["mlp", "cnn"],
                "method.local_distillation.objective.terms": [{"loss": "angle", "student": "heads"}],
            },
            ModelError,
            "no module 'heads'",
        ),
        ({"method.batch_norm_alignment": True}, ConfigError, "without batch norm"),
        ({"student.objective.loss": "no_such_module:loss"}, ConfigError, "'no_such_module' does not import"),
        (
            {"method.name": "fedmd", "method.local_distillation.objective.loss": "no_such_module:loss"},
            ConfigError,
            "'no_such_module' does not import",
        ),
    ],
)
def test_what_does_not_fit_the_models_is_refused_before_there_is_a_folder(tmp_path, keys, error, said) -> None:
    config = parse_config(nested(BASE | FEDERATED | keys | {"run.output": str(tmp_path / "runs")}))
    for start in (run, lambda refused: simulate(refused, Observer())):
        with pytest.raises(error, match=said):
            start(config)
    assert not (tmp_path / "runs").exists()


class Odd(nn.Module):
    """Calls one module twice, and another not at all."""

    def __init__(self, input_shape: InputShape, num_classes: int) -> None:
        super().__init__()
        width = math.prod(input_shape)
        self.twice, self.never, self.last = nn.Linear(width, width), nn.Linear(1, 1), nn.Linear(width, num_classes)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return self.last(self.twice(self.twice(images_NCHW.flatten(1))))


def odd(input_shape: InputShape, num_classes: int) -> nn.Module:
    return Odd(input_shape, num_classes)


@pytest.mark.parametrize(
    ("keys", "module", "said"),
    [
        ({"student.model": "users_odd:odd"}, "twice", "module 'twice' .* is called twice"),
        ({"student.model": "users_odd:odd"}, "never", r"modules \['never'\] have no output"),
        ({"clients.models": ["mlp", "users_odd:odd"]}, "twice", "module 'twice' .* is called twice"),
    ],
)
def test_a_module_without_a_single_output_is_found_before_anyone_trains(keys, module, said, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "users_odd", ModuleType("users_odd"))
    sys.modules["users_odd"].__dict__.update(odd=odd)
    place = "fkd" if "student.model" in keys else "clients"
    keys = keys | {f"{section(place)}.terms": [{"loss": "distance", "student": module}]}
    config = parse_config(nested(BASE | FEDERATED | keys))
    with pytest.raises(ModelError, match=said):
        check_models(config, compose_method(config.method), open_workspace(config))


def test_a_module_is_asked_of_those_clients_alone_that_distil_locally() -> None:
    mixed = {
        "clients.models": ["mlp", "cnn"],
        "method.local_distillation.objective.terms": [{"loss": "angle", "student": "features.6"}],
    }
    config = parse_config(nested(BASE | FEDERATED | mixed))
    check_models(config, compose_method(config.method), open_workspace(config))
    everybody = parse_config(nested(BASE | FEDERATED | mixed | {"method.name": "fedmd"}))
    with pytest.raises(ModelError, match=r"no module 'features\.6'"):
        check_models(everybody, compose_method(everybody.method), open_workspace(everybody))


def test_a_run_folder_gives_further_losses_back(tmp_path) -> None:
    keys = {
        "student.objective.terms": [{"loss": "angle", "student": "features", "weight": 0.1}],
        "method.local_distillation.objective.terms": [{"loss": "distance"}],
        "clients.models": ["mlp", "cnn"],
    }
    config = parse_config(nested(keys))
    store = RunStore.create(tmp_path, "run")
    store.write_config(config.model_dump(mode="json"))
    assert load_config(store.config_path) == config
    assert [term.weight for term in config.student.objective.terms] == [0.1]
