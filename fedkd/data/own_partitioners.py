"""The kinds of partition that flwr-datasets does not make: a request → the positions of every client.

    pathological   its own leaves out the samples of classes that no client happened to draw
    natural_id     its own gives every natural id a client; here fewer clients may share the ids
    by_function    whatever a function behind an import path makes, checked

Shape legend: C classes · N samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.data.config import OwnPartition
from fedkd.data.partition_request import Request
from fedkd.errors import PartitionError
from fedkd.seeding import numpy_rng
from fedkd.types import IntArray


def pathological(request: Request) -> list[IntArray]:
    """Give each client exactly `classes_per_client` classes, and divide a class evenly among those who hold it.

    The setting is that of McMahan et al. (AISTATS 2017) and Li et al. (arXiv:2102.02079, section 4.1); every class
    is held, and by as many clients as any other, give or take one.
    """
    classes = np.unique(request.labels_N)
    holders = _deal_classes(request, len(classes))
    parts: list[list[IntArray]] = [[] for _ in range(request.num_clients)]
    for class_label, clients in zip(classes, holders, strict=True):
        positions = np.flatnonzero(request.labels_N == class_label)
        if len(positions) < len(clients):
            raise PartitionError(
                f"class {class_label} has {len(positions)} samples for {len(clients)} of num_clients = "
                f"{request.num_clients}; allowed: fewer clients, or a smaller partition.classes_per_client"
            )
        for client, share in zip(clients, np.array_split(positions, len(clients)), strict=True):
            parts[client].append(share)
    return [np.concatenate(shares) for shares in parts]


def _deal_classes(request: Request, num_classes: int) -> list[list[int]]:
    """Return the clients that hold each class: clients choose in turn among the classes that the fewest hold so far,
    ties broken by the seed.
    """
    wanted, num_clients = request.config.classes_per_client, request.num_clients
    if wanted > num_classes:
        raise PartitionError(
            f"partition.classes_per_client = {wanted} is not allowed: the samples have {num_classes} classes"
        )
    if wanted * num_clients < num_classes:
        raise PartitionError(
            f"partition.classes_per_client = {wanted} with num_clients = {num_clients} leaves some of {num_classes} "
            f"classes to nobody; allowed: at least {-(-num_classes // num_clients)}"
        )
    rng = numpy_rng(request.seed, "partition", "pathological")
    holders: list[list[int]] = [[] for _ in range(num_classes)]
    for client in range(num_clients):
        held_by_C = np.array([len(clients) for clients in holders])
        for row in np.lexsort((rng.random(num_classes), held_by_C))[:wanted]:
            holders[row].append(client)
    return holders


def natural_id(request: Request) -> list[IntArray]:
    """Keep each natural id with one client: client k is the k-th id in sorted order where there are as many clients
    as ids, and otherwise as many ids a client as any other's, give or take one, at random.
    """
    if request.natural_ids_N is None:
        raise PartitionError(
            "partition.kind = 'natural_id' is not allowed: the source does not say whose samples are whose"
        )
    ids, id_rows_N = np.unique(request.natural_ids_N, return_inverse=True)
    if request.num_clients > len(ids):
        raise PartitionError(
            f"num_clients = {request.num_clients} is not allowed: partition.kind = 'natural_id' finds {len(ids)} ids"
        )
    rows = np.arange(len(ids))
    if request.num_clients < len(ids):
        rows = numpy_rng(request.seed, "partition", "natural_id").permutation(rows)
    return [np.flatnonzero(np.isin(id_rows_N, group)) for group in np.array_split(rows, request.num_clients)]


def by_function(request: Request, function: OwnPartition) -> list[IntArray]:
    """Let a function divide the samples, and check what it returns.

    Raises:
        PartitionError: the function fails, or returns no list of index arrays, one for each client, in which each index
            of a sample occurs at most once.
    """
    name = request.config.kind.name
    rng = numpy_rng(request.seed, "partition", "function")
    try:
        parts = [np.asarray(part) for part in function(request.labels_N, request.num_clients, rng)]
    except Exception as cause:  # the function is anybody's
        raise PartitionError(f"partition.kind = {name!r} fails ({type(cause).__name__}: {cause})") from cause
    problem = _problem_of(parts, len(request.labels_N), request.num_clients)
    if problem:
        raise PartitionError(f"partition.kind = {name!r} returns {problem}")
    return [part.astype(np.int64) for part in parts]


def _problem_of(parts: list[npt.NDArray[Any]], num_samples: int, num_clients: int) -> str:
    """What is wrong with the parts of a user's function, and what is allowed; empty where nothing is."""
    if len(parts) != num_clients:
        return f"{len(parts)} parts; allowed: one for each of num_clients = {num_clients}"
    if not all(part.ndim == 1 and (np.issubdtype(part.dtype, np.integer) or not len(part)) for part in parts):
        return "parts of another kind; allowed: one-dimensional arrays of integers"
    indices = np.concatenate(parts)
    if len(indices) and not 0 <= indices.min() <= indices.max() < num_samples:
        return f"indices from {indices.min()} to {indices.max()}; allowed: 0 to {num_samples - 1}"
    if len(np.unique(indices)) < len(indices):
        return "an index twice; allowed: each at most once"
    return ""
