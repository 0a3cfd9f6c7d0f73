"""Attention of a vision transformer, collected over its layers.

Attention is read off as torch's own attention functions are called, in this thread alone: no layer
is hooked or replaced, and layers of other libraries that call these functions are seen as well.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from benchmark.classifier import Classifier
from benchmark.errors import UnsupportedError
from benchmark.explainer import Explainer
from benchmark.feature_grid import upsample
from benchmark.target import Target

_CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d}
_OTHER_TOKENS = 8

Received = tuple[Tensor, tuple[int, ...]]


class _Attention(Explainer):
    """Attention from what the network reads out to the patches, resized to the image.

    Patches are the cells of the last convolution before the first block, in its order, and a class
    token stands before them; where there is none, the mean of all tokens is read out.
    """

    family = "attention"
    polarity = "positive"

    def supports(self, classifier: Classifier) -> str | None:
        """Return why attention cannot be laid out on the image, or None where it can."""
        try:
            images = classifier.example.requires_grad_()
            with torch.enable_grad(), _Recorder() as recorder:
                # Through the parts: finding out what a model is must not count as a pass.
                maps = classifier.trunk(classifier.preprocessing(images))
                logits, _ = classifier.tail(maps)
            grid = recorder.grid(1)
        except UnsupportedError as error:
            return str(error)
        last = recorder.used[-1]
        if not last.requires_grad or recorder.attention[-1].shape[-1] == math.prod(grid):
            return None
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), last)
        # Of the last layer, only what the tokens that are read out attend to has an influence.
        if gradient.view_as(recorder.attention[-1])[:, :, 1:].any():
            return "it reads out other tokens than a class token that stands before its patches"
        return None

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the attention to each pixel [B, 1, *S]; see the base class."""
        received, grid = self.received(classifier, images, target)
        cells = received[:, -math.prod(grid) :].unflatten(1, (1, *grid))
        return upsample(cells, images.shape[2:])

    @abstractmethod
    def received(self, classifier: Classifier, images: Tensor, target: Target) -> Received:
        """Return what each token gives to the readout [B, T], and the grid of patches."""


class AttentionRollout(_Attention):
    """The product over layers of the heads' mean attention, each halved with the identity.

    The map is the same for every target: it says where information can come from, not what it is
    used for.
    """

    name = "attention_rollout"
    passes = (1, 0)
    paper = "Abnar and Zuidema 2020, Quantifying attention flow in transformers"

    def received(self, classifier: Classifier, images: Tensor, target: Target) -> Received:
        """Return the rollout to the readout's token; see the base class."""
        with torch.no_grad(), _Recorder() as recorder:
            classifier(images)
        grid = recorder.grid(len(images))
        flow = _identity(recorder.attention[0])
        for attention in recorder.attention:
            flow = (attention.mean(1) + _identity(attention)) @ flow / 2
        return _read_out(flow, grid), grid


class GradAttention(_Attention):
    """Attention times its gradient, collected over layers by Chefer et al.'s rule.

    Each layer adds what its attention hands on, R ← R + E_heads[(∇A ⊙ A)⁺] R, from R = I.
    """

    name = "grad_attention"
    passes = (1, 1)
    paper = (
        "Chefer et al. 2021, Generic attention-model explainability for interpreting bi-modal and "
        "encoder-decoder transformers"
    )

    def received(self, classifier: Classifier, images: Tensor, target: Target) -> Received:
        """Return the collected relevance of each token; see the base class."""
        images = images.detach().requires_grad_()
        with _Recorder() as recorder:
            score = target(*classifier(images))
        grid = recorder.grid(len(images))
        # Down to the images, although their gradient is not needed: so the pass is counted.
        *gradients, _ = torch.autograd.grad(score.sum(), [*recorder.used, images])
        relevance = _identity(recorder.attention[0]).detach()
        for attention, gradient in zip(recorder.attention, gradients, strict=True):
            attention = attention.detach()
            handed_on = (gradient.view_as(attention) * attention).clamp_min(0).mean(1)
            relevance = relevance + handed_on @ relevance
        return _read_out(relevance - _identity(relevance), grid), grid


class _Recorder(TorchFunctionMode):
    """Keeps the attention of every layer, and the grid that its tokens come from.

    Attributes:
        attention: [B, heads, T, T] attention of each layer.
        used: Same numbers as the layer multiplied them, with graph where there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attention: list[Tensor] = []
        self.used: list[Tensor] = []
        self._cells: tuple[int, ...] = ()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - the signature is torch's
        kwargs = kwargs or {}
        if func is functional.multi_head_attention_forward:
            needs_weights = kwargs.pop("need_weights", True)
            result, weights = func(
                *args, **{**kwargs, "need_weights": True, "average_attn_weights": False}
            )
            # What is returned is a view of what was multiplied, and only that has a gradient.
            self.attention.append(weights)
            self.used.append(weights if weights._base is None else weights._base)
            return result, weights.mean(1) if needs_weights else None
        if func is functional.scaled_dot_product_attention:
            result, weights = _attend(*args, **kwargs)
            self.attention.append(weights)
            self.used.append(weights)
            return result
        result = func(*args, **kwargs)
        if func in _CONVOLUTIONS and not self.attention:
            self._cells = tuple(result.shape[2:])
        return result

    def grid(self, images: int) -> tuple[int, ...]:
        """Return the spatial shape of the patches, after so many images went through the network.

        Raises:
            UnsupportedError: If no attention was seen, or its tokens are not the image's patches.
        """
        if not self.attention:
            raise UnsupportedError("it calls no attention of torch's that could be read off")
        tokens = self.attention[0].shape[-1]
        if any(weights.shape[0] != images for weights in self.attention):
            raise UnsupportedError("its attention stays within windows of the image")
        if any(weights.shape[-2:] != (tokens, tokens) for weights in self.attention):
            raise UnsupportedError("its layers attend to different numbers of tokens")
        if not 0 <= tokens - math.prod(self._cells) <= _OTHER_TOKENS or not self._cells:
            raise UnsupportedError(
                f"its {tokens} tokens are not the cells of a convolution before the first block"
            )
        return self._cells


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return scaled dot-product attention and its weights, as torch documents the function."""
    if is_causal or enable_gqa:
        raise UnsupportedError("its attention is causal or shares keys among heads")
    logits = query @ key.transpose(-2, -1) * (scale or query.shape[-1] ** -0.5)
    if attn_mask is not None:
        hidden = attn_mask.dtype == torch.bool
        logits = logits.masked_fill(~attn_mask, -torch.inf) if hidden else logits + attn_mask
    weights = logits.softmax(-1)
    return weights @ value, weights


def _identity(attention: Tensor) -> Tensor:
    return torch.eye(attention.shape[-1]).to(attention)


def _read_out(flow: Tensor, grid: Sequence[int]) -> Tensor:
    """Return the row of the class token, or the mean of the rows where there is none, [B, T]."""
    return flow[:, 0] if flow.shape[-1] > math.prod(grid) else flow.mean(1)
