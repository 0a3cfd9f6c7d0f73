"""Images that a report of `concepts` shows: pairs, and the test images most like a concept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmark.arrays import Arrays, FloatArray, ImageArray
from benchmark.concept import Concept
from benchmark.trial import Trial

WITHOUT, WITH, LIKE = "without:", "with:", "like:"
"""What an array shows; the name of the concept follows."""

_PAIRS, _ENDS = 3, 5


def exhibit_of(
    trial: Trial, concepts: Mapping[str, Concept], directions: Mapping[str, FloatArray]
) -> Arrays:
    """Return images to show, each array [n, 1, *S].

    Of each paired concept some images without it and with it; of each concept the five test images
    that lie farthest along its direction, and then the five that lie farthest against it.
    """
    arrays: dict[str, ImageArray] = {}
    test, embeddings = trial.test, trial.evaluation.embeddings
    for name, concept in concepts.items():
        if concept.paired:
            arrays[f"{WITHOUT}{name}"] = concept.absent.images[:_PAIRS]
            arrays[f"{WITH}{name}"] = concept.present.images[:_PAIRS]
        ranked = np.lexsort((np.array(test.keys), -(embeddings @ directions[name])))
        rows = np.concatenate([ranked[:_ENDS], ranked[-_ENDS:]])
        arrays[f"{LIKE}{name}"] = np.asarray(test.images[rows])
    return arrays
