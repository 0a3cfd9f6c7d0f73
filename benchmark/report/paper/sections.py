"""Sections of a paper: a model on a cohort, with whom it was measured on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.records.experiment import ExperimentCard
from benchmark.records.storage.finished import FinishedCell

_SHORT = 6  # digits of a hash that tells models of one name apart


@dataclass(frozen=True)
class Section:
    """A model on a cohort.

    Attributes:
        cohort: Name of the cohort.
        model: Name of the model.
        fingerprint: Hash of the cohort.
        weights_sha256: Hash of the model's weights; empty before it is trained.
        title: Name above a panel, another one for each section.
    """

    cohort: str
    model: str
    fingerprint: str
    weights_sha256: str
    title: str


def find_sections(
    cells: Iterable[FinishedCell], cards: Iterable[ExperimentCard]
) -> dict[tuple[str, ...], Section]:
    """Return the sections of records and of experiments, by what ``key_of`` says of them.

    The experiments of one encoder on one cohort share a section, so that regimes stand together.
    """
    keys = sorted({*map(key_of_cell, cells), *map(key_of_card, cards)})
    cohorts = {key[0] for key in keys}
    sections: dict[tuple[str, ...], Section] = {}
    for key in keys:
        cohort, model, fingerprint, network = key
        alike = [other for other in keys if other[:2] == key[:2]]
        title = model if len(cohorts) == 1 else f"{model} on {cohort}"
        if len(alike) > 1:
            title += f" {(network or fingerprint)[:_SHORT]}"
        sections[key] = Section(cohort, model, fingerprint, network, title)
    return sections


def key_of_cell(cell: FinishedCell) -> tuple[str, str, str, str]:
    """Return what tells the section of a record from others."""
    names, identity = cell.names, cell.identity
    return names.cohort, names.model, identity.cohort_fingerprint, identity.weights_sha256


def key_of_card(card: ExperimentCard) -> tuple[str, str, str, str]:
    """Return what tells the section of an experiment from others."""
    return card.cohort.name, card.model.name, card.cohort.fingerprint, card.model.encoder_sha256


def panels_of(sections: Sequence[Section], most: int) -> list[tuple[Section, ...]]:
    """Return sections in groups of as many as fit side by side."""
    return [tuple(sections[start : start + most]) for start in range(0, len(sections), most)]
