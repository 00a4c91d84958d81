"""Which losses, teachers and labels go together."""

from __future__ import annotations

from fedkd.errors import ConfigError
from fedkd.losses.kd import DIVERGENCES
from fedkd.methods.base import MethodConfig


def check_hard_loss(alpha: float, label_smoothing: float, *, labelled: bool) -> None:
    """Refuse a hard loss without labels, and smoothed labels without a hard loss.

    Raises:
        ConfigError: names the key under `[method]`.
    """
    if alpha < 1 and not labelled:
        raise ConfigError(
            "method.alpha",
            alpha,
            "must be 1 with an unlabelled public set (there is nothing for the hard loss); "
            "or set data.public.labelled = true",
        )
    if label_smoothing > 0 and alpha == 1:
        raise ConfigError("method.label_smoothing", label_smoothing, "0 with method.alpha = 1, which has no hard loss")


def check_soft_loss(key: str, loss: str, method: MethodConfig) -> None:
    """Refuse a distance of logits where the teacher is a distribution, whose logits are log-probabilities.

    Args:
        key: dotted path of the loss.
        loss: its name.
        method: says how the teacher is made, where it has such keys.

    Raises:
        ConfigError: names the loss, and the key that makes the teacher a distribution.
    """
    if loss in DIVERGENCES:
        return
    for maker, value in (("aggregator", "mean_probabilities"), ("sharpening", "entropy_reduction")):
        if getattr(method, maker, None) == value:
            allowed = f"one of {', '.join(DIVERGENCES)} with method.{maker} = {value!r}, whose teacher is probabilities"
            raise ConfigError(key, loss, allowed)
