"""Loads the cohorts and models of a plan, in whichever process is to measure its cells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmark.arrays import Arrays
from benchmark.classifier import Classifier
from benchmark.classifier import proofs as proving
from benchmark.classifier.proofs import prove
from benchmark.cohort import Cohort
from benchmark.errors import CohortError, StoreError
from benchmark.model_source import images_to_prove_on, load_fitted
from benchmark.plugins.catalogue import Catalogue, split_path
from benchmark.plugins.cohort_checks import (
    load_cohort,
    refuse_small_groups,
    remark_on,
    scored_splits,
)
from benchmark.plugins.entry import Entry
from benchmark.plugins.kinds import P
from benchmark.records.arrays import ArrayFolder
from benchmark.records.files import hash_files
from benchmark.records.provenance import processor_name
from benchmark.records.registry import read_card
from benchmark.records.store import Store
from benchmark.running.cells import CellRunner
from benchmark.running.plan import Plan, make_plan
from benchmark.running.progress import Progress
from benchmark.running.suite import Cell, Selection, Suite
from benchmark.training import Recipe
from benchmark.trial import ArrayArchive, Peers, Runtime
from benchmark.trial.keeping import kept_or

# Beyond what any method of the catalogue takes on a large network, and no whole weekend.
DEADLINE = 6 * 60 * 60.0


@dataclass(frozen=True)
class Settings:
    """Settings of a computation; none of them changes a score.

    Attributes:
        device: Device that runs the passes.
        batch_size: Number of images per pass; halved where a GPU's memory does not hold them.
        fresh: Whether to measure again what the store already holds.
        deadline: Seconds that a cell may take in a worker process of this machine.
    """

    device: torch.device
    batch_size: int = 64
    fresh: bool = False
    deadline: float = DEADLINE


@dataclass(frozen=True)
class Request:
    """What a process must be told to measure cells of a run: names and settings, no tensors.

    Attributes:
        suite: Suite that is scored.
        selection: Plugins by name, from which the plan is made.
        store: Folder of the store; each process opens it by itself.
        settings: Device, batch size and other settings of the computation.
        began: Time at which the run began by the clock of the store's file system, in nanoseconds.
        sources: Sources of plugins by path, for machines that do not have the files.
    """

    suite: Suite
    selection: Selection
    store: Path
    settings: Settings
    began: int
    sources: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def read_sources(self) -> dict[str, bytes]:
        """Return the sources of all plugins that are named by ``path/to/file.py:Class``."""
        chosen = self.suite.select(self.selection)
        specs = (*chosen.explainers, *chosen.cohorts, *chosen.models, *chosen.protocols)
        paths = {split_path(spec)[0] for spec in (*specs, *self.suite.explainer)}
        return {str(Path(path)): Path(path).read_bytes() for path in paths if path.endswith(".py")}

    def elsewhere(self, store: Path) -> Request:
        """Return the request for a machine with a store of its own.

        Of what is in there, a fresh run is to use nothing that was there before: it gets a folder
        of its own.
        """
        folder = store / f"fresh-{self.began}" if self.settings.fresh else store / "kept"
        return replace(self, store=folder, began=0)

    def make_plan(self) -> Plan:
        """Return the plan, which holds at least the cells of the run.

        Raises:
            InputError: If a plugin is no longer to be found.
        """
        return make_plan(Catalogue(self.sources), self.suite, self.selection)

    def archive(self, store: Store) -> ArrayArchive:
        """Return the archive of a store; of a fresh run, what this run put into it alone."""
        return FreshArrays(store.arrays, self.began) if self.settings.fresh else store.arrays


class FreshArrays:
    """An archive that ignores what earlier runs kept.

    Args:
        arrays: Archive.
        began: Time of the file system, in nanoseconds, before which everything is ignored.
    """

    def __init__(self, arrays: ArrayFolder, began: int) -> None:
        self._arrays, self._began = arrays, began
        self._made: set[str] = set()

    def load(self, identity: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays, if a process of this run made them."""
        if identity in self._made or self._arrays.written(identity) > self._began:
            return self._arrays.load(identity)
        return None

    def save(self, identity: str, arrays: Arrays) -> None:
        """Keep the arrays, and replace those of earlier runs."""
        self._arrays.save(identity, arrays)
        self._made.add(identity)

    def turn(
        self, identity: str, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Return a context in which no other process makes these arrays."""
        return self._arrays.turn(identity, announce)


def load_cohorts(plan: Plan, names: Iterable[str], progress: Progress) -> dict[str, Cohort]:
    """Return the cohorts of a plan under their names there, after checking them.

    Raises:
        InputError: If one cannot be loaded, contradicts itself, is too small to be scored, or
            calls itself as another does.
    """
    cohorts: dict[str, Cohort] = {}
    for name in names:
        loaded = plan.loaded.get(name)
        cohorts[name] = load_cohort(plan.cohorts[name]) if loaded is None else loaded
        for split in scored_splits(cohorts[name]):
            refuse_small_groups(cohorts[name], split)
        for remark in remark_on(cohorts[name]):
            progress.remarked(remark)
    name_counts = Counter(cohort.name for cohort in cohorts.values())
    if shared_names := [name for name, count in name_counts.items() if count > 1]:
        raise CohortError(f"Two of the cohorts call themselves {shared_names[0]!r}; rename one.")
    return cohorts


def load_runner(
    plan: Plan, cells: Sequence[Cell], cohort: Cohort, runtime: Runtime, progress: Progress
) -> CellRunner:
    """Return what measures cells of one model on a cohort, with the model loaded and proven.

    Raises:
        InputError: If the model cannot be loaded.
    """
    entry = plan.models[cells[0].model]
    with entry.loading():
        source = entry.create()
        classifier = load_fitted(source, cohort, runtime.device)
        for remark in _remarks_on(classifier, cohort, runtime):
            progress.remarked(remark)
    for warning in _warnings_of_experiment(entry):
        progress.remarked(warning)
    panel = {name: entry.create() for name, entry in plan.panel.items()}
    peers = Peers(panel, source.recipe or Recipe(), source.relatives)
    return CellRunner(plan, cells, cohort, classifier, runtime, peers)


def load_runners(
    plan: Plan, settings: Settings, archive: ArrayArchive | None, progress: Progress
) -> list[CellRunner]:
    """Load every cohort and model, so that one that does not fit is refused before any score.

    Raises:
        InputError: If one cannot be loaded.
    """
    pairs: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan.cells:
        pairs.setdefault((cell.cohort, cell.model), []).append(cell)
    cohorts = load_cohorts(plan, dict.fromkeys(cohort for cohort, _ in pairs), progress)
    runtime = Runtime(settings.device, settings.batch_size, plan.suite.stream_name, archive)
    return [
        load_runner(plan, cells, cohorts[cohort], runtime, progress)
        for (cohort, _), cells in pairs.items()
    ]


def _remarks_on(classifier: Classifier, cohort: Cohort, runtime: Runtime) -> Sequence[str]:
    """Return what the proofs of a network remark; what an earlier run proved stays proven.

    Proofs cost as much as half of a finished run. They hold for this network on these images, as
    long as neither they nor torch nor the machine is another.
    """

    def find() -> dict[str, npt.NDArray[np.generic]]:
        remarks = prove(classifier, images_to_prove_on(cohort, runtime.device))
        return {"remarks": np.array(json.dumps(remarks))}

    device = runtime.device
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    network = classifier.name, classifier.identity_sha256, cohort.fingerprint
    proofs = hash_files(Path(proving.__file__).parent)
    identity = "\n".join(("proofs", *network, proofs, torch.__version__, machine))
    remarks: list[str] = json.loads(str(kept_or(runtime.archive, identity, find)["remarks"]))
    return remarks


def _warnings_of_experiment(entry: Entry[P]) -> list[str]:
    """Return what a card says against a network that was trained as an experiment."""
    folder = Path(entry.origin).parent
    try:
        card = read_card(folder)
    except StoreError:  # no experiment, or one whose card `experiments` finds fault with
        return []
    return [f"{card.id}: {warning}" for warning in card.warnings]
