"""Which files are the images of a cohort, whose they are, and which may be their masks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from itertools import islice

import numpy as np

from baselines.cohorts.files.proposal import names
from baselines.cohorts.files.proposal.families import Family, Name, find_families
from baselines.cohorts.files.proposal.listing import ImagePath, Listing
from baselines.cohorts.files.proposal.values import Look, look_at, read_affine
from benchmark.errors import CohortError
from benchmark.records.toml_file import list_some

_MOST_FAMILIES = 60  # kinds of files that are looked into
_MOST_TRIED = 5  # files of a kind that are looked into until one shows something
_MOST_HEADERS = 200  # headers whose affines are compared
_SHOWN = 4  # patterns that a sentence names
_SAME_PEOPLE = 0.5  # share of a group's names that another has too, if they only count people
_GROUP_IN_NAME = re.compile(r"([A-Za-z]+)(?:[_\-. ]?\d+|[_\-. ]\w+)")
_WORDS_OF_FILES = names.OTHER_WORDS | names.CONTROL_WORDS
Spec = dict[str, object]
"""Keys of a table in ``cohort.toml``, such as ``path`` and ``label``."""


@dataclass(frozen=True)
class Candidate:
    """Files that may hold masks.

    Attributes:
        spec: Path, and index or name of an array where there is one.
        words: Words of their names.
        look: Content of one of them.
    """

    spec: Spec
    words: list[str]
    look: Look


@dataclass
class Sources:
    """Images, their subjects, and what may be masks.

    Attributes:
        image: Path of the images, and index or name of an array where there is one.
        look: Content of one of them.
        rows: Row of the table of participants of each image; ``group`` is empty if unknown.
        masks: Files that may be masks.
        shares_affine: Whether all images lie alike in the world.
        is_readable: Whether the table has all columns that the paths name.
        guesses: Guesses that were taken for granted, a sentence each.
        undecided: Questions that could not be decided, a sentence each.
    """

    image: Spec
    look: Look
    rows: list[dict[str, str]]
    masks: list[Candidate] = field(default_factory=list)
    shares_affine: bool = False
    is_readable: bool = True
    guesses: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


def find_sources(
    listing: Listing,
    paths: Sequence[ImagePath],
    table: Sequence[Mapping[str, str]],
    report: Callable[[str], None],
) -> Sources:
    """Return the images and masks among files that hold one image each.

    Args:
        listing: The folder.
        paths: The files.
        table: Rows of a table of participants that lies there; empty if there is none.
        report: Listener that is called with a line on the progress.

    Raises:
        CohortError: If none of them can be read as an image.
    """
    families = find_families(paths, {row["participant_id"] for row in table})
    looks: dict[str, Look] = {}
    faults: list[str] = []
    for family in families[:_MOST_FAMILIES]:
        report(f"looking at {listing.folder}: {family.pattern}")
        look, damaged = _look_into(listing, family)
        faults += damaged[:1]
        if look is not None:
            looks[family.pattern] = look
    images = [family for family in families if _is_image(family, looks)]
    if not images:
        reason = f" {faults[0]}" if faults else " All seem to be masks."
        raise CohortError(f"The folder {listing.folder} holds no image that can be read.{reason}")
    chosen = _choose_image(images)
    rows, rename, guesses = _list_rows(chosen, table)
    sources = Sources(_spec(chosen, rename), looks[chosen.pattern], rows, guesses=guesses)
    if table:
        _compare_table(sources, chosen, rename)
    others = [family for family in images if family is not chosen]
    if others:
        patterns = list_some([_path(family, rename) for family in others], _SHOWN)
        sources.undecided.append(
            f"A cohort takes one kind of image, {sources.image['path']}; also there, and left out: "
            f"{patterns}."
        )
    sources.undecided += [f"A file cannot be read. {fault}" for fault in faults[:3]]
    if (unseen := len(families) - _MOST_FAMILIES) > 0:
        sources.undecided.append(f"{unseen} further patterns of names were not looked at.")
    sources.masks = _find_masks(families, looks, chosen, rename, sources)
    sources.shares_affine = _shares_affine(listing, chosen)
    return sources


def _look_into(listing: Listing, family: Family) -> tuple[Look | None, list[str]]:
    """Return what the first file shows that can be read and is not blank, and why others cannot."""
    blank, faults = None, []
    for image in islice(family.members.values(), _MOST_TRIED):
        look = look_at(listing.folder / image.path, family.words, family.kind)
        if isinstance(look, CohortError):
            faults.append(str(look))
        elif look.low < look.high:
            return look, faults
        else:
            blank = blank or look
    return blank, faults


def _is_image(family: Family, looks: Mapping[str, Look]) -> bool:
    look = looks.get(family.pattern)
    return look is not None and look.kind == "image" and not family.is_shared


def _choose_image(images: Sequence[Family]) -> Family:
    """Return the images that most subjects have, those of a usual name first."""
    most = max(len(family.members) for family in images)
    known = names.IMAGE_WORDS

    def rank(family: Family) -> tuple[bool, bool, int, str]:
        words = family.words
        usual = min((known.index(word) for word in words if word in known), default=len(known))
        is_derived = bool(set(words) & (_WORDS_OF_FILES | {"derivatives"}))
        return len(family.members) < most / 2, is_derived, usual, family.pattern

    return min(images, key=rank)


def _list_rows(
    family: Family, table: Sequence[Mapping[str, str]]
) -> tuple[list[dict[str, str]], dict[str, str], list[str]]:
    """Return rows of participants, columns in place of what varies in a path, and guesses."""
    visit = "visit" if table and "visit" in table[0] else "session"
    rename = {"subject": "participant_id", "visit": visit, "group": "group", "folder": "folder"}
    if table:
        return [dict(row) for row in table], rename, []
    people, guesses = sorted(family.members, key=astuple), []
    splits = {name: names.SPLIT_FOLDERS.get(name.folder.lower(), "") for name in people}
    by_group: dict[str, set[str]] = defaultdict(set)
    for name in people:
        by_group[" ".join(filter(None, (splits[name], name.group)))].add(name.subject)
    if _are_numbers(by_group):
        rename["subject"] = "file"
        guesses.append(
            "The same names of files occur in several folders; they are taken for different people."
        )
    groups = {name.subject: name.group for name in people}
    if any(groups.values()):
        guesses.append(
            f"The groups are taken from the folders {list_some(sorted(set(groups.values())))}; "
            "check that these part people by disease, not by site, scanner or year."
        )
    if not any(name.group for name in people) and (prefixes := _find_prefixes(list(groups))):
        groups = prefixes
        guesses.append("The groups are taken from how the names of the subjects begin.")
    rows = []
    for name in people:
        group = name.group or groups[name.subject]
        is_number = rename["subject"] == "file"
        parts = (splits[name], name.group, name.subject) if is_number else (name.subject,)
        row = {"participant_id": "_".join(filter(None, parts))}
        if "{visit}" in family.pattern:
            row[visit] = name.visit
        row["group"] = group
        if all(splits.values()):
            row["split"] = splits[name]
        if "{folder}" in family.pattern:
            row["folder"] = name.folder
        if is_number:
            row["file"] = name.subject
        rows.append(row)
    return rows, rename, guesses


def _compare_table(sources: Sources, family: Family, rename: Mapping[str, str]) -> None:
    """Tell where a table that lies there and the images do not fit each other."""
    columns = [column for part, column in rename.items() if f"{{{part}}}" in family.pattern]
    if lacking := [column for column in columns if column not in sources.rows[0]]:
        sources.is_readable = False
        part = next(part for part, column in rename.items() if column == lacking[0])
        values = sorted({str(getattr(name, part)) for name in family.members})
        sources.undecided.append(
            f"The table needs a row for each image and the column {lacking[0]}, such as "
            f"{list_some(values, _SHOWN)}."
        )
        return
    people = {
        Name(
            row["participant_id"],
            row[rename["visit"]] if "{visit}" in family.pattern else "",
            row["group"] if "{group}" in family.pattern else "",
            row["folder"] if "{folder}" in family.pattern else "",
        )
        for row in sources.rows
    }
    for names_left, words in (
        (people - set(family.members), "rows of the table have no image"),
        (set(family.members) - people, "images have no row in the table"),
    ):
        if names_left:
            first = min(name.subject for name in names_left)
            sources.undecided.append(f"{len(names_left)} {words}, such as {first!r}.")


def _are_numbers(by_group: Mapping[str, set[str]]) -> bool:
    """Return whether groups share so many names that these are no names of people."""
    groups = list(by_group.values())
    return any(
        len(first & second) > _SAME_PEOPLE * min(len(first), len(second))
        for number, first in enumerate(groups)
        for second in groups[:number]
    )


def _find_prefixes(subjects: Sequence[str]) -> dict[str, str]:
    """Return the group of each subject by how its name begins, or nothing if that tells none."""
    matches = {subject: _GROUP_IN_NAME.fullmatch(subject) for subject in subjects}
    groups = {subject: match[1] for subject, match in matches.items() if match}
    counts = Counter(groups.values())
    is_telling = len(groups) == len(subjects) and 2 <= len(counts) <= 4
    return groups if is_telling and min(counts.values()) >= 2 else {}


def _spec(family: Family, rename: Mapping[str, str]) -> Spec:
    return {"path": _path(family, rename)}


def _path(family: Family, rename: Mapping[str, str]) -> str:
    path = family.pattern
    for part, column in rename.items():
        path = path.replace(f"{{{part}}}", f"{{{column}}}")
    return path


def _find_masks(
    families: Sequence[Family],
    looks: Mapping[str, Look],
    image: Family,
    rename: Mapping[str, str],
    sources: Sources,
) -> list[Candidate]:
    """Return what may be masks of the images; what only some subjects have is told."""
    masks = []
    for family in families:
        look = looks.get(family.pattern)
        if look is None or family is image or look.kind == "image":
            continue
        missing = [name for name in image.members if not _has(family, name)]
        if len(missing) > len(image.members) / 2:
            if len(family.members) > 1 or family.is_shared:
                sources.undecided.append(
                    f"{_path(family, rename)} fits few of the images; left out."
                )
            continue
        if missing:
            sources.undecided.append(
                f"{len(missing)} images, such as that of {missing[0].subject!r}, have no file "
                f"{_path(family, rename)}."
            )
        masks.append(Candidate(_spec(family, rename), family.words, look))
    return masks


def _has(family: Family, name: Name) -> bool:
    if family.is_shared:
        return True
    visit = name.visit if "{visit}" in family.pattern else ""
    group = name.group if "{group}" in family.pattern else ""
    folder = name.folder if "{folder}" in family.pattern else ""
    return Name(name.subject, visit, group, folder) in family.members


def _shares_affine(listing: Listing, family: Family) -> bool:
    """Return whether images have one shape and affine by their headers, and not that of nobody."""
    members = list(family.members.values())
    step = max(1, len(members) // _MOST_HEADERS)
    affines = {read_affine(listing.folder / image.path, family.kind) for image in members[::step]}
    (affine, *others) = affines
    if others or affine is None or len(members) < 2:
        return False
    origin = np.array(affine[-16:]).reshape(4, 4)[:3, 3]
    return bool(origin.any())
