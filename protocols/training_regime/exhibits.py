"""What a report shows of `training_regime`: maps over refits, and courses of training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from benchmark.training.regimes import Regime
from benchmark.trial import Study
from benchmark.trial.refits import Refit
from protocols.training_regime.measures import Answers
from protocols.training_regime.refits import Refits

_SHOWN = 3  # refits whose maps a report shows


def _shown_rows(images: Study) -> list[int]:
    """Return the position of the first image of each group."""
    return [int(np.flatnonzero(images.groups == group)[0]) for group in np.unique(images.groups)]


def shown_maps(
    images: Study, regime: Regime, answers: Mapping[int, tuple[Refit, Answers]]
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the maps of a subject of each group on a few refits of a regime."""
    few, rows = list(answers.items())[:_SHOWN], _shown_rows(images)
    return {
        f"{regime} refit {number}": answer.importance[rows].numpy() for number, (_, answer) in few
    }


def shown_courses(
    images: Study, best: Refits, matched: Refits
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the curves [G, R, E] of all refits, the epochs [G, R, 2] taken, and the images."""
    longest = max(len(run.aurocs) for refits in best.values() for run in refits)
    curves = [
        [np.pad(run.aurocs, (0, longest - len(run.aurocs)), constant_values=np.nan) for run in own]
        for own in best.values()
    ]
    epochs = [
        [(run.epoch, other_run.epoch) for run, other_run in zip(own, matched[regime], strict=True)]
        for regime, own in best.items()
    ]
    rows = images.rows[_shown_rows(images)]
    return {
        "keys": np.array([images.trial.test.keys[row] for row in rows]),
        "image": images.trial.test.images[rows],
        "regimes": np.array(list(best)),
        "curves": np.array(curves),
        "epochs": np.array(epochs),
    }
