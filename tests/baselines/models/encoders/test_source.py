"""Models that a ``model.toml`` describes: what is loaded, and what is refused in one sentence."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from baselines.models.encoders.architectures import Fitting, build_network
from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError, InputError, PluginError
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_cohort

BUILD = """
from collections import OrderedDict
from torch import nn

def build():
    stem = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
    body = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
    return nn.Sequential(OrderedDict(stem=stem, body=body, pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(), head=nn.Linear(8, {classes})))

def encoder():
    return build()[:3]

def parts(shape):
    return build()[:2], None, nn.Linear(8, 2)

def tokens():
    return nn.Sequential(nn.Flatten(), nn.Linear(576, 4), nn.ReLU())

def number():
    return 3

class Pair(nn.Linear):
    def forward(self, images):
        return images, images

class Failing(nn.Linear):
    def forward(self, images):
        raise KeyError("a\\nb")

def empty():
    return nn.Sequential(nn.ReLU())

def pair():
    return nn.Sequential(Pair(2, 2)), None

def failing():
    return nn.Sequential(Failing(2, 2)), None

def wrong():
    raise OSError("no config")
"""
GREY = "channels = 1\nmean = [0.5]\nstd = [0.5]"


def network(classes: int = 2, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    names: dict[str, object] = {}
    exec(BUILD.format(classes=classes), names)
    return names["build"]()  # type: ignore[operator]


@pytest.fixture(autouse=True)
def _own_random_state() -> None:
    torch.manual_seed(0)


class Folder:
    """A folder with a network, its weights and a model file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, head: str, classes: int = 2, lines: str = "", function: str = "build") -> str:
        """Write all of them, and return the path of the model file."""
        (self.path / "net.py").write_text(BUILD.format(classes=classes))
        torch.save(network(classes).state_dict(), self.path / "w.pth")
        toml = f'name = "mine"\narchitecture = "net.py:{function}"\nweights = "w.pth"\n'
        toml += f'head = "{head}"\n{lines}\n[input]\n{GREY}\n'
        return self.toml(toml)

    def toml(self, text: str) -> str:
        """Write the model file alone, and return its path."""
        (self.path / "model.toml").write_text(text)
        return str(self.path / "model.toml")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def load(spec: str, shape: tuple[int, ...] = (24, 24)) -> Classifier:
    return Catalogue().models.find(spec).create().load(shape)


def images() -> torch.Tensor:
    return torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(1))


def test_the_head_of_a_checkpoint_gives_its_logits(folder: Folder) -> None:
    """If it fails, another network is scored than the one in the file."""
    classifier = load(folder.write("checkpoint"))
    with torch.no_grad():
        expected = network().eval()((images() - 0.5) / 0.5)
        torch.testing.assert_close(classifier(images())[0], expected)
    assert classifier.name == "mine"
    assert classifier.weights_sha256 == load(folder.write("checkpoint")).weights_sha256


def test_two_classes_of_many_stand_for_the_groups(folder: Folder) -> None:
    """If it fails, other classes are explained than those that were chosen."""
    classifier = load(folder.write("checkpoint", 7, "classes = [5, 2]"))
    with torch.no_grad():
        expected = network(7).eval()((images() - 0.5) / 0.5)[:, [5, 2]]
        torch.testing.assert_close(classifier(images())[0], expected)


def test_a_single_output_is_the_logit_of_the_second_group(folder: Folder) -> None:
    """If it fails, a network that was trained with a binary loss cannot be brought."""
    classifier = load(folder.write("checkpoint", 1))
    with torch.no_grad():
        logits = classifier(images())[0]
        expected = network(1).eval()((images() - 0.5) / 0.5)[:, 0]
        torch.testing.assert_close(logits[:, 1] - logits[:, 0], expected)


def test_a_probe_is_fitted_to_the_cohort(folder: Folder) -> None:
    """If it fails, an encoder is scored with a head that nobody trained."""
    source = Catalogue().models.find(folder.write("probe", 7)).create()
    classifier, cohort = source.load((24, 24)), build_cohort((24, 24))
    fitted = source.fit(classifier, cohort)
    assert not torch.equal(fitted.head.weight, classifier.head.weight)
    assert torch.equal(fitted.trunk[0][0].weight, network(7).stem[0].weight)
    assert source.fit(classifier, cohort).weights_sha256 == fitted.weights_sha256


@pytest.mark.parametrize("function", ["build", "encoder", "parts"])
def test_a_network_of_ones_own_is_cut(folder: Folder, function: str) -> None:
    """If it fails, whoever has an architecture of their own must write a class."""
    toml = f'architecture = "net.py:{function}"\nname = "own"\n[input]\n{GREY}\n'
    folder.write("probe")
    classifier = load(folder.toml(toml))
    assert classifier.maps_shape == (8, 6, 6)
    assert classifier.head.in_features == 8


