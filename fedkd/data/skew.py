"""How skewed a partition is, in four numbers.

Shape legend: K clients · C classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedkd.types import IntArray


def skew_measures(counts_KC: IntArray) -> dict[str, float]:
    """Return measures of label and size skew.

    With p_k the label distribution of client k, p that of all samples, n_k the number of samples of client k:

        mean_total_variation      mean over k of ½ Σ_c |p_kc - p_c|; 0 is IID, near 1 is disjoint classes
        mean_label_entropy_nats   mean over k of -Σ_c p_kc ln p_kc; ln C where all classes are equally frequent
        mean_classes_per_client   mean over k of the number of classes with a sample
        size_gini                 Σ_ij |n_i - n_j| / (2 K Σ_i n_i); 0 is equal sizes

    Args:
        counts_KC: number of samples of each client and class; no client is empty.
    """
    sizes_K = counts_KC.sum(axis=1)
    probs_KC = counts_KC / sizes_K[:, None]
    global_probs_C = counts_KC.sum(axis=0) / sizes_K.sum()
    return {
        "mean_total_variation": float(np.abs(probs_KC - global_probs_C).sum(axis=1).mean() / 2),
        "mean_label_entropy_nats": float(_entropy_nats(probs_KC).mean()),
        "mean_classes_per_client": float((counts_KC > 0).sum(axis=1).mean()),
        "size_gini": float(np.abs(sizes_K[:, None] - sizes_K[None]).sum() / (2 * len(sizes_K) * sizes_K.sum())),
    }


def _entropy_nats(probs_KC: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs_KC = np.log(probs_KC, out=np.zeros_like(probs_KC), where=probs_KC > 0)
    entropy_K: npt.NDArray[np.float64] = -(probs_KC * logs_KC).sum(axis=1)
    return entropy_K
