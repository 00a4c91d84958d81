"""FD (Jeong et al. 2018): clients send the mean logits of each class, and learn from the others' means of the class of
a private sample; there are no public samples: `method.name = "federated_distillation:build"`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field

from fedkd.aggregation import make_aggregator
from fedkd.methods import Method, MethodConfig
from fedkd.methods.uploads import ClassLogits
from fedkd.training.local_terms import LocalBatch, LocalTerm


@dataclass(frozen=True)
class ClassTeacher(LocalTerm):
    """gamma · KL(softmax of the mean logits of the sample's class ‖ the client's prediction)."""

    gamma: float
    needs_rows: ClassVar[bool] = True

    def __call__(self, batch: LocalBatch) -> torch.Tensor:
        """Nothing before the first table has come, and nothing for classes that it lacks."""
        if batch.told is None:
            return batch.logits_NC.new_zeros(())
        teacher_NC, known_N = batch.told.of(batch.labels_N)
        log_probs = torch.log_softmax(batch.logits_NC, dim=1)
        loss_N = torch.nn.functional.kl_div(log_probs, teacher_NC.softmax(dim=1), reduction="none").sum(dim=1)
        return self.gamma * (loss_N * known_N).mean()


class FdConfig(MethodConfig):
    """Keys of `[method]`."""

    gamma: float = Field(1.0, ge=0, description="weight of the class teacher")


def build(config: FdConfig) -> Method:
    """A table of classes goes up and down; no model, no student."""
    return Method(
        name="fd",
        uploads=(ClassLogits(),),
        aggregate=make_aggregator("mean_logits"),
        adopts="nothing",
        local_terms=(ClassTeacher(config.gamma),),
    )
