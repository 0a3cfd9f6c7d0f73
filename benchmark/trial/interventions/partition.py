"""The foreground cut into cells, and what altering each of them alone does to a model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from benchmark.arrays import FloatArray, Rows
from benchmark.maps.partition import cut
from benchmark.seeding import stream
from benchmark.trial.memory import Keeping, kept_or, remembered
from benchmark.trial.removal import imputers, respond, substitutes
from benchmark.trial.trial import Trial


@remembered(keeping=Keeping("1"))
def regions_of(trial: Trial, rows: Rows, count: int) -> npt.NDArray[np.signedinteger]:
    """Return the cells of test images, [n, *S]; the same for every explainer and model."""
    test, spacing, cuts = trial.test, trial.cohort.geometry.spacing, []
    for row in rows:
        generator = stream(trial.runtime.suite, "regions", test.keys[row])
        cells = cut(test.anatomy.foreground[row, 0], count, generator, spacing)
        cuts.append(cells.astype(np.min_scalar_type(-count)))  # kept as long as the process runs
    return np.stack(cuts)


@remembered(by_model=True)
def effects_of(trial: Trial, rows: Rows, count: int, substitute: str | None = None) -> FloatArray:
    """Return the drop of s·φ in units of T when each cell alone is altered, [n, count].

    Args:
        trial: Model and cohort.
        rows: [n] test rows.
        count: Number of cells that each foreground is cut into.
        substitute: Substitute for the content of a cell, by its name among ``substitutes``; the
            cohort's default imputer if None.
    """
    regions = regions_of(trial, rows, count)
    imputer = next(iter(imputers(trial).values()))
    if substitute is not None:
        imputer = substitutes(trial)[substitute]

    def compute() -> dict[str, npt.NDArray[np.generic]]:
        numbers = torch.arange(count).view(1, -1, *[1] * (regions.ndim - 1))

        def masks(chunk: slice) -> torch.Tensor:
            return torch.from_numpy(regions[chunk])[:, None] == numbers

        return {"drops": respond(trial, rows, masks, imputer).drops}

    identity = "\n".join(
        (
            f"region effects of {count} under {imputer.name} in {trial.runtime.suite}",
            trial.cohort.fingerprint,
            trial.model_identity,
            *(trial.test.keys[row] for row in rows),
        )
    )
    return kept_or(trial.runtime.archive, identity, compute)["drops"].astype(np.float64)
