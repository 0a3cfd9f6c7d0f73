"""Arrays that hold many images: one file a group, or one for all."""

from __future__ import annotations

import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.formats.arrays import ARRAY_ENDINGS, list_headers
from baselines.cohorts.files.formats.limits import explain
from baselines.cohorts.files.formats.reading import read_scan
from baselines.cohorts.files.formats.scan import Source
from baselines.cohorts.files.proposal import names
from baselines.cohorts.files.proposal.listing import ImagePath, Listing
from baselines.cohorts.files.proposal.sources import Candidate, Sources, Spec
from baselines.cohorts.files.proposal.values import Look, look_at_scan
from benchmark.errors import CohortError

_FEW_FILES = 8  # as many stacks as a folder has; more arrays are images of their own
_MOST_ROWS = 1_000_000
_MOST_BYTES = 2**26  # of the labels or the ids of all images
_ID_WORDS = frozenset({"id", "ids", "subject", "subjects", "patient", "patients", "names"})
_GROUP_WORDS = frozenset(
    ["label", "labels", "y", "target", "targets", "group", "groups", "class", "classes", "dx"]
)


@dataclass(frozen=True)
class _Array:
    """An array in a file.

    Attributes:
        file: The file.
        name: Name of the array in an ``.npz``, or None.
        shape: Shape of the array.
        size: Bytes that it takes in memory.
        words: Words of its name, or of its file's.
    """

    file: ImagePath
    name: str | None
    shape: tuple[int, ...]
    size: int
    words: list[str]

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.file.path}" + (f" ({self.name})" if self.name else "")


def find_stacks(listing: Listing, table: Sequence[Mapping[str, str]]) -> Sources | None:
    """Return images and masks of arrays that hold many, or None where no file is one.

    Args:
        listing: The folder.
        table: Rows of a table of participants that lies there; empty if there is none.

    Raises:
        CohortError: If an array cannot be read.
    """
    files = [image for image in listing.paths if image.kind in ARRAY_ENDINGS]
    if not files or len(files) < len(listing.paths) / 2 or len(files) > _FEW_FILES:
        return None
    arrays = [array for file in files for array in _open(listing.folder, file)]
    stacks = [array for array in arrays if len(array.shape) in (3, 4)]
    looks = {array.title: _look(listing.folder, array) for array in stacks}
    images = [array for array in stacks if looks[array.title].kind == "image"]
    if not images or (len(files) > 2 and max(array.shape[0] for array in images) < 2):
        return None
    chosen = _choose(images)
    path, groups = _find_pattern([array.file.path.as_posix() for array in chosen])
    rows = [
        {"participant_id": f"{group or 'image'}_{number:04d}", "group": group, "index": str(number)}
        for array, group in zip(chosen, groups, strict=True)
        for number in range(min(array.shape[0], _MOST_ROWS))
    ]
    image = _spec(path, chosen[0].name)
    sources = Sources(image, looks[chosen[0].title], [dict(row) for row in table] or rows)
    if table and "index" not in table[0]:
        sources.is_readable = False
        sources.undecided.append(
            "Which row of its array an image is: add a column index to the table, from 0."
        )
    if not table:
        sources.guesses.append(
            "Each row of an array is taken for a subject of its own; give rows of one subject the "
            "same participant_id, and a column visit that tells them apart."
        )
    for array in images:
        if array not in chosen:
            sources.undecided.append(f"The array {array.title} holds images, too; left out.")
    if groups == [""] and not table:
        _read_groups(listing.folder, arrays, sources)
        _read_ids(listing.folder, arrays, sources)
    sources.masks = list(_find_masks(stacks, images, chosen, looks))
    sources.masks += _find_shared(listing.folder, arrays, chosen[0])
    return sources


def _spec(path: str, name: str | None) -> Spec:
    spec: Spec = {"path": path, "index": "{index}"}
    return spec if name is None else {**spec, "array": name}


def _open(folder: Path, file: ImagePath) -> Iterator[_Array]:
    """Yield the arrays of a file by their headers alone."""
    path = folder / file.path
    words = names.split_words(file.path.as_posix().removesuffix(file.ending))
    try:
        for name, (shape, dtype) in list_headers(path):
            own = words if name is None else names.split_words(name)
            yield _Array(file, name, shape, math.prod(shape) * dtype.itemsize, own)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise CohortError(
            f"The file {path} cannot be read as an array: {explain(error)}."
        ) from error


def _look(folder: Path, array: _Array, index: int | None = 0) -> Look:
    source = Source(folder / array.file.path, "array", index, array.name)
    scan = read_scan(source)
    return look_at_scan(scan, array.words, str(scan.voxels.dtype))


