"""What a training sees: rows drawn of a cohort, as images or as activations that are kept."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.arrays import Rows
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import CohortError, InputError
from benchmark.seeding import stream, torch_stream
from benchmark.training.fine_tuning import augment
from benchmark.training.regimes import RegimeRecipe

# Activations beyond this stay on no machine: the frozen stages are run in each epoch instead.
MOST_KEPT_BYTES = 1 << 30

_HELD_OUT = 0.2


@dataclass(frozen=True)
class Draw:
    """Rows of a cohort that a training learns from, and rows that it is watched on.

    Attributes:
        train: Row numbers by key; those of a bootstrap repeat.
        validation: Row numbers by key.
        remarks: Sentences about how they were drawn.
    """

    train: Rows
    validation: Rows
    remarks: tuple[str, ...] = ()


def draw_rows(cohort: Cohort, recipe: RegimeRecipe) -> Draw:
    """Return the rows to train on and to validate on, whatever the order of the cohort's rows.

    A cohort without validation split gives a fifth of its training subjects, within each group.
    From refit 1 on the training subjects are a bootstrap within their groups, the same for every
    regime.

    Raises:
        CohortError: If a group has no member to train or to validate on.
    """
    splits = cohort.participants["split"].to_numpy()
    by_key = np.argsort(np.array(cohort.keys), kind="stable")
    train, validation = (by_key[splits[by_key] == split] for split in ("train", "validation"))
    _require_groups(cohort, train, "train")
    remarks: tuple[str, ...] = ()
    if not len(validation):
        held_out = _held_out(cohort, train)
        of_held_out = np.array([cohort.subjects[row] in held_out for row in train])
        train, validation = train[~of_held_out], train[of_held_out]
        remarks = (
            f"The cohort has no validation split: {len(held_out)} of its training subjects were "
            "held out to validate on.",
        )
    _require_groups(cohort, validation, "validation")
    _require_groups(cohort, train, "train")
    if recipe.refit:
        train = bootstrap_subjects(cohort, train, "bootstrap of subjects", recipe.refit)
    return Draw(train, validation, remarks)


def _require_groups(cohort: Cohort, rows: Rows, split: str) -> None:
    for group, name in enumerate(cohort.group_names):
        if not (cohort.groups[rows] == group).any():
            counts = [int((cohort.groups[rows] == other).sum()) for other in (0, 1)]
            raise CohortError(
                f"Cohort {cohort.name!r} has no image of group {group} ({name}) in its {split} "
                f"split, but training needs both groups there; it has {counts[0]} of group 0 and "
                f"{counts[1]} of group 1."
            )


def _held_out(cohort: Cohort, train: Rows) -> set[str]:
    """Return a fifth of the subjects of each group, by a hash of their names."""
    group_of: dict[str, int] = {}
    for row in train:
        group_of.setdefault(cohort.subjects[row], int(cohort.groups[row]))
    held_out: set[str] = set()
    for group, name in enumerate(cohort.group_names):
        members = [subject for subject in group_of if group_of[subject] == group]
        if len(members) < 2:
            raise CohortError(
                f"Cohort {cohort.name!r} has no validation split and only {len(members)} training "
                f"subject(s) of group {group} ({name}), but at least 2 are needed, one to train "
                "on and one to hold out."
            )
        members.sort(key=lambda subject: hashlib.sha256(f"held out:{subject}".encode()).digest())
        held_out |= set(members[: max(1, round(_HELD_OUT * len(members)))])
    return held_out


def bootstrap_subjects(cohort: Cohort, rows: Rows, *purpose: str | int) -> Rows:
    """Return the rows of a bootstrap of their subjects within groups; images of one move together.

    Args:
        cohort: Cohort that the rows are of.
        rows: Row numbers by key.
        purpose: Purpose of the bootstrap, which names its random stream.
    """
    drawn: list[Rows] = []
    for group in (0, 1):
        members = rows[cohort.groups[rows] == group]
        subjects = np.array([cohort.subjects[row] for row in members])
        names = np.unique(subjects)
        chosen = stream(*purpose, group).choice(names, len(names))
        drawn += [members[subjects == name] for name in np.sort(chosen)]
    return np.concatenate(drawn)


def class_weights(groups: Rows) -> Tensor:
    """Return N / (2 N_k) of each group; exactly 1 where both are of one size."""
    counts = torch.from_numpy(np.bincount(groups, minlength=2))
    return (len(groups) / (2 * counts)).float()


class Material(ABC):
    """Images on their way through a network that is trained, batch by batch.

    Attributes:
        groups: Groups of the training images, [N], on the CPU.
        embed: Function that sends a batch through what is trained before the head, and returns
            the embedding [B, D].
    """

    groups: Tensor
    embed: Callable[[Tensor], Tensor]

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and groups of an epoch on the network's device, in an order of its own."""

    @abstractmethod
    def validation(self) -> Iterator[Tensor]:
        """Yield inputs of the validation images in order."""


