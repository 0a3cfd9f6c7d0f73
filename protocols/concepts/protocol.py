"""`concepts`: which clinical concepts drive the separation of the groups?

It asks about the model and not about an explainer. Where the same subjects can be shown with and
without a concept, its effect is how much that moves φ, in units of the groups' difference T. The
projection φ is that on the direction from one group's mean embedding to the other's. Where there
are only sets of other subjects, it is the shift of φ between them.

Concept activation vectors (Kim et al. 2018) are read beside it, as a direction and as whether the
concept is encoded at all. Their sign count is not: behind a linear head the derivative along a
direction is the same for every image, so that it is 0 or 1 by algebra.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from benchmark.arrays import FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.concept import Concept
from benchmark.errors import NotAssessableError, SuiteError, UnsupportedError
from benchmark.protocol import Drawing, Exhibit, SanityProtocol, Table
from benchmark.reading import Reading, Verdict
from benchmark.seeding import stream
from benchmark.trial import RANDOM_COPIES, Study
from benchmark.trial.projection import GroupAxis, group_axis
from protocols.concepts import measures
from protocols.concepts.exhibits import exhibit_of
from protocols.concepts.outputs import (
    Outputs,
    amount_factor,
    constant,
    mean_direction,
    pair_sample,
    set_sample,
)
from protocols.concepts.statistics import (
    LEVEL,
    ConceptsConfig,
    ConceptStatistics,
    conclude,
    findings,
)
from protocols.concepts.tables import concept_tables

_PERMUTATIONS_OF_RANDOM_SETS = 999
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Case:
    """A concept on the network on trial: its name, and what the network makes of its images."""

    name: str
    concept: Concept
    outputs: Outputs


class Concepts(ConceptStatistics, SanityProtocol[ConceptsConfig]):
    """The effect of each concept that the cohort offers on the separation of the groups."""

    name = "concepts"
    version = "1.0"
    title = "Which concepts drive the separation of the groups?"
    topic = "concepts"
    primary = "strongest"
    chance = "random_shift"
    margin = 0.1
    explains = False
    truth_leads = False
    Config = ConceptsConfig

    def inputs(self, cohort: Cohort) -> dict[str, Any]:
        """Return the SHA-256 of each concept, which the cohort's fingerprint does not cover.

        Raises:
            SuiteError: If so few permutations are drawn that no concept could be found.
        """
        self._check_permutations(cohort)
        return {"concepts": {name: each.sha256 for name, each in cohort.concepts.items()}}

    def _check_permutations(self, cohort: Cohort) -> None:
        """Refuse settings whose smallest p-value after Holm lies above the level."""
        sides = 2 if any(concept.paired for concept in cohort.concepts.values()) else 1
        count, drawn = len(cohort.concepts), self.config.permutations
        needed = math.ceil(count * sides / LEVEL - _ROUNDING) - 1
        if drawn < needed:
            raise SuiteError(
                f"Protocol 'concepts' has permutations = {drawn}, but {count} concepts need at "
                f"least {needed}: with fewer, no p-value can be {LEVEL} or less after Holm."
            )

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        concepts = self._concepts_of(study.trial.cohort)
        axis = group_axis(study.trial)
        self._read_separation(study, axis)
        cases = [
            _Case(name, concept, Outputs.of(study.trial, axis, concept))
            for name, concept in concepts.items()
        ]
        for case in cases:
            sample, where = pair_sample(case.concept), {"concept": case.name}
            study.note(constant(self.nuisance, sample, float(case.concept.nuisance), where))
            if case.concept.paired:
                self._read_pairs(study, case)
            self._read_sets(study, case)
            self._read_copies(study, axis, case)
            self._read_direction(study, axis, case)
        self._read_random_sets(study, cases)
        self._read_strongest(study)
        study.exhibit(exhibit_of(study.trial, concepts, self._directions(cases)))

    def _concepts_of(self, cohort: Cohort) -> dict[str, Concept]:
        """Return the concepts, images in the order of their keys, after refusing small sets."""
        if not cohort.concepts:
            raise UnsupportedError("the cohort offers no concepts")
        for name, concept in cohort.concepts.items():
            for which, images in (("with", concept.present), ("without", concept.absent)):
                if len(images) < self.config.fewest:
                    raise NotAssessableError(
                        f"too few examples: there are {len(images)} images {which} the concept "
                        f"{name!r}, fewer than {self.config.fewest}"
                    )
        return {name: concept.in_key_order for name, concept in cohort.concepts.items()}

    def _read_separation(self, study: Study, axis: GroupAxis) -> None:
        """Read T, and refuse a network that does not separate the groups' test subjects."""
        test = study.trial.test
        subjects, first, rows = np.unique(test.subjects, return_index=True, return_inverse=True)
        means = np.bincount(rows, axis.values) / np.bincount(rows)
        strata, is_reference = np.zeros(len(subjects), dtype=np.int64), test.groups[first] == 0
        generator = stream(study.trial.runtime.suite, self.name, "separation")
        p = measures.label_p(means, is_reference, strata, self.config.permutations, generator)
        if p > LEVEL or not axis.separation > 0:
            raise NotAssessableError(
                f"the model does not separate the groups: T is {axis.separation:.3g}, p {p:.3f}"
            )
        study.constant(self.separation, axis.separation)

    def _read_pairs(self, study: Study, case: _Case) -> None:
        """Read the effect of a paired concept, its margin, its p-value and its share."""
        where, sample, outputs = {"concept": case.name}, pair_sample(case.concept), case.outputs
        effect = outputs.differences(outputs.towards_cases)
        study.note(Reading(self.effect.name, sample, effect, where))
        p = measures.paired_p(effect, self.config.permutations)
        study.note(constant(self.p, sample, p, {**where, "test": "effect"}))
        factor = amount_factor(study.trial.test, case.concept)
        if factor is not None:
            study.note(Reading(self.share.name, sample, factor * effect, where))

    def _read_sets(self, study: Study, case: _Case) -> None:
        """Read the shift between the sets, and its p-value.

        Of pairs, as if only sets were at hand: half of the subjects with the concept, the others
        without it.
        """
        outputs, rows = case.outputs, np.arange(len(case.outputs.present))
        if case.concept.paired:
            rows = rows[rows % len(case.concept.absent) % 2 == outputs.present]
        sample, where = set_sample(case.concept, rows), {"concept": case.name}
        parts = outputs.towards_cases[rows], outputs.present[rows], outputs.strata[rows]
        values = measures.influences(*parts)
        if not np.isfinite(values).all():
            raise NotAssessableError(
                f"too few examples: no stratum has images both with and without {case.name!r}"
            )
        study.note(Reading(self.shift.name, sample, values, where))
        generator = stream(study.trial.runtime.suite, self.name, case.name, "shift")
        p = measures.label_p(*parts, self.config.permutations, generator)
        study.note(constant(self.p, sample, p, {**where, "test": "shift"}))

    def _read_copies(self, study: Study, axis: GroupAxis, case: _Case) -> None:
        """Read the concept's margin, on the network and on fully randomised copies of it."""
        where = {"concept": case.name}
        study.note(_margin(self.margin_effect.name, case, case.outputs, where))
        for copy in range(RANDOM_COPIES):
            outputs = Outputs.of(study.trial.randomised(copy), axis, case.concept)
            study.note(_margin(self.margin_copy.name, case, outputs, {**where, "copy": copy}))

    def _read_direction(self, study: Study, axis: GroupAxis, case: _Case) -> None:
        """Read whether the concept is encoded, and where its direction points."""
        outputs, concept, where = case.outputs, case.concept, {"concept": case.name}
        sample, trial = set_sample(concept, np.arange(len(outputs.present))), study.trial
        hits = measures.held_out_hits(outputs.embeddings, outputs.present, sample.subjects)
        study.note(Reading(self.encoded.name, sample, hits, where))
        generator = stream(trial.runtime.suite, self.name, case.name, "direction")
        count = self.config.directions
        if concept.paired:
            labels = measures.swapped_labels(len(concept.present), count, generator)
        else:
            labels = measures.permuted_labels(outputs.present, outputs.strata, count, generator)
        towards = -measures.unit(mean_direction(axis))
        cosine, p = measures.alignment_p(outputs.embeddings, labels, outputs.present, towards)
        study.note(
            constant(self.alignment, sample, cosine, where),
            constant(self.p, sample, p, {**where, "test": "alignment"}),
        )
        if isinstance(trial.classifier.head, nn.Linear):
            weights = trial.classifier.head.weight.detach().cpu().double().numpy()
            own = measures.concept_direction(outputs.embeddings, outputs.present)
            cosine = float(own @ measures.unit(weights[1] - weights[0]))
            study.note(constant(self.alignment_head, sample, cosine, where))

    def _read_random_sets(self, study: Study, cases: Sequence[_Case]) -> None:
        """Read what shifts and false alarms random sets of images without a concept give."""
        values: dict[str, float] = {}
        for case in cases:
            absent = case.outputs.towards_cases[~case.outputs.present].tolist()
            values |= dict(zip(case.concept.absent.keys, absent, strict=True))
        pool = np.array([values[key] for key in sorted(values)])
        generator = stream(study.trial.runtime.suite, self.name, "random sets")
        shifts, p_values = measures.random_shifts(
            pool, self.config.random_sets, _PERMUTATIONS_OF_RANDOM_SETS, generator
        )
        low, high = np.percentile(shifts, [2.5, 97.5])
        study.constant(self.random_shift, float(shifts.mean()))
        study.constant(self.random_low, float(low))
        study.constant(self.random_high, float(high))
        study.constant(self.false_alarms, float((p_values <= LEVEL).mean()))

    def _read_strongest(self, study: Study) -> None:
        """Read once more, as the score, the concept with the largest effect."""
        strongest = max(findings(study.readings), key=lambda each: abs(each.score.estimate))
        name = (self.effect if strongest.paired else self.shift).name
        reading = next(
            reading for reading in study.readings if reading.matches(name, concept=strongest.name)
        )
        study.note(Reading(self.strongest.name, reading.sample, reading.values))

    def _directions(self, cases: Sequence[_Case]) -> dict[str, FloatArray]:
        return {
            case.name: measures.concept_direction(case.outputs.embeddings, case.outputs.present)
            for case in cases
        }

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Say of each concept whether it drives the separation; nothing is passed."""
        return Verdict("scored", None, conclude(readings))

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield what was found of each concept, and of random sets."""
        for own in readings.values():
            yield from concept_tables(own)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show a forest of effects, pairs of images, and images most like each concept."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.concepts.figures import concept_drawings

        for name, own in readings.items():
            yield from concept_drawings(exhibits.get(name, {}), own)


def _margin(
    statistic: str, case: _Case, outputs: Outputs, where: Mapping[str, str | int]
) -> Reading:
    """Return how much a concept adds to the margin of the cases' logit: of pairs, or of sets."""
    if case.concept.paired:
        values = outputs.differences(outputs.margin)
        return Reading(statistic, pair_sample(case.concept), values, where)
    values = measures.influences(outputs.margin, outputs.present, outputs.strata)
    rows: Rows = np.arange(len(values))
    return Reading(statistic, set_sample(case.concept, rows), values, where)
