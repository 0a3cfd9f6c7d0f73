"""What a submission to a suite must match, made from the suite, cohort and models that are here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.cohort import Cohort
from benchmark.errors import InputError
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.kinds import AnyProtocol
from benchmark.reading import SCORED, Reading, Sample
from benchmark.records.identity import PluginIdentity
from benchmark.running.device import reproducible
from benchmark.running.plan import Plan, make_plan
from benchmark.running.suite import Selection
from leaderboard.published.folder import load_folder
from leaderboard.submission.checks import (
    Expectation,
    Judge,
    People,
    Place,
    Standard,
    expectations_of,
)
from leaderboard.submission.from_plugins import scale_of
from leaderboard.submission.rules import Rules

CONTROL = "random"


@dataclass(frozen=True)
class Cells:
    """What is here of the cells of a board.

    Attributes:
        standard: What a submission must match.
        specs: How cohort, model and protocol of each cell are found from any folder.
        protocols: Classes by name.
        tests: Test split of each cohort, by name.
    """

    standard: Standard
    specs: Mapping[Place, Place]
    protocols: Mapping[str, type[AnyProtocol]]
    tests: Mapping[str, Cohort]


def load_cells(rules: Rules, references: Path | None) -> Cells:
    """Load cohorts and models of a board, and say what to expect of each of its cells.

    Args:
        rules: The suite.
        references: Records that the board has already, or None.

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
    asked = {catalogue.protocols.find(spec).name: _absolute(spec) for spec in suite.protocols}
    specs: dict[Place, Place] = {}
    known = expectations_of(others, CONTROL)
    cells: dict[Place, Expectation] = {}
    for cohort_spec, cohort in cohorts.items():
        people, judges = _people(cohort, rules, plan)
        for model in plan.models:
            weights = _weights(plan, model, cohort)
            for name in plan.protocols:
                place = (cohort.name, model, name)
                expected = Expectation(
                    cohort.fingerprint,
                    weights,
                    _protocol_identity(plan, name),
                    suite.seed,
                    scale_of(plan.protocols[name].plugin),
                    people,
                    None if place not in known else known[place].scored,
                    judges[name],
                )
                _check_reference(known.get(place), expected, place)
                cells[place] = expected
                specs[place] = (_absolute(cohort_spec), models[model], asked[name])
    built_in = frozenset(catalogue.explainers.names)
    standard = Standard(suite.version, rules.sha256, cells, built_in, others)
    protocols = {name: entry.plugin for name, entry in plan.protocols.items()}
    tests = {one.name: one.select("test") for one in cohorts.values()}
    return Cells(standard, specs, protocols, tests)


def judge_of(protocol: AnyProtocol, names: Mapping[str, str]) -> Judge:
    """Return how a protocol judges published readings.

    Args:
        protocol: With the suite's settings.
        names: What keys and subjects are called here, by published name. Resamples go by the order
            of subjects' names, and a verdict by a hair could fall the other way.
    """

    def judge(readings: Sequence[Reading]) -> tuple[str, str | None]:
        verdict = protocol.verdict([_named(one, names) for one in readings])
        if verdict.state != SCORED or verdict.passed is None:
            return verdict.state, None
        return SCORED, "pass" if verdict.passed else "fail"

    return judge


def _named(reading: Reading, names: Mapping[str, str]) -> Reading:
    sample = reading.sample
    # Parts of an image that a protocol made up keep the name that they were published under.
    keys = tuple(names.get(key, key) for key in sample.keys)
    subjects = tuple(names[one] for one in sample.subjects)
    reasons = {names.get(key, key): reason for key, reason in reading.reasons.items()}
    return Reading(
        reading.statistic,
        Sample(keys, subjects, sample.groups),
        reading.values,
        reading.conditions,
        reasons,
        reading.denominators,
    )


def _people(cohort: Cohort, rules: Rules, plan: Plan) -> tuple[People, dict[str, Judge]]:
    test = cohort.select("test")
    keys, subjects = tuple(test.keys), tuple(map(str, test.subjects))
    groups = tuple(int(group) for group in test.groups)
    published = rules.pseudonyms.sample(Sample(keys, subjects, groups))
    people = dict(
        zip(published.keys, zip(published.subjects, published.groups, strict=True), strict=True)
    )
    names = dict(zip(published.keys, keys, strict=True))
    names |= dict(zip(published.subjects, subjects, strict=True))
    return people, {name: judge_of(plan.protocol(name), names) for name in plan.protocols}


def _weights(plan: Plan, model: str, cohort: Cohort) -> str:
    with reproducible(), torch.random.fork_rng(devices=[]):
        source = plan.models[model].create()
        return source.fit(source.load(cohort.shape), cohort).weights_sha256


def _protocol_identity(plan: Plan, name: str) -> PluginIdentity:
    """Return the identity that ``benchmark.running.cells`` gives a protocol."""
    protocol = plan.protocol(name)
    config: dict[str, Any] = protocol.config.model_dump(mode="json")
    for other in protocol.panel:
        one = plan.panel[other].create()
        config.setdefault("panel_settings", {})[other] = [one.version, dict(one.config)]
    return PluginIdentity(
        name=name,
        version=protocol.version,
        config=config,
        source_sha256=plan.protocols[name].source_sha256,
    )


def _check_reference(known: Expectation | None, here: Expectation, place: Place) -> None:
    if known is None:
        return
    for what in ("cohort_fingerprint", "weights_sha256", "protocol", "seed", "scale"):
        if getattr(known, what) != getattr(here, what):
            raise InputError(
                f"The records of {CONTROL!r} on {' × '.join(place)} were made with another "
                f"{what.replace('_', ' ')} than the one here; verify against records of this "
                "version."
            )


def _absolute(spec: str) -> str:
    """Return a path as it is found from any folder, and a name as it stands."""
    path, colon, name = spec.rpartition(":")
    if path.endswith(".py"):
        return f"{Path(path).resolve()}{colon}{name}"
    return str(Path(spec).resolve()) if spec.endswith(".toml") else spec