class AugmentedImages(Material):
    """Images that are augmented anew in each epoch and pass through the whole network."""

    def __init__(
        self, classifier: Classifier, cohort: Cohort, draw: Draw, recipe: RegimeRecipe
    ) -> None:
        self.groups = torch.from_numpy(cohort.groups[draw.train])
        self._classifier, self._cohort = classifier, cohort
        self._draw, self._recipe = draw, recipe

    def embed(self, images: Tensor) -> Tensor:
        """Return the embedding [B, D] of images [B, 1, *S]."""
        embedding: Tensor = self._classifier.pool(self._classifier.feature_maps(images))
        return embedding

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each image once."""
        recipe, device = self._recipe, self._classifier.device
        generator = torch_stream("epoch", recipe.refit, epoch)
        for rows in _batches(torch.randperm(len(self.groups), generator=generator), recipe):
            images = _images(self._cohort, self._draw.train[rows.numpy()])
            images = augment(images, recipe.shift, recipe.mirror, generator)
            yield images.to(device), self.groups[rows].to(device)

    def validation(self) -> Iterator[Tensor]:
        """Yield the images as they are."""
        for rows in _in_order(self._draw.validation, self._recipe):
            yield _images(self._cohort, rows).to(self._classifier.device)


class KeptActivations(Material):
    """Activations behind the frozen stages: of the plain images and of augmented copies.

    Args:
        frozen: Function from images [B, 1, *S] to activations.
        free: Function from activations to the embedding [B, D].
        device: Device that passes run on and activations stay on.
        cohort: Cohort with the images.
        draw: Rows to train and to validate on.
        recipe: Recipe with the number of copies and their augmentation.

    Attributes:
        kept: Activations of the training images, [1 + copies, N, ...]; the plain ones come first.
        watched: Activations of the validation images.
    """

    def __init__(
        self,
        frozen: Callable[[Tensor], Tensor],
        free: Callable[[Tensor], Tensor],
        device: torch.device,
        cohort: Cohort,
        draw: Draw,
        recipe: RegimeRecipe,
    ) -> None:
        self.embed = free
        self.groups = torch.from_numpy(cohort.groups[draw.train])
        self._recipe = recipe

        def send(rows: Rows, copy: int = 0) -> Tensor:
            generator = torch_stream("augmented copy", recipe.refit, copy)
            shift, mirror = (recipe.shift, recipe.mirror) if copy else (0, False)
            batches = (_images(cohort, batch) for batch in _in_order(rows, recipe))
            with torch.no_grad():
                return torch.cat(
                    [
                        frozen(augment(batch, shift, mirror, generator).to(device))
                        for batch in batches
                    ]
                )

        self.kept = torch.stack([send(draw.train, copy) for copy in range(versions_of(recipe))])
        self.watched = send(draw.validation)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every version of each image for a probe, else one version of each image."""
        generator = torch_stream("epoch", self._recipe.refit, epoch)
        versions, count = self.kept.shape[:2]
        every = versions if self._recipe.regime == "probe" else 1
        for cells in _batches(torch.randperm(every * count, generator=generator), self._recipe):
            rows, version = cells % count, cells // count
            if every < versions:
                version = torch.randint(versions, (len(cells),), generator=generator)
            # By index, which copies: a layer that works in place must not change what is kept.
            device = self.kept.device
            yield self.kept[version.to(device), rows.to(device)], self.groups[rows].to(device)

    def validation(self) -> Iterator[Tensor]:
        """Yield the activations of the plain images."""
        for activations in self.watched.split(self._recipe.batch_size):
            yield activations.clone()


