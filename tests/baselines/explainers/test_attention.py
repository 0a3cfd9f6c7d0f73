"""Attention read off transformers, against the same layers written out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from images import build_images
from torch import Tensor, nn
from torch.nn import functional

from baselines.explainers.attention import AttentionRollout, GradAttention
from baselines.models.smallvit import SmallViT
from benchmark.classifier import Classifier
from benchmark.feature_grid import upsample
from benchmark.plugins.examples import build_classifier, build_transformer
from benchmark.target import Margin, Target

TARGET = Margin(0, 1)


def written_out(model: Classifier, images: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Return attention [B, heads, T, T] and its gradient of the one-block transformer."""
    trunk, block = model.trunk, model.trunk.block
    patches = trunk.embed(images).flatten(2).transpose(1, 2)
    tokens = torch.cat([trunk.token.expand(len(images), -1, -1), patches], 1) + trunk.position
    attention = block.self_attn
    heads, width = attention.num_heads, attention.embed_dim
    projected = functional.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = (
        one.unflatten(-1, (heads, width // heads)).transpose(1, 2) for one in projected.chunk(3, -1)
    )
    weights = (query @ key.transpose(-1, -2) / (width // heads) ** 0.5).softmax(-1)
    weights = weights.detach().requires_grad_()
    mixed = attention.out_proj((weights @ value).transpose(1, 2).flatten(2))
    tokens = block.norm1(tokens + mixed)
    tokens = block.norm2(tokens + block.linear2(functional.gelu(block.linear1(tokens))))
    embedding = tokens[:, 0]
    score = target(model.head(embedding), embedding)
    torch.testing.assert_close(score, target(*model(images)))
    return weights.detach(), torch.autograd.grad(score.sum(), weights)[0]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_on_one_block_both_are_written_out(dimensions: int) -> None:
    """If it fails, heads, rows or the identity are mixed up."""
    model = build_transformer(dimensions)
    images = build_images(2, model.input_shape)
    weights, gradient = written_out(model, images, TARGET)
    grid = tuple(length // 4 for length in model.input_shape)
    rows = {
        AttentionRollout(): weights.mean(1)[:, 0, 1:] / 2,
        GradAttention(): (weights * gradient).clamp_min(0).mean(1)[:, 0, 1:],
    }
    for method, wanted in rows.items():
        maps = method.attribute(model, images, TARGET)
        cells = wanted.unflatten(1, (1, *grid))
        torch.testing.assert_close(maps, upsample(cells, images.shape[2:]), atol=1e-6, rtol=1e-4)


def test_layers_are_multiplied_from_the_first_to_the_last() -> None:
    """If it fails, the product runs the wrong way round."""
    model = SmallViT().load((96, 96))
    images = build_images(1, (96, 96))
    tokens, seen = model.trunk.tokens(images), []
    for name in ("block1", "block2", "block3"):
        block = getattr(model.trunk, name)
        normed = block.ln_1(tokens)
        seen.append(block.self_attention(normed, normed, normed, need_weights=True)[1])
        tokens = block(tokens)
    half = [(one + torch.eye(one.shape[-1])) / 2 for one in seen]
    wanted = (half[2] @ half[1] @ half[0])[:, 0, 1:].unflatten(1, (1, 12, 12))
    maps = AttentionRollout().attribute(model, images, TARGET)
    torch.testing.assert_close(maps, upsample(wanted, (96, 96)), atol=1e-6, rtol=1e-4)


class Plain(nn.Module):
    """Patches that attend by torch's function rather than by its layer; no class token."""

    def __init__(self, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 8, 6, 6)
        self.attend = attend

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean token, [B, 8]."""
        tokens = self.embed(images).flatten(2).transpose(1, 2)[:, None]
        return self.attend(tokens, tokens, tokens)[:, 0].mean(1)


def plain(attend: Callable[..., Tensor], size: int = 24) -> Classifier:
    torch.manual_seed(0)
    return Classifier("plain", Plain(attend), nn.Linear(8, 2), (size, size))


def test_attention_by_torchs_function_is_seen_too() -> None:
    """If it fails, transformers that are not built of torch's layers are refused."""
    model, images = plain(functional.scaled_dot_product_attention), build_images(2)
    tokens = model.trunk.embed(images).flatten(2).transpose(1, 2)
    weights = (tokens @ tokens.transpose(1, 2) / 8**0.5).softmax(-1)
    wanted = ((weights + torch.eye(16)) / 2).mean(1).unflatten(1, (1, 4, 4))
    maps = AttentionRollout().attribute(model, images, TARGET)
    torch.testing.assert_close(maps, upsample(wanted, (24, 24)), atol=1e-6, rtol=1e-4)
    assert float(GradAttention().attribute(model, images, TARGET).std()) > 0


def _windowed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    half = [torch.cat(one.split(one.shape[2] // 2, 2)) for one in (query, key, value)]
    mixed: Tensor = functional.scaled_dot_product_attention(*half)
    return torch.cat(mixed.split(len(query)), 2)


def _pooled(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    few = [one[:, :, ::2] for one in (key, value)]
    return functional.scaled_dot_product_attention(query, *few)


def _many(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    every = [torch.cat([one, one, one], 2) for one in (query, key, value)]
    return functional.scaled_dot_product_attention(*every)


def _causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value, is_causal=True)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (build_classifier(), "it calls no attention of torch's that could be read off"),
        (plain(_windowed), "its attention stays within windows of the image"),
        (plain(_pooled), "its layers attend to different numbers of tokens"),
        (plain(_many), "its 48 tokens are not the cells of a convolution"),
        (plain(_causal), "its attention is causal or shares keys among heads"),
    ],
)
@pytest.mark.parametrize("method", [AttentionRollout(), GradAttention()])
def test_attention_that_is_not_over_patches_is_refused(
    model: Classifier, reason: str, method: AttentionRollout | GradAttention
) -> None:
    """If it fails, attention of other things is laid out as if it were of patches."""
    assert (method.supports(model) or "").startswith(reason)
    assert model.passes.forward == 0
