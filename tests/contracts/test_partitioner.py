"""What every kind of partition owes its callers, and where it must agree with flwr-datasets."""

from __future__ import annotations

import random

import datasets
import numpy as np
import pytest
from flwr_datasets import partitioner as flower
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedkd.data.config import PARTITION_KINDS, PartitionConfig
from fedkd.data.partition import partition
from fedkd.errors import PartitionError
from fedkd.seeding import derive_seed

NUM_CLASSES = 4

every_kind = pytest.mark.parametrize("kind", PARTITION_KINDS)
few_examples = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def labels_of(num, seed=0):
    """Labels of which every class has a share, in an order that is not sorted."""
    return np.random.default_rng(seed).permutation(np.arange(num, dtype=np.int64) % NUM_CLASSES)


def natural_ids_of(num):
    return np.arange(num) % 23


def divide(kind, num=400, num_clients=4, seed=0, **keys):
    config = PartitionConfig(kind=kind, **{"min_size": 1, **keys})
    return partition(labels_of(num), num_clients, config, seed, natural_ids_of(num))


@every_kind
@few_examples
@given(
    num=st.integers(60, 300),
    num_clients=st.integers(1, 5),
    min_size=st.integers(1, 12),
    seed=st.integers(0, 2**63 - 1),
    alpha=st.floats(0.01, 100),
    per_client=st.integers(1, 4),
)
def test_partitions_are_disjoint_complete_ascending_and_large_enough(
    kind, num, num_clients, min_size, seed, alpha, per_client
):
    keys = {"dirichlet_alpha": alpha, "classes_per_client": per_client, "shards_per_client": per_client}
    try:
        parts = divide(kind, num, num_clients, seed, min_size=min_size, **keys)
    except PartitionError:
        assume(False)  # a refusal is a right answer; the suite below says when it must not be one
    assert len(parts) == num_clients
    assert sorted(np.concatenate(parts).tolist()) == list(range(num))
    assert min(len(part) for part in parts) >= min_size
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)


@every_kind
def test_an_ordinary_partition_is_not_refused(kind):
    assert sum(len(part) for part in divide(kind, min_size=3)) == 400


@every_kind
def test_the_same_seed_gives_the_same_partition_and_another_another(kind):
    def as_bytes(seed):
        return [part.tobytes() for part in divide(kind, seed=seed)]

    assert as_bytes(5) == as_bytes(5)
    assert as_bytes(5) != as_bytes(6)


@every_kind
def test_global_random_state_is_neither_read_nor_moved(kind):
    first = divide(kind)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 (the global state is what is tested)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    second = divide(kind)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@every_kind
def test_one_client_holds_everything(kind):
    (only,) = divide(kind, num_clients=1, classes_per_client=NUM_CLASSES)
    assert only.tolist() == list(range(400))


@every_kind
@pytest.mark.parametrize(
    ("labels", "num_clients", "min_size", "match"),
    [
        (labels_of(20), 21, 1, "num_clients = 21 with partition.min_size = 1 needs 21 samples; there are 20"),
        (labels_of(20), 4, 6, "needs 24 samples"),
        (labels_of(20), 0, 1, "num_clients = 0 is not allowed"),
        (labels_of(20)[:0], 1, 1, "there are 0"),
        (labels_of(20) - 1, 2, 1, "labels_N holds -1"),
        (labels_of(20)[:, None], 2, 1, "one-dimensional array of integers"),
        (labels_of(20) / 2, 2, 1, "one-dimensional array of integers"),
        (labels_of(20).tolist(), 2, 1, "labels_N is a list"),
    ],
)
def test_bad_input_is_refused(kind, labels, num_clients, min_size, match):
    with pytest.raises(PartitionError, match=match):
        partition(labels, num_clients, PartitionConfig(kind=kind, min_size=min_size), 0)


@pytest.mark.parametrize("kind", ["iid", "linear", "square", "exponential"])
def test_sizes_are_flowers(kind):
    theirs = {
        "iid": flower.IidPartitioner,
        "linear": flower.LinearPartitioner,
        "square": flower.SquarePartitioner,
        "exponential": flower.ExponentialPartitioner,
    }[kind](4)
    theirs.dataset = datasets.Dataset.from_dict({"label": labels_of(403)})
    assert [len(part) for part in divide(kind, num=403)] == [len(theirs.load_partition(k)) for k in range(4)]


@pytest.mark.filterwarnings("ignore:Specifying null_placement:FutureWarning")  # datasets' own call of pyarrow
def test_shards_that_divide_the_samples_are_flowers():
    theirs = flower.ShardPartitioner(5, "label", 2, shuffle=False, seed=derive_seed(3, "partition", "shard"))
    theirs.dataset = datasets.Dataset.from_dict({"label": labels_of(400)})
    ours = divide("shard", num_clients=5, seed=3)
    for client, part in enumerate(ours):
        counts = np.bincount(theirs.load_partition(client)["label"][:], minlength=NUM_CLASSES)
        assert np.bincount(labels_of(400)[part], minlength=NUM_CLASSES).tolist() == counts.tolist()


def test_natural_ids_are_divided_as_flower_divides_them():
    theirs = flower.GroupedNaturalIdPartitioner("owner", group_size=1, sort_unique_ids=True)
    theirs.dataset = datasets.Dataset.from_dict({"owner": natural_ids_of(400), "index": np.arange(400)})
    for client, part in enumerate(divide("natural_id", num_clients=23)):
        assert part.tolist() == sorted(theirs.load_partition(client)["index"][:])


def test_pathological_sizes_and_classes_are_flowers_where_it_uses_every_class():
    theirs = flower.PathologicalPartitioner(NUM_CLASSES, "label", 2, "deterministic")
    theirs.dataset = datasets.Dataset.from_dict({"label": labels_of(400)})
    for client, part in enumerate(divide("pathological", classes_per_client=2)):
        reference = np.asarray(theirs.load_partition(client)["label"][:])
        assert len(part) == len(reference)
        assert len(np.unique(labels_of(400)[part])) == len(np.unique(reference)) == 2


def test_dirichlet_counts_are_flowers_given_its_seed():
    theirs = flower.DirichletPartitioner(
        4, "label", 0.5, min_partition_size=1, self_balancing=True, seed=derive_seed(3, "partition", "dirichlet", 0)
    )
    theirs.dataset = datasets.Dataset.from_dict({"label": np.sort(labels_of(400))})
    for client, part in enumerate(divide("dirichlet", seed=3, dirichlet_alpha=0.5)):
        counts = np.bincount(theirs.load_partition(client)["label"][:], minlength=NUM_CLASSES)
        assert np.bincount(labels_of(400)[part], minlength=NUM_CLASSES).tolist() == counts.tolist()


@pytest.mark.parametrize("alpha", [0.5, 2.0, 20.0])
def test_dirichlet_shares_have_the_mean_and_variance_of_the_distribution(alpha):
    """A share is Beta(α, (K - 1) α): mean 1/K, variance (1/K) (1 - 1/K) / (K α + 1)."""
    num_clients, labels = 4, labels_of(800)
    config = PartitionConfig(dirichlet_alpha=alpha, self_balancing=False, min_size=1)
    shares = np.array(
        [
            np.bincount(labels[part], minlength=NUM_CLASSES) / 200
            for seed in range(60)
            for part in partition(labels, num_clients, config, seed)
        ]
    )
    expected = (1 / num_clients) * (1 - 1 / num_clients) / (num_clients * alpha + 1)
    assert shares.mean() == pytest.approx(1 / num_clients)
    assert shares.var() == pytest.approx(expected, rel=0.15)
