"""Random views of an image: what a contrastive encoder is taught not to notice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Knots along each axis of the coarse and of the fine displacement, and of the bias field.
_COARSE, _FINE, _BIAS = 7, 14, 4
_FINE_SHARE = 0.35


@dataclass(frozen=True)
class ViewRecipe:
    """Strength of each random change; 0 leaves it out.

    Attributes:
        rotation: Standard deviation of the rotation in radians.
        scale: Standard deviation of the relative change of size.
        shift: Standard deviation of the shift, as a share of half the image.
        elastic: Standard deviation in pixels of a smooth displacement with seven knots along each
            axis; one with fourteen knots and 0.35 times as strong is added.
        gamma: Standard deviation of the logarithm of the exponent of the grey levels.
        contrast: Standard deviation of the logarithm of the gain.
        bias: Standard deviation of the logarithm of a smooth bias field.
        blur: Largest share of a blurred copy that is mixed in.
        noise: Largest standard deviation of the noise.
    """

    rotation: float = 0.06
    scale: float = 0.06
    shift: float = 0.03
    elastic: float = 0.0
    gamma: float = 0.15
    contrast: float = 0.05
    bias: float = 0.08
    blur: float = 0.5
    noise: float = 0.05


def draw_view(images: Tensor, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """Return a random view of each image.

    The transforms of torchvision change all images of a batch alike and draw from torch's global
    state, so they serve neither SimCLR nor repeatability.

    Args:
        images: Images [B, 1, H, W] float32 in [0, 1].
        recipe: Strength of each change.
        generator: Generator on the CPU, from which everything is drawn.

    Returns:
        Views [B, 1, H, W] in [0, 1].
    """
    count, _, height, width = images.shape
    grid = functional.affine_grid(
        _draw_poses(count, recipe, generator), list(images.shape), align_corners=False
    )
    if recipe.elastic:
        # A grid spans two units over the image's width and height.
        unit = 2 * recipe.elastic / images.new_tensor([width, height])
        for knots, strength in ((_COARSE, 1.0), (_FINE, _FINE_SHARE)):
            field = _smooth_field((count, 2, knots, knots), (height, width), generator)
            grid = grid + strength * unit * field.permute(0, 2, 3, 1)
    views = functional.grid_sample(images, grid, align_corners=False)

    def draw() -> Tensor:
        return torch.randn(count, 1, 1, 1, generator=generator)

    def draw_share() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator)

    views = views.clamp(0, 1) ** torch.exp(recipe.gamma * draw())
    bias = _smooth_field((count, 1, _BIAS, _BIAS), (height, width), generator)
    views = views * torch.exp(recipe.contrast * draw() + recipe.bias * bias)
    blurred = functional.avg_pool2d(views, 3, 1, 1, count_include_pad=False)
    views = views + recipe.blur * draw_share() * (blurred - views)
    noise = torch.randn(views.shape, generator=generator)
    return (views + recipe.noise * draw_share() * noise).clamp(0, 1)


def _draw_poses(count: int, recipe: ViewRecipe, generator: torch.Generator) -> Tensor:
    """Return affine maps [B, 2, 3] that turn, scale and shift."""
    angle, size = torch.randn(2, count, generator=generator)
    angle, size = recipe.rotation * angle, 1 + recipe.scale * size
    cosine, sine = size * angle.cos(), size * angle.sin()
    shift = recipe.shift * torch.randn(count, 2, generator=generator)
    rows = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], dim=1)
    return rows.view(count, 2, 3)


def _smooth_field(
    knots: tuple[int, int, int, int], shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Return a field [B, C, H, W], cubic between standard normal knots."""
    values = torch.randn(knots, generator=generator)
    return functional.interpolate(values, shape, mode="bicubic", align_corners=True)
