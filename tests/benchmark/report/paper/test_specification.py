"""What the figures of a paper ask for is what protocols read."""

from __future__ import annotations

import pytest

from benchmark.plugins.catalogue import Catalogue
from benchmark.report.paper.specification import FIGURES, FigureSpecification, choices_of
from benchmark.report.paper.values import EXPERIMENT
from protocols import v2


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_ask_for_statistics_that_protocols_declare(figure: FigureSpecification) -> None:
    """If it fails, a statistic has another name and a part of a figure is silently left out."""
    shelf = Catalogue().protocols
    versions = {name: [shelf.find(name).plugin] for name in shelf.names if ":" not in name}
    for name in v2.__all__:
        plugin = getattr(v2, name)
        versions[plugin.name].append(plugin)
    for band in figure.bands:
        for choice in choices_of(band):
            if choice.protocol == EXPERIMENT:
                continue
            known = {own.name for kind in versions[choice.protocol] for own in kind.statistics}
            assert not choice.statistic or choice.statistic in known
