"""The streamlined copy is the network, or a slower copy is taken and said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from images import build_images
from odd_networks import SIZE, WIDTH, Half, build_odd, informed, norm_of
from torch import Tensor, nn
from torch.nn import functional

from benchmark.classifier import Classifier
from benchmark.classifier.proofs import prove
from benchmark.plugins.examples import build_classifier
from benchmark.target import Margin


class TwoNorms(nn.Module):
    """One convolution in front of two norms."""

    def __init__(self, dimensions: int = 2) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.stem, self.conv = conv(1, WIDTH, 3, 2, 1), conv(WIDTH, WIDTH, 3, 1, 1)
        self.first, self.second = norm_of(dimensions), norm_of(dimensions)

    def forward(self, images: Tensor) -> Tensor:
        """Return maps of the second norm."""
        maps = torch.relu(self.first(self.conv(torch.relu(self.stem(images)))))
        return self.second(self.conv(maps))


class Pair(nn.Module):
    """A convolution and a norm, with a function that combines the two."""

    def __init__(self, combine: Callable[[nn.Module, Tensor], Tensor], conv: nn.Module) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(1, WIDTH, 3, 2, 1), conv, norm_of()
        self.combine = combine

    def forward(self, images: Tensor) -> Tensor:
        """Return maps."""
        return self.combine(self, torch.relu(self.stem(images)))


class Doubling(nn.Conv2d):
    """A convolution that does something else."""

    def forward(self, values: Tensor) -> Tensor:
        """Return twice the maps, and a constant."""
        return 2 * super().forward(values) + 1


def convolution() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)


def hooked() -> nn.Module:
    conv = convolution()
    conv.register_forward_hook(lambda _, __, maps: 3 * maps)
    return conv


def tied() -> nn.Module:
    trunk = Pair(lambda own, maps: own.norm(own.conv(torch.relu(own.twin(maps)))), convolution())
    trunk.twin = convolution()
    trunk.twin.weight = trunk.conv.weight
    return trunk


def without_statistics() -> nn.Module:
    norm = nn.GroupNorm(2, WIDTH)
    return nn.Sequential(nn.Conv2d(1, WIDTH, 3, 2, 1), norm, nn.Conv2d(WIDTH, WIDTH, 3), norm_of())


class Tokens(nn.Module):
    """As many tokens as channels, which a norm over tokens follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 16, 4, 4), nn.Linear(16, 16)
        self.norm = informed(nn.BatchNorm1d(16))

    def forward(self, images: Tensor) -> Tensor:
        """Return [B, 8]."""
        tokens = self.norm(self.linear(self.conv(images).flatten(2).transpose(1, 2)))
        return tokens.square().mean(1)[:, :WIDTH]


