"""Labelled texts: as a source has them, and as the tokens that models see.

Shape legend: N samples · L tokens of a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedkd.data.arrays import check_labels, described, sha256_of
from fedkd.errors import DataError
from fedkd.types import IntArray, TextShape, TokenArray


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts and their labels, before there is a vocabulary.

    Args:
        texts: N texts, none of them blank.
        labels_N: class of each text, int64, not negative.

    Raises:
        DataError: something that is no text, a blank one, one with half of a surrogate pair, different lengths, a
            wrong dtype, a negative label.
    """

    texts: tuple[str, ...]
    labels_N: IntArray

    def __post_init__(self) -> None:
        for position, text in enumerate(self.texts):
            if not isinstance(text, str) or not text.strip():
                what = "blank" if isinstance(text, str) else f"a {type(text).__name__}"
                raise DataError(f"texts[{position}] is {what}; allowed: a text that is not blank")
            if holds_half_a_pair(text):
                raise DataError(f"texts[{position}] holds half of a surrogate pair; allowed: characters of Unicode")
        check_labels(self.labels_N, len(self.texts), "texts")

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: IntArray) -> LabelledTexts:
        """Return the texts at `indices`, in that order."""
        return LabelledTexts(tuple(self.texts[index] for index in indices), self.labels_N[indices])


@dataclass(frozen=True, eq=False)
class LabelledTokens:
    """Tokenised texts and their labels, checked once, here.

    The arrays are shared between clients of one process: read them, never write to them.

    Args:
        tokens_NL: numbers of tokens, uint16; short texts end in `PADDING_TOKEN`.
        labels_N: class of each text, int64, not negative.
        vocabulary: number of tokens that there are.

    Raises:
        DataError: a wrong dtype or number of dimensions, different lengths, a negative label, a token beyond the
            vocabulary.
    """

    tokens_NL: TokenArray
    labels_N: IntArray
    vocabulary: int

    def __post_init__(self) -> None:
        check_tokens(self.tokens_NL)
        check_labels(self.labels_N, len(self.tokens_NL), "texts")
        if self.tokens_NL.max(initial=0) >= self.vocabulary:
            raise DataError(f"tokens_NL holds token {self.tokens_NL.max()}; allowed: 0 to {self.vocabulary - 1}")

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def inputs(self) -> TokenArray:
        """What a model's input is made of: the tokens."""
        return self.tokens_NL

    @property
    def input_shape(self) -> TextShape:
        """Tokens of each text, and the size of the vocabulary."""
        return TextShape(self.tokens_NL.shape[1], self.vocabulary)

    def take(self, indices: IntArray) -> LabelledTokens:
        """Return copies of the rows at `indices`, in that order."""
        return LabelledTokens(self.tokens_NL[indices], self.labels_N[indices], self.vocabulary)

    def digest(self) -> str:
        """Return the SHA-256 over shape, dtype and bytes of tokens and labels, as 64 hexadecimal digits."""
        return sha256_of(self.tokens_NL, self.labels_N.astype("<i8"))


def holds_half_a_pair(text: str) -> bool:
    """Whether a text has a code point that is half of a surrogate pair: it has no UTF-8, hence no tokens."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def check_tokens(tokens_NL: Any) -> None:
    """Refuse anything but a uint16 array of shape (N, L) with L at least 1.

    Raises:
        DataError: `tokens_NL` is something else; the message says what.
    """
    fits = isinstance(tokens_NL, np.ndarray) and tokens_NL.dtype == np.uint16 and tokens_NL.ndim == 2
    if not fits or tokens_NL.shape[1] == 0:
        raise DataError(f"tokens_NL is {described(tokens_NL)}; allowed: a uint16 array of shape (N, L), L at least 1")
