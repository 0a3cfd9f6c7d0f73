"""What `positive_control` reads of each arm and strength, on the model and on its maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.maps.ranking import a_few_each, rank_pixels
from benchmark.reading import Condition, Reading, Sample
from benchmark.seeding import seed_of
from benchmark.statistics.significance import swap_p
from benchmark.target import Projection
from benchmark.trial import Study, Trial, remembered
from benchmark.trial.study import Conditions
from protocols.positive_control.arms import Arm, probed, restored_shares, sites_of
from protocols.positive_control.planting import SITE, Strength, edge_artefact, truths
from protocols.positive_control.site_scores import above_decoys, restoring_masks, site_scores
from protocols.positive_control.statistics import (
    NONE,
    PROBE,
    TUNED,
    ZERO,
    PositiveControlConfig,
    PositiveControlStatistics,
)

CONTRAST = "contrast"
_SHOWN = 2
# A multiple of the images that are altered and embedded together, which decide the last bits.
_RESTORED_AT_ONCE = 32
_ROUNDING = 1e-5  # of a map's largest value, and below it a difference is none


def read_arm(study: Study, arm: Arm, strength: Strength | None, permutations: int) -> None:
    """Read how well an arm tells planted from clean images, of all test images.

    The square of zeros, whose ``strength`` is None, gets no p-value.
    """
    measured, name = PositiveControlStatistics, ZERO if strength is None else strength.name
    where: dict[str, Condition] = {"arm": arm.name, "strength": name}
    people = study.sample
    groups = (0,) * arm.pairs + (1,) * arm.pairs
    both = Sample(tuple(arm.trial.test.keys), people.subjects * 2, groups)
    right = ((arm.margins > 0) == np.array(groups, dtype=bool)).astype(float)
    study.note(
        Reading(measured.auroc.name, both, arm.margins, where),
        Reading(measured.accuracy.name, both, right, where),
    )
    study.read(measured.group_distance, arm.distances, where)
    evaluation = arm.trial.evaluation
    study.constant(measured.group_distance_squared, evaluation.group_distance**2, where)
    if strength is not None:
        clean, planted = evaluation.embeddings[: arm.pairs], evaluation.embeddings[arm.pairs :]
        seed = seed_of(study.trial.runtime.suite, "swap", arm.name, strength.name)
        p = swap_p(clean, planted, people.keys, permutations=permutations, seed=seed)
        study.constant(measured.permutation_p, p, where)


def read_edge_artefact(images: Study, arm: Arm, strength: str) -> None:
    """Read how much of an edge the alteration leaves."""
    values = _edge_artefacts(arm.trial, images.rows, arm.pairs)
    measured = PositiveControlStatistics.edge_artefact
    images.read(measured, values, {"strength": strength}, reasons={})


def read_tuned(images: Study, arm: Arm, strength: str, config: PositiveControlConfig) -> Tensor:
    """Score planted images' maps on the model tuned to them; return their importance."""
    ranked = images.ranked(arm.trial.draw(arm.pairs + images.rows))
    of_strength = images.of(images.rows)
    _read_sites(of_strength, ranked, arm, config, {"arm": TUNED, "strength": strength})
    images.reasons |= of_strength.reasons
    _read_restored(images, ranked, strength, arm, config)
    return ranked


def read_frozen(
    images: Study, arm: Arm, strength: str, config: PositiveControlConfig, *, last: bool
) -> None:
    """Score maps of the group projection on the frozen model, and their paired contrast.

    With the last strength the maps of the clean images are scored as well.
    """
    rows, trial = images.rows, arm.trial
    direction = torch.from_numpy(trial.evaluation.direction).float()
    both = np.concatenate([rows, arm.pairs + rows])
    maps = trial.draw(both, [Projection(direction, sign=-1)] * len(both))
    clean, planted = maps[: len(rows)], maps[len(rows) :]
    difference = planted - clean
    # Where the signal changes nothing, rounding is left, and would be ranked like a map.
    largest = torch.maximum(planted.abs(), clean.abs()).flatten(1).amax(1)
    floor = _ROUNDING * largest.view(-1, *[1] * (maps.ndim - 1))
    contrast = torch.where(difference.abs() > floor, difference, 0.0)
    arms = [(planted, PROBE, strength), (contrast, CONTRAST, strength)]
    if last:
        arms.append((clean, PROBE, NONE))
    for signed, name, planted_at in arms:
        ranked = images.ranked(signed)
        _read_sites(images.of(rows), ranked, arm, config, {"arm": name, "strength": planted_at})


