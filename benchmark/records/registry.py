"""The registry: the cards of a folder of experiments, and the folders that they lie in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import StoreError, UnknownNameError
from benchmark.records.experiment import CARD, ID_PATTERN, ExperimentCard
from benchmark.records.files import check_folder, is_stray, store_errors, write_atomically

_ID = re.compile(ID_PATTERN)


@dataclass(frozen=True)
class Fault:
    """A folder whose card cannot be used.

    Attributes:
        folder: Name of the folder.
        reason: Sentence that says what is wrong with it.
    """

    folder: str
    reason: str


@dataclass(frozen=True)
class Registry:
    """Every experiment of a folder.

    Attributes:
        folder: Folder with a folder for each experiment.
        cards: Cards in the order of their numbers.
        faults: Folders whose card cannot be used.
    """

    folder: Path
    cards: tuple[ExperimentCard, ...]
    faults: tuple[Fault, ...]

    def select(self, ids: Sequence[str]) -> tuple[ExperimentCard, ...]:
        """Return the cards of some experiments, in the order given.

        Raises:
            StoreError: If one of them has a card that cannot be used.
            UnknownNameError: If there is no such experiment.
        """
        by_id = {card.id: card for card in self.cards}
        reasons = {fault.folder: fault.reason for fault in self.faults}
        for name in ids:
            if name in reasons:
                raise StoreError(reasons[name])
            if name not in by_id:
                raise UnknownNameError("experiment", name, by_id)
        return tuple(by_id[name] for name in ids)


def read_registry(folder: Path) -> Registry:
    """Return the registry of a folder; a card that cannot be used hurts only its own row.

    Folders without a card whose name is no experiment's are passed over.

    Raises:
        StoreError: If the folder is missing or cannot be read.
    """
    if not folder.is_dir():
        raise StoreError(
            f"There is no folder {folder}, in which experiments lie; `train` makes one."
        )
    cards, faults = [], []
    with store_errors(folder):
        paths = [path for path in folder.iterdir() if not is_stray(path.name)]
        folders = [path for path in paths if path.is_dir()]
    for path in sorted(folders, key=_order):
        if not (path / CARD).exists() and not _ID.fullmatch(path.name):
            continue
        try:
            cards.append(read_card(path))
        except StoreError as error:
            faults.append(Fault(path.name, str(error)))
    return Registry(folder, tuple(cards), tuple(faults))


def read_card(folder: Path) -> ExperimentCard:
    """Return the card of an experiment's folder.

    Raises:
        StoreError: If there is none, or it is torn, foreign, altered, or of another experiment.
    """
    path = folder / CARD
    if not path.is_file():
        raise StoreError(f"{path} does not exist, so the folder holds no experiment.")
    with store_errors(path):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is damaged or foreign: it is not UTF-8 text.") from error
    card = ExperimentCard.from_json(text, str(path))
    if card.id != folder.name:
        raise StoreError(f"{path} is the card of {card.id}; an experiment's folder has its name.")
    return card


def write_card(folder: Path, card: ExperimentCard) -> None:
    """Put a card into the folder of its experiment, in place of an earlier one.

    Raises:
        StoreError: If it cannot be written; the earlier one then stays.
    """
    write_atomically(folder / CARD, card.to_json().encode())


def make_folder(experiments: Path) -> Path:
    """Make the folder of the next experiment, ``EXP-001`` and so on, and return its path.

    Two that ask at once get two numbers, and a number whose folder is kept is not given again.

    Raises:
        StoreError: If the folder cannot be made.
    """
    check_folder(experiments)
    with store_errors(experiments):
        numbers = [int(path.name[4:]) for path in experiments.iterdir() if _ID.fullmatch(path.name)]
        number = max(numbers, default=0)
        while True:
            number += 1
            folder = experiments / f"EXP-{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:  # another process was quicker
                continue
            return folder


def _order(path: Path) -> tuple[bool, int, str]:
    is_numbered = _ID.fullmatch(path.name) is not None
    return not is_numbered, int(path.name[4:]) if is_numbered else 0, path.name
