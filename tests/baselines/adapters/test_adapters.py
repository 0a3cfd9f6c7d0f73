"""Methods of other libraries through their adapters: the same maps, and the contract kept."""

# ruff: noqa: D101, D102  # what each borrows is said by its class

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import quantus
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Saliency,
)
from pytorch_grad_cam import (
    AblationCAM,
    EigenCAM,
    FullGrad,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    RandomCAM,
    ScoreCAM,
    XGradCAM,
)
from torch import Tensor, nn

from baselines.adapters.borrowed import BorrowedExplainer, Scored
from baselines.adapters.captum import CaptumExplainer
from baselines.adapters.grad_cam import GradCAMExplainer
from baselines.adapters.quantus import QuantusExplainer
from benchmark.classifier import Classifier
from benchmark.contract import checks_of, run_checks
from benchmark.errors import AttributionError, PluginError
from benchmark.explainer import Explainer
from benchmark.feature_grid import upsample
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_cohort, build_examples, build_trained
from benchmark.target import ClassLogit, Margin

BATCH = build_cohort(subjects=12).batch(np.arange(3))


class TheirGradCAM(GradCAMExplainer):
    name = "their_gradcam"
    method = GradCAM
    dimensions = (2, 3)


class TheirHiResCAM(TheirGradCAM):
    name = "their_hirescam"
    method = HiResCAM


class TheirGradCAMPlusPlus(TheirGradCAM):
    name = "their_gradcampp"
    method = GradCAMPlusPlus


class TheirLayerCAM(TheirGradCAM):
    name = "their_layercam"
    method = LayerCAM


class TheirXGradCAM(GradCAMExplainer):
    name = "their_xgradcam"
    method = XGradCAM


class TheirScoreCAM(GradCAMExplainer):
    name = "their_scorecam"
    method = ScoreCAM


class TheirAblationCAM(GradCAMExplainer):
    name = "their_ablationcam"
    method = AblationCAM


class TheirEigenCAM(GradCAMExplainer):
    name = "their_eigencam"
    method = EigenCAM
    passes = (1, 0)


class TheirRandomCAM(GradCAMExplainer):
    name = "their_randomcam"
    method = RandomCAM


class TheirFullGrad(GradCAMExplainer):
    name = "their_fullgrad"
    method = FullGrad


class TheirGradient(CaptumExplainer):
    name = "captum_saliency"
    method = Saliency
    arguments: ClassVar = {"abs": False}


class TheirIntegratedGradients(CaptumExplainer):
    name = "captum_integrated_gradients"
    method = IntegratedGradients
    arguments: ClassVar = {"n_steps": 64}
    passes = (64, 64)


class TheirGradientShap(CaptumExplainer):
    """Draws from the global random states of NumPy and torch."""

    name = "captum_gradient_shap"
    method = GradientShap
    passes = (8, 8)

    def explain(self, model: Scored, image: Tensor) -> Tensor:
        baselines = torch.cat([torch.zeros_like(image), torch.ones_like(image)])
        made: Tensor = GradientShap(model).attribute(image, baselines, n_samples=8, stdevs=0.1)
        return made


class TheirSmoothGrad(CaptumExplainer):
    name = "captum_smoothgrad"
    passes = (8, 8)

    def explain(self, model: Scored, image: Tensor) -> Tensor:
        tunnel = NoiseTunnel(Saliency(model))
        made: Tensor = tunnel.attribute(image, nt_samples=8, stdevs=0.1, abs=False)
        return made


class TheirLayerGradCam(CaptumExplainer):
    name = "captum_gradcam"
    polarity = "positive"
    passes = (1, 0)

    def explain(self, model: Scored, image: Tensor) -> Tensor:
        maps = LayerGradCam(model, model.classifier.trunk).attribute(image)
        return upsample(maps, image.shape[2:])

    def supports(self, classifier: Classifier) -> str | None:
        spatial = len(classifier.maps_shape) > 1
        return None if spatial else "it needs spatial feature maps"


