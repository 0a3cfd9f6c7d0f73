"""What a board shows, as ``board.json`` holds it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from benchmark.reading import Direction, State
from benchmark.records.record import VerdictWord
from benchmark.results.result import Number, truth_is_one
from leaderboard.published.fields import LATER_TIERS, Method, Tier

Status = Literal["ranked", "gate failed", "not ranked", "control"]


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Extended(_Plain):
    """Base of what boards of owed scores say more of; other boards keep their bytes."""

    only_where_owed: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _leave_out(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialise(self)
        return {
            name: value
            for name, value in fields.items()
            if value or name not in self.only_where_owed
        }


class BoardCell(_Plain):
    """One explainer on one model under one protocol.

    Attributes:
        protocol: Name of the protocol.
        state: State of the cell; ``missing`` where there is no record.
        reason: Reason why it did not pass.
        verdict: Verdict of the protocol.
        score: Score in the protocol's own unit.
        calibrated: Score on the scale from noise to the truth; none at a gate.
        n_subjects: Number of subjects with a score.
        n_asked: Number of subjects with or without one.
        seconds: Time that measuring took.
        forward: Image passes forward.
        backward: Image passes backward.
        identity_sha256: Hash of the record's identity.
    """

    protocol: str
    state: State | Literal["missing"]
    reason: str | None = None
    verdict: VerdictWord | None = None
    score: Number | None = None
    calibrated: Number | None = None
    n_subjects: int = 0
    n_asked: int = 0
    seconds: float | None = None
    forward: int | None = None
    backward: int | None = None
    identity_sha256: str | None = None


class Standing(_Plain):
    """Where an explainer stands among those that are ranked.

    Where scores are owed, the rank is 1 + the number of explainers with a larger total. The
    interval runs from 1 + the number that are surely better to the number ranked minus the number
    that are surely worse. A tie group is those of one interval.

    Attributes:
        rank: 1 + the number of explainers in better tie groups.
        low: Lower end of the interval of the rank by total, over resamples of the subjects.
        high: Upper end of that interval.
        group: Number of its tie group, from 1.
        total: Mean of its calibrated scores.
        mean_rank: Mean of its ranks under each protocol; None where scores are owed.
        rank_by_mean_rank: Competition rank by the former.
    """

    rank: int
    low: int
    high: int
    group: int
    total: Number
    mean_rank: float | None = None
    rank_by_mean_rank: int | None = None


class Gap(_Plain):
    """How much better an explainer does on published data than on data that are kept back.

    Attributes:
        protocol: Name of the protocol.
        published: Score on the published source or marks.
        unpublished: Score on those that are kept back.
        gap: The former minus the latter.
    """

    protocol: str
    published: Number
    unpublished: Number
    gap: Number


class Badge(_Plain):
    """A remark beside a row.

    Attributes:
        name: Name of the badge: ``one group only`` or ``prior``.
        detail: Sentence with the numbers.
    """

    name: str
    detail: str


class OwedRow(_Plain):
    """What a row says more where scores are owed to the network.

    Attributes:
        total: Mean of its scores with chance where it has none; None where it has no total.
        badges: Remarks that leave the rank as it is.
        gaps: Loss where data are kept back, by protocol.
    """

    total: Number | None
    badges: tuple[Badge, ...] = ()
    gaps: tuple[Gap, ...] = ()


class Row(_Extended):
    """One explainer on one model.

    Attributes:
        explainer: Name of the explainer.
        version: Version of its maths.
        config: Settings of the method.
        method: Description of the explainer.
        submitter: Name of whoever measured it.
        tier: Tier of the weakest of its records.
        source_sha256: Hash of its file, where it came as one.
        status: Whether it is ranked.
        reason: Reason why it is not.
        standing: Place in the ranking, if it is ranked.
        cells: A cell for each protocol, in the order of ``Board.protocols``.
        owed: Further content where scores are owed; None on other boards.
        reproduced: Number of its records that are reproduced or more, where others were sampled.
    """

    only_where_owed = ("owed", "reproduced")

    explainer: str
    version: str
    config: dict[str, str | int | float | bool | None]
    method: Method
    submitter: str
    tier: Tier
    source_sha256: str | None
    status: Status
    reason: str | None
    standing: Standing | None
    cells: tuple[BoardCell, ...]
    owed: OwedRow | None = None
    reproduced: int = 0

    @property
    def total(self) -> Number | None:
        """Mean of the calibrated scores, also of what is not ranked; with no interval there.

        Where scores are owed it has its interval wherever there is a total.
        """
        if self.owed is not None:
            return self.owed.total
        if self.standing is not None:
            return self.standing.total
        estimates = [cell.calibrated.estimate for cell in self.cells if cell.calibrated is not None]
        numbers = [estimate for estimate in estimates if estimate is not None]
        if not numbers or len(numbers) < len(estimates):
            return None
        return Number(estimate=sum(numbers) / len(numbers), low=None, high=None)

    @property
    def passes(self) -> int:
        """Image passes, forward and backward, of all protocols together."""
        return sum((cell.forward or 0) + (cell.backward or 0) for cell in self.cells)

    @property
    def seconds(self) -> float:
        """Time of all protocols together."""
        return sum(cell.seconds or 0 for cell in self.cells)


class ProtocolHealth(_Plain):
    """Whether a protocol tells truth from noise on a model; None where a control is missing."""

    protocol: str
    healthy: bool | None
    reason: str


class Comparison(_Plain):
    """What two ranked explainers' scores of the same subjects say of each other.

    Attributes:
        first: Name of one explainer.
        second: Name of the other.
        better: Name of the one that is surely better, going by all comparisons of the model
            together; None where that is open.
        total: Total of the first minus that of the second, with an interval of this pair alone.
        scores: The same difference of scores on published data, by protocol.
    """

    first: str
    second: str
    better: str | None
    total: Number
    scores: dict[str, Number]

    def seen_from(self, explainer: str) -> Comparison:
        """Return the comparison with an explainer as the first."""
        if explainer == self.first:
            return self
        return Comparison(
            first=self.second,
            second=self.first,
            better=self.better,
            total=_negated(self.total),
            scores={name: _negated(number) for name, number in self.scores.items()},
        )


class OwedModel(_Plain):
    """What a section says more where scores are owed to the network.

    Attributes:
        subjects: Number of subjects of each cohort whose scores it holds, by name.
        averaged: Names of the protocols whose mean is the total.
        honest: Explainers whose gaps on data that are kept back are taken for honest.
        comparisons: A comparison of every two ranked explainers, in the order of their ranks.
    """

    subjects: dict[str, int]
    averaged: tuple[str, ...]
    honest: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    def against_others(self, explainer: str) -> list[Comparison]:
        """Return the comparisons of an explainer with all others, with itself as the first."""
        return [
            each.seen_from(explainer)
            for each in self.comparisons
            if explainer in (each.first, each.second)
        ]


class ModelBoard(_Extended):
    """One model on one cohort.

    Attributes:
        cohort: Name of the cohort.
        model: Name of the model.
        cohort_fingerprint: Hash of images, masks and participants.
        weights_sha256: Hash of the model's weights.
        n_subjects: Number of subjects that ranks and totals resample.
        tau: Kendall's τ between ranking by total and by mean rank.
        health: A judgement of each protocol.
        rows: Ranked ones by rank, then those that failed a gate, the others, and controls.
        owed: Further content where scores are owed; None on other boards.
    """

    only_where_owed = ("owed",)

    cohort: str
    model: str
    cohort_fingerprint: str
    weights_sha256: str
    n_subjects: int
    tau: float | None
    health: tuple[ProtocolHealth, ...]
    rows: tuple[Row, ...]
    owed: OwedModel | None = None

    @property
    def key(self) -> str:
        """Address of the model's section and of its folder of figures; names hold no slash."""
        return f"{self.cohort}/{self.model}"

    def truth_is_one(self, index: int) -> bool:
        """Return whether calibrated scores under a protocol reach from noise, 0, to the truth, 1.

        Args:
            index: Index of the protocol in ``Board.protocols``.
        """
        numbers = {row.explainer: row.cells[index].calibrated for row in self.rows}
        return truth_is_one({name: own for name, own in numbers.items() if own is not None})


