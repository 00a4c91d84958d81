"""Divide the private samples over the clients, and say how skewed the outcome is.

Guarantees:
    - Disjoint: no sample belongs to two clients.
    - Complete: every sample belongs to a client. A function behind an import path may leave samples out.
    - No client holds fewer than `min_size` samples; where that cannot be, `PartitionError`.
    - A function of labels, number of clients, section and seed (and natural ids): no global random state is read.
    - Indices of a client are in ascending order.

Shape legend: K clients · N samples · C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.data.config import PartitionConfig, bind_partition
from fedkd.data.flower_partitioners import dirichlet, iid, shard, size_skew
from fedkd.data.own_partitioners import by_function, natural_id, pathological
from fedkd.data.partition_request import Request
from fedkd.data.skew import skew_measures
from fedkd.errors import PartitionError
from fedkd.records import PartitionRecord
from fedkd.seeding import numpy_rng
from fedkd.types import IntArray

PARTITIONERS: dict[str, Callable[[Request], list[IntArray]]] = {
    "iid": iid,
    "dirichlet": dirichlet,
    "pathological": pathological,
    "shard": shard,
    "linear": size_skew,
    "square": size_skew,
    "exponential": size_skew,
    "natural_id": natural_id,
}


def partition(
    labels_N: IntArray,
    num_clients: int,
    config: PartitionConfig,
    seed: int,
    natural_ids_N: npt.NDArray[Any] | None = None,
) -> list[IntArray]:
    """Divide samples over clients.

    For the registered kinds samples are put in random order first, so that the order of the source does not show in a
    partition; a function behind an import path is given the labels in the order of the source. Where
    flwr-datasets' eleven Dirichlet draws leave a client below `min_size`, it is started anew from a derived seed,
    at most `DIRICHLET_RESTARTS` times in all.

    Args:
        labels_N: class of each sample, integers from 0.
        num_clients: K, at least 1.
        config: which kind of partition, and its parameters.
        seed: root seed.
        natural_ids_N: who each sample comes from; only the kind `natural_id` needs it.

    Returns:
        K arrays of int64 indices into `labels_N`, each ascending.

    Raises:
        PartitionError: the samples cannot be divided so; the message names what stands in the way.
    """
    _check(labels_N, num_clients, config, natural_ids_N)
    parts = [np.sort(part) for part in _divide(Request(labels_N, num_clients, config, seed, natural_ids_N))]
    sizes = [len(part) for part in parts]
    if min(sizes) < config.min_size:
        raise PartitionError(
            f"partition.kind = {config.kind.name!r} gives client {int(np.argmin(sizes))} of "
            f"num_clients = {num_clients} {min(sizes)} samples; allowed: at least "
            f"partition.min_size = {config.min_size}"
        )
    return parts


def _divide(request: Request) -> list[IntArray]:
    function = bind_partition(request.config.kind, "partition.kind")
    if function is not None:
        return by_function(request, function)
    order_N = numpy_rng(request.seed, "partition", "order").permutation(len(request.labels_N))
    ids_N = None if request.natural_ids_N is None else np.asarray(request.natural_ids_N)[order_N]
    shuffled = replace(request, labels_N=request.labels_N[order_N], natural_ids_N=ids_N)
    return [order_N[positions] for positions in PARTITIONERS[request.config.kind.name](shuffled)]


def describe_partition(
    labels_N: IntArray, parts: Sequence[IntArray], class_names: Sequence[str], config: PartitionConfig
) -> PartitionRecord:
    """Return the class counts of every client, measures of skew (`skew_measures`), and how it was made, in words.

    Args:
        labels_N: class of each sample, as the source has it (label noise left out).
        parts: the indices of each client, as `partition` returned them.
        class_names: names of the classes, in the order of the labels.
        config: the section that `partition` was given.
    """
    counts_KC = np.stack([np.bincount(labels_N[part], minlength=len(class_names)) for part in parts])
    return PartitionRecord(
        class_names=tuple(class_names),
        counts=tuple(tuple(int(count) for count in row_C) for row_C in counts_KC),
        skew=skew_measures(counts_KC),
        description=f"{_how(config)}; {counts_KC.sum():,} samples over {len(parts)} clients, "
        f"{counts_KC.sum(axis=1).min():,} to {counts_KC.sum(axis=1).max():,} each",
    )


def _how(config: PartitionConfig) -> str:
    match config.kind.name:
        case "iid":
            return "IID, equal sizes"
        case "dirichlet":
            balanced = ", self-balancing" if config.self_balancing else ""
            return f"Dirichlet label skew, alpha {config.dirichlet_alpha:g}{balanced}"
        case "pathological":
            return f"Pathological label skew, {config.classes_per_client} classes a client"
        case "shard":
            return f"Label-sorted shards, {config.shards_per_client} a client"
        case "natural_id":
            return "By the natural ids of the source"
        case "linear" | "square" | "exponential":
            return f"Size skew, {config.kind.name} in the client's number"
        case name:
            return f"By {name}"


def _check(
    labels_N: IntArray, num_clients: int, config: PartitionConfig, natural_ids_N: npt.NDArray[Any] | None
) -> None:
    if not isinstance(labels_N, np.ndarray) or labels_N.ndim != 1 or not np.issubdtype(labels_N.dtype, np.integer):
        raise PartitionError(f"labels_N is a {type(labels_N).__name__}; allowed: a one-dimensional array of integers")
    if len(labels_N) and labels_N.min() < 0:
        raise PartitionError(f"labels_N holds {labels_N.min()}; allowed: classes from 0")
    if num_clients < 1:
        raise PartitionError(f"num_clients = {num_clients} is not allowed: at least 1")
    if num_clients * config.min_size > len(labels_N):
        raise PartitionError(
            f"num_clients = {num_clients} with partition.min_size = {config.min_size} needs "
            f"{num_clients * config.min_size} samples; there are {len(labels_N)}"
        )
    if natural_ids_N is not None and np.shape(natural_ids_N) != labels_N.shape:
        raise PartitionError(
            f"natural_ids_N has shape {np.shape(natural_ids_N)}; allowed: one id for each of {len(labels_N)} labels"
        )
