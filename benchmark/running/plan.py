"""The plan of a run: its cells, and the plugins behind their names, all found before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from benchmark.cohort_source import CohortSource
from benchmark.errors import InputError, PluginError, SanityError
from benchmark.explainer import Explainer, why_unsupported
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import Catalogue, Shelf
from benchmark.plugins.entry import Entry
from benchmark.plugins.kinds import AnyProtocol
from benchmark.records.identity import PluginIdentity
from benchmark.running.suite import Cell, Selection, Suite

P = TypeVar("P")

ALL = "all"


@dataclass(frozen=True)
class Plan:
    """Cells and the plugins that they name.

    Attributes:
        suite: Suite with the defaults, settings and seed of the run.
        cells: Cells in the order in which they run.
        explainers: Explainers by name.
        models: Models by name.
        cohorts: Cohorts by name.
        protocols: Protocols by name.
        panel: Explainers that protocols compare the one on trial with, by name.
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

    def protocol_identity(self, name: str) -> PluginIdentity:
        """Return a protocol's identity: its settings, and versions and settings of its panel."""
        protocol = self.protocol(name)
        settings: dict[str, Any] = protocol.config.model_dump(mode="json")
        for explainer in protocol.panel:
            peer = self.panel[explainer].create()
            settings.setdefault("panel_settings", {})[explainer] = [peer.version, dict(peer.config)]
        return PluginIdentity(
            name=name,
            version=protocol.version,
            config=settings,
            source_sha256=self.protocols[name].source_sha256,
        )

    def shard(self, index: int, count: int) -> Plan:
        """Return the plan of every ``count``-th cell.

        Args:
            index: Number of the shard, from 0 to count − 1 or from 1 to count, as a job array
                counts.
            count: Number of shards.

        Raises:
            InputError: If the index is outside of both ranges.
        """
        if count < 1 or not 0 <= index <= count:
            raise InputError(
                f"Expected a shard i/N with N at least 1 and i from 0 to N − 1 or from 1 to N, "
                f"but got {index}/{count}."
            )
        cells = tuple(
            cell for position, cell in enumerate(self.cells) if position % count == index % count
        )
        return replace(self, cells=cells)


def make_plan(catalogue: Catalogue, suite: Suite, selection: Selection) -> Plan:
    """Find every plugin of a selection, and lay out its cells.

    Args:
        catalogue: Catalogue in which names are looked up.
        suite: Suite that fills in what the selection leaves open, and adds its controls.
        selection: Names and paths; ``all`` stands for every explainer of the catalogue.

    Raises:
        InputError: If a name is unknown, a plugin cannot be used, two go by one name, or the
            suite has settings that a protocol or an explainer does not know.
    """
    chosen = suite.select(_spell_out(catalogue, selection))
    explainers = _find_entries(catalogue.explainers, chosen.explainers)
    models = _find_entries(catalogue.models, chosen.models)
    cohorts = _find_entries(catalogue.cohorts, chosen.cohorts)
    protocols = _find_entries(catalogue.protocols, chosen.protocols)
    names = Selection(tuple(explainers), tuple(cohorts), tuple(models), tuple(protocols))
    plan = Plan(suite, suite.cells(names), explainers, models, cohorts, protocols)
    panel_names = [member for name in protocols for member in plan.protocol(name).panel]
    panel = _find_entries(catalogue.explainers, tuple(dict.fromkeys(panel_names)))
    configured = _configure(catalogue, suite, {**panel, **explainers})
    return replace(
        plan,
        explainers={name: configured[name] for name in explainers},
        panel={name: configured[name] for name in panel},
    )


def unsupported_pairs(catalogue: Catalogue, suite: Suite) -> list[dict[str, str]]:
    """Return which explainers cannot be scored on which models, and why.

    Args:
        catalogue: Catalogue whose models and explainers are all tried.
        suite: Suite whose cohorts are loaded.

    Returns:
        Dicts of ``explainer`` (``all`` where the model cannot be loaded), ``model``, ``cohort``
        and ``reason``.
    """
    entries = _find_entries(catalogue.explainers, catalogue.explainers.names)
    explainers = [entry.create() for entry in _configure(catalogue, suite, entries).values()]
    pairs = []
    for cohort_name in suite.cohorts:
        cohort = catalogue.cohorts.find(cohort_name).create().load()
        for model_name in catalogue.models.names:
            names = {"model": model_name, "cohort": cohort_name}
            try:
                classifier = catalogue.models.find(model_name).create().load(cohort.shape)
            except SanityError as error:
                pairs.append({"explainer": ALL, **names, "reason": str(error)})
                continue
            for explainer in explainers:
                reason = why_unsupported(explainer, classifier, cohort.truth is not None)
                if reason is not None:
                    pairs.append({"explainer": explainer.name, **names, "reason": reason})
    return pairs


def _spell_out(catalogue: Catalogue, selection: Selection) -> Selection:
    if ALL not in selection.explainers:
        return selection
    other_specs = tuple(spec for spec in selection.explainers if spec != ALL)
    return replace(selection, explainers=(*catalogue.explainers.names, *other_specs))


def _configure(
    catalogue: Catalogue, suite: Suite, entries: Mapping[str, Entry[Explainer]]
) -> dict[str, Entry[Explainer]]:
    """Return the explainers with the suite's settings, after checking those of all others."""
    configured = dict(entries)
    for spec, settings in suite.explainer.items():
        entry = (entries.get(spec) or catalogue.explainers.find(spec)).set(settings)
        configured[entry.name] = entry
    return configured


def _find_entries(shelf: Shelf[P], specs: Sequence[str]) -> dict[str, Entry[P]]:
    entries_by_name: dict[str, Entry[P]] = {}
    for spec in specs:
        entry = shelf.find(spec)
        first = entries_by_name.setdefault(entry.name, entry)
        if first.plugin_class is not entry.plugin_class:
            raise PluginError(
                f"Two {entry.kind}s go by the name {entry.name!r}: {first.location} and "
                f"{entry.location}; rename one."
            )
    return entries_by_name
