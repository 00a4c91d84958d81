"""The kinds of partition that Flower's flwr-datasets makes: a request → the positions of every client.

flwr-datasets is shown labels only, never images.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fedkd.data.partition_request import Request
from fedkd.errors import PartitionError
from fedkd.seeding import derive_seed
from fedkd.types import IntArray

DIRICHLET_RESTARTS = 20
"""flwr-datasets draws eleven times and gives up; so often is it started, each time from another derived seed."""


def iid(request: Request) -> list[IntArray]:
    """Give every client as many samples as any other, give or take one."""
    from flwr_datasets.partitioner import IidPartitioner

    return _divide(IidPartitioner(request.num_clients), request)


def dirichlet(request: Request) -> list[IntArray]:
    """Divide each class by shares from a Dirichlet distribution (Yurochkin et al., ICML 2019, arXiv:1905.12022)."""
    from flwr_datasets.partitioner import DirichletPartitioner

    config = request.config
    for restart in range(DIRICHLET_RESTARTS):
        partitioner = DirichletPartitioner(
            num_partitions=request.num_clients,
            partition_by="label",
            alpha=config.dirichlet_alpha,
            min_partition_size=config.min_size,
            self_balancing=config.self_balancing,
            shuffle=False,
            seed=derive_seed(request.seed, "partition", "dirichlet", restart),
        )
        try:
            return _divide(partitioner, request)
        except PartitionError as cause:
            unlucky = cause
    raise PartitionError(
        f"partition.dirichlet_alpha = {config.dirichlet_alpha} with num_clients = {request.num_clients} left a client "
        f"with fewer than partition.min_size = {config.min_size} of {len(request.labels_N)} samples in each of "
        f"{DIRICHLET_RESTARTS} times eleven draws; allowed: a larger alpha, fewer clients, or a smaller minimum"
    ) from unlucky


def shard(request: Request) -> list[IntArray]:
    """Sort by label, cut into equal shards, and deal each client `shards_per_client` (McMahan et al., AISTATS 2017).

    flwr-datasets deals the shards; they are cut here, so that shards of sizes that differ by one leave nothing over.
    """
    from flwr_datasets.partitioner import ShardPartitioner

    per_client = request.config.shards_per_client
    num_shards = request.num_clients * per_client
    if num_shards > len(request.labels_N):
        raise PartitionError(
            f"partition.shards_per_client = {per_client} with num_clients = {request.num_clients} makes {num_shards} "
            f"shards of {len(request.labels_N)} samples; allowed: at most one shard a sample"
        )
    shards = np.array_split(np.argsort(request.labels_N, kind="stable"), num_shards)
    partitioner = ShardPartitioner(
        num_partitions=request.num_clients,
        partition_by="index",
        num_shards_per_partition=per_client,
        shard_size=1,
        shuffle=False,
        seed=derive_seed(request.seed, "partition", "shard"),
    )
    dealt = _read_partitions(partitioner, {"index": np.arange(num_shards)}, request.num_clients)
    return [np.concatenate([shards[shard] for shard in hand]) for hand in dealt]


def size_skew(request: Request) -> list[IntArray]:
    """Give client k a share in proportion to k, k² or eᵏ, k from 1."""
    from flwr_datasets.partitioner import ExponentialPartitioner, LinearPartitioner, SquarePartitioner

    by_kind = {"linear": LinearPartitioner, "square": SquarePartitioner, "exponential": ExponentialPartitioner}
    return _divide(by_kind[request.config.kind.name](request.num_clients), request)


def _divide(partitioner: Any, request: Request) -> list[IntArray]:
    rows = {"label": request.labels_N, "index": np.arange(len(request.labels_N))}
    return _read_partitions(partitioner, rows, request.num_clients)


def _read_partitions(partitioner: Any, columns: dict[str, IntArray], num_clients: int) -> list[IntArray]:
    """Let flwr-datasets divide the rows; return the `index` column of every part.

    Its warnings (each fruitless Dirichlet draw) are silenced for this call alone. A division by zero inside it, which
    would hand a whole class to the last client, counts as a failure like any other.
    """
    partitioner.dataset = _eager_dataset(columns)
    try:
        with warnings.catch_warnings(), np.errstate(divide="raise", invalid="raise", over="raise"):
            warnings.simplefilter("ignore")
            parts = [partitioner.load_partition(client) for client in range(num_clients)]
    except (ValueError, FloatingPointError) as cause:
        raise PartitionError(f"num_clients = {num_clients} cannot be served by flwr-datasets: {cause}") from cause
    return [np.asarray(part["index"][:], dtype=np.int64) for part in parts]


def _eager_dataset(columns: dict[str, IntArray]) -> Any:
    """Return a `datasets.Dataset` that hands out a column as a list: flwr-datasets reads the lazy kind value by value,
    which takes a hundred times longer.
    """
    from datasets import Dataset

    class EagerDataset(Dataset):  # type: ignore[misc]  # datasets is not typed
        def __getitem__(self, key: Any) -> Any:
            value = super().__getitem__(key)
            return value[:] if isinstance(key, str) else value

    return EagerDataset.from_dict(columns)
