"""An explainer that stands in the place of a method in a worker, and asks it for every map.

The engine runs it as any other. Its name, version, settings and source are those of the method, so
that its cells have the identities of the method's.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.cohort import Batch
from benchmark.explainer import Explainer
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.entry import Entry
from benchmark.target import Target
from leaderboard.published.fault import FaultError
from leaderboard.submission.isolation.host import Host


class _Proxy(Explainer):
    """A method in a worker, made with settings by name."""

    host: ClassVar[Host]

    def __init__(self, **settings: object) -> None:
        self._number, self._made = self.host.make(self, settings)

    @property
    def config(self) -> dict[str, str | int | float]:
        """Settings that the method said when it was made."""
        return dict(self._made.config)

    @property
    def needs_references(self) -> bool:
        """Whether the method asks for images to compare with."""
        return self._made.needs_references

    def supports(self, classifier: Classifier) -> str | None:
        """Return why the method cannot explain this network, or None."""
        return self.host.supports(self._number, classifier)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Refuse: a worker is asked about batches."""
        raise NotImplementedError

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the maps that the worker gives for the images of a batch."""
        return self.host.explain(self._number, classifier, batch, target).to(batch.images.device)


class _ProxyByNetwork(_Proxy):
    """A method that declares its passes for each network."""

    def passes_on(self, classifier: Classifier) -> tuple[int, int]:
        """Return the passes that the method declares for this network."""
        return self.host.passes_on(self._number, classifier)


def proxy_of(host: Host) -> type[Explainer]:
    """Return the class that stands in the place of a worker's method."""
    facts = host.facts
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in facts.settings
    ]
    declared = {
        "name": facts.name,
        "version": facts.version,
        "family": facts.family,
        "polarity": facts.polarity,
        "passes": facts.passes,
        "dimensions": facts.dimensions,
        "paper": facts.paper,
        "host": host,
        # As it would be called if it were loaded here, so that a store's maps are found again.
        "__module__": f"medsanity_plugin_{host.source.sha256[:16]}",
        "__signature__": inspect.Signature(parameters),
        "__doc__": "A method in a worker.",
    }
    base = _ProxyByNetwork if facts.passes_by_network else _Proxy
    return type(host.source.class_name, (base,), declared)


def enter(host: Host, catalogue: Catalogue, location: str) -> Entry[Explainer]:
    """Put a worker's method on the shelf of explainers, where a plan finds it by its name.

    Args:
        host: The method.
        catalogue: Catalogue of the run.
        location: Name of the method in messages.

    Raises:
        FaultError: ``name-taken`` if another explainer goes by its name.
    """
    shelf, plugin = catalogue.explainers, proxy_of(host)
    if plugin.name in shelf.names:
        detail = f"{plugin.name!r} is the name of a built-in explainer; choose another"
        raise FaultError("name-taken", location, detail)
    source = host.source
    entry = Entry("explainer", plugin.name, source.file, location, plugin, None, source.sha256)
    shelf.entries = (*shelf.entries, entry)
    return entry


def stand_in(host: Host, catalogue: Catalogue) -> None:
    """Put a worker in the place of the method of its name that the catalogue has already.

    Cells keep the identities that they have with the method itself.
    """
    shelf = catalogue.explainers
    proxy, own = proxy_of(host), shelf.find(host.facts.name)
    shelf.entries = tuple(
        replace(entry, plugin_class=proxy) if entry is own else entry for entry in shelf.entries
    )
