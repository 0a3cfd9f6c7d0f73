"""What a run will score: cells with the plugins behind their names, all found before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from benchmark.cohort_source import CohortSource
from benchmark.errors import InputError, PluginError, SanityError
from benchmark.explainer import Explainer, why_unsupported
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import Catalogue, Shelf
from benchmark.plugins.entry import Entry
from benchmark.plugins.kinds import AnyProtocol
from benchmark.running.suite import Cell, Selection, Suite

P = TypeVar("P")

ALL = "all"


@dataclass(frozen=True)
class Plan:
    """Cells and the plugins that they name.

    Attributes:
        suite: Whose defaults, settings and seed hold.
        cells: In the order in which they run.
        explainers: By name.
        models: By name.
        cohorts: By name.
        protocols: By name.
        panel: Explainers that protocols set beside the one on trial, by name.
    """

    suite: Suite
    cells: tuple[Cell, ...]
    explainers: Mapping[str, Entry[Explainer]]
    models: Mapping[str, Entry[ModelSource]]
    cohorts: Mapping[str, Entry[CohortSource]]
    protocols: Mapping[str, Entry[AnyProtocol]]
    panel: Mapping[str, Entry[Explainer]] = field(default_factory=dict)

    def protocol(self, name: str) -> AnyProtocol:
        """Return the protocol with the suite's settings."""
        plugin = self.protocols[name].plugin
        return plugin(self.suite.config(plugin))

    def shard(self, index: int, count: int) -> Plan:
        """Return the plan of every ``count``-th cell.

        Args:
            index: From 0 to count − 1 or from 1 to count, as the job array counts.
            count: Number of shards.

        Raises:
            InputError: If the index lies outside.
        """
        if count < 1 or not 0 <= index <= count:
            raise InputError(
                f"Expected a shard i/N with N at least 1 and i from 0 to N − 1 or from 1 to N, "
                f"but got {index}/{count}."
            )
        mine = tuple(
            cell for place, cell in enumerate(self.cells) if place % count == index % count
        )
        return replace(self, cells=mine)


def make_plan(catalogue: Catalogue, suite: Suite, selection: Selection) -> Plan:
    """Find every plugin of a selection, and lay out its cells.

    Args:
        catalogue: Where names are looked up.
        suite: Fills in what the selection leaves open, and adds its controls.
        selection: Names, paths, or ``all`` among the explainers.

    Raises:
        InputError: If a name is unknown, a plugin cannot be used, two go by one name, or the
            suite has settings that a protocol or an explainer does not know.
    """
    chosen = suite.select(_spell_out(catalogue, selection))
    explainers = _find(catalogue.explainers, chosen.explainers)
    models = _find(catalogue.models, chosen.models)
    cohorts = _find(catalogue.cohorts, chosen.cohorts)
    protocols = _find(catalogue.protocols, chosen.protocols)
    found = Selection(tuple(explainers), tuple(cohorts), tuple(models), tuple(protocols))
    plan = Plan(suite, suite.cells(found), explainers, models, cohorts, protocols)
    asked = [one for name in protocols for one in plan.protocol(name).panel]
    panel = _find(catalogue.explainers, tuple(dict.fromkeys(asked)))
    ready = _set(catalogue, suite, {**panel, **explainers})
    return replace(
        plan,
        explainers={name: ready[name] for name in explainers},
        panel={name: ready[name] for name in panel},
    )


def unsupported_pairs(catalogue: Catalogue, suite: Suite) -> list[dict[str, str]]:
    """Return which explainer cannot be scored on which model of a suite's cohorts, and why.

    Args:
        catalogue: Every model and explainer that can be used is tried.
        suite: Its cohorts are loaded.

    Returns:
        Dicts of ``explainer`` (``all`` where the model cannot be loaded), ``model``, ``cohort``
        and ``reason``.
    """
    found = _find(catalogue.explainers, catalogue.explainers.names)
    explainers = [entry.create() for entry in _set(catalogue, suite, found).values()]
    pairs = []
    for cohort_name in suite.cohorts:
        cohort = catalogue.cohorts.find(cohort_name).create().load()
        for model_name in catalogue.models.names:
            place = {"model": model_name, "cohort": cohort_name}
            try:
                classifier = catalogue.models.find(model_name).create().load(cohort.shape)
            except SanityError as error:
                pairs.append({"explainer": ALL, **place, "reason": str(error)})
                continue
            for one in explainers:
                reason = why_unsupported(one, classifier, cohort.truth is not None)
                if reason is not None:
                    pairs.append({"explainer": one.name, **place, "reason": reason})
    return pairs


def _spell_out(catalogue: Catalogue, selection: Selection) -> Selection:
    if ALL not in selection.explainers:
        return selection
    others = tuple(one for one in selection.explainers if one != ALL)
    return replace(selection, explainers=(*catalogue.explainers.names, *others))


def _set(
    catalogue: Catalogue, suite: Suite, entries: Mapping[str, Entry[Explainer]]
) -> dict[str, Entry[Explainer]]:
    """Return the explainers with the suite's settings, after looking at those of all others."""
    ready = dict(entries)
    for spec, settings in suite.explainer.items():
        entry = (entries.get(spec) or catalogue.explainers.find(spec)).set(settings)
        ready[entry.name] = entry
    return ready


def _find(shelf: Shelf[P], specs: Sequence[str]) -> dict[str, Entry[P]]:
    found: dict[str, Entry[P]] = {}
    for spec in specs:
        entry = shelf.find(spec)
        other = found.setdefault(entry.name, entry)
        if other.plugin_class is not entry.plugin_class:
            raise PluginError(
                f"Two {entry.kind}s go by the name {entry.name!r}: {other.location} and "
                f"{entry.location}; rename one."
            )
    return found
