"""What each part of a distillation does on scikit-learn's digits: one teacher, one student, several seeds.

    python simulations/distillation/digits.py
    python simulations/distillation/digits.py --seeds 1 --epochs 1    # whether it runs

A CNN learns 500 digits; an MLP learns on 100 others, from the labels, the teacher, or both. Prints the accuracy of
student and teacher on 500 more digits: mean ± standard deviation over seeds, and the student of each seed.
"""

from __future__ import annotations

from common import Taught, arguments, dots, finish, over_seeds, table

SIMILARITY = {"loss": "similarity", "student": ["features"], "teacher": ["classifier.0"], "weight": 10.0}
HOT = {"objective": {"temperature": 4.0}}
VARIANTS = {
    "labels alone": {"student": {"objective": {"alpha": 0.0}}},
    "teacher, T = 1": {},
    "teacher, T = 4": {"student": HOT},
    "teacher and labels, T = 4": {"student": {"objective": {"temperature": 4.0, "alpha": 0.5}}},
    "reverse KL, T = 4": {"student": {"objective": {"temperature": 4.0, "loss": "reverse_kl"}}},
    "teacher trained on smoothed labels, T = 4": {"student": HOT, "teacher": {"label_smoothing": 0.1}},
    "teacher and similarity, T = 4": {"student": HOT, "terms": [SIMILARITY]},
}


def main() -> None:
    given, taught = arguments(__doc__, seeds=3), Taught()

    def values(variant: dict, seed: int) -> dict:
        teacher = {"model": "cnn", "epochs": given.epochs or 15, "learning_rate": 0.05}
        student = {"model": "mlp", "epochs": given.epochs or 60, "batch_size": 32}
        return {
            "run": {"seed": seed},
            "data": {"train_size": 500, "test_size": 500, "public": {"size": 100, "labelled": True}},
            "teacher": teacher | variant.get("teacher", {}),
            "student": student | variant.get("student", {}),
            "terms": variant.get("terms", []),
        }

    found = over_seeds(given, lambda seed: {name: taught(values(each, seed)) for name, each in VARIANTS.items()})
    svg = dots("soft-targets", "What a student learns from", found, ("student",))
    finish(given, table("student learns from", found), svg)


if __name__ == "__main__":
    main()
