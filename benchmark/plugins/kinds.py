"""The four kinds of plugins, and where plugins of each are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from benchmark.cohort_source import CohortSource
from benchmark.explainer import Explainer
from benchmark.model_source import ModelSource
from benchmark.protocol import SanityProtocol

P = TypeVar("P")

AnyProtocol = SanityProtocol[Any]


@dataclass(frozen=True)
class Kind(Generic[P]):
    """A kind of plugin and where it is found.

    Attributes:
        name: Name in the singular, for messages.
        base: Class that every plugin of the kind extends.
        package: Package of the built-in plugins.
        requires: Class attributes that a plugin must set.
        implements_one_of: Methods of which a plugin must implement one at least.
    """

    name: str
    base: type[P]
    package: str
    requires: tuple[str, ...] = ()
    implements_one_of: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Entry-point group of third parties."""
        return f"medsanity.{self.name}s"


# The bases are abstract, which mypy refuses as values of type[P]; nothing here instantiates them.
EXPLAINERS: Kind[Explainer] = Kind("explainer", Explainer, "baselines.explainers")  # type: ignore[type-abstract]
MODELS: Kind[ModelSource] = Kind("model", ModelSource, "baselines.models")  # type: ignore[type-abstract]
COHORTS: Kind[CohortSource] = Kind("cohort", CohortSource, "baselines.cohorts")  # type: ignore[type-abstract]
PROTOCOLS: Kind[AnyProtocol] = Kind(
    "protocol",
    SanityProtocol,  # type: ignore[type-abstract]
    "protocols",
    ("version", "title", "statistics", "primary", "chance", "margin"),
    ("measure", "readings"),
)
