import numpy as np
import pytest
from pydantic import ValidationError

from fedkd.data.config import PartitionConfig
from fedkd.data.partition import describe_partition, partition
from fedkd.errors import PartitionError

LABELS = np.arange(600, dtype=np.int64) % 10
NAMES = list("abcdefghij")


def test_an_impossible_dirichlet_names_clients_minimum_and_alpha():
    config = PartitionConfig(dirichlet_alpha=0.01, min_size=55)
    with pytest.raises(PartitionError, match="num_clients = 10") as error:
        partition(LABELS, 10, config, 0)
    assert "partition.dirichlet_alpha = 0.01" in str(error.value)
    assert "partition.min_size = 55" in str(error.value)


@pytest.mark.parametrize("seed", range(10))
def test_strong_dirichlet_skew_over_real_labels_succeeds(seed, data_root):
    raw = np.fromfile(data_root / "MNIST" / "raw" / "train-labels-idx1-ubyte", dtype=np.uint8)
    labels = raw[8 : 8 + 10_000].astype(np.int64)
    parts = partition(labels, 10, PartitionConfig(dirichlet_alpha=0.1), seed)
    assert sum(len(part) for part in parts) == 10_000
    assert min(len(part) for part in parts) >= 10


def test_the_number_of_classes_a_client_is_exact_where_flower_would_lose_samples():
    parts = partition(LABELS, 5, PartitionConfig(kind="pathological", classes_per_client=2), 0)
    assert [len(np.unique(LABELS[part])) for part in parts] == [2] * 5
    assert len(np.concatenate(parts)) == len(LABELS)


@pytest.mark.parametrize(
    ("config", "num_clients", "match"),
    [
        ({"kind": "pathological", "classes_per_client": 11}, 4, "classes_per_client = 11 .* 10 classes"),
        ({"kind": "pathological", "classes_per_client": 2}, 4, "some of 10 classes to nobody; allowed: at least 3"),
        ({"kind": "pathological", "classes_per_client": 10, "min_size": 1}, 61, "has 60 samples for 61"),
        ({"kind": "shard", "shards_per_client": 61}, 10, "610 shards of 600 samples"),
        ({"kind": "exponential"}, 10, "num_clients = 10 cannot be served"),
        ({"kind": "exponential", "min_size": 20}, 4, r"gives client 0 of num_clients = 4 .* partition\.min_size"),
        ({"kind": "natural_id"}, 4, "does not say whose"),
    ],
)
def test_each_kind_says_what_stands_in_its_way(config, num_clients, match):
    with pytest.raises(PartitionError, match=match):
        partition(LABELS, num_clients, PartitionConfig(**config), 0)


def test_natural_ids_stay_whole_and_are_shared_evenly():
    ids = np.array([f"writer {row % 7}" for row in range(600)])
    config = PartitionConfig(kind="natural_id")
    alone = partition(LABELS, 7, config, 0, ids)
    assert [set(ids[part]) for part in alone] == [{f"writer {k}"} for k in range(7)]
    shared = [set(ids[part]) for part in partition(LABELS, 3, config, 0, ids)]
    assert sorted(len(group) for group in shared) == [2, 2, 3]
    assert len(set.union(*shared)) == 7
    with pytest.raises(PartitionError, match="finds 7 ids"):
        partition(LABELS, 8, config, 0, ids)
    with pytest.raises(PartitionError, match=r"natural_ids_N has shape \(3,\)"):
        partition(LABELS, 3, config, 0, ids[:3])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("iid", "IID, equal sizes; 600 samples over 5 clients, 120 to 120 each"),
        ("dirichlet", "Dirichlet label skew, alpha 0.3, self-balancing; 600 samples"),
        ("pathological", "Pathological label skew, 2 classes a client;"),
        ("shard", "Label-sorted shards, 2 a client;"),
        ("linear", "Size skew, linear in the client's number;"),
        ("natural_id", "By the natural ids of the source;"),
    ],
)
def test_the_record_counts_and_describes(kind, words):
    config = PartitionConfig(kind=kind)
    parts = partition(LABELS, 5, config, 0, LABELS)
    record = describe_partition(LABELS, parts, NAMES, config)
    assert record.description.startswith(words)
    assert np.sum(record.counts, axis=0).tolist() == [60] * 10
    assert [sum(row) for row in record.counts] == [len(part) for part in parts]
    assert record.counts[1][3] == (LABELS[parts[1]] == 3).sum()
    assert record.class_names == tuple(NAMES)


