"""FedET (Cho et al. 2022): small models go up; the teacher is a hard label by variance-weighted consensus, beside the
weighted distribution of those who disagree with it: `method.name = "fedet:build"`,
`student.objective.loss = "fedet:consensus_and_diversity"`.
"""

import numpy as np
import torch

from fedkd.aggregation import Aggregator, Stack, log_softmax
from fedkd.methods import Method, MethodConfig
from fedkd.methods.base import previous_weights
from fedkd.methods.uploads import ModelWeights
from fedkd.payload import Rows

DIVERSITY = 0.05


class ConsensusAndDiversity(Aggregator):
    """Rows of 2C values: the consensus' logits, then log-probabilities of those who disagree (uniform where nobody
    does).
    """

    def combine(self, stack: Stack) -> Rows:
        """Weights are the variances of the logits over classes (eq. 3)."""
        logits_KNC = stack.values_KND.astype(np.float64)
        weights_KN1 = logits_KNC.var(axis=2, keepdims=True)
        consensus_NC = (weights_KN1 * logits_KNC).sum(0) / weights_KN1.sum(0)
        differs_KN1 = (logits_KNC.argmax(2) != consensus_NC.argmax(1))[..., None] * weights_KN1
        mass_N1 = differs_KN1.sum(0)
        mean_NC = (differs_KN1 * logits_KNC).sum(0) / np.where(mass_N1 > 0, mass_N1, 1)
        return Rows.of(stack.keys_N, np.concatenate([consensus_NC, log_softmax(mean_NC)], axis=1))


def consensus_and_diversity(student_logits_NC, teacher_values_ND, temperature):
    """CE(hard label of the consensus) + DIVERSITY · KL(those who disagree ‖ student) (eq. 5)."""
    consensus_NC, diverse_NC = teacher_values_ND.chunk(2, dim=1)
    hard = torch.nn.functional.cross_entropy(student_logits_NC, consensus_NC.argmax(dim=1))
    log_probs = torch.log_softmax(student_logits_NC / temperature, dim=1)
    soft = torch.nn.functional.kl_div(log_probs, diverse_NC.softmax(dim=1), reduction="batchmean")
    return hard + DIVERSITY * soft


def build(config: MethodConfig) -> Method:
    """Weights go up, and the larger student, which nobody averages, learns from them."""
    uploads, aggregate = (ModelWeights(),), ConsensusAndDiversity()
    return Method("fedet", uploads, aggregate, start=previous_weights, distils="student")
