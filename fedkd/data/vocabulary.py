"""A vocabulary of subwords: learned from public texts alone, applied to all.

Byte-pair encoding (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units",
arXiv:1508.07909) over the bytes of lower-cased text, by Hugging Face's `tokenizers`. All 256 bytes are among the
tokens, so that every text has some.

A federation agrees on its vocabulary before it trains. Merges name strings that occur in the texts they were learned
from, so private texts must not be among these: the public samples, which everybody holds, are all that is looked at.

`tokenizers` is imported where it is used: what handles images alone works without it.

Shape legend: N samples · L tokens of a text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from fedkd.errors import DataError
from fedkd.types import PADDING_TOKEN, TokenArray

SMALLEST = 257
"""All bytes, and the padding."""

_PADDING_NAME = "[PAD]"
_FEWEST_OCCURRENCES = 2  # of a pair that becomes a token


class Vocabulary:
    """Tokens by number, and how a text is cut into them.

    Args:
        definition: as `definition` of another one returned it.

    Raises:
        DataError: no such definition, or `tokenizers` is not installed.
    """

    def __init__(self, definition: str) -> None:
        self.definition = definition
        if self._tokenizer.token_to_id(_PADDING_NAME) != PADDING_TOKEN:
            raise DataError(f"the vocabulary has no token {_PADDING_NAME} with the number {PADDING_TOKEN}")

    @classmethod
    def learn(cls, texts: Sequence[str], size: int) -> Vocabulary:
        """Learn from texts; the same texts in any order give the same vocabulary.

        Args:
            texts: what may be seen.
            size: the most tokens to have, at least `SMALLEST`; few texts give fewer.

        Raises:
            DataError: `size` is too small, or `tokenizers` is not installed.
        """
        if size < SMALLEST:
            raise DataError(f"size = {size} is not allowed: at least {SMALLEST}, all bytes and the padding")
        tokenizers = _library()
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        normalizers = [tokenizers.normalizers.NFKC(), tokenizers.normalizers.Lowercase()]
        tokenizer.normalizer = tokenizers.normalizers.Sequence(normalizers)
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=_FEWEST_OCCURRENCES,
            special_tokens=[_PADDING_NAME],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(texts), trainer)
        return cls(tokenizer.to_str())

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str], length: int) -> TokenArray:
        """Return the first `length` tokens of each text, filled up with `PADDING_TOKEN`; uint16, [N, L]."""
        tokens_NL = np.full((len(texts), length), PADDING_TOKEN, dtype=np.uint16)
        enough = re.compile(rf"(?:\s*\S+){{1,{length}}}")  # each word is at least one token
        for row, text in enumerate(texts):
            words = enough.match(text)
            beginning = words.group() if words else text
            tokens = self._tokenizer.encode(beginning, add_special_tokens=False).ids[:length]
            tokens_NL[row, : len(tokens)] = tokens
        return tokens_NL

    @cached_property
    def _tokenizer(self) -> Any:
        library = _library()
        try:
            tokenizer = library.Tokenizer.from_str(self.definition)
        except Exception as cause:  # the library raises no narrower type
            raise DataError(f"the vocabulary cannot be read ({' '.join(str(cause).split())})") from cause
        tokenizer.encode_special_tokens = True  # a text that says [PAD] is no padding; no definition keeps this
        return tokenizer

    def __getstate__(self) -> dict[str, str]:
        return {"definition": self.definition}


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as cause:
        raise DataError("texts need the package 'tokenizers', which is not installed here") from cause
    return tokenizers