def gradient(model: nn.Module, inputs: Any, targets: Any, **_: object) -> Any:
    """Return the gradient as Quantus' tutorials have it."""
    images = torch.as_tensor(inputs).requires_grad_()
    scores = model(images)[torch.arange(len(images)), torch.as_tensor(targets)]
    scores.sum().backward()
    assert images.grad is not None
    return images.grad.numpy()


class QuantusGradient(QuantusExplainer):
    name = "quantus_gradient"
    explain_func = gradient


class QuantusFlat(QuantusGradient):
    """Without the axis of channels, as Quantus allows, and static, as a careful author has it."""

    name = "quantus_flat"

    @staticmethod
    def explain_func(model: nn.Module, inputs: Any, targets: Any, device: str) -> Any:  # type: ignore[override]
        assert device == "cpu"
        return gradient(model, inputs, targets)[:, 0]


class QuantusOwn(QuantusExplainer):
    name = "quantus_own"
    explain_func = quantus.explain
    dimensions = (2,)
    arguments: ClassVar = {"method": "Gradient"}


BORROWED = [
    TheirGradCAM,
    TheirHiResCAM,
    TheirGradCAMPlusPlus,
    TheirLayerCAM,
    TheirXGradCAM,
    TheirScoreCAM,
    TheirAblationCAM,
    TheirEigenCAM,
    TheirRandomCAM,
    TheirFullGrad,
    TheirGradient,
    TheirIntegratedGradients,
    TheirGradientShap,
    TheirSmoothGrad,
    TheirLayerGradCam,
    QuantusGradient,
    QuantusFlat,
    QuantusOwn,
]


@pytest.mark.parametrize("plugin", BORROWED, ids=lambda plugin: plugin.name)
def test_a_borrowed_method_keeps_the_contract(plugin: type[BorrowedExplainer]) -> None:
    """If it fails, a method of a well-known library cannot be submitted."""
    findings = run_checks(checks_of(plugin))
    assert [one.detail for one in findings if one.state == "broken"] == []


@pytest.mark.parametrize(
    ("borrowed", "own"),
    [
        (TheirGradCAM, "gradcam"),
        (TheirHiResCAM, "hirescam"),
        (TheirGradCAMPlusPlus, "gradcampp"),
        (TheirLayerCAM, "layercam"),
        (TheirGradient, "saliency"),
        (TheirIntegratedGradients, "integrated_gradients"),
        (TheirLayerGradCam, "gradcam"),
        (QuantusGradient, "saliency"),
        (QuantusFlat, "saliency"),
        (QuantusOwn, "saliency"),
    ],
)
@pytest.mark.parametrize("target", [Margin(0, 1), Margin(1, 0), ClassLogit(1)], ids=str)
def test_a_borrowed_method_gives_the_maps_of_the_own_one(
    borrowed: type[Explainer], own: str, target: Any
) -> None:
    """If it fails, the adapter explains another scalar, or clips, scales or misplaces the map."""
    model, images = build_trained(), BATCH.images
    settings = {"baseline": "black"} if own == "integrated_gradients" else {}
    explainer = Catalogue().explainers.find(own).set(settings).create()
    theirs = borrowed()(model, BATCH, target).flatten(1).numpy()
    ours = explainer(model, BATCH, target).flatten(1).numpy()
    assert images.shape[0] == len(theirs)
    for first, second in zip(theirs, ours, strict=True):
        assert np.corrcoef(first, second)[0, 1] > 0.999
    if own == "gradcam":  # signed and unscaled, where the library has [0, 1]
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-6)


