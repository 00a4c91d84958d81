"""Metrics that a configuration names, measured on the test split beside accuracy and loss.

Shape legend: N samples · C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

import numpy as np
from pydantic import Field

from fedkd.errors import ConfigError
from fedkd.parts import PartConfig, bind_part, checked_by_binding
from fedkd.types import FloatArray, IntArray

Metric = Callable[[FloatArray, IntArray], float]
"""(logits [N, C], true classes [N]) -> a finite number."""


def top_k_accuracy(logits_NC: FloatArray, labels_N: IntArray, *, k: Annotated[int, Field(ge=1)] = 5) -> float:
    """Share of samples whose true class is among the `k` of the highest logits. Ties go to the lowest class."""
    ranked_NC = np.argsort(-logits_NC, axis=1, kind="stable")[:, :k]
    return float((ranked_NC == labels_N[:, None]).any(axis=1).mean())


def macro_f1(logits_NC: FloatArray, labels_N: IntArray) -> float:
    """Mean over classes of the harmonic mean of precision and recall, by scikit-learn; 0 for a class without either.
    Classes that neither occur nor are chosen do not count.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(labels_N, logits_NC.argmax(axis=1), average="macro", zero_division=0.0))


def calibration_error(logits_NC: FloatArray, labels_N: IntArray, *, bins: Annotated[int, Field(ge=1)] = 15) -> float:
    """Expected calibration error: the mean over samples of |accuracy − confidence| of their bin, bins of equal width
    over the probability of the chosen class (Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3).
    """
    shifted_NC = logits_NC.astype(np.float64) - logits_NC.max(axis=1, keepdims=True)
    confidence_N = 1 / np.exp(shifted_NC).sum(axis=1)  # the highest logit is shifted to 0
    gap_N = (logits_NC.argmax(axis=1) == labels_N) - confidence_N
    bin_N = np.minimum(np.ceil(confidence_N * bins).astype(np.int64), bins)
    return float(np.abs(np.bincount(bin_N, weights=gap_N)).sum() / len(labels_N))


METRICS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {"top_k_accuracy": top_k_accuracy, "macro_f1": macro_f1, "calibration_error": calibration_error}
)


def bind_metric(part: PartConfig, key: str) -> Metric:
    """Return the metric that a configuration names.

    Raises:
        ConfigError: no such metric, or an argument that it does not take.
    """
    return bind_part(part, METRICS, key, positional=2)


MetricPart = Annotated[PartConfig, checked_by_binding(bind_metric)]
"""The type of a key that names a metric."""


def label_of(part: PartConfig) -> str:
    """Return the name of a metric in the records: what follows the colon of an import path, and its arguments."""
    arguments = ", ".join(f"{key}={value}" for key, value in part.arguments.items())
    return part.name.rpartition(":")[2] + (f"({arguments})" if arguments else "")


def measure(parts: Sequence[PartConfig], whose: str, logits_NC: FloatArray, labels_N: IntArray) -> dict[str, float]:
    """Measure a model.

    Args:
        parts: the metrics.
        whose: what is measured, the first part of each name.
        logits_NC: its answers.
        labels_N: the true classes.

    Returns:
        `"<whose>/<name of the metric>"` -> its value.

    Raises:
        ConfigError: a metric that returns something else than a finite number.
    """
    return {f"{whose}/{label_of(part)}": _measured(part, logits_NC, labels_N) for part in parts}


def _measured(part: PartConfig, logits_NC: FloatArray, labels_N: IntArray) -> float:
    value = bind_metric(part, "run.metrics")(logits_NC, labels_N)
    if not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise ConfigError("run.metrics", part.name, f"what returns a finite number; this returns {value!r}")
    return float(value)
