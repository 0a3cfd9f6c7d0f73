"""A classifier cut where explanations need it: trunk → feature maps → pool → head."""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.overrides import has_torch_function

from benchmark.classifier.architecture import architecture_sha256, network_sha256
from benchmark.classifier.batch_norm import has_hooks, order_gradients
from benchmark.classifier.buffers.running_statistics import named_tensors
from benchmark.classifier.exchange import Statistics, exchange, randomise
from benchmark.classifier.layers import pool_channels_last
from benchmark.classifier.layout import MapsLayout, Turned, find_layout
from benchmark.classifier.parts import Handling, examine_parts, single
from benchmark.classifier.passes import PassCounter, PrefixMemory
from benchmark.classifier.redrawing import Stage, find_stages
from benchmark.classifier.resizing import grid_before, resize
from benchmark.classifier.streamlining import streamline
from benchmark.errors import ClassifierError, UnsupportedError, short_message
from benchmark.feature_grid import FeatureGrid, trace_grid

_NOT_IN_NUMPY = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a grey image in [0, 1] before the trunk sees it.

    Attributes:
        channels: Number of channels that the trunk expects; the grey image is repeated.
        mean: Mean of each channel, which is subtracted.
        std: Standard deviation of each channel, which divides the rest.
        size: Spatial shape that images are resized to by linear interpolation, or None where they
            stay as they are.
    """

    channels: int = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    # Not in the text that `weights_sha256` hashes, which is older than this step.
    size: tuple[int, ...] | None = field(default=None, repr=False)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images [B, 1, *S] as the trunk expects them, [B, channels, *S] or [B, C, *size].

        Raises:
            ValueError: If the images have another number of axes than ``size``.
        """
        shape = (1, -1) + (1,) * (images.ndim - 2)
        if self.size is not None:
            if len(self.size) != images.ndim - 2:
                raise ValueError(f"images are resized to {list(self.size)}, of other dimensions")
            images = resize(images, self.size)
        if self.channels != images.shape[1]:
            images = images.expand(-1, self.channels, *images.shape[2:])
        if any(self.mean) or any(value != 1 for value in self.std):
            mean, std = images.new_tensor(self.mean), images.new_tensor(self.std)
            images = (images - mean.view(shape)) / std.view(shape)
        return images


class GlobalAveragePool(nn.Module):
    """Mean over all spatial axes, [B, K, *s] → [B, K]; maps without any pass unchanged."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the embedding."""
        return maps.flatten(2).mean(-1) if maps.ndim > 2 else maps


