"""How near does a student come to its teacher as the public set grows?

    python simulations/distillation/bound.py DATA

A teacher learns from labelled private images; for each size of the public set a new student learns from the teacher's
answers on so many unlabelled ones. Every student is measured on the test split: its error, its teacher's, and how often
the two disagree, there and on the public images that it has learnt from.
"""

from __future__ import annotations

from statistics import mean, stdev

import torch
from common import arguments, data_section, finish, over_seeds, spread, workspace_of

from fedkd.distillation import DistillationConfig, Distiller, PublicBatch, answered_by
from fedkd.distillation.bound import Answered, disagreement_gap, teacher_bound
from fedkd.reporting.lines import Axis, Line, draw
from fedkd.reporting.plot import CENTRALISED, stroke
from fedkd.reporting.svg import render
from fedkd.training.config import TrainingConfig
from fedkd.training.evaluation import predict_logits
from fedkd.training.loop import train_supervised

SIZES = (100, 200, 400, 800, 1600, 3200)
SIZES_OF_DIGITS = (25, 50, 100, 200)
"""Of scikit-learn's 1,797 digits, few are left for the public set."""
STEPS = 400
"""Of every student, whatever the size of its public set; 32 samples each."""
COLUMNS = ("student's error", "teacher's error", "disagreement", "bound", "forgotten", "corrected")
GAPS = ("on what was learnt", "gap", "limit")


def main() -> None:
    given = arguments(__doc__, seeds=3)
    sizes = SIZES if given.data else SIZES_OF_DIGITS
    data = data_section(given, private=1500, public=SIZES[-1] + 1 if given.data else 801, test=3000, side=14)

    def one(seed: int) -> dict:
        workspace = workspace_of(data, seed)
        teacher = workspace.build_model("cnn", seed)
        config = TrainingConfig(epochs=given.epochs or 4, learning_rate=0.05)
        train_supervised(teacher, *workspace.client(0), config, num_classes=10, seed=seed)
        public, test = answered_by(teacher, workspace.public_inputs), workspace.test_inputs
        found = {}
        for size in sizes:
            student = workspace.build_model("mlp", 100 + seed)
            learnt = public.take(torch.arange(size))
            found[f"{len(learnt.teacher_logits_NC)}"] = measured(
                student, teacher, learnt, test, workspace.data.test.labels_N, seed, given.epochs
            )
        return found

    found = over_seeds(given, one)
    finish(given, table(found), plot(found))


def measured(student, teacher, learnt: PublicBatch, test, labels_N, seed: int, epochs: int | None) -> dict:
    batches = -(-len(learnt.teacher_logits_NC) // 32)
    config = DistillationConfig(epochs=epochs or max(1, STEPS // batches), batch_size=32)
    Distiller(student, config).distil(learnt, seed)
    ours, theirs = predict_logits(student, test), predict_logits(teacher, test)
    bound = teacher_bound(ours, theirs, labels_N)
    gap = disagreement_gap(
        Answered(predict_logits(student, learnt.images_NCHW), learnt.teacher_logits_NC.numpy(), ours, theirs)
    )
    values = (*bound, gap.learnt, gap.gap, gap.limit)
    return dict(zip((*COLUMNS, *GAPS), (100 * value for value in values), strict=True))


def table(found) -> str:
    columns = (*COLUMNS, *GAPS)
    lines = [f"| public set | {' | '.join(columns)} |", "| ---: |" + " ---: |" * len(columns)]
    for size, seeds in found.items():
        lines.append(f"| {size} | {' | '.join(spread([each[name] for each in seeds]) for name in columns)} |")
    held = sum(each["student's error"] <= each["bound"] + 1e-9 for seeds in found.values() for each in seeds)
    count = sum(map(len, found.values()))
    return "\n".join([*lines, "", f"{held} of {count} students within the bound"])


def plot(found) -> str:
    """Curves with a bar of one standard deviation."""
    sizes = [float(size) for size in found]
    shown = {
        "bound: teacher's error + disagreement": lambda each: each["bound"],
        "student's error": lambda each: each["student's error"],
        "teacher's error + gap": lambda each: each["teacher's error"] + each["gap"],
        "teacher's error": lambda each: each["teacher's error"],
    }
    x, y = Axis("public samples", "{:g}".format), Axis("share of the test split (%)", "{:.1f}".format)
    means = {label: [mean(map(of, seeds)) for seeds in found.values()] for label, of in shown.items()}
    ends = (f"{label}: from {values[0]:.1f} to {values[-1]:.1f} %" for label, values in means.items())

    def paint(figure) -> None:
        axes = figure.subplots()
        for index, (label, of) in enumerate(shown.items()):
            look = CENTRALISED if label == "teacher's error" else stroke(index)
            draw(axes, Line(f"line-{index}", label, sizes, means[label], look))
            bars = [stdev(map(of, seeds)) if len(seeds) > 1 else 0.0 for seeds in found.values()]
            axes.errorbar(sizes, means[label], bars, fmt="none", ecolor=look.colour, capsize=3)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(x.label)
        axes.set_ylabel(y.label)
        axes.set_ylim(bottom=0)
        figure.legend(loc="lower center", ncols=2, borderaxespad=0)

    title = "A student's error and its bound by the size of the public set"
    spoken = f"{title}. {'; '.join(ends)}."
    return render("teacher-bound", title, spoken, (280.0, 44.0), paint, 480.0)


if __name__ == "__main__":
    main()
