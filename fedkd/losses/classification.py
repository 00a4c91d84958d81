"""Classification losses. Shapes: N samples, C classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the name every PyTorch reader knows)
from torch import Tensor


def class_log_prior(counts_C: Tensor, eps: float = 0.01) -> Tensor:
    """Return log(share of each class + eps), float32 [C], from counts of samples; `eps` keeps absent classes finite."""
    counts_C = counts_C.float()
    return (counts_C / counts_C.sum() + eps).log()


def smoothed_labels(labels_N: Tensor, num_classes: int, label_smoothing: float) -> Tensor:
    """The distributions [N, C] that label smoothing trains on: (1 − ε)·one-hot + ε/C (Szegedy et al. 2016,
    "Rethinking the Inception Architecture", §7). `torch.nn.functional.cross_entropy` has them built in.
    """
    uniform_NC = torch.full((len(labels_N), num_classes), 1 / num_classes, device=labels_N.device)
    return torch.lerp(F.one_hot(labels_N, num_classes).float(), uniform_NC, label_smoothing)


def logit_adjusted_cross_entropy(
    logits_NC: Tensor, labels_N: Tensor, log_prior_C: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy on z + log prior (Menon et al. 2021, "Long-tail learning via logit adjustment", eq. 10).

    A client that trains so learns logits from which its own class prior is factored out, which is what the logits of
    differently skewed clients need in order to be averaged. The prior stays with the client.
    """
    return F.cross_entropy(logits_NC + log_prior_C, labels_N, label_smoothing=label_smoothing)
