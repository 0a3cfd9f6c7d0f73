"""Randomised copies: what training left in parameters and buffers is gone, or the copy is refused.

Networks are "trained" by filling whatever they hold with odd numbers. What a copy should hold is
computed from the layers' inputs, in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from images import build_images
from odd_networks import Half
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune
from torchvision.models.swin_transformer import ShiftedWindowAttentionV2
from torchvision.ops import FrozenBatchNorm2d

from benchmark.classifier import Classifier
from benchmark.classifier.buffers.constants import is_constant, persistent_buffers
from benchmark.classifier.buffers.running_statistics import reestimate_statistics
from benchmark.classifier.redrawing import redraw
from benchmark.errors import ClassifierError
from benchmark.records.arrays import ArrayFolder
from benchmark.seeding import seed_of, seed_torch
from benchmark.trial.keeping import Keeping, kept_value_or

SHAPE, WIDTH, IMAGES = (20, 20), 6, 8


def trained(*layers: nn.Module, head: nn.Module | None = None) -> Classifier:
    """Return a classifier whose every floating tensor was moved, as by training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem = nn.Conv2d(1, WIDTH, 3, 2, 1, bias=False)
        trunk = nn.Sequential(nn.Sequential(stem, *layers, nn.ReLU()), nn.Conv2d(WIDTH, WIDTH, 1))
        classifier = Classifier("mine", trunk, head or nn.Linear(WIDTH, 2), SHAPE)
    move(classifier)
    return classifier


