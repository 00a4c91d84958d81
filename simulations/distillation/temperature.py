"""Does the temperature that the protocol chooses on held-out public samples do as well on the test as the grid's best?

    python simulations/distillation/temperature.py DATA_ROOT [--output FOLDER]

Ten clients under Dirichlet 0.1 train for three rounds; between rounds a student learns at T = 1 from their mean logits
and goes back to them. From the last ensemble teacher one student is distilled anew for each T of the grid. Public
samples are drawn from the training split: the first part is learnt from, the second is for the choice. The test split
serves only to see what the choice was worth.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from fedkd.config.experiment import ExperimentConfig, at, parse_config
from fedkd.distillation import Distiller, PublicBatch
from fedkd.distillation.temperature import Setting, judge, settings_of
from fedkd.federation.threads import one_torch_thread
from fedkd.federation.workspace import Workspace, open_workspace
from fedkd.methods import build_method
from fedkd.reporting.lines import Axis, Line, line_plot
from fedkd.reporting.plot import stroke
from fedkd.seeding import derive_seed
from fedkd.training.evaluation import predict_logits, score
from fedkd.training.loop import train_supervised
from fedkd.types import FloatArray

SOURCES, SEEDS, GRID, ROUNDS = ("mnist", "fashion_mnist"), (0, 1, 2, 3, 4), (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), 3
LEARNT, HELD_OUT = 1500, 1500


def experiment(source: str, root: Path, seed: int) -> ExperimentConfig:
    return parse_config(
        {
            "run": {"seed": seed, "device": "cpu"},
            "data": {
                "source": source,
                "root": str(root),
                "train_size": 3000,
                "public": {"size": LEARNT + HELD_OUT, "labelled": True},
                "partition": {"kind": "dirichlet", "dirichlet_alpha": 0.1},
            },
            "clients": {"number": 10, "models": ["mlp"]},
            "training": {"epochs": 2, "learning_rate": 0.05, "logit_adjustment": True},
            "student": {"model": "mlp", "epochs": 10},
        }
    )


def teacher(config: ExperimentConfig, workspace: Workspace) -> tuple[FloatArray, FloatArray]:
    """The last round's ensemble teacher on all public samples and on the test split."""
    seed, method = config.run.seed, build_method(config.method)
    student = workspace.build_model("mlp", derive_seed(seed, "student"))
    for server_round in range(1, ROUNDS + 1):
        public_KNC, test_KNC = [], []
        for client in range(config.clients.number):
            model = workspace.build_model("mlp", derive_seed(seed, "client", client, "model"))
            if server_round > 1:
                model.load_state_dict(student.state_dict())
            images_NCHW, labels_N = workspace.client(client)
            drawn = derive_seed(seed, "client", client, "round", server_round)
            train_supervised(model, images_NCHW, labels_N, config.training, num_classes=10, seed=drawn)
            public_KNC.append(predict_logits(model, workspace.public_inputs))
            if server_round == ROUNDS:
                test_KNC.append(predict_logits(model, workspace.test_inputs))
        public_NC = method.teacher(np.stack(public_KNC))
        if server_round < ROUNDS:
            batch = PublicBatch(workspace.public_inputs[:LEARNT], torch.from_numpy(public_NC[:LEARNT]))
            Distiller(student, config.student).distil(batch, derive_seed(seed, "round", server_round))
    return public_NC, method.teacher(np.stack(test_KNC))


def one(source: str, root: Path, seed: int) -> dict[str, object]:
    config = experiment(source, root, seed)
    workspace = open_workspace(config)
    public_NC, test_NC = teacher(config, workspace)
    batch = PublicBatch(workspace.public_inputs[:LEARNT], torch.from_numpy(public_NC[:LEARNT]))
    held_out_NCHW, labels_N = workspace.public_inputs[LEARNT:], workspace.data.public_labels_N[LEARNT:]

    def distil(setting: Setting) -> tuple[FloatArray, float]:
        model = workspace.build_model("mlp", derive_seed(seed, "new student"))
        Distiller(model, at(config, setting).student).distil(batch, derive_seed(seed, "trial"))
        tested = score(predict_logits(model, workspace.test_inputs), workspace.data.test.labels_N)
        return predict_logits(model, held_out_NCHW), tested.accuracy

    settings = settings_of(GRID)
    students, tested = zip(*map(distil, settings), strict=True)
    chosen = {
        name: judge(settings, students, public_NC[LEARNT:], known).model_dump(mode="json")
        for name, known in (("labels", labels_N), ("agreement", None))
    }
    accuracy = score(test_NC, workspace.data.test.labels_N).accuracy
    return {"source": source, "seed": seed, "teacher": accuracy, "test": dict(zip(GRID, tested, strict=True))} | chosen


def loss_in_points(row: dict, rule: str) -> float:
    """By how much the test accuracy at the chosen T is below the best of the grid."""
    return 100 * (max(row["test"].values()) - row["test"][row[rule]["temperature"]])


def table(rows: list[dict]) -> str:
    head = [
        "source",
        "seed",
        "teacher, %",
        *(f"T = {t:g}, %" for t in GRID),
        "with labels",
        "below the best",
        "without",
    ]
    lines = [_row([*head, "below the best"]), _row(["---"] * (len(head) + 1))]
    for row in rows:
        cells = [row["source"], str(row["seed"]), f"{100 * row['teacher']:.2f}"]
        cells += [f"{100 * row['test'][t]:.2f}" for t in GRID]
        for rule in ("labels", "agreement"):
            cells += [f"T = {row[rule]['temperature']:g}", f"{loss_in_points(row, rule):.2f}"]
        lines.append(_row(cells))
    for rule in ("labels", "agreement"):
        losses = [loss_in_points(row, rule) for row in rows]
        lines.append(f"\nmean below the best, {rule}: {np.mean(losses):.3f} points (largest {max(losses):.2f})")
        for source in SOURCES:
            of_source = [loss_in_points(row, rule) for row in rows if row["source"] == source]
            lines.append(f"  {source}: {np.mean(of_source):.3f}")
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plot(rows: list[dict]) -> str:
    lines = []
    for index, source in enumerate(SOURCES):
        of_source = [row for row in rows if row["source"] == source]
        below = [np.mean([100 * (row["test"][t] - max(row["test"].values())) for row in of_source]) for t in GRID]
        lines.append(Line(source.replace("_", "-"), source, range(len(GRID)), [100 + b for b in below], stroke(index)))
    x = Axis("temperature", "{:g}".format, names=tuple(f"{t:g}" for t in GRID))
    y = Axis("100 − points below best", "{:.2f}".format)
    spoken = "Test accuracy of a student by its temperature, in points below the best of the grid, mean over seeds."
    return line_plot("temperature", "Students by temperature", spoken, lines, x, y, most=100).svg


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/temperature"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    with one_torch_thread():
        for source in SOURCES:
            for seed in SEEDS:
                rows.append(one(source, arguments.root, seed))
                print(f"{source} seed {seed}: teacher {rows[-1]['teacher']:.3f}, {rows[-1]['test']}", flush=True)
    (arguments.output / "temperature.json").write_text(json.dumps(rows, indent=1))
    (arguments.output / "temperature.svg").write_text(plot(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
