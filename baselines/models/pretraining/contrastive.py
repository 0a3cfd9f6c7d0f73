"""SimCLR: an encoder that tells images apart whatever was done to them, taught without labels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.models.pretraining.views import ViewRecipe, draw_view
from benchmark.classifier import GlobalAveragePool
from benchmark.classifier.redrawing import redraw
from benchmark.errors import CohortError
from benchmark.seeding import seed_of, torch_stream

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class ContrastiveRecipe:
    """Settings of SimCLR, kept beside the weights.

    Attributes:
        epochs: Number of passes over the images.
        batch_size: Number of images per step, each seen in two views; a last batch that is smaller
            is left out.
        temperature: Temperature of the loss.
        learning_rate: Peak learning rate of the one-cycle schedule of AdamW.
        weight_decay: Weight decay of AdamW.
        views: Differences between the two views of an image.
    """

    epochs: int = 60
    batch_size: int = 100
    temperature: float = 0.2
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    views: ViewRecipe = field(default_factory=ViewRecipe)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    r"""Return the normalised, temperature-scaled cross-entropy of pairs of projections.

    With :math:`z_1, …, z_{2B}` the projections of length 1 and :math:`j(i)` the other view of the
    image of :math:`i`, it is the mean over :math:`i` of

    .. math:: -\log \frac{\exp(z_i · z_{j(i)} / τ)}{\sum_{k ≠ i} \exp(z_i · z_k / τ)}.

    Args:
        first: Projections [B, P] of one view of each image.
        second: Projections [B, P] of the other view, in the same order.
        temperature: The temperature τ.

    References:
        Chen et al., "A simple framework for contrastive learning of visual representations",
        ICML 2020.
    """
    projections = functional.normalize(torch.cat([first, second]), dim=1)
    similarity = projections @ projections.T / temperature
    itself = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    partner = torch.arange(len(similarity), device=similarity.device).roll(len(first))
    return functional.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)


def pretrain(
    trunk: nn.Module,
    images: Tensor,
    recipe: ContrastiveRecipe,
    seed: int = 0,
    progress: Progress | None = None,
) -> nn.Module:
    """Return a copy of a trunk, pretrained from initial weights of ``seed`` without any label.

    The embedding is the mean of the trunk's feature maps; a projector of two layers stands behind
    it during training and is dropped.

    Args:
        trunk: Module from images [B, 1, H, W] to feature maps [B, K, h, w].
        images: Images [N, 1, H, W] float32 in [0, 1].
        recipe: Recipe to train by.
        seed: Seed of initial weights, order and views.
        progress: Function that is called after each epoch with its number and its mean loss.

    Raises:
        CohortError: If there are fewer images than a batch holds.
    """
    if len(images) < recipe.batch_size:
        raise CohortError(
            f"SimCLR needs the {recipe.batch_size} images of a batch, but got {len(images)} in all."
        )
    student = _with_projector(trunk, images[:1])
    redraw(student, seed_of("initial weights", seed))
    student.train().requires_grad_(True)
    generator = torch_stream("simclr", seed)
    optimiser = torch.optim.AdamW(
        student.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * (len(images) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.2
    )
    for epoch in range(1, recipe.epochs + 1):
        losses = []
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: steps // recipe.epochs * recipe.batch_size].split(recipe.batch_size):
            views = [draw_view(images[rows], recipe.views, generator) for _ in range(2)]
            first, second = student(torch.cat(views)).chunk(2)
            loss = nt_xent(first, second, recipe.temperature)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.detach())
        if progress is not None:
            progress(epoch, float(torch.stack(losses).mean()))
    encoder = student[0]
    return encoder.eval().requires_grad_(False)


def _with_projector(trunk: nn.Module, example: Tensor) -> nn.Sequential:
    """Return a copy of the trunk, followed by the pool and a projector that fits it."""
    encoder, pool = copy.deepcopy(trunk).eval(), GlobalAveragePool()
    with torch.no_grad():
        width = pool(encoder(example)).shape[1]
    projector = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 64)]
    return nn.Sequential(encoder, pool, *projector)
