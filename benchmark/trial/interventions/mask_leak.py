"""Whether the subjects' own masks tell the group, whatever the model looks at.

Where a disease shrinks a region, an expert's mask of it shrinks as well. A map that is scored
against such masks, or a removal that uses them, is then told the label by the mask. So the protocol
asks whether the mask's area tells the group. It also asks what removing the mask from another
subject's image does to the model: does it tell the group of the subject that the mask was drawn
for?
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.reading import Condition, Reading, find, statistic, summarise
from benchmark.seeding import seed_of
from benchmark.trial.memory import Keeping
from benchmark.trial.removal import REMOVAL, imputers, respond
from benchmark.trial.study import Study

WARNED_ABOVE, WARNED_BELOW = 0.65, 0.35


class MaskLeakStatistics:
    """Statistics of what masks tell of the group, for a protocol to inherit."""

    mask_leak = statistic(
        "AUROC of telling group B by a smaller mask, or by a smaller effect of removing it from "
        "another subject's image",
        aggregate="auroc",
    )


def read(study: Study, images: Study, masks: BoolArray, common: FloatArray) -> None:
    """Read what masks [N, 1, *S] of all test images tell of the group.

    Args:
        study: Study of all test images.
        images: Study of those that masks are exchanged between.
        masks: Own mask of every test image, [N, 1, *S].
        common: [n] share of the foreground that the common mask covers in ``images``.
    """
    leak, foreground = MaskLeakStatistics.mask_leak, study.trial.test.anatomy.foreground
    area = (masks & foreground).reshape(len(masks), -1).sum(1).astype(np.float64)
    study.read(leak, -area, {"mask": "own", "by": "area"}, reasons={})
    images.read(leak, -common, {"mask": "common", "by": "area"}, reasons={})
    effect = images.shared("mask leak", lambda: _exchanged(images, masks), Keeping("1"))
    where: dict[str, Condition] = {"mask": "own", "by": "effect", "imputer": REMOVAL}
    images.read(leak, -effect, where, reasons={})


def warning(readings: Sequence[Reading]) -> str | None:
    """Return what is wrong with the masks, or None where they tell little of the group."""
    leaks = {
        "area": find(readings, MaskLeakStatistics.mask_leak, mask="own", by="area"),
        "removal": find(
            readings, MaskLeakStatistics.mask_leak, mask="own", by="effect", imputer=REMOVAL
        ),
    }
    values = {
        name: summarise(reading, "auroc").estimate
        for name, reading in leaks.items()
        if reading is not None
    }
    telling = [name for name, auroc in values.items() if not WARNED_BELOW <= auroc <= WARNED_ABOVE]
    if not telling:
        return None
    numbers = " and ".join(f"{name} at AUROC {values[name]:.2f}" for name in telling)
    return f"mask leak: the subjects' own masks tell the group, by their {numbers}"


def _exchanged(images: Study, masks: BoolArray) -> FloatArray:
    """Return what each subject's mask does to other subjects' images, [n] mean |Δφ| in T.

    Each mask is moved to the centre of the own mask, in one image of each group.
    """
    trial, rows = images.trial, images.rows
    recipients = np.stack([_recipients(images, group) for group in (0, 1)], axis=1)  # [n, 2]
    donors = np.repeat(rows, 2)
    pairs = zip(donors.tolist(), recipients.ravel().tolist(), strict=True)
    moved = np.stack([_moved(masks[donor, 0], masks[recipient, 0]) for donor, recipient in pairs])
    flat = recipients.ravel()
    removed = torch.from_numpy(moved[:, None] & trial.test.anatomy.foreground[flat])
    drops = respond(trial, flat, removed, imputers(trial)[REMOVAL]).drops
    effects: FloatArray = np.abs(drops[:, 0]).reshape(len(rows), 2).mean(1)
    return effects


def _recipients(images: Study, group: int) -> Rows:
    """Return for each row a row of a group, not itself where there is another, [n]."""
    suite, keys = images.trial.runtime.suite, images.trial.test.keys

    def in_order(rows: Rows, purpose: str) -> list[int]:
        members: list[int] = rows.tolist()
        return sorted(members, key=lambda row: seed_of(suite, purpose, keys[row]))

    members = in_order(images.rows[images.groups == group], "recipients")
    chosen = {}
    for number, donor in enumerate(in_order(images.rows, "donors")):
        recipient = members[number % len(members)]
        if recipient == donor:
            recipient = members[(number + 1) % len(members)]
        chosen[donor] = recipient
    return np.array([chosen[row] for row in images.rows.tolist()], dtype=np.int64)


def _moved(mask: BoolArray, target: BoolArray) -> BoolArray:
    """Return a mask [*S] moved by whole pixels so that its centre is that of another."""
    moved = np.zeros_like(mask)
    if not mask.any() or not target.any():
        return moved
    points = np.argwhere(mask)
    shift = np.rint(np.argwhere(target).mean(0) - points.mean(0)).astype(np.int64)
    points = points + shift
    inside = ((points >= 0) & (points < mask.shape)).all(1)
    moved[tuple(points[inside].T)] = True
    return moved
