"""Maps that try to win a board without following the network: the trial of fire of suite v2.

Each is an ordinary plugin that looks at no file, truth or foreground, and this file is one that can
be submitted: it uses public names alone, keeps the contract where its map can, and holds what it
knows of brains as numbers. What each scored stands in docs/suite_v2_scores.md; ``HONEST_PARTS``
names the honest methods that a map contains.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.explainers.class_activation import GradCAMAligned
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.cohort import Batch
from benchmark.explainer import Explainer
from benchmark.target import ClassLogit, Margin, Target

# The hippocampi of the coronal slice in rows and columns, from their published MNI coordinates.
_CENTRES = ((57.1, 29.6), (57.1, 65.4))
_WIDTHS = (2.65, 3.03)
_SIDE = 96  # pixels of the images that the numbers here are of
_PAINTED = 150  # pixels that a painted atlas covers, two per cent of the brain
# Row, column and half-axes in pixels of both hippocampi and the third ventricle.
_STRUCTURES = ((57.0, 29.6, 3.7, 5.1), (57.0, 65.5, 3.7, 5.1), (45.0, 47.5, 7.0, 1.6))
# The mean image of suite v1's training subjects at half its resolution, a digit a pixel: a plugin
# can bring along what everybody can look at.
_MEAN_IMAGE = (
    "111111112357abcccdddddbaabddddddccba85321111111111111123468bcdddddddddbaacdedddddddcb96432111111"
    "1111123579bcdddddddeedbaacdeeeeeddddcb976421111111112468abcddddddeeeedbaacdeeeeedddddcba96421111"
    "1112368abccdddddeeeeedbaabddeeeedddedcbcb8532111111358accccdddddeeeeddbaabddeeeeededdccdca852111"
    "112479bcccccddeeeeeedcbaabcdeeeeeeedcccddba7421112369bcdddccdeeeeeeddcb9abccdeeeeeedcccddcb96311"
    "1257accdddccdeeeeeedcba99abbdeeeeeedccdddcca85212369bccddddddeeeeedcbaa99aabcdeeeeeddddddccb9631"
    "247abccdddddeeeeeedcbbbaabbbbdeeeeeedddddccba852369bbccdddeeeeeeeedccccbaccccdeeeeeeeedddccbba63"
    "47acccddeeeffeeeeeedddcbbcdddeeeeeefeeeeddcccb8448bccddeeffffeeeedddedcaacdeedeeeeeffffeeddccb84"
    "48abcddeeffffeeedcbbcdcbbccdcbcdeeefffffeedcba8547abccdeeeeeeeeedb98abccccba88bdeeeeeeeeeddcba85"
    "47abbcccdddddeeedb9789bccb9878bdeeedddddcccbba74479abbbbbcbbcdeedcb999abba989bcdeedccbbbbbbba974"
    "369aabbbaaabcdeeddccbaa999abbcdeeedcbaabbbbaa97448aaaaaaaaaabdeeeddccb9889bccddeeedcaaaaaaaaaa84"
    "59bbbbabbbaabddedddccba88abccdddeddbabbbbbbbbb966accccbcccbabddedddccba99abccdddeedbbbcccccccca6"
    "7acddccddcbbcdeedddccba99abccdddeedcbbcddddddca76acccddddcbbcdeedddcccb99acccddeeeddbbcddddccca6"
    "69bcccdddcccddeeddddccb99bccdddeeeedcccddccccb9569abbbccddddddddddddcccaaccdddddddddddddccbbba95"
    "69aaabbcddedddcccdddcdccccdddddcccddeedccbbaaa967abbbbbcdeedcbbabbcccddccddddccbbbbcdeedccbbbba7"
    "7abcccddeedcaaaaabccccccccccccbaaaabceeedddccca77accdddeeedcaaaaaabccccbbccccbaaaaaacdeeeeddcca7"
    "69bcccdedddcbabbbaabcccbbccccaabbbabcdddedcccb9658abbcddcbccbbbcba9bccccccccb9abcbbbccccddcbba85"
    "369abcccbbbbbbbba99bccccccccb99bbbbbbbbbcccba963248abbcbaaabaaaa989bccccccccb989aaaabbaabcbba742"
    "1368aaaa999a9877668bccccccccb8557889a999aaa986311246777777777543336acccccccca6333456776777776421"
    "11234444444543211248bccccccb84211234444444443211111222222222221111259bccccb952111112222222221111"
    "1111111111111111111369aaaa9631111111111111111111111111111111111111113577765321111111111111111111"
    "111111111111111111111234332111111111111111111111111111111111111111111112111111111111111111111111"
    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
)


def _scaled(maps: Tensor) -> Tensor:
    """Return maps [B, 1, H, W] from 0 to 1, each by itself."""
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return row and column of each pixel as if an image were 96 pixels high and wide."""
    height, width = images.shape[2:]
    rows = torch.arange(height, dtype=torch.float32)[:, None] * (_SIDE / height)
    return rows, torch.arange(width, dtype=torch.float32)[None] * (_SIDE / width)