def test_maps_come_from_the_layer_that_is_named(folder: Folder) -> None:
    """If it fails, a CAM is made of other maps than those that were asked for."""
    classifier = load(folder.write("checkpoint", lines='layer = "stem"'))
    assert classifier.maps_shape == (6, 12, 12)
    with torch.no_grad():
        expected = network().eval()((images() - 0.5) / 0.5)
        torch.testing.assert_close(classifier(images())[0], expected)


def test_images_of_any_size_fit_a_network_of_one(folder: Folder) -> None:
    """If it fails, a network of 224 pixels takes no cohort of 96."""
    spec = folder.write("checkpoint")
    plain = load(spec, (24, 24))
    text = Path(spec).read_text() + "size = [24, 24]\n"
    resized = load(folder.toml(text), (40, 31))
    assert resized.maps_shape == plain.maps_shape
    assert resized.weights_sha256 != plain.weights_sha256


@pytest.mark.parametrize("layer", ["", 'layer = "layer3"\n'])
def test_an_experiments_weights_are_those_of_our_own_classifier(tmp_path: Path, layer: str) -> None:
    """If it fails, a trained experiment is scored with other weights than it was trained to."""
    experiment = tmp_path / "experiments" / "EXP-003"
    experiment.mkdir(parents=True)
    toml = f'architecture = "torchvision.resnet18"\n{layer}{{}}\n[input]\nchannels = 3\n'
    (experiment / "model.toml").write_text(toml.format('head = "probe"'))
    trained = load(str(experiment), (32, 32))
    with torch.no_grad():
        trained.head.weight.add_(1)
    weights = {name: tensor.contiguous() for name, tensor in trained.state_dict().items()}
    save_file(weights, experiment / "weights.safetensors")
    lines = 'weights = "weights.safetensors"\nhead = "checkpoint"'
    (experiment / "model.toml").write_text(toml.format(lines))
    restored = load(str(experiment), (32, 32))
    assert restored.name == "EXP-003"
    assert restored.weights_sha256 == trained.weights_sha256
    del weights["trunk.conv1.weight"]
    save_file(weights | {"trunk.conv9.weight": torch.zeros(1)}, experiment / "weights.safetensors")
    with pytest.raises(ClassifierError, match=r"1 names are missing, .*trunk\.conv1.*conv9"):
        load(str(experiment), (32, 32))


def test_an_architecture_by_name_is_drawn_by_a_seed_and_says_so() -> None:
    """If it fails, random weights differ from run to run, or are taken for trained ones."""
    state = torch.random.get_rng_state()
    entry = Catalogue().models.find("torchvision.resnet18")
    assert "random" in entry.plugin.notice
    assert entry.name == "torchvision.resnet18"
    first, second = (entry.create().load((32, 32)) for _ in range(2))
    assert first.weights_sha256 == second.weights_sha256
    assert torch.equal(state, torch.random.get_rng_state())
    assert entry.plugin is Catalogue().models.find("torchvision.resnet18").plugin


def test_a_network_without_a_grid_refuses_cams_alone(folder: Folder) -> None:
    """If it fails, an encoder without spatial maps cannot be scored by any method."""
    folder.write("probe")
    toml = f'architecture = "net.py:tokens"\nname = "tokens"\n[input]\n{GREY}\n'
    classifier = load(folder.toml(toml))
    catalogue = Catalogue().explainers
    assert catalogue.find("saliency").create().supports(classifier) is None
    assert catalogue.find("gradcam").create().supports(classifier) is not None


