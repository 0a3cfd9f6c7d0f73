"""A copy of the network for passes without parameters' gradients, proven equal before it is used.

Batch norm is folded into the convolutions before it, and memory runs channels last. Both are right
for most networks and not for all: a convolution that is called twice cannot take one norm into
itself (pytorch#104593), and a network that cuts its memory by hand may not run channels last. So
the copy's logits, embeddings and gradients are compared with the network's, and where they differ
by more than rounding the next slower copy is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeGuard, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from benchmark.classifier.batch_norm import has_hooks
from benchmark.classifier.parts import HALVES
from benchmark.classifier.side_effects import versions
from benchmark.feature_grid import upsample
from benchmark.seeding import torch_stream

if TYPE_CHECKING:
    from benchmark.classifier.network import Classifier

_FOLDABLE: dict[type[nn.Module], type[_BatchNorm]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
}
_TEXTURED, _COARSENESS = 2, 6

# Shares of the outputs' spread over images, and of the gradient's norm, that rounding stays below.
# Untrained networks of torchvision move by up to 4e-5 when their norms are folded, and as a ReLU at
# its kink turns some of them, their gradients by up to 5e-3.
_SAME_OUTPUT, _SAME_GRADIENT = 1e-3, 2e-2
# Rounding adds up over layers; in half precision they are few that round as coarsely.
_STEPS_OF_ROUNDING, _HALVED_STEPS = 32, 8


def streamline(classifier: Classifier, images: Tensor | None = None) -> tuple[Classifier, str]:
    """Return the fastest copy that gives the network's outputs, and what had to be given up for it.

    The proof is made once for a network and its weights; a later call repeats what it found.

    Args:
        classifier: Network that is copied.
        images: Images [B, 1, *S] that the two are compared on, textured ones unless given; the
            proof is then made anew.
    """
    proven, state = classifier.streamlining, versions(classifier)
    if images is None and proven is not None and proven[0] == state:
        steps, remark = _LADDER[proven[1]]
        return _altered(classifier, steps), remark
    rung, copy = _first_equal(classifier, textured_images(classifier) if images is None else images)
    classifier.streamlining = state, rung
    return copy, _LADDER[rung][1]


def forward(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and embedding of images by passes that are not counted."""
    return classifier.tail(classifier.trunk(classifier.preprocessing(images)))


def textured_images(classifier: Classifier) -> Tensor:
    """Return images [2, 1, *S] in [0, 1] with coarse and fine texture, the same each time."""
    shape = classifier.input_shape
    generator = torch_stream("textured", *shape)
    coarse = torch.rand(_TEXTURED, 1, *[_COARSENESS] * len(shape), generator=generator)
    fine = torch.rand(_TEXTURED, 1, *shape, generator=generator)
    return ((upsample(coarse, shape) + fine) / 2).to(classifier.example)


def output_tolerance(outputs: Tensor, rounding: float, share: float = _SAME_OUTPUT) -> float:
    """Return how far two computations of the same outputs [B, n] may lie apart.

    Args:
        outputs: Outputs of the one computation.
        rounding: Relative error of the network's arithmetic, from ``rounding_of``.
        share: Share of the outputs' spread over images that is let through beside rounding.
    """
    values = outputs.detach().float()
    spread, size = float((values.amax(0) - values.amin(0)).max()), float(values.abs().max())
    return share * spread + rounding * size


def rounding_of(classifier: Classifier) -> float:
    """Return the relative error of arithmetic with numbers as coarse as the coarsest weights."""
    tensors = (*classifier.parameters(), *classifier.buffers())
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return max(
        (_HALVED_STEPS if dtype in HALVES else _STEPS_OF_ROUNDING) * torch.finfo(dtype).eps
        for dtype in (torch.float32, *types)
        if dtype.itemsize > 1
    )


