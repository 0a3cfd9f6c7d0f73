"""Metrics of Captum: infidelity and sensitivity of a map (Yeh et al. 2019).

Captum loads pyplot and takes half a second to import, so it is imported where a metric is asked:
the catalogue imports this file in every run.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from benchmark.errors import UnknownNameError
from benchmark.protocol import SanityProtocol
from benchmark.target import own_margin
from protocols.guests.guest import Guest, GuestConfig, Question, statistics_of

DESCRIPTION = "infidelity, sensitivity_max"
EXAMPLE = "captum:infidelity"


class InfidelityConfig(GuestConfig):
    """Settings of infidelity.

    Attributes:
        samples: Number of perturbations of each image.
        noise: Standard deviation of the Gaussian noise that perturbs it, in units of intensity.
        normalize: Whether the map is first scaled to fit the changes best, by least squares. It is
            unless set, unlike in Captum: without it the metric ranks maps by their unit.
    """

    samples: int = Field(50, ge=2)
    noise: float = Field(0.1, gt=0)
    normalize: bool = True


class Infidelity(Guest[InfidelityConfig]):
    """The squared gap between what a map and the network say of a noisy image."""

    name = "captum:infidelity"
    version = "1.0"
    title = "Does the map foretell how noise changes the output? (Captum)"
    library = "captum"
    Config = InfidelityConfig
    statistics = statistics_of("Captum's infidelity", "lower")

    def value_of(self, question: Question) -> float:
        """Return the infidelity of one map, in squared units of the margin."""
        from captum.metrics import infidelity  # slow, and the catalogue imports this file

        target, classifier = own_margin(question.group), question.trial.classifier

        def perturb(images: Tensor) -> tuple[Tensor, Tensor]:
            # One by one: of many at once, numbers of a batch depend on how large it is.
            drawn = torch.cat([torch.randn_like(image) for image in images.split(1)])
            return self.config.noise * drawn, images - self.config.noise * drawn

        value: Tensor = infidelity(
            lambda images: target(*classifier(images)),
            perturb,
            question.batch.images,
            question.attributions,
            n_perturb_samples=self.config.samples,
            max_examples_per_batch=_at_once(question, self.config.samples),
            normalize=self.config.normalize,
        )
        return float(value)


class SensitivityConfig(GuestConfig):
    """Settings of sensitivity.

    Attributes:
        samples: Number of perturbations of each image.
        radius: Half the width of the uniform noise that perturbs it, in units of intensity.
    """

    samples: int = Field(10, ge=1)
    radius: float = Field(0.02, gt=0)


class SensitivityMax(Guest[SensitivityConfig]):
    """The largest change of a map under small noise, as a share of the map's norm."""

    name = "captum:sensitivity_max"
    version = "1.0"
    title = "How much does the map change with the image? (Captum)"
    library = "captum"
    Config = SensitivityConfig
    statistics = statistics_of("Captum's maximum sensitivity", "lower")

    def value_of(self, question: Question) -> float:
        """Return the sensitivity of one map."""
        from captum.metrics import sensitivity_max  # slow, and the catalogue imports this file

        classifier = question.trial.classifier

        def explain(images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            # Of a bare tensor Captum takes the first axis for several inputs, and the distance
            # grows with the number of perturbations.
            return (question.explainer.maps_of(images[0], classifier),)

        value: Tensor = sensitivity_max(
            explain,
            question.batch.images,
            perturb_radius=self.config.radius,
            n_perturb_samples=self.config.samples,
            max_examples_per_batch=_at_once(question, self.config.samples),
        )
        return float(value)


def _at_once(question: Question, samples: int) -> int:
    """Return how many perturbed images share a pass, whatever the batch size of the run."""
    return min(question.trial.lane, samples)


_METRICS: dict[str, type[SanityProtocol[Any]]] = {
    "infidelity": Infidelity,
    "sensitivity_max": SensitivityMax,
}


def protocol_of(name: str) -> type[SanityProtocol[Any]]:
    """Return the protocol of a metric.

    Raises:
        UnknownNameError: If Captum has no metric of that name.
    """
    if name not in _METRICS:
        known = [f"captum:{metric}" for metric in _METRICS]
        raise UnknownNameError("protocol", f"captum:{name}", known)
    return _METRICS[name]