def test_more_alpha_is_less_skew():
    def distance(alpha):
        config = PartitionConfig(dirichlet_alpha=alpha, min_size=1)
        records = [describe_partition(LABELS, partition(LABELS, 5, config, s), NAMES, config) for s in range(3)]
        return np.mean([record.skew["mean_total_variation"] for record in records])

    assert distance(0.1) > distance(1.0) > distance(100.0)


def dealt(labels_N, num_clients, rng, skip: int = 0):
    """Client k gets every K-th of the samples that follow the first `skip`, of a random order."""
    order_N = rng.permutation(len(labels_N))[skip:]
    return [order_N[k::num_clients] for k in range(num_clients)]


def in_order(labels_N, num_clients, rng):
    return np.array_split(np.arange(len(labels_N)), num_clients)


def twice(labels_N, num_clients, rng):
    return [np.arange(100)] * num_clients


def outside(labels_N, num_clients, rng):
    return [[k] for k in range(num_clients - 1)] + [[len(labels_N)]]


def one_too_few(labels_N, num_clients, rng):
    return in_order(labels_N, num_clients - 1, rng)


def fractions(labels_N, num_clients, rng):
    return [[k + 0.5] for k in range(num_clients)]


def one_empty(labels_N, num_clients, rng):
    return [*in_order(labels_N, num_clients - 1, rng), []]


def failing(labels_N, num_clients, rng):
    raise KeyError("owner")


def own(name, **arguments):
    return PartitionConfig.model_validate({"kind": {"name": f"{__name__}:{name}", **arguments}, "min_size": 1})


def test_a_function_of_ones_own_is_given_labels_clients_and_a_seeded_generator():
    parts = partition(LABELS, 4, own("dealt", skip=200), 3)
    assert [len(part) for part in parts] == [100] * 4
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    assert len(np.unique(np.concatenate(parts))) == 400
    again, other = (partition(LABELS, 4, own("dealt", skip=200), seed) for seed in (3, 4))
    assert all(np.array_equal(*pair) for pair in zip(parts, again, strict=True))
    assert not np.array_equal(parts[0], other[0])


def test_its_indices_are_those_of_the_source():
    """Samples are not put in random order first: lists of indices that somebody published can be used."""
    parts = partition(LABELS, 3, own("in_order"), 0)
    assert [part.tolist() for part in parts] == [list(range(k, k + 200)) for k in (0, 200, 400)]
    record = describe_partition(LABELS, parts, NAMES, own("in_order"))
    assert record.description.startswith(f"By {__name__}:in_order; 600 samples over 3 clients")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("twice", "an index twice; allowed: each at most once"),
        ("outside", "indices from 0 to 600; allowed: 0 to 599"),
        ("one_too_few", "2 parts; allowed: one for each of num_clients = 3"),
        ("fractions", "allowed: one-dimensional arrays of integers"),
        ("one_empty", "gives client 2 of num_clients = 3 0 samples; allowed: at least partition.min_size = 1"),
        ("failing", r"fails \(KeyError: 'owner'\)"),
    ],
)
def test_what_a_function_must_not_return_is_refused(name, match):
    with pytest.raises(PartitionError, match=match):
        partition(LABELS, 3, own(name), 0)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("dirichlett", "did you mean 'dirichlet'"),
        ({"name": "dirichlet", "dirichlet_alpha": 0.1}, "dirichlet has no arguments: its parameters are keys"),
        ({"name": f"{__name__}:dealt", "skips": 1}, "did you mean 'skip'"),
        ("math:floor", "called with 3 values by position; this takes 1"),
        ("no_such_module_here:deal", "does not import"),
    ],
    ids=str,
)
def test_what_is_no_kind_is_refused_with_the_section(kind, match):
    with pytest.raises(ValidationError, match=match):
        PartitionConfig.model_validate({"kind": kind})
