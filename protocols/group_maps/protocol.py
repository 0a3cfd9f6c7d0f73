"""`group_maps`: where do the groups' explanations differ, and because of what was learned?

All subjects' maps explain the same scalar φ, the projection on the direction between the groups of
the training split, with their signs: maps of the own group's margin differ between any two groups,
also shuffled ones, because their sign follows the label. They are averaged in one space, and the
question is how much of the squared difference of the two means is reliable and lies where the
groups' anatomy differs.

Anatomy alone makes maps differ. So the same method explains randomised copies of the network along
the trained direction, and what it recovers there is subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import AttributionError, NotAssessableError, SuiteError
from benchmark.explainer import Control
from benchmark.protocol import Drawing, Exhibit, SanityProtocol, Table, Volume
from benchmark.reading import Reading, Verdict, find, interval
from benchmark.seeding import seed_of
from benchmark.statistics.linear import draw_permutations, gaps, nuisance_design
from benchmark.statistics.studentised import TOO_FEW
from benchmark.trial import Keeping, Need, Retrained, Study
from benchmark.trial.interventions import region_use
from benchmark.trial.projection import SignedMaps, group_axis, signed_maps
from protocols.group_maps import steadiness
from protocols.group_maps.decomposition import Decomposition
from protocols.group_maps.differences import Model, Recovery
from protocols.group_maps.exhibits import exhibit_of, group_volumes
from protocols.group_maps.findings import (
    Findings,
    Setting,
    count_significant,
    count_voxels,
    find_difference,
)
from protocols.group_maps.health import faults, words
from protocols.group_maps.population import Population, choose_subjects, refuse_unregistered
from protocols.group_maps.statistics import LEAST_AUROC, LEVEL, GroupMapsConfig, GroupMapsStatistics

_ASKED = "all"  # name of the regions whose union the model must use


class GroupMaps(GroupMapsStatistics, SanityProtocol[GroupMapsConfig]):
    """The difference of the groups' mean maps, against randomised copies of the network."""

    name = "group_maps"
    version = "1.0"
    title = "Where do the groups' explanations differ, and because of what was learned?"
    topic = "the groups' mean maps"
    if_passed = "shows where the anatomy of the groups differs"
    if_failed = "does not show where the anatomy of the groups differs"
    primary = "own_recovery"
    chance = "own_recovery"
    margin = 0.05
    truth_leads = False
    owes_to_network = True
    # What the true deviation recovers is not 1, and differs between networks and cohorts.
    counts = False
    Config = GroupMapsConfig

    twin = Retrained(seed=1)

    @property
    def needs(self) -> tuple[Need, ...]:
        """The twin, where it is asked for."""
        return super().needs if self._asks_twin else ()

    @property
    def panel(self) -> tuple[str, ...]:
        """Names of the controls that are measured beside every method."""
        return self.config.controls

    @property
    def _asks_twin(self) -> bool:
        return self.config.twin and self.config.steady_subjects > 0

    def inputs(self, cohort: Cohort) -> dict[str, Any]:
        """Return nothing, since the cohort's fingerprint covers what is asked of it.

        Raises:
            SuiteError: If clusters of volumes are asked for on slices.
        """
        if self.config.tfce and len(cohort.shape) != 3:
            raise SuiteError(
                f"Protocol 'group_maps' has tfce = true, which is for volumes, but the images of "
                f"cohort {cohort.name!r} are slices of {' × '.join(map(str, cohort.shape))} "
                f"pixels; leave the setting out, or ask volumes in a suite of their own."
            )
        return {}

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, config = study.trial, self.config
        refuse_unregistered(trial.test.geometry)
        study.read(self.auroc, -group_axis(trial).values, reasons={})
        everyone = self._population(study)
        maps = signed_maps(trial, everyone.all_rows)
        if not maps.copies:
            raise NotAssessableError(f"no null: {next(iter(maps.left_out.values()))}")
        kept, reasons = _usable(everyone, maps.own)
        images = study.of(everyone.first_rows)
        images.reasons = reasons
        images.constant(self.left_out, float(len(reasons)))
        counts = np.bincount(everyone.groups[kept], minlength=2)
        if counts.min() < config.fewest:
            reason = next(iter(reasons.values()))
            if kept.any():
                group = trial.cohort.group_names[int(counts.argmin())]
                raise AttributionError(
                    f"Explainer {trial.explainer.name!r} gave a {reason} of {len(reasons)} of "
                    f"{len(kept)} subjects, which leaves fewer than {config.fewest} in group "
                    f"{group}."
                )
            images.read_missing(self.own_recovery, reason)
            return
        people = everyone.only(kept)
        if people is not everyone:
            maps = _take(maps, np.flatnonzero(np.isin(everyone.all_rows, people.all_rows)))
        setting = self._setting(people, trial.runtime.suite)
        findings = find_difference(setting, maps, group_axis(trial).separation)
        del maps  # copies, which would be held while voxels are tested
        self._read_scores(images.only(people.first_rows), findings)
        self._read_places(images.only(people.first_rows), findings)
        self._read_yardsticks(images, everyone)
        if config.steady_subjects and not isinstance(trial.explainer, Control):
            self._read_steadiness(images, people)
        self._read_model(study)
        study.exhibit(exhibit_of(findings))

    def _population(self, study: Study) -> Population:
        """Return the subjects that are asked, the same for every explainer.

        Raises:
            NotAssessableError: If a group has too few.
            UnsupportedError: If nothing says where the groups' anatomy differs.
        """
        test, config = study.trial.test, self.config

        def choose() -> Population:
            rows = choose_subjects(test, study.trial.runtime.suite, config.subjects)
            groups = np.array([test.groups[own[0]] for own in rows])
            for group, name in enumerate(study.trial.cohort.group_names):
                if np.count_nonzero(groups == group) < config.fewest:
                    raise NotAssessableError(
                        f"fewer than {config.fewest} test subjects in group {name}"
                        f"{gaps(test.participants)}"
                    )
            return Population(test, rows, groups, config.fwhm)

        population = study.shared(("population", config.subjects, config.fwhm), choose)
        _ = population.change
        return population

    def _setting(self, people: Population, suite: str) -> Setting:
        """Return how the maps of some subjects are compared.

        Raises:
            NotAssessableError: If a covariate determines the group.
        """
        config, table = self.config, people.participants
        drawn = len(people.rows), config.permutations
        orders = draw_permutations(*drawn, suite, self.name)
        seed = seed_of("permutations", suite, self.name, *drawn) % 2**32
        return Setting(
            people,
            _adjusted_model(people),
            Model(people.groups, nuisance_design(table, covariates=())),
            orders,
            steadiness.halves(people, suite, config.halves),
            seed if config.tfce else None,
        )

    def _read_scores(self, images: Study, findings: Findings) -> None:
        """Read what was recovered from the network and from its copies."""
        own, nulls = findings.own, findings.nulls
        for name, arm in findings.arms.items():
            where = arm.conditions
            images.read(self.recovery, arm.recovery.values, where)
            images.read(self.reliability, arm.recovery.reliability, where)
            images.constant(self.difference_p, arm.p, where)
            if not name.startswith("copy"):
                located, energy = arm.recovery.shares
                images.read(self.located, located, where, over=energy)
        for copy, reason in findings.left_out.items():
            images.read_missing(self.recovery, reason, {"network": f"copy {copy}"})
        images.constant(self.split_half, findings.split_half)
        above = [own.recovery.values - null for null in nulls]
        images.read(self.own_recovery, np.mean(above, axis=0))
        for name, test in findings.tests.items():
            conditions = {"covariates": "ignored"} if name == "ignored" else {}
            voxels, near, discovered = count_voxels(test, findings.setting.people.near_regions)
            images.constant(self.voxels_fwe, voxels, conditions)
            images.constant(self.voxels_fwe_near, near, conditions)
            images.constant(self.voxels_fdr, discovered, conditions)
        if findings.p_tfce is not None:
            near_regions = findings.setting.people.near_regions
            voxels, near = count_significant(findings.p_tfce, near_regions)
            images.constant(self.voxels_tfce, voxels)
            images.constant(self.voxels_tfce_near, near)

    def _read_places(self, images: Study, findings: Findings) -> None:
        """Read which part of T lies where, and what the map is worth in each region."""
        axis = group_axis(images.trial)
        people = findings.setting.people
        phi = people.of_subjects(axis.values[people.all_rows])
        parts = Decomposition(people, findings.raw, phi)
        for name, sums in parts.sums.items():
            images.read(self.share_of_t, sums / parts.separation, {"region": name})
        images.read(self.departure, parts.departures)
        adjusted = findings.adjusted
        for name, mask in people.regions.items():
            if mask.any():
                means = adjusted[:, mask].mean(1)
                images.read(self.region_mean, means / axis.separation, {"region": name})

    def _read_yardsticks(self, images: Study, everyone: Population) -> None:
        """Read what maps recover that look at no network."""
        measured = images.shared(
            ("yardsticks", self.config.model_dump_json()),
            lambda: steadiness.yardsticks(
                images.trial, everyone, _adjusted_model(everyone), self.config.controls
            ),
            Keeping("1", (Recovery,)),
        )
        for name, recovery in measured.items():
            images.read(self.yardstick, recovery.values, {"map": name}, reasons={})
            reliability = recovery.reliability
            images.read(self.yardstick_reliability, reliability, {"map": name}, reasons={})

    def _read_steadiness(self, images: Study, people: Population) -> None:
        """Read how alike maps and their difference are after changes that should not matter."""
        few = people.balanced(self.config.steady_subjects)
        twin = self.twin if self._asks_twin and self.twin.missing(images.trial) is None else None
        changes = steadiness.Changes(
            images.trial, few, self.config.refits, self.config.baselines, twin
        )
        for name, agreement in changes.measure():
            where = {"change": name}
            images.only(few.first_rows).read(self.steadiness, agreement.per_subject, where)
            images.constant(self.steadiness_of_groups, agreement.of_groups, where)

    def _read_model(self, study: Study) -> None:
        """Read whether the model uses the regions, where these are known."""
        trial = study.trial
        truth = _asked_regions(trial.test)
        if truth is None or self.twin.missing(trial) is not None:
            return
        of_train = _asked_regions(trial.train)
        if of_train is None:
            return
        balanced = study.balanced(min(self.config.subjects, 64))
        uses = region_use.region_use(balanced, {_ASKED: (of_train, truth)}, self.config.repeats)
        region_use.read(study, balanced, uses, _ASKED)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the groups differ, where their anatomy does, and because of what was learned."""
        auroc = interval(readings, self.auroc)
        if auroc is None or not auroc.low > LEAST_AUROC:
            low = "not known" if auroc is None else f"{auroc.low:.2f}"
            reason = f"the model does not tell the groups apart: lower bound of its AUROC {low}"
            return Verdict("not assessable", None, reason)
        if find(readings, self.model_auroc) is not None:
            gate = region_use.judge(readings)
            if gate.answer == "no":
                reason = f"the model does not use the region ({gate.reason})"
                return Verdict("not assessable", None, reason)
        p, recovery, own = (
            interval(readings, statistic)
            for statistic in (self.difference_p, self.recovery, self.own_recovery)
        )
        if p is None or recovery is None or own is None:
            return Verdict("scored", None, "no difference of maps was measured")
        if np.isnan(recovery.low) or np.isnan(own.low):
            return Verdict("scored", None, TOO_FEW)
        margin = self.config.margin
        clauses = {
            "the maps of the groups do not differ reliably": p.estimate <= LEVEL,
            "they do not differ where the anatomy does": recovery.low > margin,
            "they differ as much on networks that learned nothing": own.low > margin,
        }
        failures = [reason for reason, held in clauses.items() if not held]
        return Verdict("scored", not failures, "; ".join(failures) or None)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say what the truth recovers, and which copies could not be explained."""
        return words(readings)

    @classmethod
    def health_faults(cls, readings: Sequence[Reading]) -> tuple[str, ...]:
        """Return where the truth does not lead, or noise is reliable."""
        return faults(readings)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show the group maps, scores beside their nulls, and which region holds which part."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.group_maps.figures import group_drawings

        return group_drawings(exhibits, readings)

    @classmethod
    def volumes(cls, exhibits: Mapping[str, Exhibit]) -> Iterator[Volume]:
        """Yield D, t, FWE p, FDR q and, where asked for, p by TFCE, in the common space."""
        return group_volumes(exhibits)

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield the comparison of methods, of regions, and of changes that should not matter."""
        from protocols.group_maps.tables import group_tables

        return group_tables(readings)


def _adjusted_model(people: Population) -> Model:
    """Return groups and covariates of some subjects.

    Raises:
        NotAssessableError: If a covariate determines the group.
    """
    nuisance_design(people.participants, people.groups)  # refuses what determines the group
    return Model(people.groups, nuisance_design(people.participants))


def _usable(people: Population, maps: Tensor) -> tuple[BoolArray, dict[str, str]]:
    """Return which subjects have a map that says something, [n], and why others have none."""
    foreground = torch.from_numpy(people.cohort.anatomy.foreground[people.all_rows])
    inside = maps * foreground
    is_finite = torch.isfinite(maps).flatten(1).all(1).numpy()
    says = (inside != 0).flatten(1).any(1).numpy()
    row_of = {row: position for position, row in enumerate(people.all_rows.tolist())}
    kept, reasons = np.ones(len(people.rows), dtype=np.bool_), {}
    for subject, rows in enumerate(people.rows):
        places = [row_of[row] for row in rows.tolist()]
        if not is_finite[places].all() or not says[places].any():
            kept[subject] = False
            is_sound = is_finite[places].all()
            key = people.cohort.keys[rows[0]]
            reasons[key] = "constant map" if is_sound else "non-finite map"
    return kept, reasons


def _take(maps: SignedMaps, rows: Rows) -> SignedMaps:
    """Return the maps of some positions."""
    chosen = torch.from_numpy(rows)
    copies = {
        copy: maps.own[chosen] if own is maps.own else own[chosen]
        for copy, own in maps.copies.items()
    }
    return SignedMaps(maps.own[chosen], copies, maps.left_out)


def _asked_regions(cohort: Cohort) -> BoolArray | None:
    """Return the truth where it is known, otherwise the union of all regions, [N, 1, *S]."""
    return cohort.regions if cohort.truth is None else cohort.truth
