"""Training by recipe, every parameter free: fine-tuning, from scratch, and by heart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.classifier import Classifier
from benchmark.classifier.redrawing import redraw
from benchmark.cohort import Cohort
from benchmark.seeding import seed_of, stream, torch_stream
from benchmark.training.recipe import Recipe

Progress = Callable[[int, int, float], None]

LONGEST_MEMORISING = 150


def fine_tune(
    classifier: Classifier,
    cohort: Cohort,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress | None = None,
) -> Classifier:
    """Return a copy trained on the cohort's training split, every parameter free.

    Args:
        classifier: Model that training starts from.
        cohort: Cohort whose training split is used, and nothing else.
        recipe: Recipe to train by.
        seed: Seed of order and augmentation.
        progress: Function that is called after each epoch with the epoch, the number of epochs and
            the mean loss.

    Returns:
        The trained copy, frozen, in evaluation mode.
    """
    student = classifier.copy().train().requires_grad_(True)
    train = training_split(cohort)
    generator = torch_stream("fine-tune", seed)
    images, groups = torch.from_numpy(np.array(train.images)), torch.from_numpy(train.groups)
    steps = -(-len(train) // recipe.batch_size)
    optimiser = torch.optim.AdamW(
        student.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=recipe.epochs * steps, pct_start=0.2
    )
    for epoch in range(recipe.epochs):
        losses = []
        order = torch.randperm(len(train), generator=generator)
        for rows in order.split(recipe.batch_size):
            batch = _augment(images[rows], recipe, generator).to(student.device)
            logits, _ = student(batch)
            loss = functional.cross_entropy(logits, groups[rows].to(student.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.detach())
        if progress is not None:
            progress(epoch + 1, recipe.epochs, float(torch.stack(losses).mean()))
    student.zero_grad()
    student.eval().requires_grad_(False)
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
    student.train().requires_grad_(True)
    images, groups = torch.from_numpy(np.array(train.images)), torch.from_numpy(train.groups)
    optimiser = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    generator = torch_stream("memorise", seed)
    for _ in range(LONGEST_MEMORISING):
        student.train()
        for rows in torch.randperm(len(train), generator=generator).split(recipe.batch_size):
            logits, _ = student(images[rows].to(student.device))
            optimiser.zero_grad()
            functional.cross_entropy(logits, groups[rows].to(student.device)).backward()
            optimiser.step()
        student.eval()
        if training_accuracy(student, train) >= enough:
            break
    student.zero_grad()
    student.requires_grad_(False)
    return student


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


def _augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return images moved by whole pixels, a batch alike along each axis, some of them mirrored."""
    reach, axes = recipe.shift, tuple(range(2, images.ndim))
    if reach:
        moves = torch.randint(-reach, reach + 1, (len(axes),), generator=generator).tolist()
        images = torch.roll(images, moves, axes)
    if recipe.mirror:
        flip = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(flip.view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)
    return images
