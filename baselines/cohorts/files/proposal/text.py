"""The text of a proposed ``cohort.toml``, with a comment wherever a reader must look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from baselines.cohorts.files.proposal.draft import Draft
from baselines.cohorts.files.proposal.sources import Spec
from benchmark.records.toml_file import format_toml

_MOST_LABELS = 60  # labels that a comment lists
_LABELS_IN_LINE = 6
_MASKED = 0.95  # share of the voxels that are not 0, below which an image seems to be masked


def format_draft(draft: Draft, name: str, table: str | None, has_splits: bool) -> str:
    """Return the text of a ``cohort.toml``.

    Args:
        draft: Draft of the cohort that is proposed.
        name: Name of the cohort.
        table: Path of the table of participants, where it is no ``participants.tsv`` beside it.
        has_splits: Whether ``splits.tsv`` is written beside it.
    """
    sections = (_head(draft, name, table), _foreground(draft), _regions(draft), _controls(draft))
    text = "\n".join("\n".join(section) for section in (*map(list, sections), list(_slice(draft))))
    if has_splits:
        text += "\n# 60 % of the subjects train, 20 % validate, 20 % are tested on.\n[split]\n"
        text += 'path = "splits.tsv"\nseed = 0\n'
    return text


def _head(draft: Draft, name: str, table: str | None) -> Iterator[str]:
    sources = draft.sources
    yield "# Proposed by `cohort init`. Read the lines that say CHECK or FILL IN; docs/cohort.md"
    yield "# explains every key, and `cohort inspect` draws what is read."
    yield _line("name", name)
    note = "CHECK: reference group, case group" if draft.has_groups else "FILL IN: your groups"
    yield _line("groups", list(draft.groups), note)
    if sources.shares_affine:
        yield _line("registered", True, "CHECK: does a voxel mean the same place in every subject?")
    else:
        yield _line("registered", False, "true if a voxel means the same place in every subject")
    truth = _line(
        "truth", list(draft.rois) or ["lesion"], "regions that hold all of the difference"
    )
    yield f"# {truth}"
    if table is not None:
        yield _line("participants", table)
    yield _line("image", _short(sources.image))
    yield _line("intensity", draft.intensity[0], f"CHECK: {draft.intensity[1]}")
    if not sources.look.has_spacing:
        # Nothing that could be left as it is: whoever only removes the # is told of it.
        sizes = ", ".join(['"?"'] * len(sources.look.shape))
        yield f"# spacing = [{sizes}]  # FILL IN: size of a pixel in mm along each axis as stored"
    if not sources.look.is_placed:
        letters = "?" * len(sources.look.shape)
        yield f'# axes = "{letters}"  # FILL IN: where each axis runs to, as R, L, A, P, S and I'
    yield ""


def _foreground(draft: Draft) -> Iterator[str]:
    spec, reason = draft.foreground
    if "whole" in spec:
        yield "# No mask of the organ is here. Background counts until you name one:"
        yield from _offer_foreground(draft)
    else:
        yield f"# CHECK: {reason}."
    yield "[foreground]"
    yield from format_toml(spec).splitlines()
    yield ""


def _offer_foreground(draft: Draft) -> Iterator[str]:
    """Yield a comment with a mask of the organ, of the image itself where it is 0 around it."""
    look = draft.sources.look
    yield '# path = "masks/{participant_id}_brain.nii.gz"'
    if look.low == 0 and look.covered < _MASKED:
        spec = {**draft.sources.image, "threshold": 1 if look.stored.startswith("uint") else 1e-6}
        yield f"# Or, if only what is not 0 is organ, {look.covered:.0%} of the first image:"
        yield from (f"# {line}" for line in format_toml(spec).splitlines())


def _regions(draft: Draft) -> Iterator[str]:
    yield "# CHECK: regions that the disease is known to change."
    yield "[rois]"
    for name, spec in draft.rois.items():
        yield _line(name, _short(spec))
    for name, spec in draft.offered_rois.items():
        yield f"# {_line(name, _short(spec))}"
    if not draft.rois and not draft.offered_rois:
        yield '# lesion = "masks/{participant_id}_lesion.nii.gz"'
        yield '# lesion = { path = "segmentations/{participant_id}.nii.gz", label = 17 }'
    for path, counts in draft.labels.items():
        yield from _list_labels(path, counts)
    yield ""


def _list_labels(path: str, counts: Mapping[int, int]) -> Iterator[str]:
    yield f"# Labels of {path}, with the voxels of each in the first file:"
    labels = [f"{label}: {count}" for label, count in sorted(counts.items()) if label]
    for start in range(0, min(len(labels), _MOST_LABELS), _LABELS_IN_LINE):
        yield f"#   {', '.join(labels[start : start + _LABELS_IN_LINE])}"
    if len(labels) > _MOST_LABELS:
        yield f"#   … {len(labels)} in all"


def _controls(draft: Draft) -> Iterator[str]:
    names = list(draft.rois) or ["lesion"]
    yield "# A region of the same size elsewhere, which the disease does not change, by the name of"
    yield "# its region: another mask, or another label. `roi_pointing` compares the two."
    yield "[control_rois]"
    for name, spec in draft.controls.items():
        yield _line(name, _short(spec))
    for name in names:
        if name not in draft.controls:
            yield f"# {_line(name, 'masks/{participant_id}_control.nii.gz')}"
    yield ""


def _slice(draft: Draft) -> Iterator[str]:
    shape = draft.sources.look.shape
    if len(shape) == 3 and min(shape) > 1 and draft.sources.look.is_placed:
        yield "# Without these lines whole volumes are scored."
        yield "# [slice]"
        yield '# plane = "coronal"'
        yield "# mm = -21"
        yield ""


def _short(spec: Spec) -> object:
    return spec["path"] if set(spec) == {"path"} else spec


def _line(key: str, value: object, comment: str = "") -> str:
    line = format_toml({key: value}).rstrip("\n")
    return f"{line}  # {comment}" if comment else line