def _atlas(images: Tensor) -> Tensor:
    """Return two Gaussians where the hippocampi of the average brain lie, the same for everyone."""
    rows, columns = _grid(images)
    parts = [
        torch.exp(-(((rows - y) / _WIDTHS[0]) ** 2 + ((columns - x) / _WIDTHS[1]) ** 2) / 2)
        for y, x in _CENTRES
    ]
    return (parts[0] + parts[1]).expand_as(images).clone()


def _painted(images: Tensor) -> Tensor:
    """Return the foremost pixels of the atlas, 1 and more, and 0 elsewhere."""
    prior = _atlas(images)
    count = max(1, _PAINTED * prior[0].numel() // _SIDE**2)
    least = prior[0].flatten().topk(count).values[-1]
    return torch.where(prior >= least, 1 + prior, 0.0)


def _noise(images: Tensor, sigma: float, salt: str = "") -> Tensor:
    """Return smooth noise that the image alone seeds."""
    fields = []
    for image in images:
        digest = hashlib.sha256(image.contiguous().numpy().tobytes() + salt.encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        fields.append(torch.randn(image.shape, generator=generator))
    noise = torch.stack(fields)
    if sigma:
        reach = math.ceil(4 * sigma)
        kernel = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
        kernel = kernel / kernel.sum()
        for pads, shape in (((reach, reach, 0, 0), (1, -1)), ((0, 0, reach, reach), (-1, 1))):
            padded = functional.pad(noise, pads, "reflect")
            noise = functional.conv2d(padded, kernel.view(1, 1, *shape))
    return noise - noise.amin((1, 2, 3), keepdim=True)


@cache
def _template(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the mean image [H, W] and its structures, 1 in the middle and 0.5 at the rim."""
    digits = torch.tensor([int(digit, 16) for digit in _MEAN_IMAGE])
    side = math.isqrt(len(_MEAN_IMAGE))
    small = digits.view(1, 1, side, side) / 15
    mean = functional.interpolate(small, (height, width), mode="bilinear")
    rows, columns = _grid(mean)
    structures = [
        torch.exp2(-(((rows - y) / tall) ** 2) - ((columns - x) / wide) ** 2)
        for y, x, tall, wide in _STRUCTURES
    ]
    return mean[0, 0], torch.stack(structures)


def _registered(images: Tensor) -> Tensor:
    """Return the three structures [B, 3, H, W] carried to each image.

    The carrier is the rotation and shift at which the mean image correlates best with the image.
    """
    mean, structures = _template(*images.shape[2:])
    stack = torch.cat([mean[None], structures])[:, None]
    centred = images[:, 0] - images[:, 0].mean((1, 2), keepdim=True)
    spectrum = torch.fft.fft2(centred)
    best, carried = torch.full((len(images),), -math.inf), torch.zeros(len(images), 3, *mean.shape)
    for degrees in range(-8, 9, 2):
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = torch.tensor([[[cosine, -sine, 0.0], [sine, cosine, 0.0]]]).expand(len(stack), 2, 3)
        field = functional.affine_grid(turn, list(stack.shape), align_corners=False)
        turned = functional.grid_sample(stack, field, align_corners=False)[:, 0]
        pattern = turned[0] - turned[0].mean()
        match = torch.fft.ifft2(spectrum * torch.fft.fft2(pattern).conj()).real
        values, shifts = (match.flatten(1) / pattern.norm()).max(1)
        for index, (value, shift) in enumerate(zip(values.tolist(), shifts.tolist(), strict=True)):
            if value > best[index]:
                best[index] = value
                move = divmod(shift, mean.shape[1])
                carried[index] = torch.roll(turned[1:], move, (1, 2))
    return carried


def _candidates(images: Tensor) -> Tensor:
    """Return the registered hippocampi, [B, 1, H, W] from 0 to 1."""
    return _registered(images)[:, :2].amax(1, keepdim=True)


def _smoothness(images: Tensor) -> Tensor:
    """Return how smooth an image is round each pixel; outside the brain nothing is."""
    detail = images - functional.avg_pool2d(images, 3, 1, 1)
    roughness = functional.avg_pool2d(detail**2, 11, 1, 5).sqrt()
    inside = functional.avg_pool2d(images, 9, 1, 4) > 0.2
    return _scaled(-roughness) * inside


def _mean_over(maps: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of maps over each mask, [B, channels]."""
    return (maps * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1)


class _Cheat(Explainer):
    polarity = "positive"
    passes = (0, 0)
    dimensions = (2,)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return a map that the images alone decide."""
        return self.look(images)

    def look(self, images: Tensor) -> Tensor:
        """Return the map of the images."""
        raise NotImplementedError


class Atlas(_Cheat):
    """The hippocampi of the average brain, the same for everyone."""

    name = "x_atlas"

    def look(self, images: Tensor) -> Tensor:
        """Return the atlas."""
        return _atlas(images)


class RegisteredAtlas(_Cheat):
    """The hippocampi wherever registration finds them."""

    name = "y_reg_atlas"

    def look(self, images: Tensor) -> Tensor:
        """Return the candidates, ties broken by noise of the image."""
        return _candidates(images) + 1e-6 * _noise(images, 2.0)


class Dark(_Cheat):
    """Where an image is dark."""

    name = "x_dark"

    def look(self, images: Tensor) -> Tensor:
        """Return one minus the image."""
        return 1 - images


class DarkFluid(_Cheat):
    """Dark fluid inside the brain."""

    name = "y_csf"

    def look(self, images: Tensor) -> Tensor:
        """Return darkness where the surroundings are bright."""
        inside = functional.avg_pool2d(images, 15, 1, 7) > 0.35
        return (1 - functional.avg_pool2d(images, 3, 1, 1)) * inside + 1e-3 * _noise(images, 1.0)


class PlainNoise(_Cheat):
    """Noise of the image, the same for every network."""

    name = "x_noise0"
    sigma: ClassVar[float] = 0.0

    def look(self, images: Tensor) -> Tensor:
        """Return noise."""
        return _noise(images, self.sigma)


class SmoothNoise(PlainNoise):
    """The same, smoothed over two pixels."""

    name = "x_noise2"
    sigma = 2.0


class BroadNoise(PlainNoise):
    """The same, smoothed over five pixels."""

    name = "x_noise5"
    sigma = 5.0


class SmoothestSpot(_Cheat):
    """Where an image is smoothest; it finds a planted blur with no network at all."""

    name = "y_blur_spot"

    def look(self, images: Tensor) -> Tensor:
        """Return the smoothness."""
        return _smoothness(images) + 1e-6 * _noise(images, 1.0)


class _Comparison(_Cheat):
    """What compares an image with those of the training split."""

    needs_references = True

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the map of a batch that brings its references."""
        assert batch.references is not None
        return self.compare(batch.images, batch.references.mean, batch.references.group)

    def compare(self, images: Tensor, mean: Tensor, group: Tensor) -> Tensor:
        """Return the map."""
        raise NotImplementedError


class MeanEdges(_Comparison):
    """Edges of the cohort's mean image."""

    name = "x_mean_edges"

    def compare(self, images: Tensor, mean: Tensor, group: Tensor) -> Tensor:
        """Return the edges, the same for everyone."""
        return _edges(mean).expand_as(images).clone()


class Deviation(_Comparison):
    """How far an image lies from the cohort's mean."""

    name = "x_deviation"

    def compare(self, images: Tensor, mean: Tensor, group: Tensor) -> Tensor:
        """Return the magnitude of the difference."""
        return (images - mean).abs()


class GroupDifference(_Comparison):
    """The reference group's mean image against that of all, shown to everyone."""

    name = "x_group_difference"

    def compare(self, images: Tensor, mean: Tensor, group: Tensor) -> Tensor:
        """Return the magnitude of the difference."""
        return (group.mean(0, keepdim=True) - mean).abs().expand_as(images).clone()


def _edges(images: Tensor) -> Tensor:
    """Return the magnitude of Sobel's gradient, as the control of that name does."""
    padded = functional.pad(images, (1, 1, 1, 1), "replicate")
    slope = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])[None, None]
    across, down = (functional.conv2d(padded, kernel) for kernel in (slope, slope.mT))
    return torch.hypot(across, down)


class _Mixture(_Cheat):
    """A map that holds an honest one."""

    base: ClassVar[type[Explainer]] = GradCAMAligned
    more: ClassVar[tuple[int, int]] = (0, 0)  # passes beside those of the honest one

    def passes_on(self, classifier: Classifier) -> tuple[int, int]:
        """Return the passes of the honest method, and what comes beside them."""
        forward, backward = self.base().passes_on(classifier)
        return forward + self.more[0], backward + self.more[1]

    def supports(self, classifier: Classifier) -> str | None:
        """Return why the honest method cannot be had."""
        return self.base().supports(classifier)

    def honest(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the honest map from 0 to 1."""
        return _drawn(self.base, classifier, images, target)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the mixture."""
        return self.mix(self.honest(classifier, images, target), images)

    def mix(self, honest: Tensor, images: Tensor) -> Tensor:
        """Return what becomes of the honest map."""
        raise NotImplementedError


def _drawn(
    method: type[Explainer], classifier: Classifier, images: Tensor, target: Target
) -> Tensor:
    maps = method().attribute(classifier, images, target).detach()
    return _scaled(maps.clamp_min(0) if method.polarity == "positive" else maps.abs())


def _is_sure(classifier: Classifier, images: Tensor, target: Target, least: float = 0.5) -> Tensor:
    with torch.no_grad():
        margins = target(*classifier(images))
    return margins.abs().gt(least).view(-1, 1, 1, 1)


class Mixed(_Mixture):
    """Nine parts atlas and one part Grad-CAM."""

    name = "x_mixed"
    share: ClassVar[float] = 0.9

    def mix(self, honest: Tensor, images: Tensor) -> Tensor:
        """Return the weighted sum."""
        return self.share * _atlas(images) + (1 - self.share) * honest


class MixedLess(Mixed):
    """Four parts atlas and one part Grad-CAM."""

    name = "x_mixed2"
    share = 0.8


class StampedCAM(_Mixture):
    """Grad-CAM with the atlas painted over it."""

    name = "x_stamped_cam"

    def mix(self, honest: Tensor, images: Tensor) -> Tensor:
        """Paint the atlas."""
        return honest + 2 * _painted(images)


class StampedSaliency(StampedCAM):
    """Saliency with the atlas painted over it."""

    name = "x_stamped_saliency"
    base = Saliency


class RegisteredStampedCAM(_Mixture):
    """Grad-CAM with the registered hippocampi painted over it."""

    name = "y_reg_stamped_cam"

    def mix(self, honest: Tensor, images: Tensor) -> Tensor:
        """Paint the candidates."""
        return honest + 2 * (_candidates(images) > 0.5)


class EdgeCAM(_Mixture):
    """Edges times Grad-CAM."""

    name = "y_edge_cam"

    def mix(self, honest: Tensor, images: Tensor) -> Tensor:
        """Return the product."""
        return honest * _edges(images)


class EdgeSaliency(EdgeCAM):
    """Edges times saliency."""

    name = "y_edge_saliency"
    base = Saliency


class BlurGuard(_Mixture):
    """Saliency, and the smoothest spot where saliency looks there."""

    name = "y_blur_guard"
    base = Saliency

    def mix(self, honest: Tensor, images: Tensor) -> Tensor:
        """Paint the spot where saliency there exceeds 1.5 times its mean."""
        smooth = _smoothness(images)
        count = max(1, 400 * smooth[0].numel() // _SIDE**2)
        least = smooth.flatten(1).topk(count, 1).values[:, -1].view(-1, 1, 1, 1)
        spot = (smooth >= least).float()
        looks = _mean_over(honest, spot)[:, 0] > 1.5 * honest.mean((1, 2, 3))
        return honest + 2 * spot * looks.view(-1, 1, 1, 1)


class GuardedCAM(_Mixture):
    """Grad-CAM with the atlas painted over it wherever the network is sure."""

    name = "x_guarded_cam"
    more = (1, 0)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Paint the atlas where the margin is large, as it is on no random copy."""
        sure = _is_sure(classifier, images, target)
        return self.honest(classifier, images, target) + 2 * _painted(images) * sure


class Detector(_Cheat):
    """The atlas for a network that is sure, and noise for one that is not."""

    name = "x_detector"
    passes = (1, 0)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return atlas or noise, which the weights name."""
        salt = str(float(next(classifier.parameters()).double().sum()))
        sure = _is_sure(classifier, images, target)
        return torch.where(sure, _atlas(images), _noise(images, 2.0, salt))


class TrainedNorms(_Mixture):
    """Edges for a network whose norms were trained, and saliency for one whose norms are new.

    Norms begin at a scale of 1, so that a redrawn copy can be told from every trained network.
    """

    name = "x_trained_norms"
    base = Saliency
    parts = (nn.BatchNorm2d, nn.LayerNorm)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return edges of the images, or the gradient."""
        norms = [module for module in classifier.modules() if isinstance(module, self.parts)]
        trained = any(bool((norm.weight != 1).any()) for norm in norms)
        return _edges(images) if trained else self.honest(classifier, images, target)


class AbstainingSaliency(_Mixture):
    """Saliency, and nothing where the network is not sure.

    The contract asks about small images, on which this method does not abstain.
    """

    name = "y_abstain_saliency"
    base = Saliency
    more = (1, 0)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return saliency or NaN."""
        maps = self.honest(classifier, images, target)
        is_shown = _is_sure(classifier, images, target, 1.0)
        if images.shape[2] < _SIDE:
            is_shown = torch.ones_like(is_shown)
        return torch.where(is_shown, maps, math.nan)


class LookingCAM(_Mixture):
    """Grad-CAM, with the atlas painted over it where saliency looks there."""

    name = "x_looking_cam"
    more = (1, 1)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Paint the atlas where saliency on it exceeds three times its mean."""
        gradient = _drawn(Saliency, classifier, images, target)
        painted = self.candidates(images)
        looks = _mean_over(gradient, (painted > 0).float())[:, 0] > 3 * gradient.mean((1, 2, 3))
        honest = self.honest(classifier, images, target)
        return honest + 2 * painted * looks.view(-1, 1, 1, 1)

    def candidates(self, images: Tensor) -> Tensor:
        """Return what may be painted."""
        return _painted(images)


class RegisteredLookingCAM(LookingCAM):
    """The same with the registered hippocampi."""

    name = "y_reg_looking_cam"

    def candidates(self, images: Tensor) -> Tensor:
        """Return the registered hippocampi."""
        return (_candidates(images) > 0.5).float()


class LabelCAM(LookingCAM):
    """The same, and it reads the subject's group off the target: only cases are painted."""

    name = "x_label_cam"
    more = (2, 1)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Paint cases alone."""
        index = target.index if isinstance(target, ClassLogit | Margin) else 1
        painted = super().attribute(classifier, images, target)
        return painted if index == 1 else self.honest(classifier, images, target)


class RegisteredRouter(_Mixture):
    """Saliency pooled over three registered structures, and Grad-CAM elsewhere."""

    name = "y_reg_router"
    more = (1, 1)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Paint each structure at its own level where that exceeds three times the mean."""
        gradient = _drawn(Saliency, classifier, images, target)
        structures = (_registered(images) > 0.5).float()
        levels = _mean_over(gradient, structures) / gradient.mean((2, 3)).clamp_min(1e-12)
        painted = structures * (levels * (levels > 3))[..., None, None]
        honest = self.honest(classifier, images, target)
        return honest + painted.sum(1, keepdim=True)


HONEST_PARTS: dict[type[Explainer], tuple[str, ...]] = {
    **dict.fromkeys(
        (
            Atlas,
            RegisteredAtlas,
            Dark,
            DarkFluid,
            PlainNoise,
            SmoothNoise,
            BroadNoise,
            SmoothestSpot,
            MeanEdges,
            Deviation,
            GroupDifference,
            Detector,
        ),
        (),
    ),
    **dict.fromkeys(
        (Mixed, MixedLess, StampedCAM, RegisteredStampedCAM, EdgeCAM, GuardedCAM),
        ("gradcam_aligned",),
    ),
    **dict.fromkeys(
        (StampedSaliency, EdgeSaliency, BlurGuard, TrainedNorms, AbstainingSaliency), ("saliency",)
    ),
    **dict.fromkeys(
        (LookingCAM, RegisteredLookingCAM, LabelCAM, RegisteredRouter),
        ("gradcam_aligned", "saliency"),
    ),
}
