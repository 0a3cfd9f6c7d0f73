"""The committed encoders: what they learned from, what they know, and the loss of SimCLR."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.cohorts.phantom import Phantom
from baselines.models.pretraining.contrastive import ContrastiveRecipe, nt_xent, pretrain
from baselines.models.pretraining.encoders import DATA, ENCODERS, EncoderRecipe
from baselines.models.pretraining.views import ViewRecipe, draw_view
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.seeding import torch_stream
from benchmark.statistics.bootstrap import SubjectBootstrap

by_encoder = pytest.mark.parametrize("encoder", ENCODERS.values(), ids=lambda recipe: recipe.name)
STILL = ViewRecipe(*(0.0 for _ in asdict(ViewRecipe())))


@pytest.fixture(scope="module")
def phantom() -> Cohort:
    """The committed cohort."""
    return Phantom().load()


def _images(count: int = 12) -> Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch_stream("images"))


def _trunk() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())


def test_the_loss_is_that_of_the_paper() -> None:
    """If it fails, the encoder was taught something else than SimCLR."""
    generator = torch_stream("projections")
    first, second = (torch.randn(5, 3, generator=generator).double() for _ in range(2))
    vectors = [row / math.sqrt(sum(row * row)) for row in torch.cat([first, second]).numpy()]
    terms = []
    for index, vector in enumerate(vectors):
        weights = [math.exp(float(vector @ other) / 0.2) for other in vectors]
        partner = (index + 5) % 10
        terms.append(-math.log(weights[partner] / (sum(weights) - weights[index])))
    assert float(nt_xent(first, second, 0.2)) == pytest.approx(np.mean(terms), abs=1e-12)


def test_views_differ_by_image_and_repeat_by_seed() -> None:
    """If it fails, a batch is changed as one, or an encoder cannot be trained again."""
    image = _images(1).expand(3, -1, -1, -1)
    recipe = ViewRecipe(elastic=1.0)
    views = draw_view(image, recipe, torch_stream("views"))
    assert torch.equal(views, draw_view(image, recipe, torch_stream("views")))
    assert not torch.allclose(views[0], views[1], atol=0.01)
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.allclose(draw_view(image, STILL, torch_stream("views")), image, atol=1e-6)


@pytest.mark.parametrize("change", list(asdict(STILL)))
def test_each_strength_changes_the_image(change: str) -> None:
    """If it fails, a recipe names a change that is never made."""
    images = _images(4)
    views = draw_view(images, ViewRecipe(**{**asdict(STILL), change: 0.5}), torch_stream("views"))
    assert not torch.allclose(views, images, atol=1e-3)


def test_pretraining_repeats_learns_and_leaves_the_given_trunk_alone() -> None:
    """If it fails, an encoder cannot be made again, or nothing is learned."""
    trunk, losses = _trunk(), []
    before = {name: part.clone() for name, part in trunk.state_dict().items()}
    recipe = ContrastiveRecipe(epochs=6, batch_size=6, views=ViewRecipe(rotation=0, scale=0))
    first = pretrain(trunk, _images(), recipe, progress=lambda _, loss: losses.append(loss))
    torch.manual_seed(1)  # whatever else a user draws
    second = pretrain(_trunk(), _images(), recipe)
    for name, part in first.state_dict().items():
        assert torch.equal(part, second.state_dict()[name])
        assert torch.equal(before[name], trunk.state_dict()[name])
    assert losses[-1] < losses[0]
    assert not any(part.requires_grad for part in first.parameters())
    assert not first.training


def test_fewer_images_than_a_batch_are_refused() -> None:
    """If it fails, training makes no step and gives an untrained encoder for a trained one."""
    with pytest.raises(CohortError, match="needs the 100 images of a batch, but got 12 in all"):
        pretrain(_trunk(), _images(), ContrastiveRecipe())


@by_encoder
def test_a_card_says_how_its_encoder_is_made(encoder: EncoderRecipe) -> None:
    """If it fails, a reader who follows the card or the code gets another encoder."""
    path = DATA / f"{encoder.name}.safetensors"
    card = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert path.stat().st_size < 2_000_000
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["sha256"] in path.with_suffix(".toml").read_text("utf-8")
    assert card["recipe"] == asdict(encoder.recipe)
    assert (card["pretraining"], card["images"]) == (encoder.pretraining, encoder.images)


@by_encoder
def test_no_encoder_has_met_a_subject_of_the_test_split(
    encoder: EncoderRecipe, phantom: Cohort
) -> None:
    """If it fails, the AUROC of its probe is that of images that it was trained on."""
    test, learned = phantom.select("test"), encoder.draw()
    card = json.loads((DATA / f"{encoder.name}.json").read_text("utf-8"))
    if encoder.pretraining == "self-supervised":
        # A generated cohort may differ by a grey level between machines; this one is a file.
        assert card["cohort_fingerprint"] == learned.fingerprint
    small = [
        cohort.images.reshape(-1, 16, 6, 16, 6).mean((2, 4)).reshape(len(cohort), -1)
        for cohort in (test, learned)
    ]
    both = np.corrcoef(np.concatenate(small))[: len(test), len(test) :]
    assert both.max() < 0.999


@pytest.mark.parametrize(
    ("name", "auroc", "carries_signal"),
    [
        ("supervised_encoder", 0.82, True),
        ("simclr_encoder", 0.49, False),
        ("simclr_elastic_encoder", 0.79, True),
    ],
)
def test_a_probe_tells_what_an_encoder_knows(
    name: str, auroc: float, carries_signal: bool, phantom: Cohort
) -> None:
    """If it fails, what the documentation says of these encoders is wrong."""
    source = Catalogue().models.find(str(DATA / f"{name}.toml")).create()
    probed, test = load_fitted(source, phantom), phantom.select("test")
    assert probed.name == name
    with torch.inference_mode():
        logits = torch.cat([probed(batch.images)[0] for batch in test.batches(64)])
    margins = (logits[:, 1] - logits[:, 0]).numpy()
    interval = SubjectBootstrap(test.subjects, 1000).auroc(margins, test.groups)
    assert interval.estimate == pytest.approx(auroc, abs=0.03)
    assert (interval.low > 0.6) == carries_signal
