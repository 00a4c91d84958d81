"""From what data are stored as to what models take.

Shape legend: N samples · C channels · H height · W width · L tokens of a text.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from fedkd.data.images import to_float
from fedkd.data.texts import check_tokens
from fedkd.types import ByteArray, FloatArray, IntArray, TokenArray


def to_model_input(inputs: ByteArray | TokenArray) -> FloatArray | IntArray:
    """Return images, uint8 [N, C, H, W], as `to_float` does, or tokens, uint16 [N, L], as int64.

    Raises:
        DataError: `inputs` is neither.
    """
    if inputs.dtype == np.uint16:
        check_tokens(inputs)
        return inputs.astype(np.int64)
    return to_float(cast(ByteArray, inputs))
