"""The standard of a suite's submissions, made from the verifier's suite, cohort and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmark.cohort import Cohort
from benchmark.errors import InputError
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue, split_path
from benchmark.plugins.kinds import AnyProtocol
from benchmark.reading import SCORED, Reading, Sample
from benchmark.running.device import reproducible
from benchmark.running.plan import Plan, make_plan
from benchmark.running.suite import Selection
from leaderboard.published.folder import load_folder
from leaderboard.submission import checks
from leaderboard.submission.checks import CellKey, Expectation, Judge, People
from leaderboard.submission.from_plugins import scale_of
from leaderboard.submission.rules import Rules

CONTROL = "random"


@dataclass(frozen=True)
class Cells:
    """Cells of a board on the verifier's machine.

    Attributes:
        standard: Standard that a submission must match.
        specs: Names or absolute paths of cohort, model and protocol of each cell.
        tests: Test split of each cohort, by name.
    """

    standard: checks.Standard
    specs: Mapping[CellKey, CellKey]
    tests: Mapping[str, Cohort]


def load_cells(rules: Rules, references: Path | None) -> Cells:
    """Load cohorts and models of a board, and return its cells.

    ``references`` is the folder of the records that are on the board already.

    Raises:
        InputError: If anything cannot be loaded, or the records are of another cohort, model or
            protocol.
    """
    catalogue = Catalogue()
    suite = rules.suite.model_copy(update={"health": ()})
    plan = make_plan(catalogue, suite, Selection((CONTROL,), models=rules.models))
    cohorts = {
        spec: plan.cohorts[catalogue.cohorts.find(spec).name].create().load()
        for spec in suite.cohorts
    }
    others = () if references is None else load_folder(references)
    models = {catalogue.models.find(spec).name: _absolute(spec) for spec in rules.models}
    find = catalogue.protocols.find
    protocol_specs = {find(spec).name: _absolute(spec) for spec in suite.protocols}
    specs: dict[CellKey, CellKey] = {}
    known = checks.expectations_of(others, CONTROL)
    cells: dict[CellKey, Expectation] = {}
    for cohort_spec, cohort in cohorts.items():
        people, judges = _people(cohort, rules, plan)
        for model in plan.models:
            with reproducible(), torch.random.fork_rng(devices=[]):
                classifier = load_fitted(plan.models[model].create(), cohort)
            for name in suite.protocols_of(cohort.name, tuple(plan.protocols)):
                if not plan.protocols[name].plugin.explains:  # it asks no explainer
                    continue
                key = (cohort.name, model, name)
                expected = Expectation(
                    cohort.fingerprint,
                    classifier.weights_sha256,
                    plan.protocol_identity(name, cohort),
                    suite.seed,
                    scale_of(plan.protocols[name].plugin),
                    people,
                    known[key].scored if key in known else None,
                    judges[name],
                    suite.section_of(cohort.name),
                )
                _check_reference(known.get(key), expected, key)
                cells[key] = expected
                specs[key] = (_absolute(cohort_spec), models[model], protocol_specs[name])
    built_in = frozenset(catalogue.explainers.names)
    standard = checks.Standard(suite.version, rules.sha256, cells, built_in, others)
    tests = {cohort.name: cohort.select("test") for cohort in cohorts.values()}
    return Cells(standard, specs, tests)


def judge_of(protocol: AnyProtocol, names: Mapping[str, str]) -> Judge:
    """Return a function that judges published readings as a protocol of the suite does.

    ``names`` are real keys and subjects by published name. Resampling depends on the order of
    subjects' names, so that under pseudonyms a narrow verdict could differ.
    """

    def judge(readings: Sequence[Reading]) -> tuple[str, str | None]:
        verdict = protocol.verdict([_with_real_names(reading, names) for reading in readings])
        if verdict.state != SCORED or verdict.passed is None:
            return verdict.state, None
        return SCORED, "pass" if verdict.passed else "fail"

    return judge


def _with_real_names(reading: Reading, names: Mapping[str, str]) -> Reading:
    sample = reading.sample
    # A protocol may make up parts of an image; they keep their published names.
    keys = tuple(names.get(key, key) for key in sample.keys)
    subjects = tuple(names[subject] for subject in sample.subjects)
    reasons = {names.get(key, key): reason for key, reason in reading.reasons.items()}
    return replace(reading, sample=Sample(keys, subjects, sample.groups), reasons=reasons)


def _people(cohort: Cohort, rules: Rules, plan: Plan) -> tuple[People, dict[str, Judge]]:
    test = cohort.select("test")
    keys, subjects = tuple(test.keys), tuple(map(str, test.subjects))
    groups = tuple(int(group) for group in test.groups)
    published = rules.pseudonyms.sample(Sample(keys, subjects, groups))
    rows = zip(published.keys, published.subjects, published.groups, strict=True)
    people = {key: (subject, group) for key, subject, group in rows}
    names = dict(zip(published.keys, keys, strict=True))
    names |= dict(zip(published.subjects, subjects, strict=True))
    return people, {name: judge_of(plan.protocol(name), names) for name in plan.protocols}


def _check_reference(reference: Expectation | None, expected: Expectation, key: CellKey) -> None:
    if reference is None:
        return
    for field in ("cohort_fingerprint", "weights_sha256", "protocol", "seed", "scale"):
        if getattr(reference, field) != getattr(expected, field):
            raise InputError(
                f"The records of {CONTROL!r} on {' × '.join(key)} were made with another "
                f"{field.replace('_', ' ')} than the one here; verify against records of this "
                "version."
            )


def _absolute(spec: str) -> str:
    """Return the absolute form of a path, and a name unchanged."""
    path, ending = split_path(spec)
    is_path = ending or path.endswith(".toml") or Path(path).is_dir()
    return f"{Path(path).resolve()}{ending}" if is_path else spec
