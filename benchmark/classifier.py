"""A classifier cut where explanations need it: trunk → feature maps → pool → head."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from benchmark.errors import ClassifierError
from benchmark.feature_grid import FeatureGrid, trace_grid
from benchmark.seeding import seed_of


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a grey image in [0, 1] before the trunk sees it.

    Attributes:
        channels: Channels that the trunk expects; the grey image is repeated.
        mean: Subtracted from each channel.
        std: Divides each channel.
    """

    channels: int = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __call__(self, images: Tensor) -> Tensor:
        """Return [B, channels, *S]."""
        shape = (1, -1) + (1,) * (images.ndim - 2)
        if self.channels != images.shape[1]:
            images = images.expand(-1, self.channels, *images.shape[2:])
        if any(self.mean) or any(value != 1 for value in self.std):
            mean, std = images.new_tensor(self.mean), images.new_tensor(self.std)
            images = (images - mean.view(shape)) / std.view(shape)
        return images


@dataclass
class PassCounter:
    """Image passes through a trunk: one image through once counts one.

    Attributes:
        forward: From images to feature maps.
        backward: From feature maps to the gradient of the images.
        listener: Called with each number of passes as they happen; drives progress bars.
    """

    forward: int = 0
    backward: int = 0
    listener: Callable[[int], None] | None = field(default=None, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def add_forward(self, images: int) -> None:
        """Count ``images`` forward passes."""
        with self._lock:
            self.forward += images
            if self.listener is not None:
                self.listener(images)

    def add_backward(self, images: int) -> None:
        """Count ``images`` backward passes."""
        with self._lock:
            self.backward += images
            if self.listener is not None:
                self.listener(images)

    def snapshot(self) -> PassCounter:
        """Return the counts of this moment."""
        return PassCounter(self.forward, self.backward)

    def since(self, earlier: PassCounter) -> PassCounter:
        """Return what was counted after ``earlier``."""
        return PassCounter(self.forward - earlier.forward, self.backward - earlier.backward)


@dataclass(frozen=True)
class Stage:
    """A part of the model that is randomised as one.

    Attributes:
        name: As the model calls it.
        module: Its layers.
    """

    name: str
    module: nn.Module = field(repr=False)


class GlobalAveragePool(nn.Module):
    """Mean over all spatial axes, [B, K, *s] → [B, K]; maps without any pass unchanged."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the embedding."""
        return maps.flatten(2).mean(-1) if maps.ndim > 2 else maps


class Classifier(nn.Module):
    """A frozen image classifier in evaluation mode.

    Args:
        name: How the model is called in records and tables.
        trunk: [B, C, *S] → feature maps [B, K, *s]. Its children are the model's stages.
        head: Embedding [B, D] → logits [B, 2].
        input_shape: *S, the spatial shape of the images that it will be given.
        pool: Feature maps → embedding [B, D]; global average pooling unless given.
        preprocessing: From grey images in [0, 1] to what the trunk expects.

    Raises:
        ClassifierError: If the parts do not fit each other or give other than two logits.
    """

    def __init__(
        self,
        name: str,
        trunk: nn.Module,
        head: nn.Module,
        input_shape: Sequence[int],
        pool: nn.Module | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.pool = GlobalAveragePool() if pool is None else pool
        self.head = head
        self.input_shape = tuple(input_shape)
        self.preprocessing = Preprocessing() if preprocessing is None else preprocessing
        self.passes = PassCounter()
        self.eval().requires_grad_(False)
        self._check()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and embedding.

        Args:
            images: [B, 1, *S] in [0, 1].

        Returns:
            Logits [B, 2] and embedding [B, D].
        """
        return self.tail(self.feature_maps(images))

    def feature_maps(self, images: Tensor) -> Tensor:
        """Return the trunk's output [B, K, *s] for images [B, 1, *S]."""
        self.passes.add_forward(len(images))
        if images.requires_grad:
            # An alias, so that the hook belongs to this pass alone and goes with its graph.
            images = images.view_as(images)
            images.register_hook(self._count_backward)
        maps: Tensor = self.trunk(self.preprocessing(images))
        return maps

    def tail(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, 2] and embedding [B, D] for feature maps [B, K, *s]."""
        embedding = self.pool(maps)
        return self.head(embedding), embedding

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Parts with parameters, from the head to the stem."""
        children = [Stage(name, module) for name, module in self.trunk.named_children()]
        parts = [*(children or [Stage("trunk", self.trunk)]), Stage("head", self.head)]
        with_parameters = [
            part for part in parts if next(part.module.parameters(), None) is not None
        ]
        return tuple(reversed(with_parameters))

    @cached_property
    def feature_grid(self) -> FeatureGrid:
        """Input coordinates of the feature cells; its shape is empty where maps are not spatial."""
        example = torch.zeros(1, 1, *self.input_shape, device=self.device)
        return trace_grid(self.trunk, self.preprocessing(example).clone())

    @property
    def weights_sha256(self) -> str:
        """SHA-256 over names, shapes and bytes of all parameters and buffers.

        Preprocessing other than none is covered too: it is part of what is scored.
        """
        digest = hashlib.sha256()
        if self.preprocessing != Preprocessing():
            digest.update(repr(self.preprocessing).encode())
        for name, tensor in sorted(self.state_dict().items()):
            array = tensor.detach().cpu().contiguous().numpy()
            digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def copy(self) -> Classifier:
        """Return an independent copy that counts its passes into the same counter."""
        shared = {id(self.passes): self.passes}
        return copy.deepcopy(self, shared)

    def streamlined(self) -> Classifier:
        """Return a copy for passes without gradient, 1.3 times as fast on two CPU cores.

        Batch norm is folded into the convolutions before it, and memory runs channels last. Logits
        agree to rounding. A trunk that torch.fx cannot trace keeps its batch norm.
        """
        other = self.copy()
        with suppress(Exception):  # tracing runs the user's code on proxies; anything may come back
            other.trunk = fuse(other.trunk)
        flat = len(self.input_shape) == 2
        layout = torch.channels_last if flat else torch.channels_last_3d
        return other.to(memory_format=layout)

    def randomised(self, seed: int, images: Tensor) -> Classifier:
        """Return a copy with every parameter redrawn and batch norm re-estimated.

        Each parameter is drawn from its module's own initialiser, on a stream of its own, so two
        layers of one shape do not become equal. A parameter that no initialiser owns, such as a
        class token, is drawn from a normal with the moments of its trained values.

        Args:
            seed: Another seed, another copy.
            images: [M, 1, *S] training images that batch norm's running statistics are taken from;
                with the trained ones activations are squashed, and a method is flattered.

        Returns:
            A copy named ``name~seed``.
        """
        other = self.copy()
        other.name = f"{self.name}~{seed}"
        redraw(other, seed)
        reestimate_batch_norm(other, images)
        return other

    def _count_backward(self, gradient: Tensor) -> None:
        self.passes.add_backward(len(gradient))

    def _check(self) -> None:
        try:
            with torch.no_grad():
                logits, embedding = self(torch.zeros(2, 1, *self.input_shape, device=self.device))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ClassifierError(
                f"Model {self.name!r} cannot take grey images of shape {list(self.input_shape)}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        if logits.shape != (2, 2) or embedding.ndim != 2:
            raise ClassifierError(
                f"Model {self.name!r} must return logits [B, 2] and an embedding [B, D], "
                f"but for two images it returned {list(logits.shape)} and {list(embedding.shape)}."
            )
        self.passes = PassCounter()


def redraw(module: nn.Module, seed: int) -> None:
    """Redraw every parameter of ``module`` in place, each on a stream named by seed and name."""
    for prefix, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            seed_here = seed_of("redraw", seed, f"{prefix}.{name}")
            with torch.no_grad():
                if not _reset_one(part, name, seed_here):
                    _draw_like(parameter, seed_here)


def reestimate_batch_norm(classifier: Classifier, images: Tensor) -> None:
    """Set batch norm's running statistics to the moments over ``images``, layer after layer.

    Args:
        classifier: Changed in place.
        images: [M, 1, *S].
    """
    layers = [part for part in classifier.modules() if isinstance(part, _BATCH_NORMS)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # cumulative average: one batch gives that batch's moments exactly
    with torch.no_grad():
        classifier.feature_maps(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.eval()
        layer.momentum = momentum


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _reset_one(part: nn.Module, name: str, seed: int) -> bool:
    """Redraw one parameter by its module's initialiser; False where that leaves it as it was."""
    fresh = copy.deepcopy(part).cpu()
    reset = getattr(fresh, "reset_parameters", None) or getattr(fresh, "_reset_parameters", None)
    if not callable(reset):
        return False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reset()
    parameter, drawn = dict(part.named_parameters(recurse=False))[name], getattr(fresh, name)
    # A constant initialiser, as batch norm's, owns its parameter even where nothing changes.
    if torch.equal(parameter.cpu(), drawn) and drawn.unique().numel() > 1:
        return False
    parameter.copy_(drawn)
    return True


def _draw_like(parameter: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
    scale = spread if math.isfinite(spread) and spread > 0 else 0.02
    noise = torch.randn(parameter.shape, generator=generator) * scale + float(parameter.mean())
    parameter.copy_(noise)
