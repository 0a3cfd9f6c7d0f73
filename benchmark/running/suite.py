"""A suite says what is scored by default and under which settings, in a versioned TOML file."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from benchmark.errors import SuiteError
from benchmark.plugins.neighbours import import_neighbour
from benchmark.protocol import ProtocolConfig, SanityProtocol
from benchmark.records.controls import FOLDER, ControlRecords
from benchmark.records.identity import StrictModel, first_fault
from benchmark.records.toml_file import parse_toml, read_toml, shorten
from benchmark.seeding import stream_name

_SHIPPED = "leaderboard"

Name = Annotated[str, StringConstraints(min_length=1)]
# TOML knows arrays only; inside them everything stays strict.
Names = Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]


@dataclass(frozen=True)
class Cell:
    """A score that is to be made: names of its plugins, and the seed of the suite."""

    cohort: str
    model: str
    explainer: str
    protocol: str
    seed: int


@dataclass(frozen=True)
class Selection:
    """Names of the plugins that are scored with each other.

    The suite's controls join the explainers, and its plugins stand in for each kind left empty.
    """

    explainers: tuple[str, ...]
    cohorts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


class BoardSettings(StrictModel):
    """Settings of the board that is made of a suite's records.

    Attributes:
        models: Models that every method is scored on; a run takes ``Suite.models``.
        salt: Salt of the subjects' pseudonyms; only a suite of synthetic subjects has one.
        honest: Explainers that are known to follow the network. How much better they do on a
            published source or mark than on one that is kept back is what the data do; a map that
            loses more than the most of them knew what was published.
    """

    models: Names
    salt: Annotated[str, StringConstraints(min_length=1)]
    honest: Annotated[tuple[Name, ...], Field(strict=False)] = ()


class CohortSettings(StrictModel):
    """What a suite says of one of its cohorts.

    Attributes:
        protocols: Protocols that it is scored under, and that no other cohort is scored under
            unless they are named; all that no cohort claims, if empty.
        joins: Cohort whose board its scores enter, where it stands for other images of one task.
    """

    protocols: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    joins: Name | None = None


class Suite(StrictModel):
    """Content of a suite file.

    Attributes:
        version: Version, part of every score's identity and of the names of its random streams.
        cohorts, models, protocols: Names of what is scored by default. A protocol that exists in
            several MAJOR versions is named with one, as in ``delta_t@2``; without, it is the first.
        cohort: Settings of single cohorts, by name.
        health: Controls that every run scores as well.
        seed: Seed of random masks and of randomised copies of the model.
        protocol: Settings of protocols, by name.
        explainer: Settings of explainers, by name: arguments of their constructors.
        board: Settings of its board, where it has one.
    """

    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.+-]*$")]
    cohorts: Names
    models: Names
    protocols: Names
    health: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    seed: Annotated[int, Field(ge=0)] = 0
    cohort: dict[str, CohortSettings] = Field(default_factory=dict)
    protocol: dict[str, dict[str, Any]] = Field(default_factory=dict)
    explainer: dict[str, dict[str, Any]] = Field(default_factory=dict)
    board: BoardSettings | None = None

    @property
    def stream_name(self) -> str:
        """First part of the names of the suite's random streams."""
        return stream_name(self.version, self.seed)

    def select(self, selection: Selection) -> Selection:
        """Return the selection with the suite's defaults and controls filled in."""
        return Selection(
            _unique((*selection.explainers, *self.health)),
            _unique(selection.cohorts or self.cohorts),
            _unique(selection.models or self.models),
            _unique(tuple(map(self._with_version, selection.protocols)) or self.protocols),
        )

    def cells(self, selection: Selection) -> tuple[Cell, ...]:
        """Return every cell, by cohort, model, explainer and protocol, each in the order given."""
        selected = self.select(selection)
        # A cell names its protocol without the version, which its record holds.
        versions = {spec: spec.partition("@")[0] for spec in self.protocols}
        protocols = [versions.get(spec, spec) for spec in selected.protocols]
        names = product(selected.cohorts, selected.models, selected.explainers, protocols)
        return tuple(Cell(*names_of_cell, self.seed) for names_of_cell in names)

    def protocols_of(self, cohort: str, protocols: Sequence[str]) -> tuple[str, ...]:
        """Return those of the suite's protocols that a cohort is scored under by default.

        Args:
            cohort: Name of the cohort.
            protocols: Names of protocols, without versions.
        """
        own = self.cohort[cohort].protocols if cohort in self.cohort else ()
        if own:
            return tuple(name for name in protocols if name in own)
        claimed = {name for settings in self.cohort.values() for name in settings.protocols}
        return tuple(name for name in protocols if name not in claimed)

    def section_of(self, cohort: str) -> str | None:
        """Return the cohort whose board a cohort's scores enter; None for a board of its own."""
        return self.cohort[cohort].joins if cohort in self.cohort else None

    def joined_to(self, cohort: str) -> tuple[str, ...]:
        """Return the cohorts whose scores enter the board of a cohort, in the suite's order."""
        return tuple(name for name in self.cohorts if self.section_of(name) == cohort)

    def _with_version(self, spec: str) -> str:
        """Return a protocol's name with the version that the suite gives it."""
        versions = {name.partition("@")[0]: name for name in self.protocols}
        return versions.get(spec, spec)

    def config(self, protocol: type[SanityProtocol[Any]]) -> ProtocolConfig:
        """Return the settings of a protocol: the suite's, or its defaults.

        Raises:
            SuiteError: If the suite gives it a setting that it does not have or cannot take.
        """
        settings = self.protocol.get(protocol.name, {})
        try:
            return protocol.Config.model_validate(settings)
        except ValidationError as error:
            known = ", ".join(protocol.Config.model_fields) or "none"
            raise SuiteError(
                f"Suite {self.version!r}, [protocol.{protocol.name}]: {_describe(error)}; "
                f"settings known: {known}."
            ) from error


