"""Does a student of two tasks learn more if it keeps how its teacher's tasks relate?

    python simulations/distillation/tasks.py DATA

Each image is turned by 0, 90, 180 or 270 degrees. A convolutional teacher learns both tasks, the class and the turn,
from labels; a small student learns from the teacher's answers on unlabelled public images. Two relations can be kept
besides: between the tasks (linear CKA of their outputs), and between the samples within each task (distances).
"""

from __future__ import annotations

import torch
from common import arguments, data_section, dots, finish, over_seeds, percentage, table, workspace_of
from torch import Tensor, nn

from fedkd.distillation import DistillationConfig, Distiller, ObjectiveConfig, Term, answered_by
from fedkd.losses import distance_loss, kd_loss, task_geometry, task_geometry_loss
from fedkd.models.taps import FeatureTaps
from fedkd.seeding import isolated_torch_rng
from fedkd.training.config import OptimizerSection
from fedkd.training.loop import batches, make_optimizer, run_epoch

HEADS = ("digit", "turn")
T = 2.0
SOFT = Term(lambda ours, theirs: kd_loss(ours, theirs, T), "turn", "turn")
RELATION = Term(task_geometry_loss, HEADS, HEADS)
DISTANCES = tuple(Term(distance_loss, head, head, weight=3.0) for head in HEADS)
VARIANTS: dict[str, tuple[Term, ...]] = {
    "soft targets of both tasks": (SOFT,),
    "both, and the relation of tasks": (SOFT, RELATION),
    "both, and distances within each task": (SOFT, *DISTANCES),
    "soft targets of the class": (),
    "the class, and the relation of tasks": (RELATION,),
}


class TwoTasks(nn.Module):
    """A trunk and two heads: class and turn; returns the logits of the class."""

    def __init__(self, trunk: nn.Module, width: int) -> None:
        super().__init__()
        self.trunk, self.digit, self.turn = trunk, nn.Linear(width, 10), nn.Linear(width, 4)

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        return self.digit(features), self.turn(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.both(images)[0]


def teacher_model(side: int) -> TwoTasks:
    trunk = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (side // 4) ** 2, 64), nn.ReLU(),
    )  # fmt: skip
    return TwoTasks(trunk, 64)


def student_model(side: int) -> TwoTasks:
    return TwoTasks(nn.Sequential(nn.Flatten(), nn.Linear(side**2, 32), nn.ReLU()), 32)


def turned(images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    turns = torch.randint(4, (len(images),), generator=rng)
    return torch.stack([torch.rot90(each, int(turn), (1, 2)) for each, turn in zip(images, turns, strict=True)]), turns


def train(model: TwoTasks, images: Tensor, digits: Tensor, turns: Tensor, epochs: int, rng: torch.Generator) -> None:
    config = OptimizerSection(optimizer="adam", learning_rate=0.002)
    optimizer = make_optimizer(model.parameters(), config)

    def loss(indices: Tensor) -> Tensor:
        ours = model.both(images[indices])
        return sum(nn.functional.cross_entropy(z, y[indices]) for z, y in zip(ours, (digits, turns), strict=True))

    for _ in range(epochs):
        run_epoch(model, optimizer, batches(len(images), 32, rng), loss)


def outputs(model: TwoTasks, images: Tensor) -> list[Tensor]:
    with torch.no_grad(), FeatureTaps(model.eval(), HEADS) as taps:
        model(images)
        return [taps.features[head] for head in HEADS]


def measured(model: TwoTasks, teacher: list[Tensor], images: Tensor, digits: Tensor, turns: Tensor) -> dict:
    ours = outputs(model, images)
    relation, theirs = (float(task_geometry(each)[0, 1]) for each in (ours, teacher))
    return {
        "class": percentage(ours[0].argmax(dim=1), digits),
        "turn": percentage(ours[1].argmax(dim=1), turns),
        "relation off by": 100 * abs(relation - theirs),
    }


def main() -> None:
    given = arguments(__doc__, seeds=3)
    data = data_section(given, private=2000, public=500, test=2000, side=14)

    def one(seed: int) -> dict:
        workspace, rng = workspace_of(data, seed), torch.Generator().manual_seed(seed)
        private, digits = workspace.client(0)
        images, turns = turned(private, rng)
        public, _ = turned(workspace.public_inputs, rng)
        test, test_turns = turned(workspace.test_inputs, rng)
        test_digits, side = torch.from_numpy(workspace.data.test.labels_N), images.shape[-1]
        with isolated_torch_rng(seed):
            teacher = teacher_model(side)
        train(teacher, images, digits, turns, given.epochs or 8, rng)
        answers, theirs = answered_by(teacher, public, taps=HEADS), outputs(teacher, test)
        found = {"the teacher": measured(teacher, theirs, test, test_digits, test_turns)}
        objective = ObjectiveConfig(temperature=T)
        learning = DistillationConfig(
            epochs=given.epochs or 20, batch_size=32, learning_rate=0.003, objective=objective
        )
        for name, terms in VARIANTS.items():
            with isolated_torch_rng(seed):
                student = student_model(side)
            Distiller(student, learning, terms=terms).distil(answers, seed)
            found[name] = measured(student, theirs, test, test_digits, test_turns)
        return found

    found = over_seeds(given, one)
    title = "Students of two tasks by what they keep of the teacher"
    finish(given, table("student learns", found), dots("two-tasks", title, found, ("class", "turn", "relation off by")))


if __name__ == "__main__":
    main()
