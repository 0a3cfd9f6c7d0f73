"""Types of the arrays that every room speaks of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

ImageArray = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[np.generic]]
