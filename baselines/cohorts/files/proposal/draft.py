"""What is proposed: groups, intensities, the mask of the organ, regions and their controls."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from baselines.cohorts.files.proposal import names
from baselines.cohorts.files.proposal.sources import Candidate, Sources, Spec
from baselines.cohorts.files.proposal.values import Look

MRI_PERCENTILES = (0.5, 99.5)
_SOFT_TISSUE = (-160.0, 240.0)  # Hounsfield units
_BITS = (8, 10, 12, 14, 16)
_ORGAN = 0.25  # share of the voxels that a mask of an organ covers at least, if it does not say so
_MOST_OF_IMAGE = 0.5  # share of the image's voxels that are not 0 which a segmentation must cover
_MOST_REGIONS = 8  # labels that are proposed as regions; more are listed
_PLACEHOLDERS = ("reference", "case")
# FreeSurfer's table of colours, of which the hippocampi are proposed and the others offered.
_FREESURFER: Mapping[str, int] = {
    "hippocampus_left": 17,
    "hippocampus_right": 53,
    "amygdala_left": 18,
    "amygdala_right": 54,
    "ventricle_left": 4,
    "ventricle_right": 43,
}


@dataclass
class Draft:
    """What a ``cohort.toml`` is written from.

    Attributes:
        groups: Reference group and case group.
        has_groups: Whether these are known.
        sources: Images, rows and masks.
        intensity: Keys of the table ``intensity``, and why these.
        foreground: Keys of the table ``foreground``, and why these.
        rois: Region by name.
        offered_rois: Regions that are written as comments.
        controls: Control region by name of its region.
        labels: Voxels of each label of each segmentation, by path.
        guesses: Guesses that the user must check, a sentence each.
        undecided: Gaps that the user must fill in, a sentence each.
    """

    groups: tuple[str, str]
    has_groups: bool
    sources: Sources
    intensity: tuple[Spec, str]
    foreground: tuple[Spec, str]
    rois: dict[str, Spec] = field(default_factory=dict)
    offered_rois: dict[str, Spec] = field(default_factory=dict)
    controls: dict[str, Spec] = field(default_factory=dict)
    labels: dict[str, Mapping[int, int]] = field(default_factory=dict)
    guesses: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


def make_draft(sources: Sources, has_table: bool, fault: str = "") -> Draft:
    """Return what is proposed for some images and masks.

    Args:
        sources: The images and masks.
        has_table: Whether the rows are those of a table that lies there, which is never changed.
        fault: Reason why that table cannot be used as it is, if it cannot.
    """
    guesses, undecided = list(sources.guesses), [*([fault] if fault else []), *sources.undecided]
    groups, has_groups = _choose_groups(sources, has_table, guesses, [] if fault else undecided)
    draft = Draft(
        groups, has_groups, sources, _choose_intensity(sources.look), ({"whole": True}, "")
    )
    draft.guesses, draft.undecided = guesses, undecided
    if not sources.look.has_spacing:
        axes = len(sources.look.shape)
        draft.undecided.append(
            f"How large a pixel is: fill in spacing, {axes} sizes in mm; the files do not say."
        )
    if not sources.look.is_placed:
        draft.undecided.append("How the images lie in the body: fill in axes where you know them.")
    if sources.shares_affine:
        draft.guesses.append(
            "All images share one affine, so registered = true is proposed; say false unless a "
            "voxel means the same place in every subject."
        )
    _sort_masks(draft)
    _choose_foreground(draft)
    if not draft.rois:
        draft.undecided.append(
            "Regions that the disease is known to change: no mask of one is here."
        )
    if len(draft.controls) < len(draft.rois):
        draft.undecided.append(
            "Control regions cannot be guessed: masks of the same size where the disease changes "
            "nothing."
        )
    return draft


def _choose_groups(
    sources: Sources, has_table: bool, guesses: list[str], undecided: list[str]
) -> tuple[tuple[str, str], bool]:
    """Return the two groups, and whether they are known; rows of a third are left out."""
    sizes = Counter(row.get("group", "") for row in sources.rows)
    sizes = Counter({group: size for group, size in sizes.items() if group not in ("", "n/a")})
    if len(sizes) < 2:
        undecided.append(
            "Who belongs to which group: fill in the column group of the table, and name the two "
            "groups in the cohort.toml."
        )
        for row in sources.rows:
            row["group"] = row.get("group") or "n/a"
        return _PLACEHOLDERS, False
    ordered, has_reference = names.order_groups(sizes)
    if len(ordered) > 2:
        first = ordered[0] if has_reference else max(ordered, key=lambda name: sizes[name])
        second = max((name for name in ordered if name != first), key=lambda name: sizes[name])
        others = ", ".join(name for name in ordered if name not in (first, second))
        kept = f"A cohort compares two groups; {first} and {second} are proposed, and the rows of "
        if has_table:
            undecided.append(f"{kept}{others} must be taken out of the table.")
            return (first, second), False
        sources.rows[:] = [row for row in sources.rows if row["group"] in (first, second)]
        guesses.append(f"{kept}{others} are left out of the table.")
        ordered = [first, second]
    if not has_reference:
        undecided.append(
            f"Which group is the reference: {ordered[0]!r} stands first by its letters alone."
        )
    unknown = [row for row in sources.rows if row["group"] not in ordered]
    if unknown:
        undecided.append(f"{len(unknown)} rows of the table have no group.")
    return (ordered[0], ordered[1]), not unknown


def _choose_intensity(look: Look) -> tuple[Spec, str]:
    """Return the window, and why it is proposed."""
    if look.modality == "CT":
        low, high = _SOFT_TISSUE
        return {"low": low, "high": high}, "soft tissue in Hounsfield units; lungs need another"
    if look.low >= 0 and 0.5 < look.high <= 1:
        return {"low": 0, "high": 1}, "the values lie in [0, 1]"
    if look.stored.startswith("uint") and look.stored in ("uint8", "uint16"):
        bits = next(bits for bits in _BITS if look.high < 2**bits)
        return (
            {"low": 0, "high": 2**bits - 1},
            f"{bits} bits, by the largest value {look.high:g} of the first image",
        )
    return {"percentiles": list(MRI_PERCENTILES)}, "of each image's own foreground"


def _sort_masks(draft: Draft) -> None:
    """Turn masks and segmentations into regions and controls."""
    for mask in draft.sources.masks:
        spoken = set(mask.words)
        path = str(mask.spec["path"])
        if mask.look.kind == "labels":
            draft.labels[path] = mask.look.counts
            _sort_labels(draft, mask)
        elif mask.look.kind == "mask":
            name = _name_of(mask)
            if spoken & names.CONTROL_WORDS:
                draft.controls[name] = mask.spec
            elif not _is_organ(mask):
                draft.rois[_free(name, draft.rois)] = mask.spec
    if unmatched := sorted(set(draft.controls) - set(draft.rois)):
        for name in unmatched:
            del draft.controls[name]
        draft.undecided.append(f"Which regions the controls {', '.join(unmatched)} belong to.")


def _sort_labels(draft: Draft, mask: Candidate) -> None:
    counts = mask.look.counts
    # A crop may hold one hippocampus alone.
    is_named = set(mask.words) & names.FREESURFER_WORDS and names.HIPPOCAMPI & set(counts)
    if is_named or set(counts) >= names.HIPPOCAMPI:
        for name, label in _FREESURFER.items():
            if label in counts:
                chosen = draft.rois if name.startswith("hippocampus") else draft.offered_rois
                chosen[_free(name, chosen)] = {**mask.spec, "label": label}
        draft.guesses.append(
            f"The labels of {mask.spec['path']} are read as FreeSurfer's; of these the hippocampi "
            "are proposed as regions."
        )
        return
    labels = [label for label in sorted(counts) if label]
    few = len(labels) <= _MOST_REGIONS
    chosen = draft.rois if few else draft.offered_rois
    for label in labels:
        chosen[_free(f"label_{label}", chosen)] = {**mask.spec, "label": label}
    action = "proposed as regions; give them their names" if few else "listed as comments"
    draft.guesses.append(f"The {len(labels)} labels of {mask.spec['path']} are {action}.")


def _choose_foreground(draft: Draft) -> None:
    """Choose the mask of the organ: one that says so, else a segmentation, else a map."""
    masks = draft.sources.masks
    organs = [mask for mask in masks if mask.look.kind == "mask" and _is_organ(mask)]
    maps = [mask for mask in masks if mask.look.kind == "probability"]
    brains = [mask for mask in maps if set(mask.words) & names.FOREGROUND_WORDS]
    wholes = [mask for mask in masks if mask.look.kind == "labels" and _covers(draft, mask)]
    if organs:
        draft.foreground = organs[0].spec, "a mask of the organ, by its name or size"
        if not set(organs[0].words) & names.FOREGROUND_WORDS:
            draft.guesses.append(
                f"{organs[0].spec['path']} covers {organs[0].look.covered:.0%} of an image and is "
                "taken for the mask of the organ."
            )
    elif brains or (maps and not wholes):
        probability = (brains or maps)[0]
        threshold = _half(probability.look)
        draft.foreground = {**probability.spec, "threshold": threshold}, "half of what is certain"
        draft.guesses.append(
            f"{probability.spec['path']} is read as a map of probabilities, and its voxels from "
            f"{threshold:g} on as the organ."
        )
    elif wholes:
        draft.foreground = {**wholes[0].spec, "threshold": 0.5}, "every label of the segmentation"
        draft.guesses.append(f"Every label of {wholes[0].spec['path']} is taken for the organ.")
    else:
        draft.undecided.append(
            "The mask of the organ: none is here, so the foreground is the whole image."
        )
    used = draft.foreground[0].get("path")
    for probability in maps:
        if probability.spec["path"] != used:
            name = _free(_name_of(probability), {**draft.rois, **draft.offered_rois})
            rule = {**probability.spec, "threshold": _half(probability.look)}
            draft.offered_rois[name] = rule


def _half(look: Look) -> float:
    """Return half of a probability of 1, as the file writes it."""
    return look.scale / 2


def _is_organ(mask: Candidate) -> bool:
    spoken = set(mask.words)
    if spoken & (names.REGION_WORDS | names.CONTROL_WORDS | set(names.SIDES)):
        return False
    return bool(spoken & names.FOREGROUND_WORDS) or mask.look.covered >= _ORGAN


def _covers(draft: Draft, mask: Candidate) -> bool:
    image = draft.sources.look
    return mask.look.covered >= _MOST_OF_IMAGE * image.covered


def _name_of(mask: Candidate) -> str:
    """Return the name of a region by its label in BIDS, or by the words of its file."""
    path = str(mask.spec["path"])
    if match := re.search(r"label-([A-Za-z0-9]+)", path):
        side = re.fullmatch(r"(.*?)_?(left|right)", match[1], re.IGNORECASE)
        return f"{side[1]}_{side[2]}".lower() if side and side[1] else match[1]
    own = [word for word in mask.words if word not in names.IMAGE_WORDS]
    rest = [word for word in own if word not in names.MASK_WORDS | names.LABEL_WORDS]
    rest = [word for word in rest if word not in names.CONTROL_WORDS and not word.isdigit()]
    tissue = [word for word in rest if word in names.TISSUE_WORDS]
    return names.name_region(own, "_".join(tissue) or (rest[-1] if rest else "region"))


def _free(name: str, taken: Iterable[str]) -> str:
    """Return a name that is not taken."""
    present, number, free = set(taken), 2, name
    while free in present:
        free, number = f"{name}_{number}", number + 1
    return free
