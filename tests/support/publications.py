"""Published records that tests of the board are built from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from runs import build_record

from benchmark.reading import Reading, Sample
from benchmark.records.record import Outcome, Record
from leaderboard.published.fields import Method, Scale
from leaderboard.published.folder import write_records
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import PublishedRecord, publish

PSEUDONYMS = Pseudonyms("test")
SUBJECTS = 40
CONTROLS = ("oracle", "random", "centre")
# Means of the made-up scores: of the truth, of noise, and of methods from the best downwards.
MEANS = {"oracle": 1.0, "random": 0.0, "centre": 0.1, "good": 0.8, "fair": 0.5, "poor": 0.2}
SCALE = Scale(
    question="Is it found?",
    statistic="share",
    direction="higher",
    aggregate="mean",
    gate=False,
    truth_leads=True,
    margin=0.02,
    tolerance=1e-6,
    device_tolerance=1e-2,
)
GATE = SCALE.model_copy(update={"gate": True, "truth_leads": False, "question": "Does it notice?"})


def method_of(explainer: str, title: str = "") -> Method:
    """Return what a board would say of a made-up explainer."""
    control = explainer in CONTROLS
    return Method(
        title=title or explainer,
        family="control" if control else "gradient",
        paper="",
        control=control,
        polarity="absolute",
    )


def scores_of(explainer: str, protocol: str, subjects: int = SUBJECTS) -> npt.NDArray[np.float64]:
    """Return scores of subjects, easy ones easy for all explainers."""
    easy = np.random.default_rng(7).normal(0, 0.3, subjects)
    own = np.random.default_rng(sum(map(ord, explainer + protocol))).normal(0, 0.05, subjects)
    return MEANS[explainer] + easy * (explainer != "random") + own


def published(
    explainer: str = "good",
    protocol: str = "loading",
    model: str = "tiny_model",
    values: Sequence[float] | None = None,
    scale: Scale = SCALE,
    record: Record | None = None,
) -> PublishedRecord:
    """Return the published record of a cell."""
    return with_sidecar(explainer, protocol, model, values, scale, record)[0]


def with_sidecar(
    explainer: str = "good",
    protocol: str = "loading",
    model: str = "tiny_model",
    values: Sequence[float] | None = None,
    scale: Scale = SCALE,
    record: Record | None = None,
) -> tuple[PublishedRecord, bytes | None]:
    """Return the published record of a cell, and its sidecar."""
    if record is None:
        made = scores_of(explainer, protocol) if values is None else np.asarray(values, float)
        word = "pass" if explainer not in ("random", "centre") else "fail"
        outcome = Outcome("scored", None if word == "pass" else "no better", word, _readings(made))
        record = build_record(explainer, made.tolist(), protocol=protocol, model=model)
        record = Record.seal(
            record.identity, record.names, outcome, record.provenance, record.resources
        )
    return publish(record, method_of(explainer), scale, PSEUDONYMS, "the tests")


def without(explainer: str, protocol: str, state: str, model: str = "tiny_model") -> Record:
    """Return the record of a cell that was not scored."""
    outcome = Outcome(state, "it needs spatial feature maps")  # type: ignore[arg-type]
    return build_record(explainer, protocol=protocol, model=model, outcome=outcome)


def many(
    explainers: tuple[str, ...] = tuple(MEANS),
    protocols: tuple[str, ...] = ("loading", "sitting"),
    gates: tuple[str, ...] = ("noticing",),
) -> list[PublishedRecord]:
    """Return a record of every explainer under every protocol and gate, on one model."""
    return list(_many(explainers, protocols, gates))


@lru_cache(maxsize=4)
def _many(
    explainers: tuple[str, ...], protocols: tuple[str, ...], gates: tuple[str, ...]
) -> tuple[PublishedRecord, ...]:
    return (
        *(published(one, protocol) for one in explainers for protocol in protocols),
        *(published(one, gate, scale=GATE) for one in explainers for gate in gates),
    )


def sealed(record: PublishedRecord, **changes: object) -> PublishedRecord:
    """Return a record with other fields, and the checksum that they have."""
    fields = {name: getattr(record, name) for name in PublishedRecord.model_fields}
    del fields["checksum"]
    return PublishedRecord.seal(**fields | changes)


def in_version(record: PublishedRecord, version: str = "1.9", shift: float = 0) -> PublishedRecord:
    """Return a record as another version of its protocol would have it."""
    protocol = record.identity.protocol.model_copy(update={"version": version})
    identity = record.identity.model_copy(update={"protocol": protocol})
    scores = tuple(
        (*row[:3], None if row[3] is None else round(row[3] + shift, 6), row[4])
        for row in record.scores
    )
    return sealed(record, identity=identity, scores=scores, readings=None)


def write_two_versions(folder: Path, records: Iterable[PublishedRecord], shift: float = 0) -> None:
    """Write records into ``older``, and as another version has them into ``newer``."""
    bare = [sealed(record, readings=None) for record in records]
    write_records(folder / "older", [(record, None) for record in bare])
    others = [in_version(record, shift=shift) for record in bare]
    write_records(folder / "newer", [(record, None) for record in others])


def failing(record: PublishedRecord) -> PublishedRecord:
    """Return the record as it were had the explainer failed."""
    return sealed(record, verdict="fail", reason="nothing was learned")


def _readings(values: npt.NDArray[np.float64]) -> list[Reading]:
    keys = tuple(f"s{row:03}" for row in range(len(values)))
    sample = Sample(keys, keys, tuple(row % 2 for row in range(len(values))))
    first = Reading("share", sample, values)
    return [first, replace(first, statistic="excess", values=values - 0.1)]
