"""What an upload may look at: a client's trained model, the public samples and its private ones, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from fedkd.federation.weights import to_tensor
from fedkd.federation.workspace import Workspace
from fedkd.models.taps import FeatureTaps
from fedkd.training.evaluation import PREDICTION_BATCH, predict_logits
from fedkd.types import FloatArray, IntArray


@dataclass(frozen=True)
class ModelView:
    """A `ClientView`.

    Attributes:
        model: after local training.
        workspace: the client's data.
        client: partition id.
        test_logits_MC: the model's logits on the test split. Where they are given, the samples of the test split stand
            in for the public ones.
    """

    model: nn.Module
    workspace: Workspace
    client: int
    test_logits_MC: FloatArray | None = None

    @property
    def num_classes(self) -> int:
        """C."""
        return self.workspace.data.num_classes

    def public_logits(self, indices_N: IntArray) -> FloatArray:
        """Logits [N, C] on public samples."""
        if self.test_logits_MC is not None:
            return self.test_logits_MC[indices_N]
        if not len(indices_N):
            return np.zeros((0, self.num_classes), np.float32)
        return predict_logits(self.model, self._public(indices_N))

    def public_features(self, indices_N: IntArray, module: str) -> FloatArray:
        """The output [N, F] of a module on public samples."""
        return _features(self.model, self._public(indices_N), module)

    def public_inputs(self, indices_N: IntArray) -> FloatArray:
        """The public samples [N, F]."""
        return _flat(self._public(indices_N))

    def private_logits(self) -> tuple[FloatArray, IntArray]:
        """Logits [M, C] on the private samples, and their classes."""
        inputs, labels_M = self.workspace.client(self.client)
        return predict_logits(self.model, inputs), labels_M.cpu().numpy()

    def private_features(self, module: str) -> tuple[FloatArray, IntArray]:
        """The output [M, F] of a module on the private samples, and their classes."""
        inputs, labels_M = self.workspace.client(self.client)
        return _features(self.model, inputs, module), labels_M.cpu().numpy()

    def private_inputs(self) -> tuple[FloatArray, IntArray]:
        """The private samples [M, F], and their classes."""
        inputs, labels_M = self.workspace.client(self.client)
        return _flat(inputs), labels_M.cpu().numpy()

    def _public(self, indices_N: IntArray) -> Tensor:
        if self.test_logits_MC is None:
            return self.workspace.public_inputs_at(indices_N)
        return self.workspace.test_inputs[to_tensor(indices_N).to(self.workspace.device)]


def _features(model: nn.Module, inputs: Tensor, module: str) -> FloatArray:
    pieces = []
    with FeatureTaps(model.eval(), [module]) as taps, torch.no_grad():
        for batch in torch.split(inputs, PREDICTION_BATCH):
            model(batch)
            pieces.append(taps.features[module].float())
    return _flat(torch.cat(pieces))


def _flat(values: Tensor) -> FloatArray:
    width = prod(values.shape[1:])  # which reshape cannot find itself where there are no rows
    return np.asarray(values.reshape(len(values), width).float().cpu().numpy())