def load_suite(spec: str) -> Suite:
    """Return a suite that ships with the package, such as ``"v1"``, or the suite of a TOML file.

    Raises:
        SuiteError: If there is no such suite, its file says something that a suite does not, or it
            is frozen and was altered.
    """
    if spec.endswith(".toml"):
        return _check(read_toml(Path(spec), "suite", SuiteError), spec)
    root = importlib.resources.files(import_neighbour(_SHIPPED))
    known = sorted(path.name for path in root.iterdir() if (path / "suite.toml").is_file())
    if spec not in known:
        raise SuiteError(
            f"Unknown suite {spec!r}; known: {', '.join(known)}, or the path of a .toml file."
        )
    seal = root / spec / "suite.sha256"
    # Bytes, since the hash must not depend on how a system ends its lines.
    content = (root / spec / "suite.toml").read_bytes()
    if seal.is_file() and hashlib.sha256(content).hexdigest() != seal.read_text("utf-8").split()[0]:
        raise SuiteError(
            f"The suite {spec!r} is frozen, but its suite.toml is not the one of suite.sha256; "
            "whatever must change is a suite of its own."
        )
    source = f"{spec}/suite.toml"
    return _check(parse_toml(content.decode(), f"suite {source}", SuiteError), source)


def published_controls(version: str) -> ControlRecords:
    """Return the published records of a suite's controls; of a suite of one's own there are none.

    Args:
        version: Version of the suite.
    """
    root = importlib.resources.files(import_neighbour(_SHIPPED))
    return ControlRecords(Path(str(root / version / FOLDER)))


def _check(content: Mapping[str, object], source: str) -> Suite:
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        known = f"keys known: {', '.join(Suite.model_fields)}"
        raise SuiteError(f"The suite {source}: {_describe(error)}; {known}.") from error
    names = {spec.partition("@")[0] for spec in suite.protocols}
    if unlisted := [name for name in suite.protocol if name not in names]:
        raise SuiteError(
            f"The suite {source} has settings [protocol.{unlisted[0]}], "
            f"but its protocols are {', '.join(suite.protocols)}."
        )
    for name, settings in suite.cohort.items():
        if unlisted := [own for own in settings.protocols if own not in names]:
            raise SuiteError(
                f"The suite {source} scores the cohort {name!r} under {unlisted[0]!r}, "
                f"but its protocols are {', '.join(sorted(names))}."
            )
        others = [cohort for cohort in suite.cohorts if cohort != name]
        if settings.joins is not None and settings.joins not in others:
            raise SuiteError(
                f"The suite {source} lets the cohort {name!r} join {settings.joins!r}, "
                f"but its other cohorts are {', '.join(others) or 'none'}."
            )
    return suite


def _describe(error: ValidationError) -> str:
    """Return a clause about the first fault: its key, its value, and what is wrong with it."""
    fault = error.errors(include_url=False)[0]
    key, message = first_fault(error)
    key = shorten(key) or "the file"
    if fault["type"] == "missing":
        return f"the key {key!r} is missing"
    if fault["type"] == "extra_forbidden":
        return f"the key {key!r} is unknown"
    return f"{key!r} is {shorten(repr(fault['input']))}, but: {message[:1].lower()}{message[1:]}"


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