def move(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for values in (*module.parameters(), *module.buffers()):
            if values.is_floating_point():
                values += 0.3 * torch.rand(values.shape, generator=generator)


def images() -> Tensor:
    return build_images(IMAGES, SHAPE)


class Moving(nn.Module):
    """A norm of one's own with a moving average, under names that nobody knows."""

    def __init__(self, channels: int, keep: float = 0.95) -> None:
        super().__init__()
        self.keep = keep
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_buffer("level", torch.zeros(1, channels, 1, 1))
        self.level: Tensor

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps less what they were on average."""
        if self.training:
            self.level.mul_(self.keep).add_((1 - self.keep) * maps.mean((0, 2, 3), keepdim=True))
        return (maps - self.level) * self.weight.view(1, -1, 1, 1)


class Functional(nn.Module):
    """Torch's batch norm called as a function, with statistics of the module's own names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalised maps."""
        centre, spread = self.get_buffer("centre"), self.get_buffer("spread")
        return functional.batch_norm(maps, centre, spread)


class Ported(nn.Module):
    """Batch norm as ported from another framework: its statistics are parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.running_mean = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.running_var = nn.Parameter(torch.ones(channels), requires_grad=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalised maps."""
        mean, variance = (values.view(1, -1, 1, 1) for values in self.parameters())
        return (maps - mean) / (variance + 1e-5).sqrt()


class AlwaysFrozen(nn.BatchNorm2d):
    """Batch norm that stays in evaluation mode, as detection networks freeze it."""

    def train(self, mode: bool = True) -> AlwaysFrozen:
        """Stay as it is."""
        super().train(False)
        return self


class Renamed(nn.BatchNorm2d):
    """Batch norm with a forward of its own, that takes momentum for a number."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalised maps."""
        assert self.running_mean is not None
        assert self.running_var is not None
        if self.training:
            momentum = float(self.momentum)  # type: ignore[arg-type]
            self.running_mean.lerp_(maps.mean((0, 2, 3)), momentum)
            self.running_var.lerp_(maps.transpose(0, 1).flatten(1).var(1), momentum)
        return functional.batch_norm(maps, self.running_mean, self.running_var)


class OwnSync(nn.SyncBatchNorm):
    """Synchronised batch norm followed by an activation, as timm's."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalised maps through a ReLU."""
        return super().forward(maps).relu()


def lazy(channels: int) -> nn.Module:
    return nn.LazyBatchNorm2d()


def tracked(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)


def timm_norm(name: str) -> Callable[[int], nn.Module]:
    def build(channels: int) -> nn.Module:
        layers = pytest.importorskip("timm.layers")
        norm: nn.Module = getattr(layers, name)(channels)
        return norm

    return build


BY_CHANNEL: dict[str, Callable[[int], nn.Module]] = {
    "BatchNorm2d": nn.BatchNorm2d,
    "SyncBatchNorm": nn.SyncBatchNorm,
    "lazy": lazy,
    "without weights": lambda channels: nn.BatchNorm2d(channels, affine=False),
    "subclass that stays frozen": AlwaysFrozen,
    "subclass with its own forward": Renamed,
    "subclass of the synchronised": OwnSync,
    "torchvision's frozen": FrozenBatchNorm2d,
    "timm's with activation": timm_norm("BatchNormAct2d"),
    "timm's frozen": timm_norm("FrozenBatchNormAct2d"),
    "functional": Functional,
    "statistics as parameters": Ported,
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    **BY_CHANNEL,
    "instance norm": tracked,
    "moving average": Moving,
    "timm's EvoNorm": timm_norm("EvoNorm2dB0"),
}


def assert_fresh(before: Classifier, after: Classifier) -> None:
    """Raise AssertionError if a floating tensor that is no constant is what it was."""
    ours = {**dict(before.named_parameters()), **dict(before.named_buffers())}
    theirs = {**dict(after.named_parameters()), **dict(after.named_buffers())}
    for name, values in ours.items():
        if values.is_floating_point():
            assert not torch.equal(values, theirs[name]), name


@pytest.mark.parametrize("kind", NORMS)
def test_no_norm_keeps_what_it_was_trained_to(kind: str) -> None:
    """If it fails, a randomised network is squashed by its trained statistics."""
    classifier = trained(NORMS[kind](WIDTH))
    assert_fresh(classifier, classifier.randomised(0, images()))


@pytest.mark.parametrize("kind", BY_CHANNEL)
def test_every_kind_takes_the_moments_of_each_channel(kind: str) -> None:
    """If it fails, one kind of batch norm is randomised to another network than the others."""
    after = trained(BY_CHANNEL[kind](WIDTH)).randomised(0, images())
    stem = after.get_submodule("trunk.0")
    values = stem.get_submodule("0")(images()).transpose(0, 1).flatten(1).double()
    names = ("centre", "spread") if kind == "functional" else ("running_mean", "running_var")
    norm = stem.get_submodule("1")
    for name, expected in zip(names, (values.mean(1), values.var(1)), strict=True):
        moments = norm.state_dict()[name].double()
        torch.testing.assert_close(moments, expected, rtol=1e-5, atol=1e-6)
    assert not any(part.training for part in after.modules())


def test_an_own_moving_average_takes_what_it_converges_to() -> None:
    """If it fails, statistics of modules of one's own are a step of an average, not its end."""
    after = trained(Moving(WIDTH)).randomised(0, images())
    values = after.get_submodule("trunk.0.0")(images())
    level = after.get_buffer("trunk.0.1.level")
    torch.testing.assert_close(level, values.mean((0, 2, 3), keepdim=True), rtol=1e-4, atol=1e-5)


def test_instance_norm_takes_the_mean_over_images_of_their_moments() -> None:
    """If it fails, instance norm with statistics keeps them, or takes those of the batch."""
    after = trained(tracked(WIDTH)).randomised(0, images())
    values = after.get_submodule("trunk.0.0")(images()).flatten(2)
    norm = after.get_submodule("trunk.0.1")
    torch.testing.assert_close(norm.get_buffer("running_mean"), values.mean(-1).mean(0))
    torch.testing.assert_close(norm.get_buffer("running_var"), values.var(-1).mean(0))


class Twice(nn.Module):
    """One norm for two activations."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, maps: Tensor) -> Tensor:
        """Return the sum of both."""
        result: Tensor = self.norm(maps) + self.norm(3 * maps[..., ::2, ::2] + 1).mean()
        return result


@pytest.mark.parametrize("kind", ["BatchNorm2d", "torchvision's frozen", "functional"])
def test_a_norm_that_is_called_twice_pools_both(kind: str) -> None:
    """If it fails, a shared norm takes the moments of one of its uses."""
    after = trained(Twice(BY_CHANNEL[kind](WIDTH))).randomised(0, images())
    maps = after.get_submodule("trunk.0.0")(images()).double()
    calls = [maps, 3 * maps[..., ::2, ::2] + 1]
    values = torch.cat([call.transpose(0, 1).flatten(1) for call in calls], 1)
    norm = after.get_submodule("trunk.0.1.norm")
    names = ("centre", "spread") if kind == "functional" else ("running_mean", "running_var")
    for name, expected in zip(names, (values.mean(1), values.var(1)), strict=True):
        torch.testing.assert_close(norm.get_buffer(name).double(), expected, rtol=1e-4, atol=1e-5)


def test_a_norm_in_the_head_takes_the_moments_of_the_embedding() -> None:
    """If it fails, norms behind the feature maps are left without statistics."""
    head = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, 2))
    after = trained(head=head).randomised(0, images())
    embedding = after(images())[1]
    norm = after.get_submodule("head.0")
    torch.testing.assert_close(norm.get_buffer("running_mean"), embedding.mean(0))
    torch.testing.assert_close(norm.get_buffer("running_var"), embedding.var(0))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_synchronised_and_plain_norms_give_one_copy(dimensions: int) -> None:
    """If it fails, the same network scores otherwise for having been trained on several GPUs."""
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dimensions == 2 else (nn.Conv3d, nn.BatchNorm3d)
    shape = (16,) * dimensions
    torch.manual_seed(0)
    trunk = nn.Sequential(conv(1, 4, 3), norm(4), nn.ReLU(), conv(4, 4, 3), norm(4))
    plain = Classifier("mine", trunk, nn.Linear(4, 2), shape)
    sync = plain.copy()
    sync.trunk = nn.SyncBatchNorm.convert_sync_batchnorm(sync.trunk)
    batch = build_images(4, shape)
    copies = [model.randomised(0, batch).state_dict() for model in (plain, sync)]
    for name, values in copies[0].items():
        assert torch.equal(values, copies[1][name]), name


def scripted(kind: str) -> Classifier:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(1, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU())
    move(trunk)
    trunk.eval().requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.14 calls TorchScript deprecated
        if kind == "scripted":
            script = torch.jit.script(trunk)
        else:
            script = torch.jit.trace(trunk, torch.zeros(2, 1, *SHAPE))
        if kind == "frozen":
            script = torch.jit.freeze(script)
    return Classifier("script", script, nn.Linear(WIDTH, 2), SHAPE)


@pytest.mark.parametrize("kind", ["traced", "scripted"])
def test_scripts_are_randomised_like_the_network_that_they_were(kind: str) -> None:
    """If it fails, a traced network keeps its trained statistics, without a module to tell."""
    classifier = scripted(kind)
    after = classifier.randomised(0, images())
    assert_fresh(classifier, after)
    state = after.state_dict()
    weight = state["trunk.0.weight"]
    values = functional.conv2d(images(), weight, state["trunk.0.bias"])
    values = values.transpose(0, 1).flatten(1).double()
    for name, expected in (("running_mean", values.mean(1)), ("running_var", values.var(1))):
        buffer = state[f"trunk.1.{name}"]
        torch.testing.assert_close(buffer.double(), expected, rtol=1e-5, atol=1e-6)
    fans = 9
    assert float(weight.abs().max()) < fans**-0.5
    assert not torch.equal(after(images())[0], classifier(images())[0])


def test_a_frozen_script_is_refused() -> None:
    """If it fails, weights inside a program survive, and a null is the network itself."""
    with pytest.raises(ClassifierError, match=r"'script' cannot be randomised: .* frozen script"):
        scripted("frozen").randomised(0, images())


class Packed(nn.Module):
    """A layer that a quantised one stands in for."""

    def __init__(self) -> None:
        super().__init__()
        linear = nn.Sequential(nn.Linear(WIDTH, WIDTH)).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 2.14 calls its own quantisation deprecated
            self.linear = torch.ao.quantization.quantize_dynamic(linear)  # type: ignore[no-untyped-call]

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps with their channels mixed."""
        result: Tensor = self.linear(maps.movedim(1, -1)).movedim(-1, 1)
        return result


class Eighths(nn.Module):
    """A layer whose weights are whole numbers, in a buffer or a parameter."""

    def __init__(self, is_parameter: bool) -> None:
        super().__init__()
        levels = torch.arange(-18, 18, dtype=torch.int8).view(WIDTH, WIDTH, 1, 1)
        if is_parameter:
            self.levels = nn.Parameter(levels, requires_grad=False)
        else:
            self.register_buffer("levels", levels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps with their channels mixed."""
        assert isinstance(self.levels, Tensor)
        return functional.conv2d(maps, self.levels.float() / 64)


@pytest.mark.parametrize("layer", [Packed(), Eighths(True), Eighths(False)])
def test_a_quantised_network_is_refused(layer: nn.Module) -> None:
    """If it fails, packed weights survive randomisation, as no parameter holds them."""
    with pytest.raises(ClassifierError, match="quantised"):
        trained(layer).randomised(0, images())


def test_a_spectral_norm_is_that_of_the_redrawn_weight() -> None:
    """If it fails, redrawn weights are divided by what has nothing to do with them."""
    old, new = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.14 calls the older ones deprecated
        layers = nn.utils.spectral_norm(old), parametrizations.spectral_norm(new)
    classifier = trained(*layers)
    after = classifier.randomised(0, images())
    assert_fresh(classifier, after)
    after(images())  # the older kind sets its weight as it is called
    for index in (1, 2):
        weight = after.get_submodule(f"trunk.0.{index}").weight
        assert isinstance(weight, Tensor)
        assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1, abs=0.02)


def test_a_weight_norm_is_drawn_as_its_layer_is() -> None:
    """If it fails, the trained lengths of weights survive in a tensor of their own."""
    layers = nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(layers[0])
    parametrizations.weight_norm(layers[1])
    parametrizations.orthogonal(layers[2])
    classifier = trained(*layers)
    with torch.no_grad():
        for name, values in classifier.named_parameters():
            if name.endswith(("weight_g", "original0")):
                values *= 50
    after = classifier.randomised(0, images())
    after(images())  # the older kind sets its weight as it is called
    for index in (1, 2):
        weight = after.get_submodule(f"trunk.0.{index}").weight
        assert isinstance(weight, Tensor)
        assert float(weight.abs().max()) <= WIDTH**-0.5 + 1e-6


def test_the_mask_of_a_pruned_layer_is_shuffled() -> None:
    """If it fails, a copy knows which of the trained weights were large."""
    conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
    classifier = trained(conv)
    prune.l1_unstructured(conv, "weight", 0.5)  # type: ignore[no-untyped-call]
    classifier.requires_grad_(False)
    classifier(images())
    after = classifier.randomised(0, images())
    before, mask = (model.get_buffer("trunk.0.1.weight_mask") for model in (classifier, after))
    assert not torch.equal(before, mask)
    assert float(before.sum()) == float(mask.sum())


class Codebook(nn.Module):
    """Maps shifted by the entries of a learned table that is a buffer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("entries", torch.randn(2, channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Return shifted maps."""
        return maps + self.get_buffer("entries").sum(0).view(1, -1, 1, 1)


class Block(Ported):
    """A convolution and a norm in one module, whose input is not what is normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        mean, variance = self.running_mean.data, self.running_var.data
        del self.running_mean, self.running_var
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", variance)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalised maps."""
        mean, variance = (values.view(1, -1, 1, 1) for values in self.buffers())
        return (self.conv(maps) - mean) / (variance + 1e-5).sqrt()


def test_statistics_of_what_is_not_the_input_are_refused() -> None:
    """If it fails, a block that mixes channels first is given moments of another tensor."""
    with pytest.raises(ClassifierError, match=r"left trunk\.0\.1\.running_mean as it was"):
        trained(Block(WIDTH)).randomised(0, images())


class OwnReset(Codebook):
    """The same, with an initialiser that says how it is drawn."""

    def reset_parameters(self) -> None:
        """Draw the table."""
        self.get_buffer("entries").normal_()


def test_a_learned_table_is_refused_unless_its_module_redraws_it() -> None:
    """If it fails, a codebook or class means survive as buffers that nobody looks at."""
    with pytest.raises(ClassifierError, match=r"left trunk\.0\.1\.entries .* reset_parameters"):
        trained(Codebook(WIDTH)).randomised(0, images())
    classifier = trained(OwnReset(WIDTH))
    after = classifier.randomised(0, images())
    assert_fresh(classifier, after)
    again = trained(OwnReset(WIDTH)).randomised(0, images())
    assert after.weights_sha256 == again.weights_sha256


@pytest.mark.parametrize("kind", ["torchvision's frozen", "BatchNorm2d", "functional"])
def test_a_partly_randomised_copy_changes_from_its_first_stage_on(kind: str) -> None:
    """If it fails, a cascade keeps a frozen norm's trained statistics, or changes earlier ones."""
    torch.manual_seed(0)
    norms = [BY_CHANNEL[kind](WIDTH) for _ in range(2)]
    convs = [nn.Conv2d(inputs, WIDTH, 3) for inputs in (1, WIDTH)]
    # Norms as children of their own, as in torchvision's networks.
    trunk = nn.Sequential(convs[0], norms[0], nn.ReLU(), convs[1], norms[1], nn.ReLU())
    classifier = Classifier("mine", trunk, nn.Linear(WIDTH, 2), SHAPE)
    move(classifier)
    donor = classifier.randomised(0, images())
    chosen = [stage for stage in classifier.stages if stage.name not in ("0", "1")]
    after = classifier.partly(donor, chosen, images())
    for name, values in classifier.named_buffers():
        if values.is_floating_point():
            is_early = name.startswith("trunk.1.")
            assert torch.equal(values, after.get_buffer(name)) == is_early, name


@pytest.mark.parametrize(
    "kind", ["own", "torchvision's frozen", "BatchNorm2d", "functional", "half precision"]
)
def test_kept_statistics_of_any_norm_make_the_same_copy(kind: str, tmp_path: Path) -> None:
    """If it fails, a later process scores another copy than the first."""
    norms = {"own": Moving, "half precision": nn.BatchNorm2d} | BY_CHANNEL
    classifier = trained(norms[kind](WIDTH))
    if kind == "half precision":
        classifier = Classifier("half", Half(classifier.trunk), classifier.head, SHAPE)
    first = classifier.randomised(0, images())
    assert first.statistics
    archive, keeping = ArrayFolder(tmp_path, lambda: None), Keeping("1")
    for _ in range(2):
        kept = kept_value_or(archive, "copy", keeping, lambda: first.statistics)
    assert classifier.randomised(0, kept).weights_sha256 == first.weights_sha256


def table_of_waves() -> Tensor:
    angles = torch.arange(12.0)[:, None] / 100 ** torch.linspace(0, 1, 4)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def gaussian() -> Tensor:
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    return (line[:, None] * line).expand(WIDTH, 1, 5, 5)


def relative_positions() -> Tensor:
    with torch.random.fork_rng():
        layer = ShiftedWindowAttentionV2(8, [4, 4], [0, 0], 2)
    return layer.get_buffer("relative_coords_table")


CONSTANTS = {
    "mean": torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1),
    "scale": torch.tensor([8**-0.5]),
    "temperature": torch.tensor(0.07),
    "positions": torch.arange(16.0),
    "grid": torch.linspace(-1, 1, 9).expand(2, 9),
    "mask": torch.full((5, 5), -100.0).triu(1),
    "causal": torch.full((5, 5), -torch.inf).triu(1),
    "pe": table_of_waves(),
    "halves": torch.cat([table_of_waves()[:, 0::2], table_of_waves()[:, 1::2]], 1),
    "blur": gaussian(),
    "sobel": torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]).view(1, 1, 3, 3) / 8,
    "relative": relative_positions(),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_follows_from_a_formula_may_stay(name: str) -> None:
    """If it fails, a network is refused for its positions, masks or filters."""
    assert is_constant(name, CONSTANTS[name])


@pytest.mark.parametrize("shape", [(64,), (2, 8), (10, 3, 3), (1, 8, 1, 1), (5,)])
def test_learned_numbers_follow_from_none(shape: tuple[int, ...]) -> None:
    """If it fails, trained statistics pass for constants."""
    for seed in range(20):
        values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        assert not is_constant("values", values)
        assert not is_constant("values", values.abs())


def test_what_is_kept_out_of_checkpoints_is_no_weight() -> None:
    """If it fails, tables that a network computes as it is built are taken for learned."""
    module = nn.Module()
    module.register_buffer("table", torch.rand(8), persistent=False)
    module.register_buffer("learned", torch.rand(8))
    assert [name for name, _ in persistent_buffers(module)] == ["learned"]


def test_a_pass_is_all_that_re_estimation_costs() -> None:
    """If it fails, a null model looks dearer than it is, or its images are sent twice."""
    classifier = trained(nn.BatchNorm2d(WIDTH), Moving(WIDTH))
    before = classifier.passes.snapshot()
    reestimate_statistics(classifier, lambda: classifier(images()))
    assert classifier.passes.since(before).forward == IMAGES


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_layer_of_torchs_is_drawn_as_its_initialiser_does(order: torch.memory_format) -> None:
    """If it fails, sharing what a copy of a layer does not need moves every randomised score."""
    layer = nn.Sequential(nn.Conv2d(3, 4, 3)).to(memory_format=order).requires_grad_(False)
    trained = layer[0].weight.clone()
    redraw(layer, 5)
    assert not torch.equal(layer[0].weight, trained)
    for name, drawn in layer[0].named_parameters():
        fresh = nn.Conv2d(3, 4, 3).to(memory_format=order)
        with torch.random.fork_rng(devices=[]):
            seed_torch(seed_of("redraw", 5, f"0.{name}"))
            fresh.reset_parameters()
        assert torch.equal(getattr(fresh, name), drawn)


def test_a_parameter_added_to_a_layer_of_torchs_is_drawn_too() -> None:
    """If it fails, what the layer's initialiser does not know is filled with what memory held."""
    trained, drawn = torch.arange(4.0), []
    for _ in range(2):
        layer = nn.Linear(3, 2).requires_grad_(False)
        layer.register_parameter("scale", nn.Parameter(trained.clone(), requires_grad=False))
        redraw(layer, 5)
        drawn.append(layer.scale)
    assert torch.equal(*drawn)
    assert 0.1 < drawn[0].abs().mean() / trained.mean() < 10
    assert not torch.equal(drawn[0], trained)