def shown_rows(images: Study) -> Rows:
    """Return the test rows of the two subjects that a report shows."""
    return images.rows[:: max(1, len(images.rows) // _SHOWN)][:_SHOWN]


def planted_arrays(
    images: Study, arms: Sequence[Arm], maps: Sequence[Tensor], config: PositiveControlConfig
) -> dict[str, npt.NDArray[np.generic]]:
    """Return two subjects' images beside their importance [n, 1, *S] on each tuned model."""
    rows = shown_rows(images)
    zero = probed(images.trial, None)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "keys": np.array([images.trial.test.keys[row] for row in rows]),
        "clean": images.trial.test.images[rows],
        ZERO: zero.trial.test.images[zero.pairs + rows],
        "truth": arms[0].trial.test.anatomy.rois[SITE][rows],
    }
    for strength, arm, ranked in zip(config.strengths, arms, maps, strict=True):
        arrays[f"image {strength.name}"] = arm.trial.test.images[arm.pairs + rows]
        arrays[f"map {strength.name}"] = ranked.numpy()
    return arrays


def _read_sites(
    images: Study, ranked: Tensor, planted: Arm, config: PositiveControlConfig, where: Conditions
) -> None:
    """Score importance [n, 1, *S] against the sites of the test rows."""
    truth = torch.from_numpy(planted.trial.test.anatomy.rois[SITE][images.rows])
    images.note_unrankable(ranked)
    sites, shape = _decoy_sites(images.trial, config.decoys), images.trial.cohort.shape
    spacing = images.trial.cohort.geometry.spacing
    above, scored = [], []
    # A few images at a time, since what is made of a map takes twenty times its memory.
    rows = torch.from_numpy(images.rows)
    for few, site, inside, of_few in a_few_each(ranked, truth, images.foreground, rows):
        order = rank_pixels(few, inside)
        others = [torch.from_numpy(truths(places[of_few.numpy()], shape)) for places in sites]
        above.append(above_decoys(few, site, others, inside, order))
        if where["strength"] != NONE:
            scores = site_scores(few, site, inside, config.quantiles, spacing, order)
            scored.append(list(scores))
    images.read(PositiveControlStatistics.ap_above_decoys, np.concatenate(above), where)
    for parts in zip(*scored, strict=True):
        measured, _, at = parts[0]
        images.read(measured, np.concatenate([values for _, values, _ in parts]), {**where, **at})


def _read_restored(
    images: Study, ranked: Tensor, strength: str, arm: Arm, config: PositiveControlConfig
) -> None:
    """Put clean pixels back at the top of the map, and read which share of T goes."""
    rankable, ranked = images.rankable(ranked)
    if not len(rankable.rows):
        return
    # A few images at a time, since the masks take several times the memory of their maps.
    parts = [
        restored_shares(
            arm, few.rows, images.rows, _restoring_masks(few, maps, strength, arm, config)
        )
        for few, maps in _a_few_each(rankable, ranked)
    ]
    shares = np.concatenate(parts)
    steps, measured = 1 + len(config.quantiles), PositiveControlStatistics
    by_random = shares[:, steps:].reshape(-1, steps, config.repeats).mean(2)
    arms = {"map": shares[:, :steps], "random": by_random}
    above = shares[:, :steps] - by_random
    for name, values in arms.items():
        rankable.read(measured.restored, values.mean(1), {"strength": strength, "arm": name})
    quantiles: tuple[Condition, ...] = (SITE, *config.quantiles)
    for column, q in enumerate(quantiles):
        at: dict[str, Condition] = {"strength": strength, "q": q}
        for name, values in arms.items():
            rankable.read(measured.restored, values[:, column], {**at, "arm": name})
        rankable.read(measured.restored_above_random, above[:, column], at)
    rankable.read(measured.restored_above_random, above.mean(1), {"strength": strength})


def _a_few_each(images: Study, ranked: Tensor) -> Iterator[tuple[Study, Tensor]]:
    starts = range(0, len(images.rows), _RESTORED_AT_ONCE)
    for part in (slice(start, start + _RESTORED_AT_ONCE) for start in starts):
        yield images.only(images.rows[part]), ranked[part]


def _restoring_masks(
    images: Study, ranked: Tensor, strength: str, arm: Arm, config: PositiveControlConfig
) -> Tensor:
    """Return the tops of maps, then the random masks of each, [n, (1 + Q)(1 + R), *S]."""
    ties, moves = (images.streams(strength, after=(use,)) for use in ("ties", "restored"))
    tops, random = restoring_masks(
        ranked,
        torch.from_numpy(arm.trial.test.anatomy.rois[SITE][images.rows]),
        images.foreground,
        config.quantiles,
        list(zip(ties, moves, strict=True)),
        config.repeats,
    )
    return torch.cat([tops, random.flatten(1, 2)], dim=1)


@remembered()
def _edge_artefacts(trial: Trial, rows: Rows, pairs: int) -> FloatArray:
    images, anatomy = trial.test.images, trial.test.anatomy
    truth, foreground = anatomy.rois[SITE][rows], anatomy.foreground[rows]
    return edge_artefact(images[rows], images[pairs + rows], truth, foreground)


@remembered()
def _decoy_sites(trial: Trial, count: int) -> list[npt.NDArray[np.int64]]:
    """Return sites in the test images drawn as the true ones, with no signal, each [N, len(S)]."""
    return [sites_of(trial, "test", f"decoy {number}") for number in range(count)]
