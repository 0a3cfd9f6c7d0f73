"""Signed maps of φ: for the network on trial, and for randomised copies with the same direction.

They are drawn once for each model and method, and all protocols share them. They have a key of
their own, since the maps that other protocols rank explain the own group's margin. Magnitudes
would leak anatomy: on copies with random weights |a| differs between the groups where the anatomy
does, though nothing was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import Rows
from benchmark.errors import SanityError, StoreError, short_message
from benchmark.explainer import Control
from benchmark.trial.maps import archived_maps
from benchmark.trial.models import RANDOM_COPIES
from benchmark.trial.projection.group_axis import GroupAxis, group_axis
from benchmark.trial.trial import Trial


@dataclass(frozen=True)
class SignedMaps:
    """Signed maps of φ, of the same images.

    Attributes:
        own: [n, 1, *S] float32 maps for the network on trial.
        copies: Maps for each fully randomised copy, by its number, explained along the direction of
            the trained network, so that nothing in them is learned.
        left_out: Reason why a copy has no maps, by its number.
    """

    own: Tensor
    copies: Mapping[int, Tensor]
    left_out: Mapping[int, str]


def signed_maps(trial: Trial, rows: Rows) -> SignedMaps:
    """Return the maps of φ of some test rows.

    A row that was drawn before is not drawn again, so protocols may ask for rows that overlap.

    Raises:
        NotAssessableError: If there is no direction; see ``group_axis``.
        UnsupportedError: If the explainer cannot explain this model or cohort.
        AttributionError: If it broke its contract on the network on trial.
    """
    axis = group_axis(trial)
    own = _maps_of(trial, axis, rows)
    copies: dict[int, Tensor] = {}
    left_out: dict[int, str] = {}
    for copy in range(RANDOM_COPIES):
        if isinstance(trial.explainer, Control) and not trial.explainer.redrawn:
            copies[copy] = own  # it looks at no network
            continue
        try:
            copies[copy] = _maps_of(trial.randomised(copy), axis, rows, trial)
        except (StoreError, torch.OutOfMemoryError):
            raise
        except SanityError as error:
            left_out[copy] = str(error)
        except Exception as error:  # a third party's method may raise anything on such a network
            left_out[copy] = short_message(error)
    return SignedMaps(own, copies, left_out)


def _maps_of(model: Trial, axis: GroupAxis, rows: Rows, keeper: Trial | None = None) -> Tensor:
    """Return maps of rows for one network; ``keeper`` has the archive where the network's has none.

    Maps that were drawn are in memory by row; what is missing is drawn, and archived, together.
    """
    key = ("maps", model.explainer_identity, "of phi", axis.sha256, model.model_identity)
    drawn = model.once(key, dict[int, Tensor])
    missing = np.array([row for row in rows.tolist() if row not in drawn], dtype=np.int64)
    if len(missing):
        maps = archived_maps(
            model,
            missing,
            ("maps of phi", axis.sha256),
            lambda rows: model.draw(rows, axis.targets_of(rows)),
            (keeper or model).runtime.archive,
        )
        drawn.update(zip(missing.tolist(), maps, strict=True))
        if len(missing) == len(rows):
            return maps  # those in memory, since a copy of volumes is large
    return torch.stack([drawn[row] for row in rows.tolist()])