def _choose(images: Sequence[_Array]) -> list[_Array]:
    """Return the arrays of the images: several files with rows alike, or the largest array."""
    first = max(images, key=lambda array: (array.shape[0], -len(array.title)))
    alike = [
        array for array in images if array.shape[1:] == first.shape[1:] and array.name == first.name
    ]
    in_files = {array.file.path for array in alike}
    return alike if len(in_files) == len(alike) else [first]


def _find_pattern(paths: Sequence[str]) -> tuple[str, list[str]]:
    """Return the pattern of some paths, and the group that stands in each."""
    if len(paths) == 1:
        return paths[0], [""]
    first = paths[0]
    start = _count_alike(paths)
    end = _count_alike([path[start:][::-1] for path in paths])
    # Whole words, as group1 and group2 rather than 1 and 2.
    while start > 0 and re.match(r"[A-Za-z0-9]", first[start - 1]):
        start -= 1
    while end > 0 and re.match(r"[A-Za-z0-9]", first[len(first) - end]):
        end -= 1
    groups = [path[start : len(path) - end] for path in paths]
    return f"{first[:start]}{{group}}{first[len(first) - end :]}", groups


def _count_alike(texts: Sequence[str]) -> int:
    """Return how many characters all texts begin with."""
    columns = zip(*texts, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _read_groups(folder: Path, arrays: Sequence[_Array], sources: Sources) -> None:
    """Fill in the groups by an array with one number for each image."""
    values = _read_vector(folder, arrays, len(sources.rows), _GROUP_WORDS)
    if values is None:
        return
    for row, value in zip(sources.rows, values, strict=True):
        row["group"] = f"{value:g}" if isinstance(value, float) else str(value)
    sources.guesses.append("The groups are the values of the array of labels.")


def _read_ids(folder: Path, arrays: Sequence[_Array], sources: Sources) -> None:
    """Name the subjects by an array of texts, with the number of each image where they repeat."""
    values = _read_vector(folder, arrays, len(sources.rows), _ID_WORDS)
    names_of = [str(value) for value in values or ()]
    if not names_of or any(not name.isprintable() or {"/", "\\"} & set(name) for name in names_of):
        return
    visits: Counter[str] = Counter()
    for row, name in zip(sources.rows, names_of, strict=True):
        visits[name] += 1
        row["participant_id"] = name
        if len(set(names_of)) < len(names_of):
            row["visit"] = str(visits[name])
    sources.guesses[:] = [line for line in sources.guesses if not line.startswith("Each row")]
    sources.guesses.append("The subjects are named by the array of ids.")


def _read_vector(
    folder: Path, arrays: Sequence[_Array], count: int, words: frozenset[str]
) -> list[object] | None:
    """Return the values of the one array that has one for each image and such a name, or None."""
    vectors = [
        array
        for array in arrays
        if array.shape in ((count,), (count, 1))
        and array.size <= _MOST_BYTES
        and set(array.words) & words
    ]
    if len(vectors) != 1:
        return None
    try:
        loaded: Any = np.load(folder / vectors[0].file.path, allow_pickle=False)
        values: npt.NDArray[Any] = loaded if vectors[0].name is None else loaded[vectors[0].name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return list(values.ravel().tolist())


def _find_shared(folder: Path, arrays: Sequence[_Array], image: _Array) -> Iterator[Candidate]:
    """Yield arrays of one mask that all images share."""
    for array in arrays:
        if array.shape == image.shape[1:]:
            spec: Spec = {"path": array.file.path.as_posix()}
            spec |= {} if array.name is None else {"array": array.name}
            look = _look(folder, array, None)
            if look.kind != "image":
                yield Candidate(spec, array.words, look)


def _find_masks(
    stacks: Sequence[_Array],
    images: Sequence[_Array],
    chosen: Sequence[_Array],
    looks: dict[str, Look],
) -> Iterator[Candidate]:
    """Yield arrays of masks that have a row for each image."""
    rest = [array for array in stacks if array not in images]
    shapes = [array.shape for array in chosen]
    by_name: dict[str, list[_Array]] = {}
    for array in rest:
        groups = _find_pattern([image.file.path.as_posix() for image in chosen])[1]
        key = array.file.path.as_posix()
        if len(chosen) > 1:
            key = next((key.replace(g, "{group}", 1) for g in groups if g in key), key)
        by_name.setdefault(f"{key}:{array.name or ''}", []).append(array)
    for key, arrays in by_name.items():
        if sorted(array.shape for array in arrays) == sorted(shapes):
            path = key.rpartition(":")[0]
            words = names.split_words(arrays[0].name or path.rpartition(".")[0])
            yield Candidate(_spec(path, arrays[0].name), words, looks[arrays[0].title])
