"""The figures of an experiment in its folder, and the captions that a page shows under them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.records.experiment import ExperimentCard
from benchmark.report.figures import style, training

CAPTIONS = "captions.json"


def draw_figures(folder: Path, card: ExperimentCard) -> None:
    """Draw everything that a card holds curves of, as SVG and PNG, and write the captions.

    Args:
        folder: Empty folder to write into.
        card: Card of an experiment that was validated.
    """
    if card.validation is None:
        return
    course = card.course
    drawings = training.draw_all(
        card.validation,
        course.epochs if course else (),
        course.best if course else None,
        card.recipe.monitor,
    )
    for name, drawing in drawings.items():
        style.save(drawing.figure, folder / name)
    captions = {name: drawing.caption for name, drawing in drawings.items()}
    text = json.dumps(captions, indent=1, ensure_ascii=False) + "\n"
    (folder / CAPTIONS).write_text(text, encoding="utf-8")
