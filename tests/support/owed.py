"""Published records of scores that are owed to the network: what a board of suite v2 is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from runs import PROVENANCE, RESOURCES

from benchmark.reading import Reading, Sample
from benchmark.records.identity import Identity, Names, PluginIdentity, sha256_of
from benchmark.records.record import Outcome, Record
from leaderboard.published.fields import Method, Scale
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.published.unpublished import Unpublished

PSEUDONYMS = Pseudonyms("test")
SUBJECTS, MODEL = 64, "phantom2_resnet"
ON_PHANTOM = ("agreement", "delta_t", "positive_control", "roi_pointing")
AVERAGED = (*ON_PHANTOM, "known_source")
CONTROLS = ("oracle", "random", "centre")
# Scores under agreement, delta_t, positive_control, roi_pointing and known_source, about as they
# were measured on prototypes.
MEANS: dict[str, tuple[float, ...]] = {
    "saliency": (0.79, 0.66, 0.05, 0.36, 0.22),
    "input_x_gradient": (0.78, 0.67, 0.05, 0.27, 0.14),
    "lrp_composite": (0.43, 0.37, 0.33, 0.13, 0.19),
    "guided_backprop": (0.49, 0.42, 0.11, 0.14, 0.12),
    "gradcampp": (0.18, 0.21, 0.35, 0.07, 0.10),
    "gradcam": (0.19, 0.17, 0.27, 0.07, 0.10),
    "oracle": (0.77, 0.89, 1.0, 1.0, 1.0),
    "random": (0.0, 0.0, 0.0, 0.0, 0.0),
    "centre": (-0.01, -0.03, 0.0, 0.0, 0.0),
}
SCALE = Scale(
    question="Is it found?",
    statistic="own",
    direction="higher",
    aggregate="studentised",
    gate=False,
    truth_leads=False,
    margin=0.02,
    tolerance=1e-6,
    device_tolerance=1e-2,
    chance="own",
    owed=True,
)
SCALES = {
    "positive_control": SCALE.model_copy(update={"gate": True, "counts": True}),
    "randomization": SCALE.model_copy(update={"gate": True, "owed": False, "chance": "twin"}),
    "edit_reach": SCALE.model_copy(update={"beside": True}),
}


def sample_of(count: int = SUBJECTS, prefix: str = "s") -> Sample:
    """Return a sample of subjects, one image each."""
    keys = tuple(f"{prefix}{row:03}" for row in range(count))
    return Sample(keys, keys, tuple(row % 2 for row in range(count)))


def values_of(explainer: str, protocol: str) -> npt.NDArray[np.float64]:
    """Return values whose mean is that of the table, easy subjects easy for all."""
    mean = (*MEANS.get(explainer, (0.3,) * 5), 0.8)[(*AVERAGED, "randomization").index(protocol)]
    if explainer == "centre" and mean == 0:
        return np.zeros(SUBJECTS)
    easy = np.random.default_rng(len(protocol)).normal(0, 0.15, SUBJECTS)
    own = np.random.default_rng(sum(map(ord, explainer + protocol))).normal(0, 0.1, SUBJECTS)
    spread = 0.3 * own if explainer == "random" else easy * (mean > 0.02) + own
    values: npt.NDArray[np.float64] = mean + spread - spread.mean()
    return values


def owed_record(
    explainer: str,
    protocol: str,
    values: Sequence[float] | npt.NDArray[np.float64] | None = None,
    *,
    outcome: Outcome | None = None,
    cohort: str | None = None,
    config: Mapping[str, object] | None = None,
    by_group: tuple[float, float] | None = None,
    suite: str = "v2",
) -> PublishedRecord:
    """Return the published record of a cell of suite v2.

    Args:
        explainer: Name of the explainer.
        protocol: Name of the protocol; ``known_source`` is of the cohort ``sources``, which joins.
        values: A value per subject; those of ``values_of`` unless given.
        outcome: How the cell ended, if it was not scored and did not pass.
        cohort: Name of the cohort, if another.
        config: Settings of the protocol.
        by_group: Means that the protocol reads in either group.
        suite: Version of the suite.
    """
    own = "sources" if protocol == "known_source" else "phantom2"
    name = cohort or own
    made = values_of(explainer, protocol) if values is None else np.asarray(values, float)
    sample = sample_of(len(made), "s" if name == "phantom2" else "t")
    scale = SCALES.get(protocol, SCALE)
    readings = [Reading(scale.statistic, sample, made)]
    for group, mean in enumerate(by_group or ()):
        own_rows = np.asarray(sample.groups) == group
        values_of_group = np.where(own_rows, mean, np.nan)
        readings.append(Reading(scale.statistic, sample, values_of_group, {"group": "AB"[group]}))
    if outcome is None:
        failed = explainer in ("random", "centre")
        reason = "no more than chance" if failed else None
        outcome = Outcome("scored", reason, "fail" if failed else "pass", readings)
    identity = Identity(
        suite=suite,
        cohort_fingerprint=sha256_of(name),
        weights_sha256=sha256_of(MODEL),
        explainer=PluginIdentity(name=explainer, version="1.0", config={}),
        protocol=PluginIdentity(name=protocol, version="2.0", config=dict(config or {})),
        seed=0,
    )
    names = Names(cohort=name, model=MODEL, explainer=explainer, protocol=protocol)
    record = Record.seal(identity, names, outcome, PROVENANCE, RESOURCES)
    method = Method(
        title=explainer,
        family="control" if explainer in CONTROLS else "gradient",
        paper="",
        control=explainer in CONTROLS,
        polarity="absolute",
    )
    joins = None if name == "phantom2" else "phantom2"
    return publish(record, method, scale, PSEUDONYMS, "the tests", joins=joins)[0]


@lru_cache(maxsize=2)
def owed_records(explainers: tuple[str, ...] = tuple(MEANS)) -> tuple[PublishedRecord, ...]:
    """Return the records of a section: every explainer under every protocol."""
    protocols = (*AVERAGED, "randomization")
    return tuple(owed_record(name, protocol) for name in explainers for protocol in protocols)


def but(records: Sequence[PublishedRecord], *others: PublishedRecord) -> list[PublishedRecord]:
    """Return the records with others in the place of those of the same cells."""
    paths = {record.path for record in others}
    return [*(record for record in records if record.path not in paths), *others]


def without(
    records: Sequence[PublishedRecord], explainer: str, *protocols: str
) -> list[PublishedRecord]:
    """Return the records without those of an explainer under some protocols, or under all."""
    return [
        record
        for record in records
        if record.names.explainer != explainer
        or (protocols and record.names.protocol not in protocols)
    ]


def kept_back(
    loss: Mapping[str, float] | None = None, honest: tuple[str, ...] = ("saliency", "gradcam")
) -> Unpublished:
    """Return records of ``known_source`` on a source that is kept back, and of two other marks.

    Args:
        loss: By explainer, how much lower its source is there; 0.02 unless given.
        honest: Explainers whose loss is taken for honest.
    """
    records = []
    for name in MEANS:
        lower = (loss or {}).get(name, 0.0 if name in CONTROLS else 0.02)
        hidden = values_of(name, "known_source") - lower
        cell = {"cohort": "hidden_thalamus", "suite": "v2-hidden"}
        records.append(owed_record(name, "known_source", hidden, **cell))
        other, marks = values_of(name, "positive_control"), {"marks": ["secret"]}
        records.append(
            owed_record(name, "positive_control", other, config=marks, suite="v2-hidden")
        )
    return Unpublished(tuple(records), honest)
