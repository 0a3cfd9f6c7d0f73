"""`counterfactual`: the card of an edit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contract_settings import PROTOCOLS, trial_of, with_relatives
from matplotlib.figure import Figure
from pydantic import ValidationError

from baselines.explainers.counterfactual import Counterfactual as SmallestChange
from baselines.explainers.gradient import Saliency
from benchmark.errors import UnsupportedError
from benchmark.reading import Reading, Sample, find, summarise
from benchmark.trial import Study
from protocols.counterfactual import Counterfactual
from protocols.counterfactual.changes import own_edit
from protocols.counterfactual.realism import texture, told_apart
from protocols.counterfactual.statistics import CounterfactualConfig
from protocols.counterfactual.tables import edits_of

PROTOCOL = PROTOCOLS["counterfactual"]


@pytest.mark.parametrize("radii", [(-2.0,), (0.0,), (2.0, 2.0)])
def test_sizes_that_are_none_or_the_same_are_refused(radii: tuple[float, ...]) -> None:
    """If it fails, an edit goes the wrong way, or two of one name stand in one record."""
    with pytest.raises(ValidationError, match=r"greater than 0|sizes that differ"):
        CounterfactualConfig(radii=radii)


def test_the_card_sets_a_methods_edit_beside_others_and_scores_the_ratio_of_falls() -> None:
    """If it fails, the card lacks an edit, or its score is not the share that carries over."""
    trial = with_relatives(trial_of(SmallestChange(), "conv", 2), "counterfactual", "conv", 2)
    readings = PROTOCOL.readings(trial)
    assert edits_of(readings) == [
        "explainer",
        "plausible, ρ = 2",
        "adversarial",
        "white noise",
        "image of the other group",
    ]
    fall, twin, score = (
        find(readings, statistic, edit="explainer")
        for statistic in (Counterfactual.fall, Counterfactual.on_twin, Counterfactual.transfer)
    )
    assert fall is not None
    assert twin is not None
    assert score is not None
    assert score.values.mean() == pytest.approx(twin.values.mean() / fall.values.mean())
    largest = find(readings, Counterfactual.largest, edit="adversarial")
    assert largest is not None
    assert largest.values.max() <= CounterfactualConfig().adversarial + 1e-6
    table = next(iter(PROTOCOL.tables({"counterfactual": readings})))
    assert len(table.rows) == 5
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_method_that_changes_no_image_gets_no_card() -> None:
    """If it fails, a map of importance is taken for a change of grey values."""
    with pytest.raises(UnsupportedError, match="changes no image"):
        PROTOCOL.readings(trial_of(Saliency(), "conv", 2))


def test_an_edit_is_the_image_minus_the_map() -> None:
    """If it fails, edits make an image more like its own group, and the card reads them so."""
    trial = trial_of(SmallestChange(), "conv", 2)
    images = Study(trial, "counterfactual").balanced(4)
    _, before = trial.models.embed(torch.from_numpy(trial.test.images[images.rows]))
    logits, _ = trial.models.embed(own_edit(images))
    signs = trial.evaluation.signs[images.rows]
    margins = signs * (logits[:, 0] - logits[:, 1])
    assert (margins < trial.evaluation.own_margin[images.rows]).all()
    assert len(before) == len(margins)


def test_only_what_differs_in_texture_is_told_apart() -> None:
    """If it fails, edited images pass for real ones, or real ones for edited."""
    rng = np.random.default_rng(0)
    plain = torch.from_numpy(rng.normal(0.5, 0.1, (80, 1, 16, 16)).astype(np.float32))
    keys = tuple(f"s{number}" for number in range(80))
    sample = Sample(keys, keys, (0,) * 40 + (1,) * 40)

    def auroc(images: torch.Tensor) -> float:
        values = told_apart(texture(plain[:40]), texture(images), sample, 5, "v2#0")
        return summarise(Reading("realism", sample, values), "auroc").estimate

    assert 0.3 < auroc(plain[40:]) < 0.7
    assert auroc(plain[40:] + 0.2 * torch.randn(plain[40:].shape)) > 0.9


def test_the_picture_holds_a_row_for_each_edit() -> None:
    """If it fails, a report of the protocol breaks."""
    image = np.full((2, 1, 8, 8), 0.5, dtype=np.float32)
    exhibit = {
        "keys": np.array(["a", "b"]),
        "image": image,
        "groups": np.array(["A", "B"]),
        "edit explainer": image + np.linspace(0, 0.1, 8, dtype=np.float32),
        "edit white noise": image - 0.1,
    }
    (drawing,) = Counterfactual.drawings({"method": exhibit}, {})
    assert isinstance(drawing.draw(), Figure)
