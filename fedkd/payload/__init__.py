"""What leaves a client, and how: rows, their spec, and the one seam of steps and codecs that they pass."""

from fedkd.payload.codecs import Codec
from fedkd.payload.config import PayloadConfig
from fedkd.payload.rows import Arrays, Rows, RowsSpec
from fedkd.payload.seam import Outgoing, Seam
from fedkd.payload.steps import Step

__all__ = ["Arrays", "Codec", "Outgoing", "PayloadConfig", "Rows", "RowsSpec", "Seam", "Step"]