def black_image(classifier: Classifier) -> Tensor:
    """Return an image [1, 1, *S] in single precision, whatever the weights are in."""
    return torch.zeros(1, 1, *classifier.input_shape, device=classifier.device)


def versions_of(recipe: RegimeRecipe) -> int:
    """Return how many versions of each image are kept: one where nothing is augmented."""
    return 1 + recipe.copies if recipe.shift or recipe.mirror else 1


def prepare(
    classifier: Classifier, stage: str | None, cohort: Cohort, draw: Draw, recipe: RegimeRecipe
) -> Material:
    """Return the material of a recipe, with as much of the frozen network behind it as can be.

    A probe's embeddings are always kept. The activations before the last stage are kept where the
    trunk is a plain sequence of layers, and they fit into ``MOST_KEPT_BYTES``.

    Args:
        classifier: Network whose free parts are trained.
        stage: Full name of the first part that is trained, for the regime ``last_stage``.
        cohort: Cohort with the images.
        draw: Rows to train and to validate on.
        recipe: Recipe to train by.
    """
    device, trunk, pool = classifier.device, classifier.trunk, classifier.pool
    if recipe.regime == "probe":
        return KeptActivations(
            lambda images: pool(classifier.feature_maps(images)),
            nn.Identity(),
            device,
            cohort,
            draw,
            recipe,
        )
    # A subclass may do more than send the layers' outputs on.
    is_sequence = type(trunk).forward is nn.Sequential.forward
    if recipe.regime == "last_stage" and isinstance(trunk, nn.Sequential) and is_sequence:
        count = [f"trunk.{name}" for name in trunk._modules].index(str(stage))
        before, after = trunk[:count], nn.Sequential(trunk[count:], pool)
        with torch.no_grad():
            example = before(classifier.preprocessing(black_image(classifier)))
        versions = versions_of(recipe) * len(draw.train) + len(draw.validation)
        if versions * example.nbytes <= MOST_KEPT_BYTES:
            return KeptActivations(
                lambda images: before(classifier.preprocessing(images)),
                after,
                device,
                cohort,
                draw,
                recipe,
            )
    return AugmentedImages(classifier, cohort, draw, recipe)


def check_shift(cohort: Cohort, recipe: RegimeRecipe) -> None:
    """Refuse a recipe that moves images by half of their side or more.

    Raises:
        InputError: If ``recipe.shift`` is too large for the cohort's images.
    """
    if 2 * recipe.shift >= min(cohort.shape):
        raise InputError(
            f"The recipe's 'shift' is {recipe.shift} pixels, but images of shape "
            f"{list(cohort.shape)} can be moved by {(min(cohort.shape) - 1) // 2} at most."
        )


def _images(cohort: Cohort, rows: Rows) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(cohort.images[rows]))


def _in_order(rows: Rows, recipe: RegimeRecipe) -> Iterator[Rows]:
    """Yield the rows in batches."""
    for start in range(0, len(rows), recipe.batch_size):
        yield rows[start : start + recipe.batch_size]


def _batches(order: Tensor, recipe: RegimeRecipe) -> tuple[Tensor, ...]:
    """Return the order in batches; a last one of a single image joins the one before it.

    Batch norm has no variance to take over a single value.
    """
    batches = list(order.split(recipe.batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return tuple(batches)
