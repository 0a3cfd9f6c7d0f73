"""Training by recipe, every parameter free: fine-tuning, from scratch, and by heart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.arrays import ImageArray, Rows
from benchmark.classifier import Classifier
from benchmark.classifier.redrawing import redraw
from benchmark.cohort import Cohort
from benchmark.seeding import seed_of, stream, torch_stream

Progress = Callable[[int, int, float], None]
Examples = Callable[[Cohort, int], tuple[ImageArray, Rows]]
"""What is learned in an epoch: from the training split, ordered by key, and the number of the
epoch, from 0, to images [N, 1, *S] and their labels [N]."""

LONGEST_MEMORISING = 150


@dataclass(frozen=True)
class Recipe:
    """Settings of fine-tuning, kept beside the weights.

    Attributes:
        epochs: Number of passes over the training split.
        batch_size: Number of images per step.
        learning_rate: Peak learning rate of the one-cycle schedule of AdamW.
        weight_decay: Weight decay of AdamW.
        shift: Largest number of pixels that images are moved by along each axis.
        mirror: Whether images are flipped left–right half of the time.
    """

    epochs: int = 15
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    shift: int = 2
    mirror: bool = True


def fine_tune(
    classifier: Classifier,
    cohort: Cohort,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress | None = None,
    examples: Examples | None = None,
) -> Classifier:
    """Return a copy trained on the cohort's training split, every parameter free.

    Args:
        classifier: Model that training starts from.
        cohort: Cohort whose training split is used, and nothing else.
        recipe: Recipe to train by.
        seed: Seed of order and augmentation.
        progress: Function that is called after each epoch with the epoch, the number of epochs and
            the mean loss.
        examples: Function that makes the images and labels of each epoch of the training split,
            such as signals at new places; the cohort's own images and groups unless given.
    """
    student, train = classifier.copy(), training_split(cohort)
    steps = -(-len(train) // recipe.batch_size)
    optimiser = torch.optim.AdamW(
        student.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * steps, pct_start=0.2
    )
    tuning = _Tuning(student, recipe, optimiser, torch_stream("fine-tune", seed), schedule)
    losses = tuning.epochs(train, examples or _own_examples)
    for epoch, loss in enumerate(islice(losses, recipe.epochs), start=1):
        if progress is not None:
            progress(epoch, recipe.epochs, float(loss))
    return student


def train_from_scratch(
    classifier: Classifier,
    cohort: Cohort,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress | None = None,
) -> Classifier:
    """Return a copy trained from initial weights of ``seed``; arguments as ``fine_tune``."""
    fresh = classifier.copy()
    redraw(fresh, seed_of("initial weights", seed))
    return fine_tune(fresh, cohort, recipe, seed, progress)


def memorise(
    classifier: Classifier, cohort: Cohort, recipe: Recipe, seed: int, enough: float = 0.95
) -> Classifier:
    """Return a copy trained from initial weights on permuted labels until it knows them by heart.

    There is no augmentation and no decay, which would keep it from memorising. It stops as soon as
    its accuracy in evaluation mode reaches ``enough``, and after ``LONGEST_MEMORISING`` epochs
    anyway; look at the accuracy to know which.

    Args:
        classifier: Model that gives the architecture.
        cohort: Cohort with the images and true labels; see ``permuted``.
        recipe: Recipe that gives batch size and learning rate.
        seed: Seed of permutation, initial weights and order.
        enough: Training accuracy to stop at.
    """
    train = permuted(cohort, seed)
    student = classifier.copy()
    redraw(student, seed_of("initial weights", seed))
    optimiser = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    plain = replace(recipe, shift=0, mirror=False)
    tuning = _Tuning(student, plain, optimiser, torch_stream("memorise", seed))
    for _ in islice(tuning.epochs(train, _own_examples), LONGEST_MEMORISING):
        if training_accuracy(student, train) >= enough:
            break
    return student


@dataclass(frozen=True)
class _Tuning:
    """A training under way: network, recipe, optimiser, random stream and schedule."""

    student: Classifier
    recipe: Recipe
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None

    def epochs(self, train: Cohort, examples: Examples) -> Iterator[Tensor]:
        """Train epoch after epoch, and yield the mean loss of each with the student frozen."""
        for epoch in count():
            images, labels = map(torch.from_numpy, examples(train, epoch))
            self.student.train().requires_grad_(True)
            order = torch.randperm(len(train), generator=self.generator)
            losses = [
                self._step(images[rows], labels[rows])
                for rows in order.split(self.recipe.batch_size)
            ]
            self.student.zero_grad()
            self.student.eval().requires_grad_(False)
            yield torch.stack(losses).mean()

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Learn from a batch on the CPU, and return its loss."""
        device = self.student.device
        batch = augment(images, self.recipe.shift, self.recipe.mirror, self.generator)
        logits, _ = self.student(batch.to(device))
        loss = functional.cross_entropy(logits, labels.to(device))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if self.schedule is not None:
            self.schedule.step()
        return loss.detach()


def _own_examples(train: Cohort, epoch: int) -> tuple[ImageArray, Rows]:
    # Torch takes no array that may not be written to, such as a memory map.
    images = train.images if train.images.flags.writeable else np.array(train.images)
    return images, train.groups


def permuted(cohort: Cohort, seed: int) -> Cohort:
    """Return the training split with its labels permuted, whatever the order of its rows."""
    train = training_split(cohort)
    labels = stream("permuted labels", seed).permutation(train.groups)
    return replace(train, participants=train.participants.assign(group=labels))


def training_split(cohort: Cohort) -> Cohort:
    """Return the training split by key, so that training is the same in any order of rows."""
    train = cohort.select("train")
    return train.take(np.argsort(np.array(train.keys)))


def training_accuracy(classifier: Classifier, cohort: Cohort) -> float:
    """Return the share of images whose larger logit is that of their label."""
    correct = 0
    with torch.no_grad():
        for batch in cohort.batches(64, classifier.device):
            predicted = classifier(batch.images)[0].argmax(1).cpu().numpy()
            correct += int((predicted == cohort.groups[batch.rows]).sum())
    return correct / len(cohort)


def augment(images: Tensor, shift: int, mirror: bool, generator: torch.Generator) -> Tensor:
    """Return images moved by whole pixels, a batch alike along each axis, some of them mirrored.

    Args:
        images: Images [B, 1, *S] on the CPU.
        shift: Largest number of pixels that they are moved by.
        mirror: Whether half of them are flipped left–right.
        generator: Stream that decides.
    """
    axes = tuple(range(2, images.ndim))
    if shift:
        moves = torch.randint(-shift, shift + 1, (len(axes),), generator=generator).tolist()
        images = torch.roll(images, moves, axes)
    if mirror:
        flip = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(flip.view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)
    return images
