"""What hidden states and attention add to logits where a small transformer learns from a larger one, on e-mails.

    python simulations/distillation/texts.py DATA
    python simulations/distillation/texts.py DATA --seeds 1 --epochs 1    # whether it runs

DATA is a file of JSON lines with `text` and `label`. A transformer of four blocks of width 64 learns the private texts;
one of two blocks of width 32 learns from it on the public ones, from labels, logits, hidden states or attention (as
TinyBERT, with all terms at once).
Prints balanced accuracies on the test split: mean, spread (standard deviation over seeds) and each seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev

from fedkd.federation.threads import one_torch_thread
from fedkd.offline import OfflineDistillation, open_offline
from fedkd.offline.config import parse_offline
from fedkd.reporting.svg import INK, MUTED, render
from fedkd.training.evaluation import balanced_accuracy, predict_logits

PAIRS = (("embedding", "embedding"), ("layers.0", "layers.1"), ("layers.1", "layers.3"))
"""Of the student and of the teacher: every second block, as in the paper."""
HIDDEN = [{"loss": "hidden_states", "student": [ours], "teacher": [theirs]} for ours, theirs in PAIRS]
ATTENTION = [
    {
        "loss": "attention_matrices",
        "student": [f"{ours}.attention.scores"],
        "teacher": [f"{theirs}.attention.scores"],
    }
    for ours, theirs in PAIRS[1:]
]
SIZES = {"train_size": 2_000, "test_size": 1_000, "public": {"size": 600, "labelled": True}}
VARIANTS = {
    "labels": {"method": {"alpha": 0.0}},
    "logits": {},
    "logits, hidden states": {"terms": HIDDEN},
    "logits, attention": {"terms": ATTENTION},
    "logits, hidden states, attention": {"terms": HIDDEN + ATTENTION},
}


def distillation(data: Path, variant: dict, seed: int, epochs: int | None) -> OfflineDistillation:
    rates = {"optimizer": "adam", "learning_rate": 0.001, "batch_size": 16}
    return open_offline(
        parse_offline(
            {
                "run": {"seed": seed, "device": "cpu"},
                "data": {
                    "source": "jsonl",
                    "root": str(data),
                    "text": {"length": 32, "vocabulary": 2_000},
                    **SIZES,
                },
                "method": variant.get("method", {}),
                "teacher": {"model": "transformer", "epochs": epochs or 6, **rates},
                "student": {"model": "transformer_small", "epochs": epochs or 8, **rates},
                "terms": variant.get("terms", []),
            }
        )
    )


def one_seed(data: Path, seed: int, epochs: int | None) -> dict[str, float]:
    """Balanced accuracies in percent, of the teacher and of every student."""
    found, weights = {}, None
    for name, variant in VARIANTS.items():
        taught = distillation(data, variant, seed, epochs)
        if weights is None:
            taught.train_teacher()
            weights = taught.teacher.state_dict()
            found["teacher"] = _measured(taught, taught.teacher)
        taught.teacher.load_state_dict(weights)
        taught.distil(taught.answers())
        found[name] = _measured(taught, taught.student)
    return found


def _measured(taught: OfflineDistillation, model: object) -> float:
    workspace = taught.workspace
    return 100 * balanced_accuracy(predict_logits(model, workspace.test_inputs), workspace.data.test.labels_N)


def plot(found: dict[str, list[float]]) -> str:
    """A bar for each student with its spread, a point for each seed, and a line for the teacher."""

    def paint(figure: object) -> None:
        axes = figure.subplots()
        names = list(VARIANTS)[::-1]
        for row, name in enumerate(names):
            values = found[name]
            spread = stdev(values) if len(values) > 1 else 0.0
            axes.barh(row, mean(values), xerr=spread, color="#4e8abe", error_kw={"ecolor": INK, "capsize": 3})
            axes.plot(values, [row] * len(values), "o", color=INK, markersize=3)
        axes.axvline(mean(found["teacher"]), color=MUTED, linestyle="--")
        axes.set_yticks(range(len(names)), [name.replace(", ", ",\n", 1) for name in names])
        lowest = min(min(found[name]) for name in names)
        axes.set_xlim(max(0, lowest - 5), 100)
        axes.set_xlabel("balanced accuracy (%), dashed: teacher")

    means = "; ".join(f"{name} {mean(values):.1f} %" for name, values in found.items())
    spoken = f"Balanced accuracy of a small transformer by what it learns from, mean over seeds: {means}."
    return render("distillation-texts", "Small transformers on e-mails", spoken, (260, 0), paint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of teacher and student; 6 and 8 where none is given")
    parser.add_argument("--plot", type=Path, help="file for the plot, an SVG")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    with one_torch_thread():
        for seed in range(arguments.seeds):
            for name, value in one_seed(arguments.data, seed, arguments.epochs).items():
                found.setdefault(name, []).append(value)
    print("| student learns from | mean | spread | seeds |")
    print("| --- | ---: | ---: | --- |")
    for name in (*VARIANTS, "teacher"):
        values = found[name]
        spread = stdev(values) if len(values) > 1 else 0.0
        label = "(the teacher itself)" if name == "teacher" else name
        print(f"| {label} | {mean(values):.1f} | {spread:.1f} | {' '.join(f'{value:.1f}' for value in values)} |")
    if arguments.plot:
        arguments.plot.write_text(plot(found), encoding="utf-8")


if __name__ == "__main__":
    main()
