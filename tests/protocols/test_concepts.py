"""`concepts`: effects of known size are found, and sets that mean nothing are not."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.concept import TCAV
from captum.concept import Concept as CaptumConcept
from contract_settings import PROTOCOLS, model_of, people_of, trial_of
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader

from baselines.cohorts.concepts import CHANGES
from baselines.cohorts.phantom import Phantom
from baselines.cohorts.phantom2 import Phantom2
from baselines.models.smallresnet import SmallResNet
from benchmark.arrays import ImageArray
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import CohortError, NotAssessableError, SuiteError, UnsupportedError
from benchmark.explainer import NoExplainer
from benchmark.plugins.examples import build_classifier
from benchmark.reading import Reading, Statistic, find, summarise
from benchmark.seeding import stream
from benchmark.trial import Runtime, Trial
from protocols.concepts import Concepts, ConceptsConfig
from protocols.concepts.figures import concept_drawings
from protocols.concepts.measures import (
    alignment_p,
    influences,
    label_p,
    paired_p,
    permuted_labels,
    shift,
)
from protocols.concepts.statistics import findings, largest_copy_margin

NAME = Concepts.name
QUICK = ConceptsConfig(permutations=999, directions=19, random_sets=20)


def trial_on(cohort: Cohort, classifier: Classifier) -> Trial:
    return Trial(NoExplainer(), classifier, cohort, Runtime(torch.device("cpu"), suite="v1#0"))


@lru_cache(maxsize=1)
def on_phantom() -> tuple[Reading, ...]:
    cohort = Phantom().load()
    return tuple(Concepts(QUICK).readings(trial_on(cohort, SmallResNet().load(cohort.shape))))


def estimate(readings: tuple[Reading, ...] | list[Reading], of: Statistic, **at: str) -> float:
    reading = find(readings, of, **at)
    assert reading is not None
    return summarise(reading, of.aggregate).estimate


def with_concept(cohort: Cohort, **changes: object) -> Cohort:
    """Return the cohort with its paired concept alone, changed."""
    return replace(cohort, concepts={"darker": replace(cohort.concepts["darker"], **changes)})


def test_the_network_of_the_phantom_uses_the_horn_and_the_scanner() -> None:
    """If it fails, the built-in concepts, or the network, are not the ones that docs describe."""
    readings = on_phantom()
    effects = {name: estimate(readings, Concepts.effect, concept=name) for name in CHANGES}
    assert effects["smaller_hippocampus"] == pytest.approx(0.70, abs=0.10)
    assert effects["horn_filled"] <= -0.6
    assert abs(effects["ventricles_older"]) < 0.1
    assert abs(effects["larger_head"]) < 0.1
    words = {finding.name: finding.word for finding in findings(readings)}
    assert words == {
        "smaller_hippocampus": "drives",
        "horn_filled": "drives",
        "ventricles_older": "does not drive",
        "scanner_gamma": "shortcut",
        "scanner_noise": "does not drive",
        "larger_head": "does not drive",
    }
    share = estimate(readings, Concepts.share, concept="smaller_hippocampus")
    assert share == pytest.approx(1.0, abs=0.15)
    verdict = Concepts(QUICK).verdict(readings)
    assert verdict.passed is None
    assert str(verdict.reason).startswith("shortcut: scanner_gamma; drives: smaller_hippocampus")


def test_permutations_too_few_to_find_anything_are_refused() -> None:
    """If it fails, a run of minutes ends with "undecided" of every concept, whatever they do."""
    cohort = Phantom().load()
    trial = trial_on(cohort, build_classifier(2))
    with pytest.raises(SuiteError, match="= 238, but 6 concepts need at least 239"):
        Concepts(ConceptsConfig(permutations=238)).readings(trial)
    assert Concepts(ConceptsConfig(permutations=239)).inputs(cohort)["concepts"]


def test_randomised_copies_do_not_see_the_concepts() -> None:
    """If it fails, what a network shows of a concept need not have been learned."""
    readings = on_phantom()
    margins = {
        name: abs(estimate(readings, Concepts.margin_effect, concept=name)) for name in CHANGES
    }
    copies = [largest_copy_margin(readings, name) for name in CHANGES]
    assert np.median(copies) < max(copies) < 0.05 * max(margins.values())


def test_a_report_shows_the_concepts() -> None:
    """If it fails, a run of the protocol ends without its page."""
    readings = on_phantom()
    concepts, random_sets = Concepts.tables({"none": readings})
    assert [row[0] for row in concepts.rows] == list(CHANGES)
    assert {len(row) for row in concepts.rows} == {len(concepts.columns)}
    assert 0 <= float(random_sets.rows[0][-1] or 0) <= 0.25
    images = np.random.default_rng(0).random((4, 1, 8, 9))
    kept = {"with:darker": images, "without:darker": 0 * images, "like:darker": images}
    for drawing in concept_drawings(kept, readings):
        assert drawing.draw().axes


@pytest.mark.parametrize("source", [Phantom, Phantom2])
def test_concepts_come_with_the_phantoms_and_do_not_rename_them(
    source: type[Phantom] | type[Phantom2],
) -> None:
    """If it fails, every score that was ever measured on a phantom is orphaned."""
    cohort = source().load()
    assert tuple(cohort.concepts) == tuple(CHANGES)
    bare = replace(cohort, concepts={})
    assert cohort.fingerprint == bare.fingerprint
    # What is deferred is not checked when the cohort is made.
    checked = replace(cohort, concepts=dict(cohort.concepts))
    assert {concept.paired for concept in checked.concepts.values()} == {True}
    assert Concepts(QUICK).inputs(cohort) == Concepts(QUICK).inputs(checked)


class _Linear(nn.Module):
    """Pooled pixels, weighted: a trunk whose embedding is known."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, len(weights), weights.shape[1:], bias=False)
        self.layer.weight.data = weights[:, None]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.layer(images)
        return maps


