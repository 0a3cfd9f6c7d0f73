"""The reference networks of real patients' images: what is committed, and that it belongs to it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from paths import ROOT
from sklearn.metrics import roc_auc_score

from baselines.cohorts.hippocampus import Hippocampus
from baselines.cohorts.hippocampus3d import Hippocampus3D
from baselines.models.hippocampus_resnet import HippocampusResNet
from baselines.models.hippocampus_resnet3d import HippocampusResNet3D
from benchmark.cohort_source import CohortSource
from benchmark.model_source import ModelSource
from benchmark.training import load_weights, training_accuracy
from benchmark.training.fine_tuning import permuted

RELATIVES = ("twin", "memorised", "planted-mild", "planted-medium", "planted-strong")
PAIRS: tuple[tuple[Callable[[], CohortSource], Callable[[], ModelSource], float], ...] = (
    (Hippocampus, HippocampusResNet, 0.85),
    (Hippocampus3D, HippocampusResNet3D, 0.83),
)


@pytest.mark.parametrize(("cohort", "model", "auroc"), PAIRS, ids=["2-D", "3-D"])
def test_the_network_and_its_relatives_belong_to_the_cohort(
    cohort: Callable[[], CohortSource], model: Callable[[], ModelSource], auroc: float
) -> None:
    """If it fails, scores are those of another network, or its relatives are trained again."""
    source, images = model(), cohort().load()
    assert cohort().model == source.name
    network, test = source.load(images.shape), images.select("test")
    with torch.inference_mode():
        logits = torch.cat([network(batch.images)[0] for batch in test.batches(16)])
    measured = roc_auc_score(test.groups, (logits[:, 1] - logits[:, 0]).numpy())
    assert measured == pytest.approx(auroc, abs=0.02)
    assert source.relatives is not None
    for name in RELATIVES:
        relative = source.build(images.shape)
        relative.name = f"{source.name}-{name}"
        path = source.relatives / f"{relative.name}.safetensors"
        load_weights(relative, path)
        assert path.stat().st_size < 2_000_000
        card = json.loads(path.with_suffix(".json").read_text("utf-8"))
        assert card["cohort_fingerprint"] == images.fingerprint
        assert card["known_image"]["shape"] == list(images.shape)
        if name == "memorised":
            assert training_accuracy(relative, permuted(images, card["settings"]["seed"])) >= 0.95


def test_cells_are_no_coarser_than_a_hippocampus() -> None:
    """If it fails, no class activation map can show more than where the middle of the image is."""
    assert HippocampusResNet().build((26, 40)).feature_grid.step == (2.0, 2.0)
    assert HippocampusResNet3D().build((26, 40, 27)).feature_grid.step == (4.0, 4.0, 4.0)


def test_the_weights_name_the_licence_of_the_images() -> None:
    """If it fails, weights that learned from patients' images pass for MIT."""
    notice = (ROOT / "baselines/models/data/NOTICE.md").read_text("utf-8")
    assert "hippocampus_resnet" in notice
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in notice
