"""What each part of a distillation does on scikit-learn's digits: one teacher, one student, several seeds.

    python simulations/distillation/digits.py
    python simulations/distillation/digits.py --seeds 1 --epochs 1    # whether it runs

A CNN learns 500 digits; an MLP learns on 100 others, from the labels, the teacher, or both. Prints the accuracy of the
student on 500 more digits: mean, spread (standard deviation over seeds) and each seed.
"""

import argparse
from statistics import mean, stdev

from fedkd.offline import open_offline
from fedkd.offline.config import parse_offline

SIMILARITY = {"loss": "similarity", "student": ["features"], "teacher": ["classifier.0"], "weight": 10.0}
VARIANTS = {
    "labels alone": {"method": {"alpha": 0.0}},
    "teacher, T = 1": {},
    "teacher, T = 4": {"method": {"temperature": 4.0}},
    "teacher and labels, T = 4": {"method": {"temperature": 4.0, "alpha": 0.5}},
    "reverse KL, T = 4": {"method": {"temperature": 4.0}, "student": {"loss": "reverse_kl"}},
    "teacher trained on smoothed labels, T = 4": {
        "method": {"temperature": 4.0},
        "teacher": {"label_smoothing": 0.1},
    },
    "teacher and similarity, T = 4": {"method": {"temperature": 4.0}, "terms": [SIMILARITY]},
}


def accuracies(variant: dict, seed: int, epochs: int | None) -> tuple[float, float]:
    """Of the student and of the teacher."""
    teacher = {"model": "cnn", "epochs": epochs or 15, "learning_rate": 0.05, **variant.get("teacher", {})}
    student = {"model": "mlp", "epochs": epochs or 60, "batch_size": 32, **variant.get("student", {})}
    config = parse_offline(
        {
            "run": {"seed": seed},
            "data": {"train_size": 500, "test_size": 500, "public": {"size": 100, "labelled": True}},
            "method": variant.get("method", {}),
            "teacher": teacher,
            "student": student,
            "terms": variant.get("terms", []),
        }
    )
    _, record = open_offline(config).run()
    return 100 * record.student.accuracy, 100 * record.ensemble_teacher.accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of teacher and student; 15 and 60 where none is given")
    arguments = parser.parse_args()
    print("| student learns from | mean | spread | seeds | teacher, mean |")
    print("| --- | ---: | ---: | --- | ---: |")
    for name, variant in VARIANTS.items():
        found = [accuracies(variant, seed, arguments.epochs) for seed in range(arguments.seeds)]
        students, teachers = zip(*found, strict=True)
        spread = stdev(students) if len(students) > 1 else 0.0
        each = " ".join(f"{value:.1f}" for value in students)
        print(f"| {name} | {mean(students):.1f} | {spread:.1f} | {each} | {mean(teachers):.1f} |", flush=True)


if __name__ == "__main__":
    main()
