"""The tier of each record of a submission: what was done to confirm this very record.

=============  ====================================================================
reproduced     its cell was run again in isolation, and came out the same
sampled        other cells of its submission were; this one was not run again
checked        its cell was run again without isolation, and came out the same
self-reported  nothing of it was run again, or only other cells and without isolation
=============  ====================================================================

A forged record that a sample missed is therefore never called reproduced, and one that was run
again keeps that word whatever was sampled beside it. A method has the tier of its weakest record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.published.fields import Tier
from leaderboard.published.record import PublishedRecord


@dataclass(frozen=True)
class Confirmation:
    """What a verifier ran again without finding a fault.

    Attributes:
        rerun: Paths of the records whose cells were run again.
        not_isolated: Reason why the plugin shared a process or files with its scorer; None if it
            did not.
    """

    rerun: frozenset[str] = frozenset()
    not_isolated: str | None = None

    def tier_of(self, record: PublishedRecord) -> Tier:
        """Return the tier that a record of the submission earned."""
        again = record.path in self.rerun
        if self.not_isolated is not None:
            return "checked" if again else "self-reported"
        if again:
            return "reproduced"
        return "sampled" if self.rerun else "self-reported"

    def tier(self, records: Sequence[PublishedRecord]) -> Tier:
        """Return one word for a whole submission: what a sample of its cells allows at most."""
        if not self.rerun:
            return "self-reported"
        if self.not_isolated is not None:
            return "checked"
        complete = all(record.path in self.rerun for record in records)
        return "reproduced" if complete else "sampled"

    def conclude(self, records: Sequence[PublishedRecord]) -> str:
        """Return the line that ends a verification without a fault."""
        tier = self.tier(records)
        if tier == "self-reported":
            return f"no fault, but nothing was run again: {tier}"
        count = sum(record.path in self.rerun for record in records)
        line = f"no fault; {count} of {len(records)} cells were run again and came out the same"
        if self.not_isolated is not None:
            return f"{line}, but not in isolation ({self.not_isolated}): {tier}"
        return f"{line}: {tier}"
