"""What a study of this kind owes its readers, and whether it was done here; and the pitfalls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmark.protocol import Table
from benchmark.reading import Reading, find
from benchmark.trial import Study
from protocols.biomarker.associations import Setting
from protocols.biomarker.regions import COMMON as SHARE
from protocols.biomarker.regions import SHRINKING, Regions
from protocols.biomarker.statistics import BiomarkerConfig, BiomarkerStatistics

SIZE, COMMON, SPACE, SUBJECTS, IMAGES = "size", "common region", "space", "subjects", "images"
EXCLUDED, COVARIATE, PERMUTATIONS, LEFT_OUT = "excluded", "covariate", "permutations", "left out"

_PITFALLS = (
    (
        "The share of a map in a segmentation",
        "A segmentation is as large as its structure, so the share of any map in it tells the "
        "volume, noise included (r 0.5). Here the mean over the region is taken, and a region that "
        "shrinks is replaced by that of the reference group.",
    ),
    (
        "A correlation across both groups",
        "Volumes differ between the groups and so does the output. Any number that knows the group "
        "correlates with volume: with volumes permuted within the groups the plain correlation is "
        "significant every time.",
    ),
    (
        "The output as a confounder",
        "The output itself tracks volume within the groups. A map that shows it everywhere, with "
        "no place in it, tracks volume better than any method, and adds nothing to the output.",
    ),
    (
        "Magnitudes |a|",
        "On networks with random weights the magnitude of a map still goes with the volume, since "
        "anatomy shows through. Signed maps do not.",
    ),
    (
        "Mediation",
        "The map comes from a network that was trained on the group, so the path from volume by "
        "the map to the group is circular. The share is descriptive, and largest for maps that "
        "show nothing but the output.",
    ),
)


def read_facts(
    notes: Study,
    setting: Setting,
    regions: Regions,
    config: BiomarkerConfig,
    left_out: Mapping[int, str],
) -> None:
    """Note what the checklist says of a cohort and of how it was assessed."""
    fact, people, geometry = BiomarkerStatistics.fact, setting.people, notes.trial.cohort.geometry
    space = "registered" if geometry.registered else "poses" if geometry.poses is not None else ""
    notes.constant(fact, float(bool(space)), {"item": SPACE, "how": space or "none"})
    counts = {
        SUBJECTS: len(people),
        IMAGES: len(people.rows),
        EXCLUDED: people.excluded,
        PERMUTATIONS: config.permutations,
        COMMON: regions.is_common,
    }
    for item, count in counts.items():
        notes.constant(fact, float(count), {"item": item})
    design = setting.by_group
    states = {
        "used": [name for name in design.used if name != "group"],
        "not brought by the cohort": design.missing,
        "the same for everyone": design.constant,
        "follows from the others": design.redundant,
    }
    for state, names in states.items():
        for name in names:
            where = {"item": COVARIATE, "name": name, "state": state}
            notes.constant(fact, float(state == "used"), where)
    for copy, reason in left_out.items():
        notes.constant(fact, 0.0, {"item": LEFT_OUT, "copy": copy, "reason": reason})


def checklist_tables(readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
    """Yield the checklist and the pitfalls; nothing where no method was measured."""
    measured = [own for own in readings.values() if _number(own, SUBJECTS) is not None]
    if not measured:
        return
    yield Table(
        "checklist",
        "Checklist",
        "What a paper on associations of maps with volumes should state, and how it was done here.",
        ("item", "done", "how"),
        list(_rows(measured[0])),
    )
    yield Table(
        "pitfalls", "Pitfalls", "Ways in which such an association misleads.",
        ("pitfall", "what happens"), _PITFALLS,
    )  # fmt: skip


def _rows(readings: Sequence[Reading]) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the checklist: what, whether, and how."""
    space = _states(readings, SPACE, "how")
    sides = {"registered": "images are registered", "poses": "poses carry images to one space"}
    has_space = space != ["none"]
    yield "images in one space", _tick(has_space), sides.get(space[0], "") if space else ""
    yield "normalisation of maps", "✓", "signed mean of the region over mean magnitude in the organ"
    is_common = bool(_number(readings, COMMON))
    how = (
        f"masks shrink with the structure (partial r > {SHRINKING:g}), so everyone has the region "
        f"of the reference group (share ≥ {SHARE:g})"
        if is_common
        else "masks do not follow the volume"
    )
    yield "region independent of the structure's size", "✓", how
    subjects, excluded = (_count(readings, item) for item in (SUBJECTS, EXCLUDED))
    yield "subjects", "✓", f"{subjects} assessed, {excluded} without a value left out"
    yield "group in the model", "✓", "always"
    yield "output in the model", "✓", "for the score; associations without it stand beside it"
    by_state: dict[str, list[str]] = {}
    for reading in readings:
        if reading.statistic == "fact" and reading.conditions.get("item") == COVARIATE:
            state, name = str(reading.conditions["state"]), str(reading.conditions["name"])
            by_state.setdefault(state, []).append(name)
    used = by_state.pop("used", [])
    yield "covariates", _tick(bool(used)), ", ".join(used) or "none"
    for state, names in by_state.items():
        yield f"covariates: {state}", "–", ", ".join(names)
    yield (
        "permutations",
        "✓",
        f"{_count(readings, PERMUTATIONS)} of whole subjects in groups (Freedman–Lane)",
    )
    yield "correction for many tests", "✓", "false discovery rate within each table"
    site = [name for name in used if name in ("scanner", "site")]
    yield "site and scanner", _tick(bool(site)), f"{', '.join(site)}: one effect for each level"
    images = _count(readings, IMAGES)
    yield (
        "repeated visits",
        "✓",
        (f"{images} images averaged by subject" if images != subjects else "one image a subject"),
    )
    yield "95 % intervals", "✓", "studentised bootstrap over subjects"
    yield "control region", "✓", "third clause of the verdict"
    reasons = _states(readings, LEFT_OUT, "reason")
    yield (
        "randomised copies",
        _tick(not reasons),
        (f"left out: {reasons[0]}" if reasons else "second clause of the verdict"),
    )
    yield "completeness of additive maps", "–", "reported by group_maps"
    yield "software versions", "✓", "in the provenance of each record"


def _number(readings: Sequence[Reading], item: str) -> float | None:
    reading = find(readings, BiomarkerStatistics.fact, item=item)
    return None if reading is None else float(reading.values[0])


def _count(readings: Sequence[Reading], item: str) -> int:
    return round(_number(readings, item) or 0)


def _states(readings: Sequence[Reading], item: str, condition: str) -> list[str]:
    """Return a condition of the facts about an item."""
    return [
        str(reading.conditions[condition])
        for reading in readings
        if reading.statistic == "fact" and reading.conditions.get("item") == item
    ]


def _tick(is_done: bool) -> str:
    return "✓" if is_done else "–"