def fold_batch_norm(trunk: nn.Module) -> nn.Module:
    """Return a trunk whose convolutions have taken in the batch norm that follows them.

    The convolutions are those of the given trunk, which is worth nothing afterwards.

    A pair is left as it is where folding would be wrong: a convolution that is called more than
    once, whose output or weight is used elsewhere, or whose weights are in half precision. So is a
    trunk with hooks, which may see what lies between the two, one that torch.fx cannot trace, and
    one without such a pair: a trace may have fixed what the code decides anew for each image.
    """
    if has_hooks(trunk):
        return trunk
    try:
        traced = fx.symbolic_trace(trunk)
    except (Exception, SystemExit):  # tracing runs the user's code; anything may come back
        return trunk
    modules = dict(traced.named_modules())
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    read = [str(node.target) for node in traced.graph.nodes if node.op == "get_attr"]
    is_folded = False
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        name = str(before.target)
        convolution, norm = modules[name], modules[str(node.target)]
        is_alone = calls[name] == 1 and len(before.users) == 1
        is_read = any(other.startswith(f"{name}.") for other in read)
        if is_alone and not is_read and _is_pair(convolution, norm):
            _take_in(cast("nn.Conv2d", convolution), norm)
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
            is_folded = True
    return fx.GraphModule(traced, traced.graph) if is_folded else trunk


def _is_pair(convolution: nn.Module, norm: nn.Module) -> TypeGuard[_BatchNorm]:
    """Return whether a norm can be folded into a convolution, both of exactly torch's classes."""
    if type(norm) is not _FOLDABLE.get(type(convolution)):
        return False
    has_statistics = norm.running_mean is not None and norm.running_var is not None
    return has_statistics and not norm.training and convolution.weight.dtype not in HALVES


def _take_in(convolution: nn.Conv2d, norm: _BatchNorm) -> None:
    """Give a convolution the weights of both; torch's own ``fuse_conv_bn_eval`` copies it first."""
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        cast("Tensor", norm.running_mean),
        cast("Tensor", norm.running_var),
        norm.eps,
        norm.weight,
        norm.bias,
    )


def _fold(classifier: Classifier) -> None:
    classifier.trunk = fold_batch_norm(classifier.trunk)


def _order_channels_last(classifier: Classifier) -> None:
    is_flat = len(classifier.input_shape) == 2
    classifier.to(memory_format=torch.channels_last if is_flat else torch.channels_last_3d)


_Step = Callable[["Classifier"], None]
# From the fastest to a plain copy, with what the network is told of itself.
_LADDER: tuple[tuple[tuple[_Step, ...], str], ...] = (
    ((_fold, _order_channels_last), ""),
    (
        (_order_channels_last,),
        "with its batch norms folded into its convolutions it gives other outputs, so they are "
        "kept, which is slower",
    ),
    (
        (),
        "with its memory ordered channels last it gives other outputs or fails, so it runs as it "
        "is, which is slower",
    ),
)


def _first_equal(classifier: Classifier, images: Tensor) -> tuple[int, Classifier]:
    """Return the first copy on the ladder that gives the network's outputs, and its rung."""
    for rung, (steps, _) in enumerate(_LADDER[:-1]):
        try:
            copy = _altered(classifier, steps)
            if _agree(classifier, copy, images):
                return rung, copy
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit):  # what the network's own code cannot do in this form
            continue
    return len(_LADDER) - 1, classifier.copy()


def _altered(classifier: Classifier, steps: tuple[_Step, ...]) -> Classifier:
    copy = classifier.copy()
    for step in steps:
        step(copy)
    return copy


def _agree(network: Classifier, copy: Classifier, images: Tensor) -> bool:
    """Return whether outputs and gradients are the same to rounding."""
    rounding = rounding_of(network)
    *outputs, gradient = _outputs(network, images)
    *other_outputs, other_gradient = _outputs(copy, images)
    pairs = zip(outputs, other_outputs, strict=True)
    if not all(_close(*pair, rounding) for pair in pairs):
        return False
    if gradient is None or other_gradient is None:
        return gradient is other_gradient
    gradient, other_gradient = gradient.nan_to_num(), other_gradient.nan_to_num()
    distance = float((gradient - other_gradient).norm())
    return distance <= max(_SAME_GRADIENT, rounding) * float(gradient.norm())


def _outputs(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits, embedding, and the gradient of the margin."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf, gradient = images.clone().requires_grad_(), None
        logits, embedding = forward(model, leaf.view_as(leaf))
        margin = logits.diff(dim=1).sum()
        if margin.requires_grad:
            (gradient,) = torch.autograd.grad(margin, leaf, allow_unused=True)
        return logits.detach(), embedding.detach(), gradient


def _close(expected: Tensor, obtained: Tensor, rounding: float) -> bool:
    if expected.shape != obtained.shape:
        return False
    expected, obtained = expected.nan_to_num(), obtained.nan_to_num()
    return float((obtained - expected).abs().max()) <= output_tolerance(expected, rounding)
