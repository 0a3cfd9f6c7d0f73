"""`uncertainty`: relations that were planted are found, and what has none gets no number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small
from trials import build_trial, cohort_of, trained

from baselines.explainers.controls import Intensity, Random, Sobel
from baselines.explainers.gradient import Saliency
from baselines.models.smallresnet import SmallResNet
from benchmark.arrays import FloatArray
from benchmark.classifier import Classifier, Preprocessing
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.plugins.examples import build_cohort
from benchmark.reading import Reading, find
from benchmark.statistics.rank_association import spearman_of
from benchmark.trial import Study, Trial
from protocols.uncertainty import Uncertainty, UncertaintyConfig
from protocols.uncertainty.figures import uncertainty_drawings
from protocols.uncertainty.measures import entropies, gini, steadiness
from protocols.uncertainty.members import members_of
from protocols.uncertainty.statistics import ASSOCIATIONS, association_of, claim_of
from protocols.uncertainty.tables import uncertainty_tables

CONFIG = UncertaintyConfig(count=3, subjects=24, fewest=8)
PROTOCOL = Uncertainty(CONFIG)


def _study(subjects: int) -> Study:
    """Return the study of 64 images of a cohort with truth."""
    trial = build_trial(Saliency(), build_cohort(subjects=subjects))
    return Study(trial, PROTOCOL.name).balanced(64)


def _maps(images: Study, noise: FloatArray, members: int = 3, seed: int = 0) -> list[Tensor]:
    """Return a graded map with that much noise on each image, drawn anew on each member."""
    generator = np.random.Generator(np.random.PCG64(seed))
    shape = images.trial.test.images.shape[1:]
    shown = np.broadcast_to(np.linspace(0, 1, shape[-1]), (len(images.rows), *shape))
    level = noise.reshape(-1, *[1] * len(shape))
    drawn = [shown + level * generator.random(shown.shape) for _ in range(members)]
    return [torch.from_numpy(maps).float() for maps in drawn]


def test_entropies_are_those_computed_by_hand() -> None:
    """If it fails, uncertainty is another quantity than the page says."""
    cases = [0.5, 0.8, 0.2]
    probabilities = np.array([[[1 - p, p]] for p in cases])
    entropy, information = entropies(probabilities)

    def of(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    assert entropy[0] == pytest.approx(of(0.5), abs=1e-12)
    assert information[0] == pytest.approx(of(0.5) - np.mean([of(p) for p in cases]), abs=1e-12)


def test_mutual_information_lies_between_nothing_and_the_entropy() -> None:
    """If it fails, members that agree are said to know different things."""
    generator = np.random.Generator(np.random.PCG64(0))
    cases = generator.beta(0.2, 0.2, size=(7, 1000))
    cases[:, :3] = (0.0, 1.0, 0.5)
    entropy, information = entropies(np.stack([1 - cases, cases], -1))
    assert (information >= -1e-12).all()
    assert (information <= entropy + 1e-12).all()


@pytest.mark.parametrize(("sign", "wanted"), [(1, -0.95), (-1, 0.95)])
def test_a_relation_that_was_planted_is_found(sign: int, wanted: float) -> None:
    """If it fails, maps that get noisy with the uncertainty are not seen to do so."""
    images = _study(192)
    entropy = np.random.Generator(np.random.PCG64(1)).uniform(0, math.log(2), len(images.rows))
    noise = entropy if sign > 0 else 0.75 - entropy
    steady = steadiness(images, _maps(images, noise), 0.1)
    relation = spearman_of(entropy, steady.stability)(np.ones((1, len(entropy))))[0]
    assert len(images.rows) == 64
    assert sign * relation <= sign * wanted


def test_members_have_no_order_and_maps_no_unit() -> None:
    """If it fails, stability depends on the names of the members or on the scale of the map."""
    images = _study(48)
    maps = _maps(images, np.linspace(0.1, 1, len(images.rows)), 4)
    own = steadiness(images, maps, 0.1)
    turned = steadiness(images, [maps[number] for number in (2, 0, 3, 1)], 0.1)
    louder = steadiness(images, [1e6 * values.double() for values in maps], 0.1)
    for name in ("stability", "overlap", "contrast"):
        np.testing.assert_array_equal(getattr(turned, name), getattr(own, name))
        np.testing.assert_allclose(getattr(louder, name), getattr(own, name), rtol=1e-9)
    probabilities = np.random.Generator(np.random.PCG64(0)).dirichlet((1, 1), size=(4, 9))
    for one, other in zip(
        entropies(probabilities), entropies(probabilities[[2, 0, 3, 1]]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_gini_coefficient_of_noise_is_a_third_and_of_a_point_almost_one() -> None:
    """If it fails, contrast is not what it is given for."""
    inside = torch.ones(2, 1, 100, 100, dtype=torch.bool)
    inside[:, :, :50] = False
    maps = torch.rand(2, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    maps[1] = 0
    maps[1, 0, 70, 70] = 5.0
    noise, point = gini(maps, inside).tolist()
    assert noise == pytest.approx(1 / 3, abs=0.01)
    assert point == pytest.approx(1 - 1 / 5000, abs=1e-12)


def _readings(trial: Trial, config: UncertaintyConfig = CONFIG) -> list[Reading]:
    return Uncertainty(config).readings(trial)


@pytest.fixture(scope="module")
def readings() -> dict[str, Sequence[Reading]]:
    """Return the readings of a gradient and of noise."""
    trial = build_trial(Saliency())
    return {one.name: _readings(trial.on(explainer=one)) for one in (Saliency(), Random())}


def test_the_score_is_the_relation_of_what_was_read(readings: dict[str, Sequence[Reading]]) -> None:
    """If it fails, the score and the scatter beside it do not belong together."""
    own = readings["saliency"]
    values = {one.statistic: one.values for one in own}
    for name in ASSOCIATIONS:
        interval = association_of(own, name)
        if np.isfinite(values[name]).all():
            assert values[name].mean() == pytest.approx(interval.estimate, abs=1e-12)
            assert interval.low <= interval.estimate <= interval.high
    relation = spearman_of(values["entropy"], values["stability"])(np.ones((1, 24)))[0]
    assert PROTOCOL.score_interval(own).estimate == pytest.approx(relation)
    verdict = PROTOCOL.verdict(own)
    assert verdict.passed is None
    assert verdict.reason == claim_of(own)[1]


def test_noise_is_drawn_anew_on_every_member(readings: dict[str, Sequence[Reading]]) -> None:
    """If it fails, noise is as stable as a prior, and its relation is not that of chance."""
    stability = find(readings["random"], Uncertainty.stability)
    assert stability is not None
    assert abs(stability.values).max() < 0.2
    interval = association_of(readings["random"], "relation")
    assert interval.low <= 0 <= interval.high


def test_too_few_errors_say_nothing_of_alarms(readings: dict[str, Sequence[Reading]]) -> None:
    """If it fails, an AUROC over a handful of errors is printed as a result."""
    use = find(readings["saliency"], Uncertainty.use)
    assert use is not None
    assert np.isnan(use.values).all()
    assert set(use.reasons.values()) == {"fewer than 5 subjects are misclassified"}


def test_tables_and_pictures_show_every_method(readings: dict[str, Sequence[Reading]]) -> None:
    """If it fails, the page of the report lacks a method, or ends in an error."""
    tables = list(uncertainty_tables(readings))
    assert [table.name for table in tables] == ["relations", "thirds", "errors"]
    for table in tables:
        assert [row[0] for row in table.rows] == ["saliency", "random"]
        assert all(len(row) == len(table.columns) for row in table.rows)
    drawings = list(uncertainty_drawings({}, readings))
    assert len(drawings) == 1
    assert len(drawings[0].draw().axes) == 2
    assert not list(uncertainty_tables({"nobody": []}))


@pytest.mark.parametrize("blind", [Sobel(), Intensity()], ids=["sobel", "intensity"])
def test_a_map_that_no_member_moves_gets_no_number(blind: Sobel | Intensity) -> None:
    """If it fails, perfect stability of a map that looks at no model is a result."""
    with pytest.raises(NotAssessableError, match="stability is constant"):
        _readings(build_trial(blind))


def test_a_model_that_says_nothing_of_its_uncertainty_is_not_asked() -> None:
    """If it fails, ranks of rounding errors are correlated, or those of a guessing model."""
    trial = build_trial(Saliency())
    with pytest.raises(NotAssessableError, match="fewer than 30 subjects"):
        _readings(trial, UncertaintyConfig(count=3, subjects=24))
    only_test = trial.cohort.select("test")
    with pytest.raises(NotAssessableError, match="no training split"):
        _readings(build_trial(Saliency(), only_test))
    people = cohort_of()
    labels = np.random.Generator(np.random.PCG64(5)).permutation(people.groups)
    guessing = replace(people, participants=people.participants.assign(group=labels))
    with pytest.raises(NotAssessableError, match="model at chance"):
        _readings(build_trial(Saliency(), guessing))
    sure = trained().copy()
    sure.head = nn.Sequential(nn.Dropout(0.1), _louder(sure.head))
    with pytest.raises(NotAssessableError, match="predictions saturated"):
        _readings(build_trial(Saliency(), classifier=sure), replace_members("dropout"))


def replace_members(kind: str) -> UncertaintyConfig:
    """Return the small settings with other members."""
    return UncertaintyConfig.model_validate({**CONFIG.model_dump(), "members": kind, "epochs": 2})


def _louder(head: nn.Module) -> nn.Module:
    assert isinstance(head, nn.Linear)
    louder = nn.Linear(head.in_features, 2)
    with torch.no_grad():
        louder.weight.copy_(head.weight * 100)
        louder.bias.copy_(head.bias * 100)
    return louder.requires_grad_(False)


def test_a_network_without_dropout_has_none_to_switch_on() -> None:
    """If it fails, dropout is invented for a network that was trained without it."""
    model = SmallResNet().assemble((24, 24))
    with pytest.raises(UnsupportedError, match="no dropout"):
        _readings(build_trial(Saliency(), classifier=model), replace_members("dropout"))


def test_dropout_runs_and_leaves_the_network_as_it_was() -> None:
    """If it fails, maps of later protocols are those of a network with units missing."""
    torch.manual_seed(0)
    network = mobilenet_v3_small(num_classes=2)
    trunk = nn.Sequential(network.features[:3])
    head = nn.Sequential(nn.Dropout(0.3), nn.Linear(24, 2))
    model = Classifier("mobilenet", trunk, head, (24, 24), preprocessing=Preprocessing(3))
    trial, config = build_trial(Saliency(), classifier=model), replace_members("dropout")
    before, images = model.identity_sha256, Study(trial, PROTOCOL.name).balanced(8)
    # Its untrained head guesses, so the members alone are asked.
    members = members_of(images, config)
    assert model.identity_sha256 == before
    assert not model.training
    assert len({member.weights_sha256 for member in members.classifiers}) == 3
    assert np.ptp(members.probabilities[:, :, 1], axis=0).min() > 0
    image = trial.test.batch(images.rows).images
    with torch.no_grad():
        alone, together = members.classifiers[0](image[:1])[0], members.classifiers[0](image)[0]
    torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=1e-5)


def test_refits_are_members_that_differ_in_their_features() -> None:
    """If it fails, an ensemble is the same trunk several times, as heads are."""
    images = Study(build_trial(Saliency()), PROTOCOL.name).balanced(8)
    ensemble = members_of(images, replace_members("ensemble"))
    heads = members_of(images, CONFIG)
    trunks = [
        {tuple(next(member.trunk.parameters()).flatten().tolist()) for member in one.classifiers}
        for one in (ensemble, heads)
    ]
    assert [len(one) for one in trunks] == [3, 1]
    for one in (ensemble, heads):
        assert np.ptp(one.probabilities[:, :, 1], axis=0).min() > 0
