"""The contracts of sources of models and of cohorts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.classifier.proofs import NetworkProofs
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import ClassifierError, CohortError, SanityError
from benchmark.model_source import ModelSource
from benchmark.plugins.clause import Broken, Contract, clause
from benchmark.plugins.cohort_checks import refuse_contradictions, scored_splits, small_group
from benchmark.plugins.examples import build_cohort

# These shapes are tried in turn, since a model does not declare which ones it takes.
_SHAPES = ((96, 96), (224, 224), (64, 64), (32, 32), (32, 32, 32), (64, 64, 64), (96, 96, 96))
_IMAGES, _FEW = 3, 8


class ModelContract(Contract[ModelSource]):
    """The clauses that every source of a classifier is held to."""

    @clause(
        "`load(input_shape)` returns a classifier for some shape of image or volume",
        "Return a benchmark.classifier.Classifier, and raise ClassifierError for shapes that the "
        "network cannot take.",
        basis=True,
    )
    def loading(self) -> str | None:  # noqa: D102
        classifier, _ = self._loaded()
        shape = ", ".join(["B", *map(str, classifier.maps_shape)])
        names = ", ".join(stage.name for stage in classifier.stages)
        return f"feature maps [{shape}] for {list(classifier.input_shape)}; stages {names}"

    @clause(
        "the same weights come every time, also after fitting",
        "Load a file, or draw under a seed of your own; what is random would change every score's "
        "identity.",
    )
    def repeatability(self) -> None:  # noqa: D102
        (first, _), (second, _) = self._loaded(), self._loaded()
        if first.weights_sha256 != second.weights_sha256:
            raise Broken("two calls give other weights")

    @clause(
        "a pass gives the same every time, and leaves images, network and random state alone",
        "An explanation must be one of the network that is scored, on the images that it is given.",
        basis=True,
    )
    def passes(self) -> None:  # noqa: D102
        with _refusing():
            self._proofs.check_traces()
            self._proofs.check_repetition()

    @clause(
        "logits are finite and depend on the image",
        "Look at `preprocessing`: images come grey and in [0, 1].",
    )
    def logits(self) -> None:  # noqa: D102
        with _refusing():
            remarks = self._proofs.check_values(), self._proofs.check_gradient()
        _break_on(*remarks)

    @clause(
        "the head gives logits, not probabilities",
        "Leave out softmax or sigmoid: margins and gradients are taken of logits.",
    )
    def head(self) -> None:  # noqa: D102
        _break_on(self._proofs.check_head())

    @clause(
        "an image's logits do not depend on the rest of its batch",
        "Whatever is computed over a batch makes a map depend on its neighbours.",
    )
    def independence(self) -> None:  # noqa: D102
        with _refusing():
            self._proofs.check_independence()

    @clause(
        "copies stand by themselves, and the streamlined one gives the network's logits",
        "Hold layers and constants as modules, parameters and buffers.",
    )
    def copies(self) -> str | None:  # noqa: D102
        with _refusing():
            self._proofs.check_copies()
            return self._proofs.check_streamlined()

    @clause(
        "every part can be randomised",
        "Hold parameters in layers that torch knows how to draw, in trunk or head.",
    )
    def randomisation(self) -> str | None:  # noqa: D102
        classifier, images = self._loaded()
        if not classifier.randomised(0, images)(images[:_IMAGES])[0].isfinite().all():
            raise Broken("logits of the randomised model are not finite")
        return None

    @cached_property
    def _proofs(self) -> NetworkProofs:
        classifier, images = self._loaded()
        return NetworkProofs(classifier, images[:_IMAGES])

    def _loaded(self) -> tuple[Classifier, Tensor]:
        """Return the fitted classifier of the first shape that it takes, and images for it."""
        source = self.build()
        refusal: SanityError | None = None
        for shape in _SHAPES:
            try:
                classifier = source.load(shape)
            except SanityError as error:
                refusal = refusal or error
                continue
            if not isinstance(classifier, Classifier):
                raise Broken(f"it returns {type(classifier).__name__}")
            cohort = build_cohort(shape)
            return source.fit(classifier, cohort), cohort.batch(np.arange(_FEW)).images
        raise Broken(str(refusal).rstrip(".")) from refusal


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what a run would refuse into a broken clause."""
    try:
        yield
    except ClassifierError as error:
        raise Broken(str(error).rstrip(".")) from error


def _break_on(*remarks: str | None) -> None:
    for remark in remarks:
        if remark is not None:
            raise Broken(remark.rstrip("."))


class CohortContract(Contract[CohortSource]):
    """The clauses that every source of a cohort is held to; the cohort itself checks the rest."""

    @cached_property
    def _cohort(self) -> Cohort:
        return self.build().load()

    @clause(
        "`load()` returns a cohort",
        "Fill a benchmark.cohort.Cohort; what it refuses it names.",
        basis=True,
    )
    def loading(self) -> str | None:  # noqa: D102
        cohort = self._cohort
        if not isinstance(cohort, Cohort):
            raise Broken(f"it returns {type(cohort).__name__}")
        return f"{len(cohort)} images {list(cohort.shape)}"

    @clause(
        "the same cohort comes every time",
        "Seed whatever is random, and read files in a fixed order.",
    )
    def repeatability(self) -> None:  # noqa: D102
        if self.build().load().fingerprint != self._cohort.fingerprint:
            raise Broken("two calls give other fingerprints")

    @clause(
        "two subjects of each group are in the test split, and in the training split if there is "
        "one",
        "Divide with benchmark.cohort.split_by_subject; scores come from the test split, what "
        "methods compare with and encoders are fitted to from the training split.",
    )
    def splits(self) -> None:  # noqa: D102
        for split in scored_splits(self._cohort):
            if fault := small_group(self._cohort, split):
                raise Broken(fault)

    @clause(
        "no image occurs twice, and regions contradict neither each other nor the foreground",
        "Give each visit an image of its own, and put control regions beside the regions.",
    )
    def consistency(self) -> None:  # noqa: D102
        try:
            refuse_contradictions(self._cohort)
        except CohortError as error:
            raise Broken(str(error).rstrip(".")) from error

    @clause(
        "images show something within the foreground",
        "Scale grey values of the foreground to [0, 1], not those of the background.",
    )
    def images(self) -> None:  # noqa: D102
        cohort = self._cohort
        for row in range(len(cohort)):
            values = np.asarray(cohort.images[row])[cohort.anatomy.foreground[row]]
            if not values.size or values.min() == values.max():
                raise Broken(f"image {cohort.keys[row]!r} is blank within its foreground")