HEAD = 'architecture = "net.py:build"\nweights = "w.pth"\n'
TOMLS = {
    'name = "a"': "lacks the key 'architecture'",
    'architecture = "torchvision.resnet18"\nlayers = "layer4"': "Did you mean 'layer'",
    'architecture = "torchvision.resnet18"\n[input]\nsizes = 3': "unknown key 'input.sizes'",
    "architecture = 3": "wrong 'architecture'",
    "architecture = ": "is no TOML",
    'architecture = "torchvision.resnet18"\nname = "a b"': "name is 'a b'",
    'architecture = "torchvision.resnet18"\nhead = "checkpoint"': "needs weights",
    'architecture = "torchvision.resnet18"\nhead = "svm"': "wrong 'head'",
    'architecture = "torchvision.resnet18"\nsha256 = "00"\nweights = "w.pth"': "wrong 'sha256'",
    'architecture = "torchvision.resnet18"\n[input]\nstd = [0.0]': "wrong 'input.std.0'",
    'architecture = "torchvision.resnet18"\n[input]\nmean = [nan]': "wrong 'input.mean.0'",
    'architecture = "torchvision.resnet18"\n[input]\nmean = [0.1, 0.2]': "2 values for 1 channels",
    'architecture = "torchvision.resnet18"\n[input]\nsize = [5]': "wrong 'input.size'",
    'image = "*.nii"\ngroups = ["a", "b"]': "describes a cohort",
    'architecture = "torchvision.resnet19"': "Did you mean torchvision.resnet18",
    'architecture = "resnet18"': "Unknown architecture 'resnet18'; known: torchvision.NAME",
    'architecture = "timm.resnet51"': "Unknown architecture 'timm.resnet51'. Did you mean",
    'architecture = "monai.UNet"': "Unknown architecture 'monai.UNet'",
    'architecture = "torchvision.resnet18"\nsettings = { widht = 3 }': "with the settings .*widht",
    'architecture = "torchvision.resnet18"\nlayer = "layer9"': "no layer 'layer9'; known: conv1",
    'architecture = "torchvision.vit_b_16"\n[input]\nsize = [32, 48]': "takes square images",
    'architecture = "none.py:build"': "cannot be read from .*none.py: No such file",
    'architecture = "net.py"': "must name a function.*build, encoder",
    'architecture = "net.py:made"': "must name a function.*build, encoder",
    'architecture = "net.py:number"': "returned int",
    'architecture = "net.py:pair"': "(cannot be loaded|returned|returns|tuple)",
    'architecture = "net.py:empty"': "has no weights at all",
    'architecture = "net.py:failing"': "KeyError",
    'architecture = "net.py:wrong"': "cannot be built for inputs of shape .*OSError: no config",
    'architecture = "net.py:build"\nweights = "none.pth"': "cannot be read: No such file",
    HEAD + f'sha256 = "{"0" * 64}"': "the file has changed since",
    HEAD + 'head = "checkpoint"': "has 7 classes: a head of other than two",
    HEAD + 'head = "checkpoint"\nclasses = [0, 7]': "classes = .0, 7., but the head",
    HEAD + 'head = "checkpoint"\nclasses = [1, 1]': "two different ones",
    HEAD + "classes = [0, 1]": "classes are those of a head in the weights",
    HEAD + 'prefix = "encoder."': "8 names are missing, the first encoder.stem.0.weight",
    'architecture = "torchvision.resnet18"\nweights = "w.pth"': "names are missing.*unexpected",
    'architecture = "net.py:encoder"\nweights = "w.pth"\nhead = "checkpoint"': "hold no head",
}


@pytest.mark.parametrize("text", TOMLS)
def test_what_is_wrong_in_a_model_file_is_said(folder: Folder, text: str) -> None:
    """If it fails, a user sees a traceback, or is not told which key to mend."""
    folder.write("probe", 7)
    extra = "" if "[input]" in text else f"\n[input]\n{GREY}"
    if text in ("architecture = ",):
        extra = ""
    with pytest.raises(InputError, match=TOMLS[text]) as caught:
        load(folder.toml(text + extra))
    assert "\n" not in str(caught.value)


def test_weights_of_another_width_are_told_with_their_shape(tmp_path: Path) -> None:
    """If it fails, torch's list of a hundred mismatches reaches the user."""
    body = nn.Sequential(OrderedDict(stem=nn.Sequential(nn.Conv2d(1, 5, 3))))
    torch.save(body.state_dict(), tmp_path / "w.pth")
    (tmp_path / "net.py").write_text(BUILD.format(classes=2))
    toml = f'architecture = "net.py:build"\nweights = "w.pth"\n[input]\n{GREY}\n'
    (tmp_path / "model.toml").write_text(toml)
    with pytest.raises(ClassifierError, match=r"first stem\.0\.weight with \[5, 1, 3, 3\]"):
        load(str(tmp_path / "model.toml"))


def test_names_are_looked_up_where_they_lead(folder: Folder, tmp_path: Path) -> None:
    """If it fails, a missing file reads like a misspelled name, or a name is taken twice."""
    for spec, message in {
        str(tmp_path / "none.toml"): "does not exist",
        str(tmp_path): "holds no model.toml",
        "nothing": "Unknown model 'nothing'",
        "torchvision.resnet51": "Did you mean torchvision.resnet50",
        "timm.resnet51": "Did you mean timm.resnet",
        "monai.densenet121": "Did you mean monai.DenseNet121",
    }.items():
        with pytest.raises(InputError, match=message):
            Catalogue().models.find(spec)
    spec = folder.toml('architecture = "torchvision.resnet18"\nname = "smallvgg"')
    with pytest.raises(PluginError, match="Two models go by the name 'smallvgg'"):
        Catalogue().models.find(spec)
    spec = folder.toml('architecture = "torchvision.resnet18"\nname = "fine"')
    assert Catalogue().models.find(str(tmp_path)).name == "fine"
    assert Catalogue().find(spec, "explainers").kind == "model"
    assert json.dumps(Catalogue().models.find(spec).declared)


@pytest.mark.parametrize(
    ("architecture", "setting"),
    [
        ("torchvision.resnet18", "weights"),
        ("timm.resnet18", "checkpoint_path"),
        ("monai.DenseNet121", "pretrained"),
    ],
)
def test_settings_fetch_no_weights(architecture: str, setting: str) -> None:
    """If it fails, a run waits for a download, and calls what it fetched random."""
    fitting = Fitting((32, 32), settings={setting: "somewhere"})
    with pytest.raises(ClassifierError, match=f"setting '{setting}' .* from a file alone"):
        build_network(architecture, fitting, Path())
