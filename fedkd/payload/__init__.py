"""The one seam for what leaves a client: clip and encode on the way out, decode, validate and bound on the way in."""

from fedkd.payload.clipping import clip_logits
from fedkd.payload.config import PayloadConfig
from fedkd.payload.encoding import EncodedLogits, decode_logits, encode_logits
from fedkd.payload.seam import PayloadSeam

__all__ = ["EncodedLogits", "PayloadConfig", "PayloadSeam", "clip_logits", "decode_logits", "encode_logits"]
