"""What `peers` composes: a network as other packages expect it, maps, masks, imputers, measures.

Maps come from pytorch-grad-cam and Captum, linear imputation, similarities and localisation from
Quantus, HOG features, cells and exact average precision from scikit-image and scikit-learn. What no
package has is written here as one writes it with NumPy and SciPy: one image after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import quantus
import torch
from captum.attr import (
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from quantus.functions.perturb_func import noisy_linear_imputation
from quantus.functions.similarity_func import correlation_spearman, ssim
from scipy import ndimage
from skimage.feature import hog
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from baselines.explainers.gradient import SAMPLES
from baselines.explainers.path import STEPS
from benchmark.classifier import Classifier

Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Imputer = Callable[[Maps, Masks], Maps]

BATCH = 64
_CROSS = ndimage.generate_binary_structure(2, 1)
_BOX = ndimage.generate_binary_structure(2, 2)
# With average pooling and one linear layer, HiResCAM is the class activation map, which
# pytorch-grad-cam does not have.
_CAMS = {"cam": HiResCAM, "gradcam": GradCAM, "gradcampp": GradCAMPlusPlus, "layercam": LayerCAM}
_CAPTUM: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "saliency": lambda network, images, target: Saliency(network).attribute(images, target),
    "input_x_gradient": lambda network, images, target: InputXGradient(network).attribute(
        images, target
    ),
    "guided_backprop": lambda network, images, target: GuidedBackprop(network).attribute(
        images, target
    ),
    "integrated_gradients": lambda network, images, target: IntegratedGradients(network).attribute(
        images, target=target, n_steps=STEPS, internal_batch_size=BATCH
    ),
    "smoothgrad": lambda network, images, target: NoiseTunnel(Saliency(network)).attribute(
        images, nt_samples=SAMPLES, nt_samples_batch_size=1, stdevs=0.1, target=target, abs=False
    ),
    "occlusion": lambda network, images, target: Occlusion(network).attribute(
        images.detach(), (1, 12, 12), (1, 6, 6), target=target, perturbations_per_eval=1
    ),
}
METHODS = (*_CAMS, *_CAPTUM)


class Network(nn.Module):
    """Images in, the margin of each group over the other out; counts its passes.

    Args:
        classifier: Network of ours, whose layers are copied.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.trunk, self.pool, self.head = (
            copy.deepcopy(part) for part in (classifier.trunk, classifier.pool, classifier.head)
        )
        self.preprocessing = classifier.preprocessing
        self.stages = [stage.name for stage in classifier.stages]
        self.direction: Tensor | None = None
        self.counts = {"forward": 0, "backward": 0}
        self.requires_grad_(False)
        self.eval()

    def embed(self, images: Tensor) -> Tensor:
        """Return the embeddings."""
        self.counts["forward"] += len(images)
        if images.requires_grad:
            images = images.view_as(images)
            images.register_hook(self._count)
        embeddings: Tensor = self.pool(self.trunk(self.preprocessing(images)))
        return embeddings

    def forward(self, images: Tensor) -> Tensor:
        """Return margins [B, 2], or the projections on a direction, [B, 2], where there is one."""
        embeddings = self.embed(images)
        if self.direction is not None:
            return (embeddings @ self.direction)[:, None].expand(-1, 2)
        logits = self.head(embeddings)
        return logits - logits.flip(1)

    def projecting_on(self, direction: Values) -> Network:
        """Return the network whose output is the projection on a direction; layers are shared."""
        other = copy.copy(self)
        other.direction = torch.from_numpy(direction).float()
        return other

    def randomised(self, stages: Sequence[str], seed: int, images: Maps) -> Network:
        """Return a copy with some stages drawn anew, and statistics taken anew from images."""
        other = copy.deepcopy(self)
        other.counts = self.counts
        torch.manual_seed(seed)
        for name in stages:
            for part in other.get_submodule(name).modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()
        norms = [part for part in other.modules() if isinstance(part, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        with torch.no_grad():
            other.embed(torch.from_numpy(images)[:, None])
        return other.eval()

    def _count(self, gradient: Tensor) -> None:
        self.counts["backward"] += len(gradient)


def outputs_of(network: Network, images: Maps) -> tuple[Values, ...]:
    """Return margins [n, 2] and embeddings [n, D] of images [n, *S], in batches."""
    margins, embeddings = [], []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            embedding = network.embed(torch.from_numpy(images[start : start + BATCH])[:, None])
            logits = network.head(embedding)
            margins.append((logits - logits.flip(1)).double().numpy())
            embeddings.append(embedding.double().numpy())
    return np.concatenate(margins), np.concatenate(embeddings)


def explain(network: Network, images: Maps, groups: Rows, method: str = "gradcampp") -> Maps:
    """Return the maps of each image's own group, [n, *S]."""
    targets, made = [ClassifierOutputTarget(int(group)) for group in groups], []
    batches = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
    if method in _CAPTUM:
        for rows in batches:
            # The parameters are frozen, so that nothing but the image asks for a gradient.
            batch = torch.from_numpy(images[rows])[:, None].requires_grad_()
            attributions = _CAPTUM[method](network, batch, torch.from_numpy(groups[rows]))
            made.append(attributions[:, 0].detach().float().numpy())
        return np.concatenate(made)
    with _CAMS[method](model=network, target_layers=[network.trunk[-1]]) as cam:
        for rows in batches:
            batch = torch.from_numpy(images[rows])[:, None].requires_grad_()
            made.append(cam(input_tensor=batch, targets=targets[rows]))
    return np.concatenate(made).astype(np.float32)


def imputers_of(training: Maps) -> dict[str, Imputer]:
    """Return the imputers by name, each from an image [*S] and a mask [*S] to an image."""
    template = training.mean(0)

    def mean(image: Maps, mask: Masks) -> Maps:
        inside = ~mask & (image > 0)
        slope, offset = np.polyfit(template[inside], image[inside], 1)
        return _feathered(image, mask, offset + slope * template)

    def linear(image: Maps, mask: Masks) -> Maps:
        filled = noisy_linear_imputation(image[None], np.flatnonzero(mask))
        return filled[0].astype(np.float32)

    def blur(image: Maps, mask: Masks) -> Maps:
        return _feathered(image, mask, ndimage.gaussian_filter(image, min(image.shape) / 12))

    return {"mean": mean, "noisy_linear": linear, "blur": blur}


def _feathered(image: Maps, mask: Masks, fill: Maps) -> Maps:
    """Return an image with a fill in the mask, and half of it on a rim of one pixel."""
    rim = ndimage.binary_dilation(mask, _CROSS) & ~mask
    return np.where(mask, fill, np.where(rim, (image + fill) / 2, image)).astype(np.float32)


def impute(images: Maps, masks: Masks, imputer: Imputer) -> Maps:
    """Return every image [n, *S] without each of its masks [n, M, *S], [n · M, *S]."""
    pairs = zip(images, masks, strict=True)
    return np.stack([imputer(image, mask) for image, of_image in pairs for mask in of_image])


def top_mask(map_: Maps, foreground: Masks, size: int) -> Masks:
    """Return the ``size`` pixels of the foreground where a map is largest, [*S]."""
    values = np.where(foreground, map_, -np.inf).ravel()
    mask = np.zeros(values.shape, dtype=bool)
    mask[np.argsort(-values, kind="stable")[:size]] = True
    return mask.reshape(map_.shape)


def moved(mask: Masks, foreground: Masks, generator: np.random.Generator) -> Masks:
    """Return a mask at a random place: flipped, shifted, cut to the foreground, and grown again."""
    size = int((mask & foreground).sum())
    axes = [axis for axis in range(mask.ndim) if generator.random() < 0.5]
    shift = [int(generator.integers(length)) for length in mask.shape]
    other = np.roll(np.flip(mask & foreground, axes), shift, range(mask.ndim)) & foreground
    while (missing := size - int(other.sum())) > 0:
        ring = ndimage.binary_dilation(other, _BOX) & foreground & ~other
        if not ring.any():
            ring = foreground & ~other
        pixels = np.flatnonzero(ring)
        if len(pixels) > missing:
            pixels = generator.choice(pixels, missing, replace=False)
        other.flat[pixels] = True
    return other


def scattered(mask: Masks, foreground: Masks, generator: np.random.Generator) -> Masks:
    """Return as many random pixels of the foreground as a mask has, [*S]."""
    other = np.zeros_like(mask)
    size = int((mask & foreground).sum())
    other.flat[generator.choice(np.flatnonzero(foreground), size, replace=False)] = True
    return other


def likeness(first: Maps, second: Maps, foreground: Masks, share: float) -> dict[str, list[float]]:
    """Return five similarities of maps [n, *S], one value for each image."""
    similarities: dict[str, list[float]] = {
        name: [] for name in ("spearman", "signed", "ssim", "hog", "top")
    }
    for one, other, inside in zip(first, second, foreground, strict=True):
        size = int(np.ceil(share * inside.sum()))
        tops = top_mask(one, inside, size), top_mask(other, inside, size)
        features = [
            hog(np.where(inside, map_, 0), 9, (8, 8), (3, 3), feature_vector=True)
            for map_ in (one, other)
        ]
        spearman = correlation_spearman(one[inside], other[inside])
        signed = correlation_spearman(np.abs(one[inside]), np.abs(other[inside]))
        similarities["spearman"].append(spearman)
        similarities["signed"].append(signed)
        similarities["ssim"].append(ssim(np.where(inside, one, 0), np.where(inside, other, 0)))
        similarities["hog"].append(float(np.corrcoef(*features)[0, 1]))
        similarities["top"].append((tops[0] & tops[1]).sum() / (tops[0] | tops[1]).sum())
    return similarities


def localisation(maps: Maps, truth: Masks, foreground: Masks) -> dict[str, list[float]]:
    """Return five scores of maps [n, *S] against masks of the truth [n, *S]."""
    metrics = {
        "rank_accuracy": quantus.RelevanceRankAccuracy(disable_warnings=True),
        "mass": quantus.RelevanceMassAccuracy(disable_warnings=True),
        "pointing": quantus.PointingGame(disable_warnings=True),
        "lift": quantus.AttributionLocalisation(weighted=True, disable_warnings=True),
    }
    inside, within = np.where(foreground, maps, 0)[:, None], (truth & foreground)[:, None]
    scores = {
        name: list(metric.evaluate_batch(x_batch=inside, a_batch=inside, s_batch=within))
        for name, metric in metrics.items()
    }
    return scores | {"ap": average_precisions(maps, truth, foreground)}


def average_precisions(maps: Maps, truth: Masks, foreground: Masks) -> list[float]:
    """Return the average precision of each map [n, *S] against its truth [n, *S]."""
    images = zip(maps, truth, foreground, strict=True)
    return [average_precision_score(mask[in_], map_[in_]) for map_, mask, in_ in images]


def compared(first: Maps, second: Maps, organs: Masks, partners: Sequence[Rows]) -> float:
    """Return Spearman's correlation of two methods above that with partners' maps."""
    values = []
    for order in (np.arange(len(first)), *partners):
        both = organs & organs[order]
        pairs = zip(first, second[order], both, strict=True)
        values.append(
            [correlation_spearman(one[inside], two[inside]) for one, two, inside in pairs]
        )
    own, *others = np.array(values)
    return float((own - np.mean(others, axis=0)).mean())


def overlaps(first: Masks, second: Masks) -> Values:
    """Return |A ∩ B| / |A ∪ B| of masks [n, Q, *S], [n, Q]."""
    axes = tuple(range(2, first.ndim))
    overlaps: Values = (first & second).sum(axes) / (first | second).sum(axes)
    return overlaps


def concordance(ranks: Sequence[Values]) -> float:
    """Return Kendall's W of several methods' ranks [P] of the pixels of one image."""
    sums = np.sum(ranks, axis=0)
    count, pixels = len(ranks), len(sums)
    return float(12 * np.square(sums - sums.mean()).sum() / (count**2 * (pixels**3 - pixels)))


def rank_correlations(first: Values, second: Values) -> list[float]:
    """Return Spearman's correlation of each row of two tables."""
    pairs = zip(first, second, strict=True)
    return [float(correlation_spearman(one, two)) for one, two in pairs]


def swapped(differences: Values, permutations: int) -> float:
    """Return the p-value of the distance of two means when labels are swapped within pairs."""
    signs = np.random.default_rng(4).choice([-1.0, 1.0], (permutations, len(differences)))
    drawn = np.linalg.norm(signs @ differences, axis=1)
    own = np.linalg.norm(differences.sum(0))
    return float((1 + (drawn >= own).sum()) / (1 + permutations))


def null_distances(embeddings: Values, splits: int, permutations: int) -> Values:
    """Return p-values of the distance between random halves of clean images, [splits]."""
    count, generator = len(embeddings), np.random.default_rng(5)
    signs = np.where(np.arange(count) < count // 2, 1.0, -1.0)
    p_values = np.empty(splits)
    for split in range(splits):
        drawn = generator.permuted(np.tile(signs, (1 + permutations, 1)), axis=1)
        distances = np.linalg.norm(drawn @ embeddings, axis=1)
        p_values[split] = (distances >= distances[0]).mean()
    return p_values
