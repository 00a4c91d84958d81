"""What do hidden states and attention add to logits, where a small transformer learns from a larger one on e-mails?

    python simulations/distillation/texts.py MAILS

MAILS is a file of JSON lines with `text` and `label`. A transformer of four blocks of width 64 learns the private
texts; one of two blocks of width 32 learns from it on the public ones: from labels, from logits, and besides from
hidden states and attention as in TinyBERT, but with all terms at once. All weights are 1. Accuracies are balanced.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Values, arguments, dots, finish, over_seeds, table

from fedkd.offline import open_offline
from fedkd.offline.config import parse_offline
from fedkd.training.evaluation import balanced_accuracy, predict_logits

PAIRS = (("embedding", "embedding"), ("layers.0", "layers.1"), ("layers.1", "layers.3"))
"""Of the student and of the teacher: every second block, as in the paper."""
HIDDEN = [{"loss": "hidden_states", "student": [ours], "teacher": [theirs]} for ours, theirs in PAIRS]
ATTENTION = [
    {"loss": "attention_matrices", "student": [f"{ours}.attention.scores"], "teacher": [f"{theirs}.attention.scores"]}
    for ours, theirs in PAIRS[1:]
]
VARIANTS = {
    "labels alone": {"objective": {"alpha": 0.0}},
    "logits alone": {},
    "and hidden states": {"terms": HIDDEN},
    "and attention": {"terms": ATTENTION},
    "and both": {"terms": HIDDEN + ATTENTION},
}
SIZES = {"train_size": 1_500, "test_size": 800, "public": {"size": 500, "labelled": True}}
RATES = {"optimizer": "adam", "learning_rate": 0.001, "batch_size": 16}


def one_seed(mails: str, seed: int, epochs: int | None) -> dict[str, Values]:
    """Every student of one teacher, which is trained once."""
    base = {
        "run": {"seed": seed, "device": "cpu"},
        "data": {"source": "jsonl", "root": mails, "text": {"length": 32, "vocabulary": 2_000}, **SIZES},
        "teacher": {"model": "transformer", "epochs": epochs or 5, **RATES},
        "student": {"model": "transformer_small", "epochs": epochs or 8, **RATES},
    }
    weights: Mapping[str, torch.Tensor] | None = None
    found: dict[str, Values] = {}
    for name, variant in VARIANTS.items():
        student = base["student"] | {"objective": variant.get("objective", {})}
        distillation = open_offline(parse_offline(base | {"student": student, "terms": variant.get("terms", [])}))
        if weights is None:
            distillation.train_teacher()
            weights = distillation.teacher.state_dict()
        distillation.teacher.load_state_dict(weights)
        distillation.distil(distillation.answers())
        workspace = distillation.workspace
        pair = {"student": distillation.student, "teacher": distillation.teacher}
        found[name] = {
            who: 100 * balanced_accuracy(predict_logits(model, workspace.test_inputs), workspace.data.test.labels_N)
            for who, model in pair.items()
        }
    return found


def main() -> None:
    given = arguments(__doc__, seeds=3)
    if given.data is None:
        raise SystemExit("texts.py needs MAILS: a file of JSON lines with `text` and `label`")
    found = over_seeds(given, lambda seed: one_seed(given.data, seed, given.epochs))
    title = "Small transformers by what they learn from"
    finish(given, table("student learns", found), dots("distillation-texts", title, found, ("student",)))


if __name__ == "__main__":
    main()