def test_nothing_of_the_network_is_touched() -> None:
    """If it fails, a library's hooks change what every later method explains."""
    model = build_trained().copy()
    model.trunk[0].relu.inplace = True  # type: ignore[index, union-attr]

    hooks = [len(part._forward_hooks) for part in model.modules()]

    class TheirDeepLift(CaptumExplainer):
        name = "captum_deeplift"
        method = DeepLift
        passes = (2, 2)

    assert TheirDeepLift()(model, BATCH, Margin(0, 1)).any()
    assert model.trunk[0].relu.inplace is True  # type: ignore[index, union-attr]
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert hooks == [len(part._forward_hooks) for part in model.modules()]


def test_what_a_library_draws_is_named_and_put_back() -> None:
    """If it fails, the maps change from run to run, or change the draws of others."""
    model = build_trained()
    first = TheirGradientShap()(model, BATCH, Margin(0, 1))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].sum(), random.getstate()  # type: ignore[index, union-attr] # noqa: NPY002
    assert torch.equal(TheirGradientShap()(model, BATCH, Margin(0, 1)), first)
    after = torch.get_rng_state(), np.random.get_state()[1].sum(), random.getstate()  # type: ignore[index, union-attr] # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_score_cam_says_its_passes_of_each_network(capfd: pytest.CaptureFixture[str]) -> None:
    """If it fails, Score-CAM breaks the clause of cost on every network but one."""
    model = build_trained().copy()
    assert TheirScoreCAM().passes_on(model) == (1 + model.maps_shape[0], 0)
    assert TheirGradCAM().passes_on(model) == (1, 1)
    before = model.passes.snapshot()
    TheirScoreCAM()(model, BATCH, Margin(0, 1))
    assert model.passes.since(before).forward == 3 * 9
    assert capfd.readouterr().err == "", "a progress bar for every image"


def test_arguments_and_version_are_part_of_the_identity() -> None:
    """If it fails, a method with other arguments is served the old scores."""

    class Other(TheirIntegratedGradients):
        arguments: ClassVar = {"n_steps": 8, "baselines": None, "of": (1, gradient)}

    assert Other().config == {
        "n_steps": 8,
        "baselines": "none",
        "of": "[1, gradient]",
        "captum": TheirIntegratedGradients().config["captum"],
    }


class Nameless(CaptumExplainer):
    """Names no method."""

    name = "nameless"


class Strange(GradCAMExplainer):
    """Names what is none of the library's."""

    name = "strange"
    method = dict


class Paired(CaptumExplainer):
    """Returns the map with what the library found out besides."""

    name = "paired"

    def explain(self, model: Scored, image: Tensor) -> Any:
        return image, 0.0


class Coarse(CaptumExplainer):
    """Returns a map of the cells."""

    name = "coarse"

    def explain(self, model: Scored, image: Tensor) -> Tensor:
        return image[..., ::2]


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        (Nameless, "must set `method` to what it borrows"),
        (Strange, r"must set `method` to a subclass of pytorch_grad_cam's BaseCAM, but it is <cl"),
        (Paired, r"must return attributions \[1, 1, 24, 24\] of one image.*returned tuple"),
        (Coarse, r"but the library returned \[1, 1, 24, 12\]"),
    ],
)
def test_what_is_borrowed_wrongly_is_said(plugin: type[Explainer], said: str) -> None:
    """If it fails, the author of six lines gets an error out of two libraries."""
    with pytest.raises(AttributionError, match=said):
        plugin()(build_examples()[0].classifier, BATCH, Margin(0, 1))


def test_a_library_that_is_missing_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, whoever lacks an optional library gets a traceback."""
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    path = tmp_path / "mine.py"
    path.write_text(
        "from baselines.adapters.grad_cam import GradCAMExplainer\n"
        "from pytorch_grad_cam import ScoreCAM\n\n\n"
        "class Mine(GradCAMExplainer):\n    method = ScoreCAM\n"
    )
    with pytest.raises(PluginError, match=r"cannot be imported.*pytorch_grad_cam.*mine\.py:2"):
        Catalogue().explainers.find(f"{path}:Mine")