def in_steps(cohort: Cohort) -> Cohort:
    """Return the cohort and its paired concept in 256 steps of grey."""

    def rounded(images: ImageArray) -> ImageArray:
        return np.asarray(np.round(images * 256) / 256, dtype=np.float32)

    darker = cohort.concepts["darker"]
    parts = {
        part: replace(own, images=rounded(own.images))
        for part, own in (("present", darker.present), ("absent", darker.absent))
    }
    return replace(with_concept(cohort, **parts), images=rounded(cohort.images))


def linear_trial(cohort: Cohort) -> tuple[Trial, np.ndarray]:
    """Return a trial on a linear network, and its weights [D, pixels]."""
    generator = stream("test_concepts", "weights")
    # Small whole numbers, and images in steps of 1/256: every sum is exact, in any order.
    weights = torch.from_numpy(generator.integers(-4, 5, (4, *cohort.shape))).float()
    trunk = nn.Sequential(_Linear(weights))
    classifier = Classifier("linear", trunk, nn.Linear(4, 2), cohort.shape)
    return trial_on(cohort, classifier), weights.flatten(1).double().numpy()


def test_the_effect_on_a_linear_network_is_the_closed_form() -> None:
    """If it fails, an effect is not the change of the projection in units of T."""
    cohort = in_steps(people_of(NAME, 2))
    trial, weights = linear_trial(cohort)
    pixels = {split: cohort.select(split) for split in ("train", "test")}
    means = {
        split: [own.images[own.groups == group].astype(float).mean(0).ravel() for group in (0, 1)]
        for split, own in pixels.items()
    }
    difference = weights @ (means["train"][0] - means["train"][1])
    direction = difference / np.linalg.norm(difference)
    separation = direction @ weights @ (means["test"][0] - means["test"][1])
    concept = cohort.concepts["darker"].in_key_order
    change = (concept.present.images - concept.absent.images).reshape(len(concept.present), -1)
    wanted = -(change.astype(float) @ weights.T @ direction) / separation
    protocol = Concepts(QUICK)
    readings = protocol.readings(trial)
    effect = find(readings, Concepts.effect, concept="darker")
    assert effect is not None
    assert effect.sample.keys == concept.absent.keys
    np.testing.assert_allclose(effect.values, wanted, atol=1e-6, rtol=0)

    darker = cohort.concepts["darker"]
    swapped = with_concept(cohort, present=darker.absent, absent=darker.present)
    mirrored = find(protocol.readings(trial.on(cohort=swapped)), Concepts.effect, concept="darker")
    assert mirrored is not None
    by_subject = dict(zip(mirrored.sample.subjects, mirrored.values, strict=True))
    np.testing.assert_array_equal(
        [-by_subject[key] for key in effect.sample.subjects], effect.values
    )


