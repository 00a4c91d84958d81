"""What uploads make of a model and data that are a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fedkd.methods.uploads import ClassLogits, Prototypes, PublicLogits, Selected, Upload, Votes

PRIVATE = np.array([[1.0, 0.0, 0.0], [3.0, 2.0, 0.0], [0.0, 0.0, 5.0]], np.float32)
LABELS = np.array([0, 0, 2])


@dataclass(frozen=True)
class View:
    """Public sample i has the logits (i, 2, −i); class 1 has no private sample."""

    num_classes: int = 3

    def public_logits(self, indices_N):
        return np.stack([indices_N, np.full(len(indices_N), 2), -indices_N], axis=1).astype(np.float32)

    def private_logits(self):
        return PRIVATE, LABELS

    def private_features(self, module):
        return PRIVATE[:, :2] * len(module), LABELS


def made(upload: Upload, asked):
    rows, _ = upload.make(View(), np.array(asked, np.int64), {})
    spec = upload.spec(3, 30.0)
    return spec.checked(rows, np.array(asked, np.int64))


def test_votes_are_a_single_one_for_the_chosen_class():
    assert made(Votes(), [0, 2, 3]).values_ND.tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("upload", "means"),
    [(ClassLogits(), [[2, 1, 0], [0, 0, 5]]), (Prototypes(module="ab", width=2), [[4, 2], [0, 0]])],
    ids=["logits", "features"],
)
def test_a_class_is_the_mean_over_its_private_samples(upload, means):
    rows = made(upload, [0, 1, 2])
    assert rows.keys_N.tolist() == [0, 2]
    assert rows.values_ND.tolist() == means
    assert rows.weights_N.tolist() == [1, 1]


@pytest.mark.parametrize("upload", [ClassLogits(), Prototypes(module="ab", width=2)], ids=["logits", "features"])
def test_a_client_without_any_of_the_classes_says_nothing(upload):
    assert len(made(upload, [1])) == 0


def weights(*given):
    return lambda view, asked_N, memory: (np.array(given), memory)


def test_a_selected_row_has_the_weight_of_its_key_and_others_do_not_leave():
    rows = made(Selected(PublicLogits(), weights(0.5, 0.0, 1.0)), [1, 2, 3])
    assert rows.keys_N.tolist() == [1, 3]
    assert rows.values_ND[:, 0].tolist() == [1, 3]
    assert rows.weights_N.tolist() == [0.5, 1.0]


def test_an_upload_that_has_fewer_rows_than_were_selected_keeps_the_weights_of_their_keys():
    rows = made(Selected(ClassLogits(), weights(0.5, 0.75, 0.25)), [0, 1, 2])
    assert rows.keys_N.tolist() == [0, 2]
    assert rows.weights_N.tolist() == [0.5, 0.25]


@pytest.mark.parametrize("upload", [PublicLogits(), Votes(), ClassLogits()], ids=lambda upload: type(upload).__name__)
def test_a_client_may_select_nothing(upload):
    assert len(made(Selected(upload, weights(0.0, 0.0, 0.0)), [0, 1, 2])) == 0
