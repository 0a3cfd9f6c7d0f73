"""Fields of a published record, each with the values that it may take."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
)

from benchmark.reading import Aggregate, Direction
from benchmark.records.identity import Sha256, StrictModel, first_fault
from leaderboard.published.fault import FaultError
from leaderboard.published.hidden import hidden_character

# From the weakest to the strongest. Records of suite v1 were published before there were the second
# and the third.
Tier = Literal["self-reported", "checked", "sampled", "reproduced", "audited"]
TIERS: tuple[Tier, ...] = get_args(Tier)
LATER_TIERS: tuple[Tier, ...] = ("checked", "sampled")

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


def _plain_text(text: str) -> str:
    if (character := hidden_character(text)) is not None:
        raise ValueError(f"hidden-character|it holds the character {character}")
    return text


def _plain_name(name: str) -> str:
    if NAME_PATTERN.fullmatch(name) is None:
        raise ValueError("a name is up to 64 of A-Z, a-z, 0-9 and _.+-, a letter or digit first")
    return name


Text = Annotated[str, StringConstraints(max_length=400), AfterValidator(_plain_text)]
Name = Annotated[str, AfterValidator(_plain_name)]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}(#[0-9a-f]{1,8})?$")]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]


class Method(StrictModel):
    """Description of an explainer on the board.

    Attributes:
        title: Title that its author gives it.
        family: Kind of method.
        paper: Reference to its paper; may be empty.
        control: Whether it looks at no model.
        polarity: Sign of the map that marks evidence.
    """

    title: Text
    family: Text
    paper: Text
    control: bool
    polarity: Literal["positive", "absolute"]


class Scale(StrictModel):
    """Scale of a protocol's score, as of the version under which it was measured.

    Attributes:
        question: Question of the protocol, in a few words.
        statistic: Name of the score.
        direction: Direction in which the score is better.
        aggregate: Rule by which the values of subjects make one number.
        gate: Whether the protocol is passed or failed, and never averaged.
        truth_leads: Whether no map should score better than the truth.
        margin: Lead over the truth that a map may have before the protocol counts as unhealthy.
        tolerance: Largest difference per subject between two runs on one kind of device.
        device_tolerance: Largest difference per subject between two kinds of devices.
        chance: Name of the statistic that is 0 in expectation for a map of noise, where the record
            tells it.
        owed: Whether the values are what the map owes to the network, so that the score is a plain
            mean with chance at 0.
        counts: Whether a gate enters the total as well.
        beside: Whether the score stands beside the total and never enters it, without being a gate.
    """

    question: Text
    statistic: Name
    direction: Direction
    aggregate: Aggregate
    gate: bool
    truth_leads: bool
    margin: Number
    tolerance: Number
    device_tolerance: Number
    chance: Name | None = None
    owed: bool = False
    counts: bool = False
    beside: bool = False

    @model_serializer(mode="wrap")
    def _leave_out_untold(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Records that were written before there were these fields keep their bytes.
        fields: dict[str, Any] = serialise(self)
        untold = [name for name in ("chance", "owed", "counts", "beside") if not fields.get(name)]
        return {name: value for name, value in fields.items() if name not in untold}

    @property
    def averaged(self) -> bool:
        """Whether the score enters the total."""
        return self.counts or not (self.gate or self.beside)


class SidecarSeal(StrictModel):
    """Seal of the file that holds the rest of the readings.

    Attributes:
        sha256: Hash of the file.
        bytes: Size of the file.
    """

    sha256: Sha256
    bytes: Annotated[int, Field(ge=1)]


def schema_fault(error: ValidationError, location: str) -> FaultError:
    """Return the first fault that a model finds in a file, named."""
    key, message = first_fault(error)
    name, bar, detail = message.partition("|")
    if bar:
        return FaultError(name, location, f"at {key[:80]!r}: {detail}" if key else detail)
    kind = error.errors(include_url=False, include_input=False)[0]["type"]
    name = {"missing": "missing-field", "extra_forbidden": "unknown-field"}.get(kind, "wrong-type")
    return FaultError(name, location, f"at {key[:80] or 'the whole'!r}: {message}"[:300])
