"""Do the teacher's layers, and relations between its samples, teach a student more than its logits alone?

    python simulations/distillation/layers.py DATA

A CNN learns labelled images; a LeNet-5 learns from its answers on unlabelled public ones, and besides from its layers.
Both have two stages of one height and width, at which hints and attention look; similarity, distance and angle look at
the first hidden layer behind the stages: 64 units of the teacher, in front of its logits; 120 of the student, with a
layer of 84 in between. The weights are set once, by the size of the losses.
"""

from __future__ import annotations

from common import Taught, arguments, data_section, dots, finish, over_seeds, table

STAGES = ("features.2", "features.5")


def at(loss: str, weight: float, *modules: str) -> list[dict]:
    return [{"loss": loss, "student": [name], "teacher": [name], "weight": weight} for name in modules]


DISTANCE, ANGLE = at("distance", 1.0, "classifier.1"), at("angle", 2.0, "classifier.1")
TERMS = {
    "logits alone": [],
    "and hints, first stage": at("hint", 0.01, STAGES[0]),
    "and hints, both stages": at("hint", 0.01, *STAGES),
    "and attention, both stages": at("attention", 10.0, *STAGES),
    "and similarity": at("similarity", 100.0, "classifier.1"),
    "and distances": DISTANCE,
    "and distances and angles": DISTANCE + ANGLE,
}


def main() -> None:
    given, taught = arguments(__doc__, seeds=3), Taught()
    data = data_section(given, private=2000, public=300, test=2000, side=14)

    student = {"model": "lenet5", "epochs": given.epochs or 20, "batch_size": 32, "objective": {"temperature": 2.0}}

    def values(terms: list[dict], seed: int) -> dict:
        return {
            "run": {"seed": seed, "device": "cpu"},
            "data": data,
            "teacher": {"model": "cnn", "epochs": given.epochs or 6, "learning_rate": 0.05},
            "student": student,
            "terms": terms,
        }

    found = over_seeds(given, lambda seed: {name: taught(values(each, seed)) for name, each in TERMS.items()})
    title = "Students by what they learn besides the logits"
    finish(given, table("student learns", found), dots("layers", title, found, ("student",)))


if __name__ == "__main__":
    main()
