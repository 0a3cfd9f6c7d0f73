"""Files that belong together: one for each subject, by a pattern of their paths."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from baselines.cohorts.files.proposal.listing import DICOM, ImagePath
from baselines.cohorts.files.proposal.names import (
    CONTROL_WORDS,
    SPLIT_FOLDERS,
    find_core,
    is_visit,
    says_role,
    split_words,
)

_BIDS = re.compile(r"sub-([A-Za-z0-9]+)")
_BIDS_VISIT = re.compile(r"(?<![A-Za-z0-9])ses-([A-Za-z0-9]+)")
# What SPM and CAT write right before the name of an image: moved, smoothed, a map of tissue.
_PREFIX = r"(?<![A-Za-z0-9])((?:s?m?0?w?r?[cp]?[1-6]?)?)"
_MOST_GROUPS = 8
_ENOUGH = 0.5  # share of the files that must follow a rule of naming for it to hold


@dataclass(frozen=True)
class Name:
    """What a path says of an image.

    Attributes:
        subject: Subject whose file it is; empty for a file that all share.
        visit: Visit of the image, or empty.
        group: Group by a folder's name, or empty.
        folder: Folders that vary otherwise, such as that of a split, or empty.
    """

    subject: str
    visit: str = ""
    group: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Family:
    """Files of one kind.

    Attributes:
        pattern: Path with ``{subject}``, ``{visit}``, ``{group}`` and ``{folder}`` in place of what
            varies.
        kind: Ending of the files.
        members: File of each image.
    """

    pattern: str
    kind: str
    members: Mapping[Name, ImagePath] = field(repr=False)

    @property
    def words(self) -> list[str]:
        """Words of the pattern, those of its ending left out."""
        return split_words(self.pattern.removesuffix(self.kind))

    @property
    def is_shared(self) -> bool:
        """Whether there is one file for all subjects."""
        return "{" not in self.pattern


def find_families(paths: Sequence[ImagePath], known: Collection[str] = ()) -> list[Family]:
    """Return the families of some files, the largest first.

    Args:
        paths: The files.
        known: Subjects that a table of participants lists.
    """
    names = _by_table(paths, known) if known else None
    names = names or _by_bids(paths) or _by_names(paths)
    grouped: dict[tuple[str, str], dict[Name, ImagePath]] = defaultdict(dict)
    for kind in sorted({image.kind for image in paths}):
        rows = [row for row, image in enumerate(paths) if image.kind == kind]
        placed = _find_groups(_find_splits([names[row] for row in rows]))
        for row, (name, pattern) in zip(rows, placed, strict=True):
            grouped[pattern, kind][name] = paths[row]
    families = [Family(pattern, kind, files) for (pattern, kind), files in grouped.items()]
    return sorted(families, key=lambda family: (-len(family.members), family.pattern))


def _by_table(paths: Sequence[ImagePath], known: Collection[str]) -> list[tuple[Name, str]] | None:
    """Return names and patterns by the subjects that a table lists."""
    longest = sorted((re.escape(subject) for subject in known if subject), key=len, reverse=True)
    finder = re.compile(rf"{_PREFIX}({'|'.join(longest)})(?![A-Za-z0-9])")
    # The numbers of subjects must not be found in those of visits.
    is_bids = all(subject.isdigit() for subject in known)
    names = []
    for image in paths:
        text = str(image.path)
        if is_bids and (bids := _BIDS.search(text)) and bids[1] in known:
            names.append(_fill_in(text, bids[1], f"sub-{bids[1]}"))
        else:
            match = finder.search(text)
            names.append(_fill_in(text, match[2], match[2]) if match else (Name(""), text))
    return names if _are_enough(names) else None


def _by_bids(paths: Sequence[ImagePath]) -> list[tuple[Name, str]] | None:
    names = []
    for image in paths:
        text = str(image.path)
        match = _BIDS.search(text)
        names.append(_fill_in(text, match[0], match[0]) if match else (Name(""), text))
    return names if _are_enough(names) else None


def _are_enough(names: Sequence[tuple[Name, str]]) -> bool:
    return sum(bool(name.subject) for name, _ in names) >= _ENOUGH * len(names)


def _fill_in(text: str, subject: str, written: str) -> tuple[Name, str]:
    """Return name and pattern of a path that holds a subject, written as given."""
    token = written.replace(subject, "{subject}", 1)
    whole = rf"{_PREFIX}{re.escape(written)}(?![A-Za-z0-9])"
    pattern = re.sub(whole, lambda match: match[1] + token, text)
    visit = ""
    if match := _BIDS_VISIT.search(pattern):
        visit = match[1]
        pattern = pattern.replace(match[0], "ses-{visit}")
    else:
        steps = pattern.split("/")
        for number, step in enumerate(steps[:-1]):
            if "{" not in step and is_visit(step):
                visit, steps[number] = step, "{visit}"
        pattern = "/".join(steps)
    return Name(subject, visit), pattern


def _by_names(paths: Sequence[ImagePath]) -> list[tuple[Name, str]]:
    """Return names and patterns by how the names of folders and files vary.

    Images and masks may be named in different ways: ``P001/T1.nii.gz`` says by its folder whose it
    is, and ``masks/P001_lesion.nii.gz`` by its own name. So folders of DICOM series, files that are
    called alike, and other files are each looked at for themselves.
    """
    folders = Counter(image.path.name for image in paths)
    kinds = [_find_kind(image, folders[image.path.name]) for image in paths]
    named: dict[str, Iterator[tuple[Name, str]]] = {}
    subjects: set[str] = set()
    for kind in ("series", "alike", "file"):
        members = [image for image, own in zip(paths, kinds, strict=True) if own == kind]
        names = _by_variation(members, subjects) if members else []
        subjects.update(name.subject for name, _ in names if name.subject)
        named[kind] = iter(names)
    return [next(named[kind]) for kind in kinds]


def _find_kind(image: ImagePath, folders: int) -> str:
    """Return whether an image is a series, a file called as in other folders, or another file.

    Args:
        image: The image.
        folders: Number of folders that hold a file of this name.
    """
    if image.kind == DICOM and not image.ending:
        return "series"
    return "alike" if folders > _MOST_GROUPS or says_role(image.stem, tissue=False) else "file"


def _by_variation(paths: Sequence[ImagePath], known: Collection[str]) -> list[tuple[Name, str]]:
    """Return names and patterns by what varies, the names of files or of their folders.

    Args:
        paths: Files, or folders of series.
        known: Subjects that other paths have.
    """
    leaves = {image.path.name for image in paths}
    parents = {image.path.parent for image in paths}
    deepest = max(len(parent.parts) for parent in parents)
    steps = [{parent.parts[level : level + 1] for parent in parents} for level in range(deepest)]
    are_alone = len(parents) == len(paths) > 1
    if are_alone or len(leaves) < max(map(len, steps), default=0):
        return _by_folders(paths)
    cores = [find_core(image.stem) for image in paths]
    present = {*cores, *known}
    names = []
    for image, core in zip(paths, cores, strict=True):
        subject = _shorten(core, present)
        names.append(_fill_in(str(image.path), subject, subject))
        if "{subject}" not in names[-1][1]:
            # The subject stands within a word, as in mwp1p003.
            pattern = str(image.path.parent / image.path.name.replace(subject, "{subject}", 1))
            names[-1] = (Name(subject), pattern)
    return names


def _shorten(core: str, present: Collection[str]) -> str:
    """Return the longest other core that a core begins with, up to a break, or the core itself."""
    breaks = [match.start() for match in re.finditer(r"[_\-. ]", core)]
    for end in reversed(breaks):
        if core[:end] in present:
            return core[:end]
    return core


def _by_folders(paths: Sequence[ImagePath]) -> list[tuple[Name, str]]:
    """Return names and patterns where files of all subjects are called alike."""
    depth = Counter(len(image.path.parts) for image in paths).most_common(1)[0][0]
    steps = [image.path.parts for image in paths if len(image.path.parts) == depth]
    # Series of a scanner may be called as they like, so the folder nearest to the top is taken
    # among those that tell most files apart.
    counts = [len({parts[level] for parts in steps}) for level in range(depth - 1)]
    level = counts.index(max(counts))
    subjects = {parts[level] for parts in steps if not says_role(parts[level], tissue=False)}
    names = []
    for image in paths:
        above = image.path.parts[:-1]
        # Masks may lie a level deeper, as in masks/P001/lesion.nii.gz.
        subject = next((step for step in (*above[level:], *above[:level]) if step in subjects), "")
        if not subject:
            names.append((Name(""), str(image.path)))
            continue
        names.append(_fill_in(str(image.path), subject, subject))
    counts_of = Counter(pattern for name, pattern in names if name.subject)
    if len(counts_of) > 1 and max(counts_of.values()) == 1:
        return [_fold(name, pattern) for name, pattern in names]
    return names


def _fold(name: Name, pattern: str) -> tuple[Name, str]:
    """Return a pattern whose steps below the subject's folder, called as they like, are one."""
    before, mark, after = pattern.partition("{subject}/")
    if not mark or "{" in after:
        return name, pattern
    return replace(name, folder=after), f"{before}{mark}{{folder}}"


