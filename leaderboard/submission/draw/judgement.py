"""What a draw says of each record of a submission: compared, at fault, or not to be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.reading import SCORED
from benchmark.statistics.studentised import FEWEST_SUBJECTS
from leaderboard.published.fault import Fault
from leaderboard.published.record import PublishedRecord
from leaderboard.submission.checks import CellKey, cell_key
from leaderboard.submission.draw.bounds import Difference, DrawnCell, Pair, compare, without_gaps

# By cell; a fault where a cell could not be measured.
Fresh = Mapping[CellKey, PublishedRecord | Fault]
# Of a method of which everything is known, published and fresh, by cell.
Known = Mapping[CellKey, tuple[PublishedRecord, PublishedRecord]]


@dataclass(frozen=True)
class Judgement:
    """What a draw says of a submission.

    Attributes:
        differences: The cells that were compared.
        faults: Cells whose claims lie outside of their bounds, or that could not be measured.
        notes: Cells of which the draw says nothing, and why.
    """

    differences: tuple[Difference, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def judge(records: Sequence[PublishedRecord], fresh: Fresh, known: Sequence[Known]) -> Judgement:
    """Return what fresh scores say of a submission's records.

    Args:
        records: Records of the submission; those that were not drawn again are passed over.
        fresh: Records of the same method on fresh subjects.
        known: Records of the references, one mapping for each.
    """
    cells: list[DrawnCell] = []
    faults: dict[Fault, None] = {}
    notes: list[str] = []
    for record in records:
        key = cell_key(record)
        again = fresh.get(key)
        if again is None or record.state != SCORED:
            continue
        location, name = f"records/{record.path}", " × ".join(key[1:])
        if isinstance(again, Fault):
            faults[again] = None
            continue
        if again.state == "not assessable":
            notes.append(f"{name} is not assessable on fresh subjects: {again.reason}")
            continue
        published, new = without_gaps(record), without_gaps(again)
        if published is None or new is None:
            detail = f"{name} has a score on the published subjects, and none on fresh ones: "
            detail += again.reason or "no image has a value"
            faults[Fault("draw-differs", location, detail[:300])] = None
            continue
        if min(len(set(side.sample.subjects)) for side in (published, new)) < FEWEST_SUBJECTS:
            notes.append(f"{name} has fewer than {FEWEST_SUBJECTS} subjects, which tell nothing")
            continue
        pairs = tuple(pair for each in known if (pair := _pair(each.get(key))) is not None)
        fingerprint = record.identity.cohort_fingerprint
        cells.append(DrawnCell(name, location, fingerprint, Pair(published, new), pairs))
    differences = compare(cells)
    beyond = [difference.fault for difference in differences if difference.is_beyond]
    return Judgement(tuple(differences), (*faults, *beyond), tuple(notes))


def _pair(both: tuple[PublishedRecord, PublishedRecord] | None) -> Pair | None:
    if both is None:
        return None
    published, fresh = map(without_gaps, both)
    return None if published is None or fresh is None else Pair(published, fresh)
