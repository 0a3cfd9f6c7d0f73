"""The contracts of sources of models and of cohorts."""

from __future__ import annotations

from functools import cached_property
from itertools import product

import numpy as np
import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import SanityError
from benchmark.model_source import ModelSource
from benchmark.plugins.clause import Broken, Contract, clause
from benchmark.plugins.examples import build_cohort
from benchmark.target import Margin

# These shapes are tried in turn, since a model does not declare which ones it takes.
_SHAPES = ((96, 96), (224, 224), (64, 64), (32, 32), (32, 32, 32), (64, 64, 64), (96, 96, 96))
_IMAGES, _FEW = 3, 8
_ROUNDING = 1e-3


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
        "logits are finite and depend on the image",
        "Look at `preprocessing`: images come grey and in [0, 1].",
    )
    def logits(self) -> None:  # noqa: D102
        classifier, images = self._loaded()
        images = images[:_IMAGES].requires_grad_()
        margins = Margin(0, 1)(*classifier(images))
        if not margins.isfinite().all():
            raise Broken("some are not finite")
        (gradient,) = torch.autograd.grad(margins.sum(), images)
        if not gradient.isfinite().all() or not gradient.any():
            raise Broken("no gradient of theirs reaches the image")

    @clause(
        "an image's logits do not depend on the rest of its batch",
        "Keep batch norm in evaluation mode, and normalise within each image.",
    )
    def independence(self) -> None:  # noqa: D102
        classifier, images = self._loaded()
        images = images[:_IMAGES]
        with torch.no_grad():
            batch_logits = classifier(images)[0]
            single_logits = torch.cat([classifier(image)[0] for image in images.split(1)])
        difference = float((batch_logits - single_logits).abs().max())
        if difference > _ROUNDING * max(1.0, float(batch_logits.abs().max())):
            raise Broken(f"alone they differ by {difference:.2g}")

    @clause(
        "every part can be randomised",
        "Hold parameters in layers that torch knows how to draw, in trunk or head.",
    )
    def randomisation(self) -> str | None:  # noqa: D102
        classifier, images = self._loaded()
        if not classifier.randomised(0, images)(images[:_IMAGES])[0].isfinite().all():
            raise Broken("logits of the randomised model are not finite")
        return None

    def _loaded(self) -> tuple[Classifier, Tensor]:
        """Return the fitted classifier of the first shape that it takes, and images for it."""
        source, refusal = self.build(), ""
        for shape in _SHAPES:
            try:
                classifier = source.load(shape)
            except SanityError as error:
                refusal = refusal or str(error).rstrip(".")
                continue
            if not isinstance(classifier, Classifier):
                raise Broken(f"it returns {type(classifier).__name__}")
            cohort = build_cohort(shape)
            return source.fit(classifier, cohort), cohort.batch(np.arange(_FEW)).images
        raise Broken(refusal)


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
        "both groups are in the training and in the test split",
        "Divide with benchmark.cohort.split_by_subject; scores come from the test split, what "
        "methods compare with and encoders are fitted to from the training split.",
    )
    def splits(self) -> None:  # noqa: D102
        people = self._cohort.participants
        for split, group in product(("train", "test"), (0, 1)):
            members = people[(people["split"] == split) & (people["group"] == group)]
            if (count := members["subject"].astype(str).nunique()) < 2:
                raise Broken(f"the {split} split has {count} of {self._cohort.group_names[group]}")

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
