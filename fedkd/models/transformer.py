"""Transformers that classify texts: int64 tokens [N, L] in, logits [N, classes] out.

An encoder with the norm in front of each block (Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762;
Xiong et al. 2020, arXiv:2002.04745), learned positions, and the mean over the tokens that are no padding.

What a distillation looks at is the output of a module, so that `FeatureTaps` reaches it by name:

    embedding                        [N, L, D]      tokens and positions
    layers.<i>                       [N, L, D]      hidden states after block i
    layers.<i>.attention.scores      [N, A, L, L]   q·k/√E, 0 where either token is padding
    layers.<i>.attention.weights     [N, A, L, L]   their softmax over the keys that are no padding

Hidden states of padding are 0, and its queries weigh all keys alike: there, any two models agree.
Shapes: N samples, L tokens, D width, A heads, E = D/A.
Parameters at a vocabulary of 2,000, 128 tokens and 2 classes: `transformer_small` 93,634 · `transformer` 336,386.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fedkd.errors import ModelError
from fedkd.types import PADDING_TOKEN, TextShape

_DROPOUT = 0.1
_EMBEDDING_DEVIATION = 0.02  # as in BERT


def transformer(input_shape: TextShape, num_classes: int) -> TextTransformer:
    """Four blocks of width 64 with four heads."""
    return TextTransformer(input_shape, num_classes, width=64, depth=4, heads=4)


def transformer_small(input_shape: TextShape, num_classes: int) -> TextTransformer:
    """Two blocks of width 32 with four heads."""
    return TextTransformer(input_shape, num_classes, width=32, depth=2, heads=4)


class TextTransformer(nn.Module):
    """A transformer of any depth and width; a factory of one's own is a function that calls this.

    Args:
        input_shape: L, and the size of the vocabulary.
        num_classes: width of the logits.
        width: D.
        depth: number of blocks.
        heads: A; divides `width`.
        dropout: share of the embeddings, and of what each block adds, that is dropped in training.

    Raises:
        ModelError: `width` is no multiple of `heads`.
    """

    def __init__(
        self,
        input_shape: TextShape,
        num_classes: int,
        *,
        width: int,
        depth: int,
        heads: int,
        dropout: float = _DROPOUT,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"width = {width} is not allowed: a multiple of heads, which is {heads}")
        self.embedding = TokenEmbedding(input_shape, width, dropout)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, tokens_NL: Tensor) -> Tensor:
        """Return the logits, [N, classes]."""
        present_NL = tokens_NL != PADDING_TOKEN
        hidden_NLD = self.embedding(tokens_NL)
        for layer in self.layers:
            hidden_NLD = layer(hidden_NLD, present_NL)
        weights_NL1 = present_NL.unsqueeze(-1).to(hidden_NLD.dtype)
        pooled_ND = (self.norm(hidden_NLD) * weights_NL1).sum(dim=1) / weights_NL1.sum(dim=1).clamp(min=1)
        logits_NC: Tensor = self.classifier(pooled_ND)
        return logits_NC


class TokenEmbedding(nn.Module):
    """Learned vectors of tokens and of positions, summed; 0 where there is padding."""

    def __init__(self, input_shape: TextShape, width: int, dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(input_shape.vocabulary, width)
        self.positions = nn.Parameter(torch.empty(input_shape.length, width))
        self.dropout = nn.Dropout(dropout)
        for weights in (self.tokens.weight, self.positions):
            nn.init.normal_(weights, std=_EMBEDDING_DEVIATION)

    def forward(self, tokens_NL: Tensor) -> Tensor:
        """Return the embedded tokens, [N, L, D]; texts may be shorter than the model's longest."""
        embedded_NLD = self.tokens(tokens_NL) + self.positions[: tokens_NL.shape[1]]
        dropped_NLD: Tensor = self.dropout(embedded_NLD)
        return dropped_NLD * (tokens_NL != PADDING_TOKEN).unsqueeze(-1)


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)), with a hidden width of 4·D and GELU."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_NLD: Tensor, present_NL: Tensor) -> Tensor:
        """Return the hidden states after the block; `present_NL` says which tokens are no padding."""
        hidden_NLD = hidden_NLD + self.dropout(self.attention(self.attention_norm(hidden_NLD), present_NL))
        hidden_NLD = hidden_NLD + self.dropout(self.feed_forward(self.feed_forward_norm(hidden_NLD)))
        return hidden_NLD * present_NL.unsqueeze(-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention whose scores and weights are outputs of modules of their own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 3 * width)
        self.scores = AttentionScores()
        self.weights = AttentionWeights()
        self.output = nn.Linear(width, width)

    def forward(self, hidden_NLD: Tensor, present_NL: Tensor) -> Tensor:
        """Return what each token takes from the others, [N, L, D]."""
        samples, length, width = hidden_NLD.shape
        projected_NLF = self.projection(hidden_NLD) * present_NL.unsqueeze(-1)
        split = projected_NLF.view(samples, length, 3, self.heads, width // self.heads)
        queries_NALE, keys_NALE, values_NALE = split.permute(2, 0, 3, 1, 4)
        weights_NALL = self.weights(self.scores(queries_NALE, keys_NALE), present_NL)
        mixed_NLD = (weights_NALL @ values_NALE).transpose(1, 2).reshape(samples, length, width)
        taken_NLD: Tensor = self.output(mixed_NLD)
        return taken_NLD


class AttentionScores(nn.Module):
    """q·k/√E of every two tokens; 0 where one of them is padding, whose q and k are. Has no parameters."""

    def forward(self, queries_NALE: Tensor, keys_NALE: Tensor) -> Tensor:
        """Return the scores, [N, A, L, L]: rows are queries."""
        scaled_NALE = queries_NALE / math.sqrt(queries_NALE.shape[-1])
        return scaled_NALE @ keys_NALE.transpose(-2, -1)


class AttentionWeights(nn.Module):
    """The softmax of scores over the keys that are no padding. Has no parameters."""

    def forward(self, scores_NALL: Tensor, present_NL: Tensor) -> Tensor:
        """Return the weights, [N, A, L, L]."""
        lowest = torch.finfo(scores_NALL.dtype).min
        return scores_NALL.masked_fill(~present_NL[:, None, None, :], lowest).softmax(dim=-1)
