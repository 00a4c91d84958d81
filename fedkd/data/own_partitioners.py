"""The kinds of partition that flwr-datasets does not make: a request → the positions of every client.

    pathological   its own leaves out the samples of classes that no client happened to draw
    natural_id     its own gives every natural id a client; here fewer clients may share the ids

Shape legend: C classes · N samples.
"""

from __future__ import annotations

import numpy as np

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
