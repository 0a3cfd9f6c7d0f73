"""What the names of files say: subject, visit, group, and what kind of image a file holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of masks, of regions, and of maps of tissue, as tools and people write them.
FOREGROUND_WORDS = _words(
    "foreground brain brainmask skullstrip bet icv head body organ lung lungs breast"
)
REGION_WORDS = _words(
    "hippocampus hippocampal hippo hipp amygdala ventricle ventricles entorhinal lesion "
    "lesions tumor tumour nodule mass roi region anterior posterior thalamus caudate putamen "
    "cortex"
)
LABEL_WORDS = _words(
    "aseg aparc dseg seg segmentation segmentations label labels parc parcellation atlas labelmap"
)
FREESURFER_WORDS = _words("aseg aparc")
HIPPOCAMPI = frozenset({17, 53})
"""Labels of the hippocampi in FreeSurfer's table of colours."""
TISSUE_WORDS = _words(
    "gm wm csf c1 c2 c3 p1 p2 p3 rp1 wp1 mwp1 mwp2 mwc1 wc1 rc1 pve graymatter greymatter"
)
PROBABILITY_WORDS = _words("prob probability probabilities probseg probmap pmap")
MASK_WORDS = _words("mask masks msk binary annotation annotations groundtruth gt")
CONTROL_WORDS = frozenset({"control", "ctrl", "ctl"})
SIDES = {"left": "left", "lh": "left", "l": "left", "right": "right", "rh": "right", "r": "right"}
OTHER_WORDS = (
    FOREGROUND_WORDS | REGION_WORDS | LABEL_WORDS | TISSUE_WORDS | PROBABILITY_WORDS | MASK_WORDS
)
IMAGE_WORDS = (
    "t1w",
    "t1",
    "mprage",
    "orig",
    "image",
    "images",
    "img",
    "imgs",
    "scan",
    "scans",
    "flair",
    "t2w",
    "t2",
    "pd",
    "ct",
    "cta",
    "pet",
    "mri",
    "mr",
    "anat",
    "xray",
)
"""The words of an image, from the one that is preferred among several."""

# Names of the group that others are compared with, in small letters.
_REFERENCE = _words(
    "control controls ctrl ctl cn nc hc hv con healthy normal normals negative neg benign "
    "reference ref none no 0 group0 group1 clean young unaffected"
)
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""The split that a folder of images holds by its name, in small letters."""

_SPLIT_WORDS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")
_VISIT = re.compile(
    r"(?:ses|session|visit|timepoint|tp|month|year|wave)[-_]?[A-Za-z0-9]+|[vmy]\d{1,3}|baseline|bl|"
    r"follow-?up\d*",
    re.IGNORECASE,
)
_ROLE = OTHER_WORDS | CONTROL_WORDS | set(IMAGE_WORDS) | set(SIDES) | {"desc", "space", "mni", "tr"}


def split_words(text: str) -> list[str]:
    """Return the words of a name in small letters; what stands in braces is left out."""
    bare = re.sub(r"\{[^}]*\}", " ", text)
    return [word.lower() for word in _SPLIT_WORDS.split(bare) if word]


def says_role(name: str, tissue: bool = True) -> bool:
    """Return whether all words of a name say what a file holds, and none says whose it is.

    Args:
        name: The name.
        tissue: Whether ``p1`` and the like are maps of tissue, and no patients.
    """
    words = split_words(name)
    known = _ROLE if tissue else _ROLE - TISSUE_WORDS
    return bool(words) and all(word in known for word in words)


def is_visit(name: str) -> bool:
    """Return whether a name is that of a visit."""
    return _VISIT.fullmatch(name) is not None


def find_core(stem: str) -> str:
    """Return what is left of a name without the words that say what the file holds, or all of it.

    ``mwp1p003_T1`` is the map of ``p003_T1`` and so of ``p003``.
    """
    return _strip_roles(stem, tissue=True) or _strip_roles(stem, tissue=False) or stem


def _strip_roles(stem: str, tissue: bool) -> str:
    """Return a name without the words of a role at both ends, and nothing if no other is left."""
    parts = re.split(r"([_\-. ]+)", stem)
    words, breaks = parts[::2], parts[1::2]
    first, last = 0, len(words)
    # In front, control is the name of a group.
    while (
        first < last
        and _is_role(words[first], tissue)
        and words[first].lower() not in CONTROL_WORDS
    ):
        first += 1
    while last > first and _is_role(words[last - 1], tissue):
        last -= 1
    if first == last:
        return ""
    core = words[first]
    for number in range(first + 1, last):
        core += breaks[number - 1] + words[number]
    # SPM and CAT write the tissue right before the name of the image.
    return re.sub(
        r"^(?:mw|w|r|rp|mwp|wp|wc|rc|mwc|c|p)?[pc][1-6](?=[A-Za-z]{1,8}[_-]?\d)", "", core
    )


def _is_role(word: str, tissue: bool) -> bool:
    return not word or says_role(word, tissue)


def order_groups(names: Iterable[str]) -> tuple[list[str], bool]:
    """Return names of groups, the reference first, and whether one of them says that it is."""
    ordered = sorted(names)
    is_reference = [_says_reference(name) for name in ordered]
    known = sum(is_reference) == 1
    if known:
        ordered.insert(0, ordered.pop(is_reference.index(True)))
    return ordered, known


def _says_reference(name: str) -> bool:
    return name.lower() in _REFERENCE or any(word in _REFERENCE for word in split_words(name))


def name_region(words: Sequence[str], otherwise: str) -> str:
    """Return the name of a region by the words of its file."""
    side = next((SIDES[word] for word in words if word in SIDES), "")
    regions = [word for word in words if word in REGION_WORDS and word not in ("roi", "region")]
    name = "_".join(dict.fromkeys(regions)) or otherwise
    return f"{name}_{side}" if side else name