def test_order_and_batches_of_the_images_change_nothing() -> None:
    """If it fails, a concept's effect depends on how its files are listed."""
    cohort = people_of(NAME, 2)
    order = np.random.default_rng(1).permutation(40)
    turned = {}
    for name, concept in cohort.concepts.items():
        rows = order[order < len(concept.present)]
        turned[name] = replace(
            concept, present=concept.present.take(rows), absent=concept.absent.take(rows)
        )
    other = replace(cohort, concepts=turned)
    protocol = PROTOCOLS[NAME]
    assert protocol.inputs(cohort) == protocol.inputs(other)
    first = protocol.readings(trial_of(NoExplainer(), "conv", 2, cohort))
    second = protocol.readings(trial_of(NoExplainer(), "conv", 2, other, batch_size=3))
    for one, same in zip(first, second, strict=True):
        assert one.sample == same.sample
        np.testing.assert_array_equal(one.values, same.values)


def test_other_images_are_another_concept() -> None:
    """If it fails, a run takes the scores of other images from the store."""
    cohort = people_of(NAME, 2)
    darker = cohort.concepts["darker"]
    digests = {
        concept.sha256
        for concept in (
            darker,
            replace(darker, nuisance=True),
            replace(darker, paired=False),
            replace(darker, present=darker.present.take(np.arange(40)[::-1])),
            replace(darker, covariates=("age",), added=np.full(40, 5.0)),
        )
    }
    assert len(digests) == 5


def test_unfit_concepts_are_refused_by_name() -> None:
    """If it fails, a concept of 19 images, or one that was tested on, is scored."""
    cohort = people_of(NAME, 2)
    darker = cohort.concepts["darker"]
    tested = str(cohort.select("test").subjects[0])
    few = {part: getattr(darker, part).take(np.arange(19)) for part in ("present", "absent")}
    with pytest.raises(NotAssessableError, match="19 images with the concept 'darker'"):
        PROTOCOLS[NAME].readings(trial_of(NoExplainer(), "conv", 2, with_concept(cohort, **few)))
    names = (tested, *darker.present.subjects[1:])
    both = {part: replace(getattr(darker, part), subjects=names) for part in ("present", "absent")}
    with pytest.raises(CohortError, match=f"test subject '{tested}'.*concept 'darker'"):
        with_concept(cohort, **both)
    smaller = replace(darker.present, images=darker.present.images[..., 1:])
    with pytest.raises(CohortError, match="images with the concept 'darker' as"):
        with_concept(cohort, present=smaller)
    for value, words in ((np.nan, "NaN or infinite in the images with"), (1.5, r"in \[0, 1\]")):
        images = darker.present.images.copy()
        images[3, 0, 2, 2] = value
        with pytest.raises(CohortError, match=f"{words}.*"):
            with_concept(cohort, present=replace(darker.present, images=images))
    with pytest.raises(CohortError, match="'darker' paired, but"):
        with_concept(cohort, present=darker.present.take(np.arange(40)[::-1]))
    with pytest.raises(UnsupportedError, match="offers no concepts"):
        PROTOCOLS[NAME].readings(trial_of(NoExplainer(), "conv", 2, replace(cohort, concepts={})))


def test_a_network_that_does_not_separate_the_groups_is_not_asked() -> None:
    """If it fails, effects are divided by a T that is noise."""
    cohort = people_of(NAME, 2)
    shuffled = cohort.participants.assign(group=np.random.default_rng(0).permutation(cohort.groups))
    people = replace(cohort, participants=shuffled)
    with pytest.raises(NotAssessableError, match="does not separate the groups"):
        Concepts(QUICK).readings(trial_on(people, build_classifier()))


