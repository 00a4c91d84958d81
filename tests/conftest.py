"""What every test shares: one torch thread, and where real data may lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # a slow machine is no failing test
settings.load_profile("no deadline")

DATA_ROOT = Path(os.environ.get("FEDKD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that no worker is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real image data (`MNIST/raw`, `FashionMNIST/raw`, …), or a skip where there is none."""
    if not DATA_ROOT.is_dir():
        pytest.skip(f"no real data at {DATA_ROOT} (set FEDKD_TEST_DATA)")
    return DATA_ROOT


@pytest.fixture(scope="session")
def ray_on_this_machine() -> Iterator[None]:
    """A Ray with resources for four workers, whatever the number of cores."""
    from fedkd.config.experiment import RayConfig
    from fedkd.engines.ray_session import ray_session

    with ray_session(RayConfig(workers=4), at_most=4):
        yield
