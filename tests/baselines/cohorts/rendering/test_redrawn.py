"""New test subjects of the generated cohorts: other people, asked of the same networks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from baselines.cohorts import phantom, phantom2, sources
from baselines.cohorts.hippocampus import Hippocampus
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import CohortError
from benchmark.plugins.cohort_checks import refuse_contradictions

SEEDS = {
    phantom.Phantom: phantom.SEED,
    phantom2.Phantom2: phantom2.SEED,
    sources.Sources: sources.SEED,
}
GENERATED = pytest.mark.parametrize("source", SEEDS, ids=lambda source: source.name)


@cache
def pair(source: type[CohortSource]) -> tuple[Cohort, Cohort]:
    drawn = source().draw(5)
    assert drawn is not None
    return source().load(), drawn


@GENERATED
def test_networks_keep_what_they_were_trained_on_and_meet_new_people(
    source: type[CohortSource],
) -> None:
    """If it fails, a network is asked about other labels than it learned, or about known people."""
    own, drawn = pair(source)
    refuse_contradictions(drawn)
    assert own.fingerprint != drawn.fingerprint
    assert own.select("train").fingerprint == drawn.select("train").fingerprint
    before, after = own.select("test"), drawn.select("test")
    assert len(before) == len(after)
    assert not set(before.keys) & set(after.keys)
    rows = set(map(bytes, before.images.reshape(len(before), -1)))
    assert not rows & set(map(bytes, after.images.reshape(len(after), -1)))


@GENERATED
def test_new_people_are_as_the_published_ones_are(source: type[CohortSource]) -> None:
    """If it fails, honest methods score otherwise on a draw, and are called cheats."""
    before, after = (cohort.select("test") for cohort in pair(source))
    sizes = [
        {name: roi.sum((1, 2, 3)) for name, roi in cohort.anatomy.rois.items()}
        for cohort in (before, after)
    ]
    floats = before.participants.select_dtypes("float").columns
    columns = [
        {name: cohort.participants[name].to_numpy() for name in floats}
        for cohort in (before, after)
    ]
    first, second = (sizes[side] | columns[side] for side in (0, 1))
    for name, values in first.items():
        error = np.sqrt((values.var() + second[name].var()) / len(values))
        assert abs(values.mean() - second[name].mean()) < 3.5 * error, name
    assert (before.partners is None) == (after.partners is None)
    assert abs(after.groups.mean() - before.groups.mean()) < 0.15


@GENERATED
def test_the_seed_of_the_published_people_is_no_draw(source: type[CohortSource]) -> None:
    """If it fails, a method that looked up the published people is held against them again."""
    with pytest.raises(CohortError, match="published subjects"):
        source().draw(SEEDS[source])


def test_real_people_cannot_be_drawn_again() -> None:
    """If it fails, a draw of real images is made up."""
    assert Hippocampus().draw(5) is None
