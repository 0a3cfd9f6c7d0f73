"""An example of each section: one test subject, bare and under the maps of some methods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmark.explainer import importance
from benchmark.report.figures.image_rows import Tile
from benchmark.report.figures.overlays import choose_rows, cut_tiles
from benchmark.report.paper.sections import Section
from benchmark.results.explained_model import ExplainedModel


@dataclass(frozen=True)
class Example:
    """One test subject of a section, as a figure shows it.

    Attributes:
        group: Name of the subject's group.
        probability: Probability that the model gives this group.
        tiles: Title and picture of the bare image and of each method, all of one shape [h, w].
        aspect: Height of a pixel over its width, both in mm.
        millimetres: Width of a pixel in mm; None where it is not known.
    """

    group: str
    probability: float
    tiles: tuple[tuple[str, Tile], ...]
    aspect: float
    millimetres: float | None

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods whose maps are shown."""
        return tuple(title for title, tile in self.tiles if tile.over is not None)


def find_examples(
    sections: Sequence[Section], explained_models: Iterable[ExplainedModel], methods: Sequence[str]
) -> dict[Section, Example]:
    """Return the example of each section whose maps are at hand.

    It is a case: of those whose probability a report would show, the one in the middle.

    Args:
        sections: Sections of the paper.
        explained_models: Maps and outputs of the models that have some.
        methods: Names of the methods to show; those without maps are left out.
    """
    examples = {}
    for explained in explained_models:
        names = explained.cohort.name, explained.model
        own = [section for section in sections if (section.cohort, section.model) == names]
        shown = [name for name in methods if name in explained.attributions]
        # Of two models of one name nothing says whose the maps are.
        if len(own) == 1 and shown:
            examples[own[0]] = _example_of(explained, shown)
    return examples


def _example_of(explained: ExplainedModel, methods: Sequence[str]) -> Example:
    cohort = explained.cohort
    rows = choose_rows(cohort, explained.evaluation)
    cases = rows[cohort.groups[rows] == 1]
    chosen = cases if len(cases) else rows
    chosen = chosen[len(chosen) // 2 :][:1]
    cut = cut_tiles(cohort, explained.evaluation, chosen)
    bare = Tile(
        cut.images[0],
        outline=cut.rois[0] if cut.rois.any() else None,
        letters=cut.planes.letters[0],
        controls=cut.control_rois[0] if cut.control_rois.any() else None,
    )
    tiles = [("image", bare)]
    for name in methods:
        signed = torch.from_numpy(explained.attributions[name][chosen])
        ranked = importance(signed, explained.polarities[name]).numpy()
        plane = cut.planes.cut(ranked)[0].astype(np.float32)
        tiles.append((name, replace(bare, over=plane)))
    return Example(
        cut.groups[0],
        cut.own_probabilities[0],
        tuple(tiles),
        cut.planes.aspect,
        cut.planes.millimetres,
    )
