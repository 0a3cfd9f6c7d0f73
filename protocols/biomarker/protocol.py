"""`biomarker`: does what a map puts on a structure tell its size, beyond what the output tells?

A network that tells a disease apart says by its output alone how large the structure is: φ itself
tracks the volume within groups better than any map of it. So a map is asked for what it adds, given
covariates, group and φ. Beside it stand maps of randomised copies of the network, explained along
the trained direction, and the map on a control region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark.arrays import BoolArray
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError
from benchmark.protocol import Drawing, Exhibit, SanityProtocol, Table
from benchmark.reading import Reading, Verdict, find, interval
from benchmark.statistics.linear import PartialCorrelation, draw_permutations
from benchmark.statistics.studentised import TOO_FEW
from benchmark.statistics.wording import format_interval
from benchmark.trial import Study
from benchmark.trial.interventions import region_use
from benchmark.trial.projection import group_axis, signed_maps
from protocols.biomarker import associations, checklist, tables
from protocols.biomarker.measures import finite_maps, measure_marks
from protocols.biomarker.occlusion import read_occlusion
from protocols.biomarker.people import find_people
from protocols.biomarker.regions import SHRINKING, Regions, common_regions, own_regions, sizes
from protocols.biomarker.regressions import read_mediation, read_regressions
from protocols.biomarker.statistics import UNDERPOWERED, BiomarkerConfig, BiomarkerStatistics
from protocols.biomarker.subfields import read_subfields

ASKED = "all"  # name of the regions whose union the model is asked about


class Biomarker(BiomarkerStatistics, SanityProtocol[BiomarkerConfig]):
    """The map on a region against the region's volume, given group and output."""

    name = "biomarker"
    version = "1.0"
    title = "Does the map on a structure tell its size, beyond what the output tells?"
    topic = "the size of structures"
    if_passed = "tells the size of a structure beyond the model's output"
    if_failed = (
        "tells no more of the size of a structure than the model's output or other networks do"
    )
    primary = "beyond_output"
    chance = "beyond_output"
    margin = 0.15
    truth_leads = False
    counts = False
    Config = BiomarkerConfig

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, config = study.trial, self.config
        people = find_people(trial, config.minimum, config.subjects)
        _ = own_regions(trial.test, people)  # refused before anything is drawn
        axis, foreground = group_axis(trial), trial.test.anatomy.foreground
        own_maps = signed_maps(trial, people.rows).own
        people = people.only(finite_maps(own_maps, foreground[people.rows], trial.explainer.name))
        if len(people) < config.minimum:
            raise NotAssessableError(f"fewer than {config.minimum} subjects with a map")
        regions = own_regions(trial.test, people)
        orders = draw_permutations(
            len(people),
            config.permutations,
            trial.runtime.suite,
            self.name,
            within=people.groups[people.first],
        )
        volumes = people.signed_volumes(people.regions)
        setting = associations.make_setting(people, volumes, axis.values[people.rows], orders)
        notes = study.of(people.rows[people.first])
        regions = self._settled(notes, setting, regions)
        del own_maps  # a copy, which would be held while volumes are permuted
        maps = signed_maps(trial, people.rows)
        marks = measure_marks(maps, people, regions, foreground[people.rows])
        del maps
        self._read_model(study, notes, setting)
        associations.read_score(notes, setting, marks)
        associations.read_tracking(notes, setting, marks)
        associations.read_laterality(notes, setting, marks)
        associations.read_residuals(notes, setting, marks)
        associations.read_levels(notes, setting, marks)
        read_subfields(notes, setting, marks, regions)
        read_regressions(notes, setting, marks)
        read_mediation(notes, setting, marks, config.resamples)
        read_occlusion(notes, people, regions, axis, config)
        checklist.read_facts(notes, setting, regions, config, marks.left_out)

    def _settled(self, notes: Study, setting: associations.Setting, regions: Regions) -> Regions:
        """Return the regions as they are, or those of the reference group where they shrink."""
        people, largest = setting.people, 0.0
        volumes = people.volumes(people.regions)
        for column, (name, mask) in enumerate(regions.rois.items()):
            size = PartialCorrelation(sizes(people, mask), volumes[:, column], setting.by_group)
            where = {"item": checklist.SIZE, "roi": name}
            notes.constant(self.fact, size.estimate, where)
            largest = max(largest, abs(size.estimate))
        if largest <= SHRINKING:
            return regions
        return common_regions(notes.trial, people, regions)

    def _read_model(self, study: Study, notes: Study, setting: associations.Setting) -> None:
        """Read whether the network uses the regions, and whether its output follows the volume."""
        trial = study.trial
        associations.read_output(notes, setting)
        in_train = (trial.cohort.participants["split"] == "train").to_numpy()
        if not in_train.any():  # no common mask to remove
            logits = trial.evaluation.logits
            study.read(self.model_auroc, logits[:, 1] - logits[:, 0], reasons={})
            return
        images = study.balanced(self.config.removed)
        of_train, of_test = (_union(split, setting.regions) for split in (trial.train, trial.test))
        masks = {ASKED: (of_train, of_test)}
        uses = region_use.region_use(images, masks, self.config.places)
        region_use.read(study, images, uses, ASKED)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map adds to the output, to randomised copies and to the control region."""
        gate = region_use.judge(readings)
        if gate.answer == "no":
            reason = f"the model does not use the region ({gate.reason})"
            return Verdict("not assessable", None, reason)
        follows = interval(readings, self.output_volume)
        if follows is not None and follows.low <= 0:
            return Verdict("not assessable", None, "the output does not follow the volume")
        clauses = {
            "the map adds nothing to the output": self.beyond_output,
            "maps of randomised copies tell as much": self.beyond_copies,
            "the control region tells as much": self.beyond_control,
        }
        bounds = {reason: interval(readings, score) for reason, score in clauses.items()}
        if bounds["maps of randomised copies tell as much"] is None:
            return Verdict("scored", None, "no map of a randomised copy could be drawn")
        if any(bound is not None and np.isnan(bound.low) for bound in bounds.values()):
            return Verdict("scored", None, TOO_FEW)
        failures = [reason for reason, bound in bounds.items() if bound and not bound.low > 0]
        return Verdict("scored", not failures, "; ".join(failures) or None)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say whether the model uses the regions, and what its output tells of the volume."""
        gate = region_use.judge(readings)
        parts = [f"the model uses the region: {gate.answer} ({gate.reason})"]
        follows = interval(readings, cls.output_volume)
        if follows is not None:
            correlation = format_interval(follows) or "not known"
            parts.append(f"partial correlation of the output with the volume {correlation}")
            if follows.n_subjects < UNDERPOWERED:
                parts.append(f"underpowered: {follows.n_subjects} of {UNDERPOWERED} subjects")
        common = find(readings, cls.fact, item=checklist.COMMON)
        if common is not None and common.values[0]:
            parts.append("regions shrink with the structure, and one region stands for all")
        return "; ".join(parts)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show each method beside its copies and control region, and the subjects themselves."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.biomarker.figures import biomarker_drawings

        return biomarker_drawings(readings)

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield associations, regressions, sides, parts, mediation, checklist and pitfalls."""
        yield from tables.all_tables(readings)
        yield from checklist.checklist_tables(readings)


def _union(cohort: Cohort, names: Sequence[str]) -> BoolArray:
    """Return the union of some regions of a cohort, [N, 1, *S]."""
    union: BoolArray = np.logical_or.reduce([cohort.anatomy.rois[name] for name in names])
    return union