def test_a_stratum_is_compared_within_itself() -> None:
    """If it fails, a concept that only follows the groups is found in every network of theirs."""
    rng = np.random.default_rng(3)
    group = np.repeat([0, 1], 100)
    present = rng.random(200) < 0.2 + 0.6 * group
    values = group + 0.1 * rng.standard_normal(200)
    one = np.zeros(200, dtype=np.int64)
    assert shift(values, present, one) > 0.4
    assert abs(shift(values, present, group)) < 0.05
    assert (
        label_p(values, present, one, 999, rng) < 0.01 < label_p(values, present, group, 999, rng)
    )
    for strata in (one, group):
        own = influences(values, present, strata)
        assert own.mean() == pytest.approx(shift(values, present, strata))
    own, parts = influences(values, present, one), (values[present], values[~present])
    error = np.sqrt(sum(part.var() / len(part) for part in parts))
    assert own.std() / np.sqrt(200) == pytest.approx(error)


def test_random_sets_are_concepts_no_more_often_than_they_should_be() -> None:
    """If it fails, the tests of sets call what means nothing a concept."""
    rng = np.random.default_rng(11)
    present, strata = np.arange(60) < 30, np.zeros(60, dtype=np.int64)
    p_values = [label_p(rng.standard_normal(60), present, strata, 199, rng) for _ in range(500)]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_the_test_of_a_direction_finds_one_and_only_one_that_is_there() -> None:
    """If it fails, the cosine's p-value says nothing of the cosine."""
    rng = np.random.default_rng(5)
    present, strata = np.arange(60) < 30, np.zeros(60, dtype=np.int64)
    embeddings, towards = rng.standard_normal((60, 8)), np.eye(8)[0]
    labels = permuted_labels(present, strata, 99, rng)
    assert alignment_p(embeddings, labels, present, towards)[1] > 0.05
    embeddings[:, 0] += 2 * present
    cosine, p = alignment_p(embeddings, labels, present, towards)
    assert cosine > 0.8
    assert p <= 0.02


def test_pairs_see_a_twentieth_of_the_separation_and_sets_more_than_half() -> None:
    """If it fails, the numbers of subjects that docs promise to be enough are not."""
    rng = np.random.default_rng(7)
    pairs = [paired_p(0.05 + 0.06 * rng.standard_normal(60), 199) for _ in range(50)]
    assert np.mean(np.array(pairs) <= 0.05) >= 0.9
    present, strata = np.arange(40) < 20, np.zeros(40, dtype=np.int64)
    sets = [
        label_p(0.6 * present + 0.7 * rng.standard_normal(40), present, strata, 199, rng)
        for _ in range(200)
    ]
    assert np.mean(np.array(sets) <= 0.05) >= 0.7


class _Logits(nn.Module):
    """A classifier as Captum wants models: logits alone, the embedding a layer with a name."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.trunk, self.pool, self.head = classifier.trunk, classifier.pool, classifier.head
        self.embedding = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.embedding(self.pool(self.trunk(images))))
        return logits


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Captum, on memory and slow conversions
def test_the_sign_count_of_captums_tcav_is_nought_or_one_behind_a_linear_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, the sign count varies over images, and docs must say why it is not used."""
    monkeypatch.chdir(tmp_path)  # it writes its vectors to files
    cohort = people_of(NAME, 2)
    darker = cohort.concepts["darker"]
    model = _Logits(model_of("conv", 2)).eval()
    sets = [
        CaptumConcept(number, name, DataLoader(torch.from_numpy(own.images), batch_size=40))
        for number, (name, own) in enumerate((("with", darker.present), ("without", darker.absent)))
    ]
    images = torch.from_numpy(cohort.select("test").images)
    for run in range(10):
        tcav = TCAV(model, ["embedding"], model_id=f"run{run}", save_path=str(tmp_path))
        scores = tcav.interpret(images, [sets], target=1)["0-1"]["embedding"]
        assert set(scores["sign_count"].tolist()) <= {0.0, 1.0}
        assert len(set(scores["magnitude"].tolist())) == 2
