"""The seam itself: the steps a client's logits pass on the way out, and those at which the server receives them.

Guarantees:
    - Nothing that is not finite leaves, and nothing that is not finite, of the expected shape and dtype enters.
    - With `clip`, no logit beyond ±clipping_range leaves, and none enters: the server clips too.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedkd.errors import PayloadError
from fedkd.payload.clipping import clip_logits
from fedkd.payload.config import PayloadConfig
from fedkd.payload.encoding import EncodedLogits, decode_logits, encode_logits, require_finite
from fedkd.types import FloatArray


@dataclass(frozen=True)
class PayloadSeam:
    """Both ends of the seam for one configuration."""

    config: PayloadConfig

    def send(self, logits_NC: FloatArray) -> tuple[EncodedLogits, float]:
        """Clip, then encode. Returns the encoded logits and the share of logits that were clipped.

        Raises:
            PayloadError: the logits are not finite.
        """
        require_finite(logits_NC)  # before clipping, which would make a number of an infinity
        clipped, fraction = self.bound(logits_NC)
        return encode_logits(clipped, self.config.encoding), fraction

    def receive(self, encoded: EncodedLogits, *, num_samples: int, num_classes: int) -> FloatArray:
        """Decode, validate, bound.

        Raises:
            PayloadError: wrong dtype, dimensions, number of samples or classes, or not finite.
        """
        shape = encoded.data.shape
        if len(shape) != 2 or shape[0] != num_samples:
            raise PayloadError("shape", f"logits have shape {shape}; [{num_samples} samples, {num_classes} classes]")
        if shape[1] != num_classes:
            raise PayloadError("classes", f"logits have {shape[1]} classes; the problem has {num_classes}")
        logits_NC = decode_logits(encoded, self.config.encoding)
        require_finite(logits_NC)
        return self.bound(logits_NC)[0]

    def bound(self, logits_NC: FloatArray) -> tuple[FloatArray, float]:
        """Clip if the configuration says so; returns the logits and the share that was changed."""
        if not self.config.clip:
            return logits_NC, 0.0
        return clip_logits(logits_NC, self.config.clipping_range)
