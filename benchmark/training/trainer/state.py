"""The state of a training, which it can go on from after a kill."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from benchmark.arrays import Arrays
from benchmark.errors import InputError
from benchmark.training.regimes import Epoch


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on after an epoch as if it had never been interrupted.

    Random numbers are named by the epoch, so there is no state of a generator to keep.

    Attributes:
        training: SHA-256 of network, cohort and recipe; a state belongs to one training.
        weights: Parameters and buffers of what is trained, after the last epoch.
        best: The same after the best epoch.
        optimiser: Moments and steps of AdamW, as ``"INDEX/NAME"``.
        epochs: Epochs so far.
    """

    training: str
    weights: Arrays
    best: Arrays
    optimiser: Arrays
    epochs: tuple[Epoch, ...]

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the state as arrays by name, to be written to a file."""
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "training": np.frombuffer(self.training.encode(), dtype=np.uint8).copy(),
            "epochs": np.array([astuple(epoch) for epoch in self.epochs], dtype=np.float64),
        }
        for folder in ("weights", "best", "optimiser"):
            for name, array in getattr(self, folder).items():
                arrays[f"{folder}/{name}"] = array
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> TrainingState:
        """Return the state that ``to_arrays`` gave.

        Raises:
            InputError: If the arrays are not those of a state.
        """
        folders: dict[str, dict[str, npt.NDArray[np.generic]]] = {
            folder: {
                name.removeprefix(f"{folder}/"): np.array(array)
                for name, array in arrays.items()
                if name.startswith(f"{folder}/")
            }
            for folder in ("weights", "best", "optimiser")
        }
        try:
            training = np.asarray(arrays["training"], dtype=np.uint8).tobytes().decode()
            epochs = tuple(
                Epoch(int(number), *map(float, values))
                for number, *values in np.asarray(arrays["epochs"], dtype=np.float64).tolist()
            )
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"This is no state of a training: 'training' and 'epochs' are needed, but it has "
                f"{', '.join(sorted(arrays)[:5]) or 'nothing'}."
            ) from error
        return cls(training, epochs=epochs, **folders)
