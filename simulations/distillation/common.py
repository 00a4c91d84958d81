"""What the experiments of this folder share: the command line, the data, a loop over seeds, a table and a plot."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from fedkd.config.experiment import parse_config
from fedkd.federation.threads import one_torch_thread
from fedkd.federation.workspace import Workspace, open_workspace
from fedkd.offline import open_offline
from fedkd.offline.config import parse_offline
from fedkd.reporting.plot import stroke
from fedkd.reporting.svg import INK, MUTED, render
from fedkd.training.evaluation import predict_logits

Values = Mapping[str, float]
"""What one seed came to, by the name of the measure."""
Found = Mapping[str, Sequence[Values]]
"""What all seeds came to, by the name of the variant."""


def arguments(description: str | None, seeds: int, **choices: Iterable[str]) -> argparse.Namespace:
    """Read the command line that all experiments have; `choices` are options of one."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="folder of torchvision's MNIST; scikit-learn's digits without one")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="of all training, for a trial; those of the experiment without")
    parser.add_argument("--plot", type=Path, help="file for the plot, an SVG")
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=tuple(values))
    return parser.parse_args()


def data_section(given: argparse.Namespace, private: int, public: int, test: int, side: int | None = None) -> dict:
    """The `[data]` section: MNIST where a folder is given, else digits, of which there are 1,797, in proportion."""
    if given.data is None:
        private, public, test = (
            max(40, number * 1400 // (private + public + test)) for number in (private, public, test)
        )
    section: dict[str, Any] = {"source": "digits" if given.data is None else "mnist", "train_size": private}
    section |= {"test_size": test, "public": {"size": public, "labelled": True}}
    if given.data is not None:
        section |= {"root": given.data, "image_size": side}
    return section


def workspace_of(data: dict, seed: int) -> Workspace:
    """Private, public and test samples of one seed, all private ones with client 0."""
    partition = {"kind": "iid"}
    return open_workspace(
        parse_config(
            {
                "run": {"seed": seed, "device": "cpu"},
                "data": data | {"partition": partition},
                "clients": {"number": 1, "min_train_nodes": 1},
            }
        )
    )


class Taught:
    """Offline distillations of several variants; each teacher is trained once a seed."""

    def __init__(self) -> None:
        self._teachers: dict[str, Mapping[str, torch.Tensor]] = {}

    def __call__(self, values: dict) -> Values:
        """Accuracies of student and teacher of a configuration, in percent."""
        distillation = open_offline(parse_offline(values))
        key = json.dumps([values["run"], values["data"], values["teacher"]])
        if key in self._teachers:
            distillation.teacher.load_state_dict(self._teachers[key])
        else:
            distillation.train_teacher()
            self._teachers[key] = distillation.teacher.state_dict()
        distillation.distil(distillation.answers())
        workspace = distillation.workspace
        test, labels = workspace.test_inputs, torch.from_numpy(workspace.data.test.labels_N)
        pair = {"student": distillation.student, "teacher": distillation.teacher}
        return {name: accuracy(model, test, labels) for name, model in pair.items()}


def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """In percent."""
    return percentage(torch.from_numpy(predict_logits(model, images)).argmax(dim=1), labels)


def percentage(chosen: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of right choices, in percent."""
    return 100 * float((chosen == labels).float().mean())


def over_seeds(given: argparse.Namespace, one: Callable[[int], Mapping[str, Values]]) -> dict[str, list[Values]]:
    """Run an experiment once a seed."""
    found: dict[str, list[Values]] = {}
    with one_torch_thread():
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            for variant, values in one(seed).items():
                found.setdefault(variant, []).append(values)
    return found


def table(head: str, found: Found, digits: int = 1) -> str:
    """A row for each variant: mean ± standard deviation over seeds of each measure, and the seeds of the first."""
    measures = list(next(iter(found.values()))[0])
    lines = [f"| {head} | {' | '.join(measures)} | {measures[0]}, by seed |"]
    lines.append("| --- |" + " ---: |" * len(measures) + " --- |")
    for variant, seeds in found.items():
        cells = [spread([each[measure] for each in seeds], digits) for measure in measures]
        first = " ".join(f"{each[measures[0]]:.{digits}f}" for each in seeds)
        lines.append(f"| {variant} | {' | '.join(cells)} | {first} |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):.{digits}f} ± {stdev(values) if len(values) > 1 else 0:.{digits}f}"


def dots(key: str, title: str, found: Found, measures: Sequence[str], unit: str = "%") -> str:
    """A dot for each seed, and mean and standard deviation of each variant; a panel for each measure."""
    variants = list(found)

    def paint(figure) -> None:
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for index, (axes, measure) in enumerate(zip(panels, measures, strict=True)):
            look = stroke(index)
            for row, variant in enumerate(variants):
                values = [each[measure] for each in found[variant]]
                axes.plot(values, [row + 0.22] * len(values), ".", color=MUTED, markersize=4)
                error = stdev(values) if len(values) > 1 else 0.0
                axes.errorbar(mean(values), row, xerr=error, color=look.colour, marker=look.marker, capsize=3)
            axes.set_xlabel(f"{measure} ({unit})" if unit else measure, fontsize=10)
            axes.tick_params(axis="x", labelsize=10)
        panels[0].set_yticks(range(len(variants)), variants, fontsize=10, color=INK)
        panels[0].set_ylim(len(variants) - 0.4, -0.6)

    said = "; ".join(
        f"{variant}: " + ", ".join(f"{measure} {spread([each[measure] for each in seeds])}" for measure in measures)
        for variant, seeds in found.items()
    )
    number = len(next(iter(found.values())))
    spoken = f"{title}. Mean ± standard deviation over {number} seeds, in {unit or 'shares'}. {said}."
    height = 70 + 26.0 * len(variants)
    return render(key, title, spoken, (height, 0.0), paint, 480.0 + 120 * (len(measures) - 1))


def finish(given: argparse.Namespace, printed: str, svg: str) -> None:
    """Print the table; write the plot where one is wanted."""
    print(printed)
    if given.plot is not None:
        given.plot.parent.mkdir(parents=True, exist_ok=True)
        given.plot.write_text(svg, encoding="utf-8")
