"""Proofs before scores: a network that no explanation can be right for is refused, by its name."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from images import build_images
from odd_networks import SIZE, WIDTH, Applied, Through, build_odd
from torch import Tensor, nn
from torch.nn import functional

from benchmark.classifier import PassCounter
from benchmark.classifier.proofs import prove
from benchmark.errors import ClassifierError
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import Example, build_cohort, build_examples


def counted(own: nn.Module, images: Tensor) -> Tensor:
    own.count += 1
    return images


def replaced(own: nn.Module, images: Tensor) -> Tensor:
    own.count = own.count + 1
    return images


def written_behind(own: nn.Module, images: Tensor) -> Tensor:
    own.count.data += 1
    return images


def shifted(own: nn.Module, images: Tensor) -> Tensor:
    images -= 0.5
    return images


def switched(own: nn.Module, images: Tensor) -> Tensor:
    own.conv.train(not own.conv.training)
    return images


def thawed(own: nn.Module, images: Tensor) -> Tensor:
    own.conv.bias.requires_grad_(not own.conv.bias.requires_grad)
    return images


def kept(own: nn.Module, maps: Tensor) -> Tensor:
    own.activations = maps
    return maps


def drawn(generator: Callable[[], object]) -> Callable[[nn.Module, Tensor], Tensor]:
    def draw(own: nn.Module, images: Tensor) -> Tensor:
        generator()
        return images

    return draw


class Ungraded(Through):
    """Runs without gradient."""

    def forward(self, images: Tensor) -> Any:
        """Return maps."""
        with torch.no_grad():
            return super().forward(images)


class Inferring(Through):
    """Runs in inference mode."""

    def forward(self, images: Tensor) -> Any:
        """Return maps."""
        with torch.inference_mode():
            return super().forward(images)


class Closure(nn.Module):
    """Calls another network than the one that it holds once it is copied."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv = nn.Conv2d(1, WIDTH, 3)
        self.call = lambda images: functional.conv2d(images, conv.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Return maps."""
        return self.call(images)


class Stubborn(nn.BatchNorm2d):
    """Stays in training mode."""

    def train(self, mode: bool = True) -> nn.Module:
        """Ignore the mode."""
        return super().train(True)


def damaged(value: float) -> nn.Module:
    trunk = nn.Sequential(Through())
    with torch.no_grad():
        trunk[0].conv.weight[0, 0, 0, 0] = value
    return trunk


class Listed(nn.Module):
    """A network whose second layer stands where torch does not look for layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, WIDTH, 3, 2, 1)
        self.layers = [self.first, nn.Conv2d(WIDTH, WIDTH, 3, 1, 1).requires_grad_(False)]

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps of both."""
        maps: Tensor = self.layers[1](self.layers[0](images))
        return maps


NETWORKS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "drop-out that stays on": (
        lambda: {"trunk": Through(lambda _, maps: functional.dropout(maps, 0.5))},
        "draws at random in a pass: .*training=self.training",
    ),
    "traced drop-out": (
        lambda: {
            "trunk": torch.jit.trace(
                nn.Sequential(nn.Conv2d(1, WIDTH, 3), nn.Dropout(0.5)).train(),
                torch.rand(1, 1, *SIZE),
                check_trace=False,
            )
        },
        "draws at random",
    ),
    "NumPy's random state": (
        lambda: {"trunk": Through(before=drawn(lambda: np.random.rand()))},  # noqa: NPY002
        "draws at random",
    ),
    "Python's random state": (
        lambda: {"trunk": Through(before=drawn(random.random))},
        "draws at random",
    ),
    "a count of passes": (
        lambda: {"trunk": Through(lambda own, maps: maps * (1 + own.calls % 2))},
        "other logits in a second pass",
    ),
    "a buffer that counts": (
        lambda: {"trunk": Through(before=counted)},
        r"changes trunk\.count in a pass",
    ),
    "a buffer that is replaced": (
        lambda: {"trunk": Through(before=replaced)},
        r"changes trunk\.count in a pass",
    ),
    "a buffer written behind torch's back": (
        lambda: {"trunk": Through(before=written_behind)},
        r"changes trunk\.count in a pass",
    ),
    "a mode that switches": (
        lambda: {"trunk": Through(before=switched)},
        "changes its train or eval mode",
    ),
    "a parameter that thaws": (
        lambda: {"trunk": Through(before=thawed)},
        "changes its requires_grad flags",
    ),
    "a hook for each pass": (
        lambda: {
            "trunk": Through(
                before=lambda own, images: (
                    own.conv.register_forward_hook(lambda *_: None),
                    images,
                )[1]
            )
        },
        "changes its hooks",
    ),
    "images changed": (lambda: {"trunk": Through(before=shifted)}, "changes the images"),
    "a layer in place": (
        lambda: {"trunk": nn.Sequential(nn.Hardtanh(0.2, 0.4, inplace=True), Through())},
        "changes the images",
    ),
    "a mean over the batch": (
        lambda: {"trunk": Through(lambda _, maps: maps - maps.mean(0, keepdim=True))},
        "depend on its batch; alone they differ by",
    ),
    "batch norm in training mode": (
        lambda: {"trunk": nn.Sequential(Through(), Stubborn(WIDTH, momentum=0.0))},
        "changes trunk.1.num_batches_tracked|depend on its batch",
    ),
    "batch norm without statistics": (
        lambda: {
            "trunk": nn.Sequential(Through(), nn.BatchNorm2d(WIDTH, track_running_stats=False))
        },
        "depend on its batch",
    ),
    "a batch of one squeezed": (
        lambda: {"head": nn.Sequential(nn.Linear(WIDTH, 2), Applied(torch.squeeze))},
        r"logits of shape \[2\] for a single image",
    ),
    "NaN weights": (lambda: {"trunk": damaged(torch.nan)}, "holds NaN in trunk.0.conv.weight"),
    "infinite weights": (lambda: {"trunk": damaged(torch.inf)}, "logits that are not finite"),
    "a trunk without gradient": (
        lambda: {"trunk": Ungraded()},
        r"no gradient reach the image: take torch.no_grad\(\)",
    ),
    "inference mode": (
        lambda: {"trunk": Inferring()},
        r"no gradient reach the image: take torch.no_grad\(\), inference mode",
    ),
    "detached maps": (
        lambda: {"trunk": Through(lambda _, maps: maps.detach())},
        "no gradient reach the image",
    ),
    "detached embeddings": (
        lambda: {"pool": Applied(lambda maps: maps.mean((2, 3)).detach())},
        "no gradient reach the image",
    ),
    "a closure": (lambda: {"trunk": Closure()}, "a copy still computes with weights"),
    "layers in a list": (lambda: {"trunk": Listed()}, r"keeps layers in trunk\.layers, a plain"),
    "activations kept": (lambda: {"trunk": Through(kept)}, "cannot be copied.*no tensor of a pass"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_that_cannot_be_explained_is_refused_by_name(kind: str) -> None:
    """If it fails, it is scored wrongly, or an explainer is blamed for what the network does."""
    parts, message = NETWORKS[kind]
    classifier = build_odd(**parts())
    with pytest.raises(ClassifierError, match=f"Model 'mine' .*({message})"):
        prove(classifier, build_images(3, SIZE))


def linear(scale: float = 1.0, bias: float = 0.5) -> nn.Linear:
    layer = nn.Linear(WIDTH, 2)
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.fill_(bias)
    return layer


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (nn.Sequential(linear(), nn.Softmax(1)), "softmax"),
        (nn.Sequential(linear(100.0), nn.Softmax(1)), "softmax"),
        (nn.Sequential(linear(), nn.LogSoftmax(1)), "log-softmax"),
        (nn.Sequential(linear(), nn.Sigmoid()), "sigmoid"),
        (linear(), None),
        (linear(1e-3), None),
        (linear(0.0), None),
        (nn.Sequential(linear(), nn.ReLU()), None),
        (nn.Sequential(linear(), nn.Tanh()), None),
        (nn.Sequential(linear(bias=0.0), Applied(lambda x: x - x.logsumexp(1, True) + 1)), None),
    ],
)
def test_probabilities_are_suspected_aloud_and_logits_are_not(
    head: nn.Module, word: str | None
) -> None:
    """If it fails, saturated margins pass for logits, or an untrained head is called a softmax."""
    remarks = prove(build_odd(head=head), build_images(3, SIZE))
    suspicions = [remark for remark in remarks if "probabilities" in remark]
    assert len(suspicions) == (word is not None)
    assert all(f"behind a {word}" in remark and "'mine'" in remark for remark in suspicions)


def test_a_network_that_says_the_same_of_every_image_is_remarked_upon() -> None:
    """If it fails, empty maps look like a fault of the explainer."""
    (remark,) = prove(build_odd(head=linear(0.0)), build_images(3, SIZE))
    assert "every image gets the same logits, so no gradient of theirs" in remark


@pytest.mark.parametrize("example", build_examples(), ids=lambda example: example.name)
def test_networks_that_can_be_scored_are_not_remarked_upon(example: Example) -> None:
    """If it fails, a good network is refused, or a user learns to ignore remarks."""
    images = example.cohort.batch(np.arange(3)).images
    assert prove(example.classifier.copy(), images) == ()
    # Registered images of one site differ by little, and logits by little more than rounding.
    alike = images[:1] + 1e-4 * images
    assert prove(example.classifier.copy(), alike) == ()


@pytest.mark.parametrize("name", Catalogue().models.names)
def test_built_in_models_are_proven_without_a_counted_pass(name: str) -> None:
    """If it fails, costs of v1 move, or a proof that fails by mistake slows every run."""
    source = Catalogue().models.find(name).create()
    cohort = build_cohort((96, 96) if 2 in source.dimensions else (32, 32, 32))
    classifier = source.fit(source.load(cohort.shape), cohort)
    passes, state = classifier.passes.snapshot(), torch.get_rng_state()
    sha256, images = classifier.weights_sha256, cohort.batch(np.arange(3)).images
    given = images.clone()
    assert prove(classifier, images) == ()
    assert classifier.passes.since(passes) == PassCounter()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, given)
    assert classifier.weights_sha256 == sha256
