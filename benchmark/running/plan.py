"""The plan of a run: its cells, and the plugins behind their names, all found before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import InputError, PluginError, SanityError, SuiteError
from benchmark.explainer import NO_EXPLAINER, Explainer, why_unsupported
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import Catalogue, Shelf
from benchmark.plugins.entry import BY_NETWORK, Entry
from benchmark.plugins.kinds import AnyProtocol, P
from benchmark.records.controls import ControlRecords
from benchmark.records.identity import PluginIdentity
from benchmark.records.record import Record
from benchmark.running.default_models import default_models
from benchmark.running.suite import Cell, Selection, Suite, published_controls
from benchmark.running.workers.task import Task, tasks_of

ALL = "all"


@dataclass(frozen=True)
class Plan:
    """Cells in the order in which they run, and by name the plugins that they need.

    The explainers of the panel are those that protocols compare the one on trial with. Cohorts that
    had to be loaded to choose their models are kept as ``loaded``, by the name of their entry;
    ``notices`` say which of them are scored with a network that may have seen other images. From
    ``suite`` and ``selection`` any process makes the same plan. Explainers ``for_health`` are the
    suite's controls that nobody asked for by name: published records stand in for them, where there
    are some of the very identity.
    """

    suite: Suite
    cells: tuple[Cell, ...]
    explainers: Mapping[str, Entry[Explainer]]
    models: Mapping[str, Entry[ModelSource]]
    cohorts: Mapping[str, Entry[CohortSource]]
    protocols: Mapping[str, Entry[AnyProtocol]]
    panel: Mapping[str, Entry[Explainer]] = field(default_factory=dict)
    loaded: Mapping[str, Cohort] = field(default_factory=dict, repr=False)
    notices: tuple[str, ...] = ()
    selection: Selection = field(default=Selection(()))
    for_health: frozenset[str] = frozenset()
    controls: ControlRecords = field(default_factory=ControlRecords, repr=False)

    def protocol(self, name: str) -> AnyProtocol:
        """Return the protocol with the suite's settings."""
        plugin = self.protocols[name].plugin
        return plugin(self.suite.config(plugin))

    def protocol_identity(self, name: str, cohort: Cohort) -> PluginIdentity:
        """Return a protocol's identity on a cohort.

        It holds its settings, versions and settings of its panel, and what it asks of the cohort
        beside what the fingerprint covers.
        """
        protocol = self.protocol(name)
        panel = {explainer: self.panel[explainer].create() for explainer in protocol.panel}
        return PluginIdentity(
            name=name,
            version=protocol.version,
            config=protocol.settings(panel) | protocol.inputs(cohort),
            source_sha256=self.protocols[name].source_sha256,
        )

    def published(self, cell: Cell, identity_sha256: str) -> Record | None:
        """Return the published record of a cell, or None where there is none or it was asked for.

        Raises:
            StoreError: If the published records are damaged.
        """
        if cell.explainer not in self.for_health:
            return None
        return self.controls.find(identity_sha256, cell.cohort, cell.model)

    def with_maps(self) -> Plan:
        """Return the plan without the cells that ask about a model alone, which have no map."""
        cells = tuple(cell for cell in self.cells if cell.explainer != NO_EXPLAINER)
        return replace(self, cells=cells)

    def shard(self, index: int, count: int) -> Plan:
        """Return a share of the plan; the shares of a plan are disjoint and hold all of its cells.

        All cells of a method on a model are in one share, so that its maps are drawn once, and
        costly methods are dealt out first. Where there are more shares than that, cells are dealt.

        Raises:
            InputError: If the index is neither from 0 to count − 1, nor from 1 to count, as a job
                array counts.
        """
        if count < 1 or not 0 <= index <= count:
            raise InputError(
                f"Expected a shard i/N with N at least 1 and i from 0 to N − 1 or from 1 to N, "
                f"but got {index}/{count}."
            )
        tasks = sorted(tasks_of(self.cells), key=self._declared_passes, reverse=True)
        if len(tasks) < count:
            tasks = [Task((cell,)) for cell in self.cells]
        own = {cell for task in tasks[index % count :: count] for cell in task.cells}
        return replace(self, cells=tuple(cell for cell in self.cells if cell in own))

    def _declared_passes(self, task: Task) -> float:
        """Return how many passes a map of a task's explainer costs, before any model is loaded."""
        if task.explainer not in self.explainers:
            return math.inf  # protocols that ask about a model alone may train networks
        passes = self.explainers[task.explainer].declared["passes"]
        return math.inf if passes == BY_NETWORK else sum(passes) if isinstance(passes, tuple) else 1