def _find_splits(names: Sequence[tuple[Name, str]]) -> list[tuple[Name, str]]:
    """Return names and patterns with the folders of splits, such as ``train``, in braces."""
    placed = []
    for name, pattern in names:
        steps = pattern.split("/")
        levels = [level for level, step in enumerate(steps[:-1]) if step.lower() in SPLIT_FOLDERS]
        if name.subject and levels and "{folder}" not in pattern:
            name = replace(name, folder=steps[levels[0]])
            steps[levels[0]] = "{folder}"
        placed.append((name, "/".join(steps)))
    return placed


def _find_groups(names: Sequence[tuple[Name, str]]) -> list[tuple[Name, str]]:
    """Return names and patterns with the folder in which groups lie apart in braces."""
    patterns = {pattern for name, pattern in names if name.subject}
    levels = sorted({level for pattern in patterns for level in range(pattern.count("/"))})
    for level in levels:
        values = {step for step in _steps(patterns, level) if _may_be_group(step)}
        if not 2 <= len(values) <= _MOST_GROUPS:
            continue
        # Masks may lie a level deeper, as in masks/CN/p1.png beside CN/p1.png.
        deeper = [other for other in levels if other > level and values <= _steps(patterns, other)]
        replaced = [
            _replace_group(name, pattern, [level, *deeper], values) for name, pattern in names
        ]
        if len({pattern for _, pattern in replaced}) < len({pattern for _, pattern in names}):
            return replaced
    return list(names)


def _steps(patterns: Collection[str], level: int) -> set[str]:
    """Return the folders of some patterns at a level."""
    return {steps[level] for pattern in patterns if level < len(steps := pattern.split("/")[:-1])}


def _may_be_group(step: str) -> bool:
    is_role = says_role(step) and step.lower() not in CONTROL_WORDS
    return "{" not in step and not is_role and step not in ("derivatives", "rawdata")


def _replace_group(
    name: Name, pattern: str, levels: Sequence[int], values: Collection[str]
) -> tuple[Name, str]:
    """Return name and pattern with the first of these levels that is a group in braces."""
    steps = pattern.split("/")
    folders = steps[:-1]
    level = next((at for at in levels if at < len(folders) and folders[at] in values), None)
    if not name.subject or level is None:
        return name, pattern
    group = steps[level]
    steps[level] = "{group}"
    return replace(name, group=group), str(PurePosixPath(*steps))
