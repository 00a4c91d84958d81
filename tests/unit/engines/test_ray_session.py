"""Joining a cluster, and how many workers fit."""

from __future__ import annotations

import socket

import pytest
import ray

from fedkd.config.experiment import RayConfig
from fedkd.engines.ray_session import _gpu_slots, ray_session
from fedkd.errors import ConfigError, EngineError


@pytest.mark.parametrize(
    ("gpus", "share", "slots"), [(2, 1, 2), (2, 0.5, 4), (2, 0.4, 4), (1, 0.3, 3), (4, 2, 2), (0, 0.5, 0)]
)
def test_a_fraction_of_a_gpu_lies_on_one_gpu(gpus: float, share: float, slots: int) -> None:
    assert _gpu_slots(gpus, share) == slots


@pytest.mark.usefixtures("ray_on_this_machine")
class TestRoom:
    """On a Ray that has four CPUs and no GPU."""

    @pytest.mark.parametrize(
        ("keys", "at_most", "workers"),
        [
            ({}, 10, 4),
            ({}, 3, 3),
            ({"workers": 2}, 10, 2),
            ({"cpus_per_worker": 2.0}, 10, 2),
            ({"cpus_per_worker": 0.5}, 9, 8),
        ],
    )
    def test_as_many_workers_as_fit(self, keys: dict[str, float], at_most: int, workers: int) -> None:
        with ray_session(RayConfig(**keys), at_most=at_most) as number:
            assert number == workers

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"workers": 5}, "ray.workers = 5 is not allowed: at most 4, which fit on the machines"),
            (
                {"cpus_per_worker": 5.0},
                "ray.cpus_per_worker = 5.0 is not allowed: at most 4, which the largest machine has",
            ),
            (
                {"gpus_per_worker": 1.0},
                "ray.gpus_per_worker = 1.0 is not allowed: at most 0, which the largest machine has",
            ),
        ],
    )
    def test_more_than_fits_is_refused(self, keys: dict[str, float], message: str) -> None:
        with pytest.raises(ConfigError) as caught, ray_session(RayConfig(**keys), at_most=10):
            pass
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_an_engine_error(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as bound:  # a port that is taken, and not listened at
        bound.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(EngineError) as caught, ray_session(RayConfig(address=address), at_most=2):
            pass
    assert str(caught.value).startswith(f"no Ray cluster at {address!r}:")
