"""The data of one experiment as tensors on one device, loaded once per process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from fedkd.config.experiment import ExperimentConfig
from fedkd.data.config import SITES, DataConfig
from fedkd.data.deployed import load_server_data
from fedkd.data.federated import FederatedData, cached_federated_data
from fedkd.data.inputs import to_model_input
from fedkd.distillation import PublicBatch
from fedkd.errors import ConfigError, PayloadError
from fedkd.federation.weights import to_tensor
from fedkd.models.registry import build_model
from fedkd.payload import Rows
from fedkd.training.local_terms import ToldRows
from fedkd.types import ByteArray, FloatArray, IntArray, TokenArray


@dataclass(frozen=True)
class Workspace:
    """Federated data and where its tensors live."""

    data: FederatedData
    device: torch.device

    @cached_property
    def public_inputs(self) -> Tensor:
        """All public samples, as models take them."""
        return self._tensor(self.data.public_inputs)

    def public_inputs_at(self, indices_N: IntArray) -> Tensor:
        """The public samples at `indices_N`.

        Raises:
            PayloadError: an index beyond the public set of this side.
        """
        num_public = len(self.data.public_inputs)
        outside = indices_N[(indices_N < 0) | (indices_N >= num_public)]
        if len(outside):
            raise PayloadError("shape", f"public index {outside[0]}; this side holds {num_public} public samples")
        return self.public_inputs[to_tensor(indices_N).long().to(self.device)]

    def public_batch(self, indices_N: IntArray, teacher_logits_NC: FloatArray) -> PublicBatch:
        """What a distillation needs of the public samples at `indices_N`.

        Raises:
            PayloadError: an index beyond the public set, or teacher rows that are not finite [indices, classes] or
            wider.
        """
        shape, num_classes = teacher_logits_NC.shape, self.data.num_classes
        if shape[:1] != (len(indices_N),) or len(shape) != 2 or shape[1] < num_classes:
            raise PayloadError("shape", f"the teacher's rows have shape {shape}; [{len(indices_N)}, ≥ {num_classes}]")
        if not np.isfinite(teacher_logits_NC).all():
            raise PayloadError("not_finite", "the teacher's rows hold NaN or infinity")
        labels_N = self.public_labels_N
        return PublicBatch(
            self.public_inputs_at(indices_N),
            to_tensor(teacher_logits_NC).to(self.device),
            None if labels_N is None else labels_N[to_tensor(indices_N).long().to(self.device)],
        )

    def told_rows(self, rows: Rows) -> ToldRows:
        """Rows that the server sent, as terms of local training take them."""
        return ToldRows(to_tensor(rows.keys_N).to(self.device), to_tensor(rows.values_ND).to(self.device))

    @cached_property
    def public_labels_N(self) -> Tensor | None:
        """True classes of the public samples, where the configuration says that they are known."""
        labels = self.data.public_labels_N
        return None if labels is None else to_tensor(labels).to(self.device)

    @cached_property
    def test_inputs(self) -> Tensor:
        """The global test split."""
        return self._tensor(self.data.test.inputs)

    def client(self, client: int) -> tuple[Tensor, Tensor]:
        """Private samples and classes of one client."""
        private = self.data.client(client)
        return self._tensor(private.inputs), to_tensor(private.labels_N).to(self.device)

    def build_model(self, name: str, seed: int) -> torch.nn.Module:
        """A model for this data, on the device, in the memory format in which small convolutions are fastest."""
        model = build_model(name, self.data.input_shape, self.data.num_classes, seed)
        placed: torch.nn.Module = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    def _tensor(self, inputs: ByteArray | TokenArray) -> Tensor:
        tensor = to_tensor(to_model_input(inputs))
        return tensor.to(self.device, memory_format=torch.channels_last if tensor.dim() == 4 else torch.preserve_format)


def open_workspace(config: ExperimentConfig) -> Workspace:
    """Load the experiment's data, or reuse what this process has loaded or was given already."""
    return _open(config.data, config.clients.number, config.run.seed, resolve_device(config.run.device))


def provide_data(config: ExperimentConfig, data: FederatedData) -> None:
    """Let this process work on data that another one has loaded, instead of loading it again."""
    _PROVIDED[(config.data, config.clients.number, config.run.seed)] = data


_PROVIDED: dict[tuple[DataConfig, int, int], FederatedData] = {}


@lru_cache(maxsize=2)
def _open(data: DataConfig, num_clients: int, seed: int, device: torch.device) -> Workspace:
    provided = _PROVIDED.get((data, num_clients, seed))
    load = load_server_data if data.source == SITES else cached_federated_data
    return Workspace(provided or load(data, num_clients, seed), device)


def resolve_device(name: str) -> torch.device:
    """Turn `run.device` into a device.

    Raises:
        ConfigError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as cause:
        raise ConfigError("run.device", name, f"auto, cpu, cuda or cuda:N on this machine ({cause})") from cause
    if device.type not in {"cpu", "cuda"}:
        raise ConfigError("run.device", name, "auto, cpu, cuda or cuda:N")
    return device