class Classifier(nn.Module):
    """A frozen image classifier in evaluation mode.

    Args:
        name: Name of the model in records and tables.
        trunk: Module from [B, C, *S] to feature maps [B, K, *s]; its children are the stages.
        head: Module from the embedding [B, D] to logits [B, 2].
        input_shape: Spatial shape *S of the images that the model is given.
        pool: Module from feature maps to the embedding [B, D]; global average pooling unless given.
        preprocessing: Step from grey images in [0, 1] to what the trunk expects.

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
        # Class of the model source, which ``load_fitted`` notes.
        self.source: type | None = None
        self._resume: tuple[int, PrefixMemory, Hashable] | None = None
        self._layouts: dict[int, MapsLayout] = {}
        self.streamlining: tuple[object, int] | None = None
        # Names of what a randomised copy took from images.
        self.reestimated: frozenset[str] = frozenset()
        self.handling = Handling()
        self.eval()
        if any(isinstance(values, UninitializedParameter) for values in self.parameters()):
            examine_parts(self)  # a first pass shapes lazy layers
        self.requires_grad_(False)
        order_gradients(self)
        pool_channels_last(self)
        self.handling = examine_parts(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, 2] and embedding [B, D] of images [B, 1, *S] in [0, 1]."""
        return self.tail(self.feature_maps(images))

    def feature_maps(self, images: Tensor) -> Tensor:
        """Return the trunk's output [B, K, *s] for images [B, 1, *S]."""
        self.passes.add_forward(len(images))
        if images.requires_grad:
            # An alias, so that the hook belongs to this pass alone and goes with its graph.
            images = images.view_as(images)
            images.register_hook(lambda gradient: self.passes.add_backward(len(gradient)))
        prepared = self.preprocessing(images)
        if self._resume is not None and not images.requires_grad:
            count, memory, of = self._resume
            layers = cast("nn.Sequential", self.trunk)
            # Whoever watches layers, or functions as they are called, has to see all of them.
            if not (has_hooks(layers[:count]) or has_torch_function((images,))):
                return self.maps_after(count, memory.after(count, layers[:count], prepared, of))
        return self.maps_after(0, prepared)

    def maps_after(self, count: int, activations: Tensor) -> Tensor:
        """Return the trunk's output for the activations after the first of its children, uncounted.

        Args:
            count: Number of children that were passed; a trunk that is no sequence has none.
            activations: Output of the stages before, or prepared images where it is 0.
        """
        trunk = cast("nn.Sequential", self.trunk)[count:] if count else self.trunk
        maps: Tensor = trunk(activations)
        # In half precision values of a map would tie; the pool is given it back as it was.
        return maps if self.handling.halved is None else maps.float()

    def tail(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, 2] and embedding [B, D] for feature maps [B, K, *s].

        The maps stay as they are, and may be a leaf that requires gradient, also where the layers
        behind them work in place.
        """
        handling = self.handling
        if handling.halved is not None:
            maps = maps.to(handling.halved)
        embedding = self.pool(maps.clone() if handling.writes_maps else maps)
        logits = self.head(embedding.clone() if handling.writes_embedding else embedding)
        return single(logits), single(embedding)

    @property
    def device(self) -> torch.device:
        """Device that holds the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the images that it takes: float32 unless its weights are of float64.

        A network with weights in half precision is given float32 too, and casts by itself.
        """
        held = next(self.parameters()).dtype
        return held if held == torch.float64 else torch.float32

    @property
    def example(self) -> Tensor:
        """Black image [1, 1, *S] that is sent through to learn the shapes of a network."""
        return torch.zeros(1, 1, *self.input_shape, dtype=self.dtype, device=self.device)

    @cached_property
    def maps_shape(self) -> tuple[int, ...]:
        """Shape [K, *s] of an image's feature maps; finding it out counts as no pass."""
        with torch.no_grad():
            return tuple(self.trunk(self.preprocessing(self.example)).shape[1:])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Parts with parameters, from the head to the stem; each parameter is in one of them."""
        return find_stages(self)

    @cached_property
    def feature_grid(self) -> FeatureGrid:
        """Input coordinates of the feature cells; its shape is empty where maps are not spatial."""
        grid = trace_grid(self.trunk, self.preprocessing(self.example).clone())
        size = self.preprocessing.size
        return grid if size is None else grid_before(grid, self.input_shape, size)

    @property
    def layout(self) -> MapsLayout:
        """Axes of the feature maps as a moving blob finds them; finding them counts as no pass."""
        # Models that were cut from one network share what was found, by their number of layers.
        count = len(self.trunk) if isinstance(self.trunk, nn.Sequential) else 0
        if count not in self._layouts:
            self._layouts[count] = find_layout(
                lambda images: cast("Tensor", self.trunk(self.preprocessing(images))), self.example
            )
        return self._layouts[count]

    def with_channels_first(self) -> Classifier:
        """Return the same model with feature maps [B, K, *s] whose axes are the image's.

        It is this very model where they are already. Otherwise layers and counter are shared.
        """
        layout = self.layout
        if layout.is_declared:
            return self
        turned = Turned(layout.order)
        other = self._with_modules_of_its_own()
        layers = self.trunk._modules if isinstance(self.trunk, nn.Sequential) else {"0": self.trunk}
        other.trunk = nn.Sequential(OrderedDict(layers, turned=turned))
        other.pool = nn.Sequential(turned.inverse, self.pool)
        other._layouts = {len(layers) + 1: MapsLayout(tuple(range(len(layout.order))))}
        return other

    @property
    def weights_sha256(self) -> str:
        """SHA-256 over names, shapes and bytes of all parameters and buffers.

        Preprocessing other than none is covered too: it is part of what is scored.
        """
        digest = hashlib.sha256()
        if self.preprocessing != Preprocessing():
            digest.update(repr(self.preprocessing).encode())
        if self.preprocessing.size is not None:
            digest.update(f"resized to {self.preprocessing.size}".encode())
        for name, tensor in sorted(self.state_dict().items()):
            if not isinstance(tensor, Tensor):
                raise ClassifierError(
                    f"Model {self.name!r} keeps {name} as {type(tensor).__name__}, not as a "
                    "tensor, so its weights have no identity; give the network in floating point."
                )
            plain = tensor.detach().cpu().contiguous()
            is_in_numpy = plain.dtype not in _NOT_IN_NUMPY
            kind = plain.numpy().dtype.str if is_in_numpy else str(plain.dtype)
            digest.update(f"{name}:{kind}:{tuple(plain.shape)}".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def architecture_sha256(self) -> str | None:
        """SHA-256 of layers, their settings and their code; None where the weights name them.

        That is so for a network that is frozen with a suite (``ModelSource.frozen``).
        """
        if getattr(self.source, "frozen", False):
            return None
        return architecture_sha256(self, self.source)

    @property
    def identity_sha256(self) -> str:
        """SHA-256 that names the network: its weights and its architecture."""
        return network_sha256(self.weights_sha256, self.architecture_sha256)

    def copy(self, tensors: Mapping[str, Tensor] | None = None) -> Classifier:
        """Return an independent copy that counts its passes into the same counter.

        Args:
            tensors: Tensors by name that it shares; scripted parts copy theirs all the same.

        Raises:
            ClassifierError: If the network holds what cannot be copied.
        """
        memo: dict[int, object] = {
            id(self.passes): self.passes,
            id(self._resume): None,
            id(self.streamlining): None,
        }
        if tensors is not None:
            own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
            memo |= {id(own[name]): tensor for name, tensor in tensors.items()}
        try:
            return copy.deepcopy(self, memo)
        except (Exception, SystemExit) as error:  # attributes of its own; anything may come back
            raise ClassifierError(
                f"Model {self.name!r} cannot be copied, as randomising it needs "
                f"({short_message(error)}): let the network keep no tensor of a pass, generator, "
                "lock or open file as an attribute."
            ) from error

    def cut(self, layer: str) -> Classifier:
        """Return the same model with the output of a child of the trunk as its feature maps.

        Layers and counter are shared; what follows the layer becomes part of the pool.

        Raises:
            UnsupportedError: If the trunk has no such layer, or is not a plain sequence of layers.
        """
        if not isinstance(self.trunk, nn.Sequential):
            raise UnsupportedError("its trunk is not a sequence of layers to choose one from")
        names = list(self.trunk._modules)
        if layer not in names:
            raise UnsupportedError(f"it has no layer {layer!r}; known: {', '.join(names)}")
        count = names.index(layer) + 1
        other = self._with_modules_of_its_own()
        if self._resume is not None and self._resume[0] >= count:
            other._resume = None
        other.trunk = self.trunk[:count]
        other.pool = nn.Sequential(self.trunk[count:], self.pool)
        # The layers in between may work in place, whatever the pool does.
        other.handling = replace(self.handling, writes_maps=True, halved=None)
        return other

    def _with_modules_of_its_own(self) -> Classifier:
        """Return the same model, whose trunk and pool may be exchanged."""
        other = copy.copy(self)
        other._modules, other.streamlining = self._modules.copy(), None
        for known in ("feature_grid", "maps_shape"):
            other.__dict__.pop(known, None)
        return other

    @property
    def statistics(self) -> dict[str, Tensor]:
        """Running statistics by name that a randomised copy took from images; others have none."""
        tensors = named_tensors(self)
        taken = {name: tensors[name].detach() for name in sorted(self.reestimated)}
        lacking = {name for name, values in taken.items() if values.dtype in _NOT_IN_NUMPY}
        return {n: values.float() if n in lacking else values for n, values in taken.items()}

    def streamlined(self) -> Classifier:
        """Return a copy for passes without parameters' gradients, 1.3 times as fast on two cores.

        Batch norm is folded into the convolutions before it, and memory runs channels last. Logits,
        embeddings and gradients agree to rounding: that is proven on textured images the first time
        that a network is streamlined, and where it does not hold the copy is a plain one.
        """
        return streamline(self)[0]

    def randomised(self, seed: int, images: Tensor | Statistics) -> Classifier:
        """Return a copy ``name~seed`` with every parameter redrawn and statistics taken anew.

        Each parameter is drawn from its module's own initialiser, on a stream of its own, so two
        layers of one shape do not become equal. A parameter that no initialiser owns, such as a
        class token, is drawn from a normal with the moments of its trained values.

        Args:
            seed: Seed of the redrawn parameters.
            images: [M, 1, *S] training images that running statistics are taken from; with the
                trained ones activations are squashed, and a method is flattered. Or the statistics
                that this very copy took from them before, as its ``statistics``.

        Raises:
            ClassifierError: If a parameter stayed as it was, or a buffer that training fills.
        """
        return randomise(self, seed, images)

    def partly(
        self,
        donor: Classifier,
        stages: Sequence[Stage],
        images: Tensor | Statistics,
        prefixes: PrefixMemory | None = None,
    ) -> Classifier:
        """Return a copy with some stages of a donor of the same architecture.

        Running statistics are taken anew from training images [M, 1, *S] from the first replaced
        stage onwards; before it nothing has changed.

        Args:
            donor: Network that gives its stages.
            stages: Stages of this network that are replaced.
            images: [M, 1, *S] training images, or statistics, as of ``randomised``.
            prefixes: Memory of activations that this network's copies share. The statistics of the
                donor must then be of the same images: where all first stages are its own, they are
                taken over.

        Raises:
            ClassifierError: If a tensor of these stages stayed as it was.
        """
        return exchange(self, donor, stages, images, prefixes)

    def resume_after(self, stages: int, memory: PrefixMemory, of: Hashable = None) -> None:
        """Take the activations after the first children of a sequential trunk from ``memory``.

        This is for copies that share these stages with ``of``, or with all of the memory. A pass
        that needs the gradient of the images, or meets a hook, goes through the whole trunk.
        """
        if isinstance(self.trunk, nn.Sequential) and 0 < stages < len(self.trunk):
            self._resume = (stages, memory, of)
