"""What a protocol declares, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from trials import build_trial

from baselines.explainers.gradient import Saliency
from benchmark.errors import PluginError
from benchmark.plugins.catalogue import Catalogue
from benchmark.protocol import ProtocolConfig, SanityProtocol
from benchmark.reading import Reading, Statistic, Verdict, statistic
from benchmark.trial import Retrained, Study
from protocols.randomization import Randomization, RandomizationConfig

SCORE = Statistic("score", "a score", "higher")


class Declaring(SanityProtocol[ProtocolConfig]):
    """Declares as attributes."""

    name = "declaring"
    height = statistic("a height", "higher")
    twin_model = Retrained(seed=7)

    def measure(self, study: Study) -> None:
        """Read zeros."""
        study.read(self.height, np.zeros(len(study.rows)))

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass no judgement."""
        return Verdict("scored", None)


class Again(Declaring):
    """Declares one statistic anew, and another."""

    height = statistic("another height", "lower")
    width = statistic("a width")


class Listing(Declaring):
    """Lists its statistics itself."""

    own = SCORE
    statistics: ClassVar[tuple[Statistic, ...]] = (SCORE, Statistic("q", "a share"))


class Below(Listing):
    """Adds nothing."""


def test_statistics_are_the_attributes_unless_they_are_listed() -> None:
    """If it fails, a protocol reads statistics that no report knows of."""
    assert [one.name for one in Declaring.statistics] == ["height"]
    assert {one.name: one.description for one in Again.statistics} == {
        "height": "another height",
        "width": "a width",
    }
    assert [one.name for one in Listing.statistics] == ["score", "q"]
    assert Below.statistics == Listing.statistics


def test_a_subclass_needs_the_models_of_its_base() -> None:
    """If it fails, its relatives are not trained, and it asks for them in vain."""

    class Variant(Randomization):
        """A variant."""

    assert Again(ProtocolConfig()).needs == (Retrained(seed=7),)
    names = [one.name for one in Variant(RandomizationConfig()).relatives(build_trial(Saliency()))]
    assert names == ["twin", "memorised"]


def test_a_protocol_that_measures_nothing_is_refused_before_it_runs(tmp_path: Path) -> None:
    """If it fails, every cell of it fails, one by one."""
    path = tmp_path / "idle.py"
    path.write_text(
        "from benchmark.protocol import SanityProtocol\n"
        "class Idle(SanityProtocol):\n"
        "    def verdict(self, readings): ...\n"
    )
    with pytest.raises(PluginError, match="must implement measure or readings"):
        Catalogue().protocols.find(f"{path}:Idle")


def test_a_value_goes_to_its_own_subject_whatever_the_order() -> None:
    """If it fails, one subject's value is recorded under another's name."""
    study = Study(build_trial(Saliency()), "declaring")
    study.only(np.array([3, 1])).read(Declaring.height, np.array([30.0, 10.0]))
    (reading,) = study.readings
    assert reading.values[[1, 3]].tolist() == [10.0, 30.0]
    assert np.isnan(reading.values).sum() == len(reading.values) - 2


def test_a_gate_counts_only_where_it_says_so() -> None:
    """If it fails, a gate's score enters a total that it has no place in, or is left out of one."""

    class Gate(Declaring):
        name = "gate"
        gate = True

    class CountedGate(Gate):
        name = "counted_gate"
        gate = True
        counts = True

    class CountedHeir(CountedGate):
        name = "counted_heir"

    counted = [protocol.counts for protocol in (Declaring, Gate, CountedGate, CountedHeir)]
    assert counted == [True, False, True, True]
