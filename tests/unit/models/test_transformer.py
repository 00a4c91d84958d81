"""Against torch's own encoder layer and attention, in float64, with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedkd.errors import ModelError
from fedkd.models.registry import build_model, num_parameters
from fedkd.models.taps import FeatureTaps
from fedkd.models.transformer import EncoderLayer, SelfAttention, TextTransformer
from fedkd.seeding import torch_rng
from fedkd.types import PADDING_TOKEN, TextShape

WIDTH, HEADS, LENGTH = 12, 3, 7
SHAPE = TextShape(length=LENGTH, vocabulary=30)
PRESENT_NL = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [True] + [False] * 6])


def _hidden() -> Tensor:
    hidden_NLD = torch.randn(3, LENGTH, WIDTH, generator=torch_rng(0, "hidden"), dtype=torch.float64)
    return hidden_NLD * PRESENT_NL.unsqueeze(-1)


def _tokens() -> Tensor:
    tokens_NL = torch.randint(1, SHAPE.vocabulary, (3, LENGTH), generator=torch_rng(1, "tokens"))
    return tokens_NL.masked_fill(~PRESENT_NL, PADDING_TOKEN)


def _into_torchs(attention: SelfAttention, theirs: nn.MultiheadAttention) -> None:
    theirs.load_state_dict(
        {
            "in_proj_weight": attention.projection.weight,
            "in_proj_bias": attention.projection.bias,
            "out_proj.weight": attention.output.weight,
            "out_proj.bias": attention.output.bias,
        }
    )


def test_attention_is_torchs() -> None:
    ours = SelfAttention(WIDTH, HEADS).double().eval()
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64).eval()
    _into_torchs(ours, theirs)
    hidden_NLD = _hidden()
    with FeatureTaps(ours, ["weights"]) as taps:
        mixed_NLD = ours(hidden_NLD, PRESENT_NL)
        weights_NALL = taps.features["weights"]
    expected, expected_weights = theirs(
        hidden_NLD, hidden_NLD, hidden_NLD, key_padding_mask=~PRESENT_NL, average_attn_weights=False
    )
    torch.testing.assert_close(mixed_NLD[PRESENT_NL], expected[PRESENT_NL], rtol=1e-12, atol=1e-12)
    rows = PRESENT_NL[:, None, :, None].expand_as(weights_NALL)
    torch.testing.assert_close(weights_NALL[rows], expected_weights[rows], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training without dropout"])
def test_a_layer_and_its_gradient_are_torchs(training: bool) -> None:
    ours = EncoderLayer(WIDTH, HEADS, dropout=0.0).double().train(training)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, dtype=torch.float64
    ).train(training)
    _into_torchs(ours.attention, theirs.self_attn)
    first, _, second = ours.feed_forward
    pairs = [(theirs.norm1, ours.attention_norm), (theirs.norm2, ours.feed_forward_norm)]
    for copy, original in [*pairs, (theirs.linear1, first), (theirs.linear2, second)]:
        copy.load_state_dict(original.state_dict())
    mine, reference = (_hidden().requires_grad_() for _ in range(2))
    answer_NLD = ours(mine, PRESENT_NL)
    expected_NLD = theirs(reference, src_key_padding_mask=~PRESENT_NL)
    torch.testing.assert_close(answer_NLD[PRESENT_NL], expected_NLD[PRESENT_NL], rtol=1e-12, atol=1e-12)
    assert not answer_NLD[~PRESENT_NL].any()
    answer_NLD.square().sum().backward()  # type: ignore[no-untyped-call]
    expected_NLD[PRESENT_NL].square().sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(mine.grad[PRESENT_NL], reference.grad[PRESENT_NL], rtol=1e-10, atol=1e-10)


def test_scores_are_scaled_products_and_0_at_padding() -> None:
    attention = SelfAttention(WIDTH, HEADS).double()
    hidden_NLD = _hidden()
    with FeatureTaps(attention, ["scores", "weights"]) as taps:
        attention(hidden_NLD, PRESENT_NL)
        scores_NALL, weights_NALL = taps.features["scores"], taps.features["weights"]
    queries, keys, _ = (hidden_NLD @ attention.projection.weight.T + attention.projection.bias).split(WIDTH, dim=-1)
    size = WIDTH // HEADS
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        expected = torch.einsum("nqe,nke->nqk", queries[..., own], keys[..., own]) / size**0.5
        both = PRESENT_NL[:, :, None] & PRESENT_NL[:, None, :]
        torch.testing.assert_close(scores_NALL[:, head], expected * both, rtol=1e-12, atol=1e-12)
    assert not weights_NALL[~PRESENT_NL[:, None, None, :].expand_as(weights_NALL)].any()
    alike = weights_NALL[1, :, 4:, :4]
    torch.testing.assert_close(alike, torch.full_like(alike, 1 / 4))


def test_padding_does_not_matter() -> None:
    model = build_model("transformer_small", SHAPE, 4, seed=0).eval()
    with torch.no_grad():
        logits_NC = model(_tokens())
        torch.testing.assert_close(model(_tokens()[1:2, :4]), logits_NC[1:2], rtol=1e-5, atol=1e-6)


def test_the_order_of_tokens_matters() -> None:
    model = build_model("transformer_small", SHAPE, 4, seed=0).eval()
    with torch.no_grad():
        assert (model(_tokens()) - model(_tokens().flip(1)))[0].abs().max() > 1e-6


def test_hidden_states_and_attention_can_be_tapped_by_name() -> None:
    model = build_model("transformer", SHAPE, 4, seed=0)
    names = ["embedding", *(f"layers.{layer}" for layer in range(4)), "layers.3.attention.weights"]
    with FeatureTaps(model, names) as taps:
        model(_tokens())
        shapes = {name: tuple(values.shape) for name, values in taps.features.items()}
        last = taps.features["layers.3"]
    assert shapes.pop("layers.3.attention.weights") == (3, 4, LENGTH, LENGTH)
    assert set(shapes.values()) == {(3, LENGTH, 64)}
    assert not last[~PRESENT_NL].any()


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ModelError, match="width = 10 is not allowed: a multiple of heads, which is 4"):
        TextTransformer(SHAPE, 2, width=10, depth=1, heads=4)


def test_the_documented_numbers_of_parameters() -> None:
    shape = TextShape(length=128, vocabulary=2_000)
    models = (build_model(name, shape, 2, seed=0) for name in ("transformer_small", "transformer"))
    assert [num_parameters(model) for model in models] == [93_634, 336_386]