class BoardProtocol(_Extended):
    """A column of the board.

    Attributes:
        name: Name of the protocol.
        version: Version of its records; several where there are bridges.
        question: Question of the protocol, in a few words.
        statistic: Name of the score.
        direction: Direction that is better.
        gate: Whether it is passed or failed, and never averaged unless it counts.
        owed: Whether its score is what maps owe to the network, with chance at 0.
        counts: Whether a gate enters the total as well.
        beside: Whether its score stands beside the total and never enters it, without being a gate.
    """

    only_where_owed = ("owed", "counts", "beside")

    name: str
    version: str
    question: str
    statistic: str
    direction: Direction
    gate: bool
    owed: bool = False
    counts: bool = False
    beside: bool = False

    @property
    def averaged(self) -> bool:
        """Whether its score enters the total."""
        return self.counts or not (self.gate or self.beside)


class Board(_Plain):
    """Everything that a board shows.

    Attributes:
        schema_version: Version of this format.
        suite: Version of the suite.
        seed: Seed of the suite.
        protocols: Columns: scored protocols before gates, by name.
        models: Models by cohort and name.
        records: Checksum of each record, by its path.
        content: SHA-256 of the former: two boards of one content are the same.
    """

    schema_version: Literal[1] = 1
    suite: str
    seed: int
    protocols: tuple[BoardProtocol, ...]
    models: tuple[ModelBoard, ...]
    records: dict[str, str]
    content: str

    @property
    def owed(self) -> bool:
        """Whether its scores are what maps owe to the network, and ranks are made of those."""
        return any(protocol.owed for protocol in self.protocols)

    @property
    def has_many_cohorts(self) -> bool:
        """Whether a model's name alone does not say which cohort it is on."""
        return len({model.cohort for model in self.models}) > 1

    @property
    def has_later_tiers(self) -> bool:
        """Whether a row has a tier that suite v1 was published without."""
        return any(row.tier in LATER_TIERS for model in self.models for row in model.rows)

    @property
    def ranked(self) -> set[str]:
        """Names of the explainers that are ranked on at least one model."""
        rows = (row for model in self.models for row in model.rows)
        return {row.explainer for row in rows if row.status == "ranked"}

    def to_json(self) -> str:
        """Return the text of ``board.json``."""
        return self.model_dump_json(indent=1) + "\n"


def _negated(number: Number) -> Number:
    turned = number.estimate, number.high, number.low
    estimate, low, high = (None if value is None else 0.0 - value for value in turned)
    return Number(estimate=estimate, low=low, high=high)
