"""Which models a cohort is scored with where none is named, and which cohort a model belongs to.

A suite names models for its own cohorts. Any other cohort is scored with the network that was
trained on it. One that has none, such as a folder of one's own, is scored with the models of the
suite. Where all of these take images of another kind, `smallresnet3d` stands in for them, whose
layers fit a volume of any size.
"""

from __future__ import annotations

from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.cohort_checks import load_cohort
from benchmark.plugins.entry import Entry
from benchmark.running.suite import Suite

_COHORT, _MODEL_OF_SLICES, _MODEL_OF_VOLUMES = "phantom", "smallresnet", "smallresnet3d"


def default_models(
    catalogue: Catalogue, suite: Suite, cohort: Entry[CohortSource]
) -> tuple[tuple[str, ...], Cohort | None]:
    """Return the models to score a cohort with that the suite does not name.

    Args:
        catalogue: Catalogue that holds the models.
        suite: Suite that the cohort is scored by.
        cohort: Cohort; where it names no model of its own, it is loaded and returned too.

    Raises:
        InputError: If the cohort must be loaded and cannot be.
    """
    if cohort.plugin.model is not None:
        return (cohort.plugin.model,), None
    loaded = load_cohort(cohort)
    dimensions = len(loaded.shape)
    of_suite = [catalogue.models.find(spec).plugin for spec in suite.models]
    if dimensions == 3 and not any(dimensions in model.dimensions for model in of_suite):
        return (_MODEL_OF_VOLUMES,), loaded
    return suite.models, loaded


def default_model(cohort: Entry[CohortSource], loaded: Cohort) -> str:
    """Return the model of a command that takes a single one, for a cohort that was loaded."""
    if cohort.plugin.model is not None:
        return cohort.plugin.model
    return _MODEL_OF_VOLUMES if len(loaded.shape) == 3 else _MODEL_OF_SLICES


def default_cohort(catalogue: Catalogue, model: str | None) -> str:
    """Return the cohort that names this model as its own, and `phantom` where none does."""
    if model is not None:
        for entry in catalogue.cohorts.entries:
            if getattr(entry.plugin_class, "model", None) == model:
                return entry.name
    return _COHORT