def make_plan(catalogue: Catalogue, suite: Suite, selection: Selection) -> Plan:
    """Find every plugin of a selection, and lay out its cells.

    The explainer ``all`` stands for every explainer of the catalogue. Where no model is selected,
    each cohort is scored with its own: :mod:`benchmark.running.default_models` says which.

    Raises:
        InputError: If a name is unknown, a plugin cannot be used, two go by one name, or the
            suite has settings that a protocol or an explainer does not know.
    """
    if ALL in selection.explainers:
        other_specs = [spec for spec in selection.explainers if spec != ALL]
        selection = replace(selection, explainers=(*catalogue.explainers.names, *other_specs))
    chosen = suite.select(selection)
    explainers = _find_entries(catalogue.explainers, chosen.explainers)
    own_explainers = frozenset(_find_entries(catalogue.explainers, selection.explainers))
    cohorts = _find_entries(catalogue.cohorts, chosen.cohorts)
    if NO_EXPLAINER in explainers:
        raise PluginError(
            f"No explainer can be called {NO_EXPLAINER!r}, as records of protocols that ask about "
            f"the model alone are; rename {explainers[NO_EXPLAINER].location}."
        )
    protocols = _find_entries(catalogue.protocols, chosen.protocols)
    explaining = [name for name, entry in protocols.items() if entry.plugin.explains]
    if explaining and not selection.explainers:
        raise InputError(
            f"Missing option '--explainer': {', '.join(explaining)} "
            f"{'asks' if len(explaining) == 1 else 'ask'} about the maps of an explainer."
        )
    if not explaining:
        explainers = {}
    own_cohorts = {
        catalogue.cohorts.find(spec).name for spec in chosen.cohorts if spec in suite.cohorts
    }
    _check_cohort_settings(catalogue, suite)
    models: dict[str, Entry[ModelSource]] = {}
    cells: list[Cell] = []
    loaded: dict[str, Cohort] = {}
    notices: list[str] = []
    for name, entry in cohorts.items():
        specs = chosen.models
        if not selection.models and name not in own_cohorts:
            specs, cohort = default_models(catalogue, suite, entry)
            if cohort is not None:
                loaded[name] = cohort
                notices.append(_name_stand_in(cohort, specs))
        scored_with = _find_entries(catalogue.models, specs)
        models |= scored_with
        own = tuple(protocols)
        if not selection.protocols:
            own = suite.protocols_of(name, own)
        cells.extend(
            _lay_out(name, scored_with, explainers, [protocols[each] for each in own], suite)
        )
    plan = Plan(
        suite,
        tuple(cells),
        explainers,
        models,
        cohorts,
        protocols,
        loaded=loaded,
        notices=tuple(notices),
        selection=selection,
        for_health=frozenset(explainers) - own_explainers,
        controls=published_controls(suite.version),
    )
    panel_names = [member for name in protocols for member in plan.protocol(name).panel]
    panel = _find_entries(catalogue.explainers, tuple(dict.fromkeys(panel_names)))
    configured = _configure(catalogue, suite, {**panel, **explainers})
    return replace(
        plan,
        explainers={name: configured[name] for name in explainers},
        panel={name: configured[name] for name in panel},
    )


def _lay_out(
    cohort: str,
    models: Iterable[str],
    explainers: Iterable[str],
    protocols: Sequence[Entry[AnyProtocol]],
    suite: Suite,
) -> Iterator[Cell]:
    """Yield the cells of a cohort by model and explainer, those without an explainer last."""
    for model in models:
        for explainer in (*explainers, NO_EXPLAINER):
            explains = explainer != NO_EXPLAINER
            for entry in protocols:
                if entry.plugin.explains == explains:
                    yield Cell(cohort, model, explainer, entry.name, suite.seed)


def _check_cohort_settings(catalogue: Catalogue, suite: Suite) -> None:
    """Refuse settings of a cohort that the suite does not score, whose name may be misspelt.

    A suite may list a cohort as a file, whose settings go by the name that it has there.
    """
    if all(name in suite.cohorts for name in suite.cohort):
        return
    known = [catalogue.cohorts.find(spec).name for spec in suite.cohorts]
    unlisted = [name for name in suite.cohort if name not in known]
    if unlisted:
        raise SuiteError(
            f"Suite {suite.version!r} has settings [cohort.{unlisted[0]}], "
            f"but its cohorts are {', '.join(known)}."
        )


def _name_stand_in(cohort: Cohort, models: Sequence[str]) -> str:
    return (
        f"The cohort {cohort.name!r} names no network of its own and is scored with "
        f"{' and '.join(models)}, trained on another cohort; train one with `train --cohort`, and "
        "name it with `--model`."
    )


def unsupported_pairs(catalogue: Catalogue, suite: Suite) -> list[dict[str, str]]:
    """Return which explainers cannot be scored on which models and cohorts of a suite, and why.

    The explainer is ``all`` where the model cannot be loaded.
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
                reason = why_unsupported(explainer, classifier, bool(cohort.anatomy.rois))
                if reason is not None:
                    pairs.append({"explainer": explainer.name, **names, "reason": reason})
    return pairs


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
