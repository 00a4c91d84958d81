"""Clients that differ beyond the partition: a feature shift of their own, and labels that are wrong at a rate.

Every client k draws u_k, uniform in [-1, 1], and shifts all its images by the same amount, s being the strength:

    rotation    by 180° · s · u_k about the centre, bilinear, black outside
    brightness  x + 255 · s · u_k
    contrast    127.5 + (1 + s · u_k) · (x - 127.5)
    noise       x + n, n ~ N(0, (255 · s · |u_k|)²), drawn afresh for every pixel

Label noise is symmetric: with the given probability a label is replaced by one of the other classes, each equally
likely (Patrini et al., "Making deep neural networks robust to label noise", CVPR 2017, section 5).

Guarantees:
    - Pure: a function of the images, the section, the root seed and the client's number.
    - What is switched off changes nothing; nothing is written to the arrays that were given.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from fedkd.data.config import HeterogeneityConfig
from fedkd.data.images import LabelledImages
from fedkd.data.texts import LabelledTokens
from fedkd.seeding import numpy_rng
from fedkd.types import ByteArray, FloatArray, IntArray


def apply_heterogeneity(
    data: LabelledImages | LabelledTokens, config: HeterogeneityConfig, num_classes: int, seed: int, client: int
) -> LabelledImages | LabelledTokens:
    """Return the client's samples as that client sees them; texts have no feature to shift."""
    labels_N = flip_labels(data.labels_N, config.label_noise, num_classes, seed, client)
    if isinstance(data, LabelledTokens):
        return replace(data, labels_N=labels_N)
    return LabelledImages(shift_features(data.images_NCHW, config, seed, client), labels_N)


def client_shift(config: HeterogeneityConfig, seed: int, client: int) -> float:
    """Return s · u_k, in [-strength, strength]."""
    return config.feature_shift_strength * float(numpy_rng(seed, "feature_shift", client).uniform(-1, 1))


def shift_features(images_NCHW: ByteArray, config: HeterogeneityConfig, seed: int, client: int) -> ByteArray:
    """Return the images under the client's shift; uint8, [N, C, H, W]."""
    shift = client_shift(config, seed, client)
    match config.feature_shift:
        case "none":
            return images_NCHW
        case "rotation":
            return _rotate(images_NCHW, 180 * shift)
        case "brightness":
            return _to_bytes(images_NCHW + np.float32(255 * shift))
        case "contrast":
            return _to_bytes(np.float32(127.5) + np.float32(1 + shift) * (images_NCHW - np.float32(127.5)))
        case "noise":
            noise = numpy_rng(seed, "pixel_noise", client).standard_normal(images_NCHW.shape, dtype=np.float32)
            return _to_bytes(images_NCHW + np.float32(255 * abs(shift)) * noise)


def flip_labels(labels_N: IntArray, label_noise: float, num_classes: int, seed: int, client: int) -> IntArray:
    """Return the labels, each replaced by another class with probability `label_noise`; int64, [N].

    A source of one class has no other class to offer and keeps its labels.
    """
    if label_noise == 0 or num_classes < 2:
        return labels_N
    rng = numpy_rng(seed, "label_noise", client)
    wrong_N = rng.random(len(labels_N)) < label_noise
    offset_N = rng.integers(1, num_classes, size=len(labels_N))
    return np.where(wrong_N, (labels_N + offset_N) % num_classes, labels_N)


def _rotate(images_NCHW: ByteArray, degrees: float) -> ByteArray:
    height, width = images_NCHW.shape[2:]
    rotated = np.empty((images_NCHW.shape[0] * images_NCHW.shape[1], height, width), dtype=np.uint8)
    for row, plane_HW in enumerate(images_NCHW.reshape(-1, height, width)):
        rotated[row] = Image.fromarray(plane_HW).rotate(degrees, resample=Image.Resampling.BILINEAR)
    return rotated.reshape(images_NCHW.shape)


def _to_bytes(grey_levels: FloatArray) -> ByteArray:
    return np.rint(grey_levels).clip(0, 255).astype(np.uint8)