class Viewing(nn.Module):
    """Cuts memory by hand, which only runs in one order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, WIDTH, 3, 2, 1), norm_of()

    def forward(self, images: Tensor) -> Tensor:
        """Return maps."""
        maps = self.norm(self.conv(images))
        return maps.view(len(maps), -1).view(maps.shape)


class Video(nn.Module):
    """Holds a parameter of five axes in a network of images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = (
            nn.Conv2d(1, WIDTH, 3, 2, 1),
            nn.Parameter(torch.rand(1, 1, 1, 1, 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return maps."""
        return self.conv(images) * self.scale[0]


class Deciding(nn.Module):
    """Holds no norm, and a branch that a trace fixes on its wrong side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, WIDTH, 3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return maps."""
        return self.conv(images) if torch.is_tensor(images) else self.conv(images).square()


class Casting(nn.Module):
    """Computes in half precision by a context, which tracing loses."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, WIDTH, 3, 2, 1), norm_of(), convolution())

    def forward(self, images: Tensor) -> Tensor:
        """Return maps in float32."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inner(images).float()


class Blocked(nn.Module):
    """Keeps the gradient out of one branch by a context, which tracing loses."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(1, WIDTH, 3, 2, 1), convolution(), norm_of()

    def forward(self, images: Tensor) -> Tensor:
        """Return maps."""
        maps = self.stem(images)
        with torch.no_grad():
            gate = torch.sigmoid(5 * self.norm(self.conv(maps)))
        return maps * gate


def traced() -> nn.Module:
    inner = nn.Sequential(nn.Conv2d(1, WIDTH, 3, 2, 1), norm_of(), nn.ReLU()).eval()
    return torch.jit.trace(inner, torch.rand(2, 1, *SIZE))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "a convolution in front of two norms": TwoNorms,
    "the same in 3-D": lambda: TwoNorms(3),
    "its output used twice": lambda: Pair(
        lambda own, maps: (lambda out: out + own.norm(out))(own.conv(maps)), convolution()
    ),
    "its weight used elsewhere": lambda: Pair(
        lambda own, maps: own.norm(own.conv(functional.conv2d(maps, own.conv.weight))),
        convolution(),
    ),
    "a hook in between": lambda: Pair(lambda own, maps: own.norm(own.conv(maps)), hooked()),
    "a hook on the norm": lambda: nn.Sequential(
        nn.Conv2d(1, WIDTH, 3),
        (lambda n: (n.register_forward_hook(lambda *a: a[2] ** 2), n)[1])(norm_of()),
    ),
    "weight norm": lambda: Pair(
        lambda own, maps: own.norm(own.conv(maps)),
        nn.utils.parametrizations.weight_norm(convolution()),
    ),
    "spectral norm": lambda: Pair(
        lambda own, maps: own.norm(own.conv(maps)), nn.utils.spectral_norm(convolution()).eval()
    ),
    "a subclass of a convolution": lambda: Pair(
        lambda own, maps: own.norm(own.conv(maps)), Doubling(WIDTH, WIDTH, 3)
    ),
    "tied weights": tied,
    "a norm called twice": lambda: Pair(
        lambda own, maps: own.norm(own.conv(own.norm(maps))), convolution()
    ),
    "two norms in a row": lambda: nn.Sequential(nn.Conv2d(1, WIDTH, 3, 2), norm_of(), norm_of()),
    "another norm": without_statistics,
    "a norm over tokens": Tokens,
    "memory cut by hand": Viewing,
    "a parameter of five axes": Video,
    "half precision by a context": Casting,
    "half precision by weights": lambda: Half(
        nn.Sequential(nn.Conv2d(1, WIDTH, 3, 2, 1), norm_of(), nn.ReLU())
    ),
    "a branch without gradient": Blocked,
    "a branch that a trace fixes": Deciding,
    "a traced network": traced,
    "a scripted network": lambda: torch.jit.script(
        nn.Sequential(nn.Conv2d(1, WIDTH, 3, 2, 1), norm_of(), nn.ReLU())
    ),
}
SLOWER = {
    "memory cut by hand": "memory",
    "a parameter of five axes": "memory",
    "half precision by a context": "batch norms",
    "a branch without gradient": "batch norms",
}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_the_streamlined_copy_is_the_network(kind: str) -> None:
    """If it fails, protocols embed masked images by another network than the one explained."""
    shape = (8, 10, 12) if "3-D" in kind else SIZE
    classifier = build_odd(KINDS[kind](), shape=shape)
    images = build_images(4, shape, seed=1)
    remarks = prove(classifier, images[:3])
    assert [SLOWER.get(kind, "") in remark for remark in remarks] == [True] * (kind in SLOWER)
    results = []
    for model in (classifier, classifier.streamlined()):
        leaf = images.clone().requires_grad_()
        logits, embedding = model(leaf)
        (gradient,) = torch.autograd.grad(Margin(0, 1)(logits, embedding).sum(), leaf)
        results.append((logits.detach(), embedding.detach(), gradient))
    rounding = 2e-2 if "half" in kind else 1e-5
    for expected, obtained in zip(*results, strict=True):
        torch.testing.assert_close(obtained, expected, rtol=rounding, atol=rounding)


def test_norms_are_still_folded_where_it_is_right() -> None:
    """If it fails, every run takes a third longer and nobody is told."""

    def norms(model: Classifier) -> int:
        return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())

    assert norms(build_classifier().streamlined()) == 0
    trunk = nn.Sequential(TwoNorms(), convolution(), norm_of(), nn.ReLU())
    assert norms(build_odd(trunk)) == 3
    assert norms(build_odd(trunk).streamlined()) == 2


def test_folding_leaves_the_network_as_it_is() -> None:
    """If it fails, the network on trial is another one once its fast copy was made."""
    classifier = build_classifier()
    before = classifier.weights_sha256
    classifier.streamlined()
    assert classifier.weights_sha256 == before


def test_the_proof_of_a_copy_follows_its_weights() -> None:
    """If it fails, a copy that was right for old weights is used for new ones, unproven."""
    classifier = build_odd(nn.Sequential(nn.Conv2d(1, WIDTH, 3), norm_of()))
    classifier.streamlined()
    proven = classifier.streamlining
    classifier.streamlined()
    assert classifier.streamlining is proven
    assert classifier.copy().streamlining is None
    with torch.no_grad():
        next(classifier.parameters()).mul_(2)
    classifier.streamlined()
    assert classifier.streamlining is not proven


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_network_on_a_gpu_is_proven_there() -> None:
    """If it fails, what is proven on the CPU is used unproven on a GPU, or refused there."""
    images = build_images(8).to("cuda")
    classifier = build_classifier(input_shape=images.shape[2:]).to("cuda")
    on_cpu = prove(classifier.copy().to("cpu"), images.cpu())
    assert prove(classifier, images) == on_cpu
    streamlined, copy = classifier.streamlined(), classifier.randomised(0, images)
    torch.testing.assert_close(streamlined(images)[0], classifier(images)[0], rtol=1e-3, atol=1e-4)
    same = classifier.copy().to("cpu").randomised(0, images.cpu())
    torch.testing.assert_close(copy(images)[0].cpu(), same(images.cpu())[0], rtol=1e-3, atol=1e-3)
