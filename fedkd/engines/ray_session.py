"""The Ray session: start Ray on this machine or join a cluster, count the workers that fit, and clean up."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from fedkd.config.experiment import RayConfig
from fedkd.errors import ConfigError, EngineError
from fedkd.flower.internals import RAY_ENVIRONMENT

_CONNECT_SECONDS = 10.0


@contextmanager
def ray_session(config: RayConfig, *, at_most: int) -> Iterator[int]:
    """Have Ray while the block runs; yield the number of workers to start, at most `at_most`.

    If Ray is initialised in this process already, it is used and left as it is.

    Raises:
        EngineError: Ray cannot be started, or there is no cluster at the address.
        ConfigError: more workers, or larger ones, than the machines have resources for.
    """
    ours = not ray.is_initialized()
    if ours:
        _initialise(config)
    try:
        yield _count_workers(config, at_most)
    finally:
        if ours:
            ray.shutdown()


def _initialise(config: RayConfig) -> None:
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        _check_reachable(config.address)
        if config.address:
            ray.init(address=config.address, logging_level=logging.ERROR, log_to_driver=False)
        else:
            cpus = max(os.cpu_count() or 1, math.ceil(config.workers * config.cpus_per_worker))
            ray.init(
                address="local",  # otherwise Ray joins any cluster that it finds on this machine
                num_cpus=cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except (OSError, RuntimeError, ValueError) as cause:
        where = f"no Ray cluster at {config.address!r}" if config.address else "Ray cannot be started"
        raise EngineError(f"{where}: {str(cause).splitlines()[0] if str(cause) else type(cause).__name__}") from cause


def _check_reachable(address: str) -> None:
    """Raise `OSError` if nothing listens at the port of an address; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


def _count_workers(config: RayConfig, at_most: int) -> int:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    fitting = sum(_fits(resources, config) for resources in machines)
    if fitting == 0:
        kind = "gpus" if config.gpus_per_worker > 0 else "cpus"
        largest = max(resources.get(kind[:-1].upper(), 0) for resources in machines)
        share = getattr(config, f"{kind}_per_worker")
        raise ConfigError(f"ray.{kind}_per_worker", share, f"at most {largest:g}, which the largest machine has")
    if config.workers > fitting:
        raise ConfigError("ray.workers", config.workers, f"at most {fitting}, which fit on the machines")
    return min(config.workers or fitting, at_most)


def _fits(resources: dict[str, float], config: RayConfig) -> int:
    fits = int(resources.get("CPU", 0) / config.cpus_per_worker)
    if config.gpus_per_worker > 0:
        fits = min(fits, _gpu_slots(resources.get("GPU", 0), config.gpus_per_worker))
    return fits


def _gpu_slots(gpus: float, share: float) -> int:
    """Number of workers that fit; the share of a worker that needs less than one GPU lies on one GPU."""
    return int(gpus) * int(1 / share) if share < 1 else int(gpus / share)
