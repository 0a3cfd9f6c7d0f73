"""Whether edited images can be told from other subjects' real ones.

They are told apart by a logistic regression of texture: mean and spread of each channel of a small
network with random weights, which has seen neither the images nor the network that was edited on.
The real images are of other subjects: an edited image beside its own original would be told by who
is who.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.arrays import FloatArray
from benchmark.reading import Sample
from benchmark.seeding import seed_of, torch_stream

_WIDTHS = (16, 32, 64)
_LARGEST_BATCH = 2**20  # pixels


def texture(images: Tensor) -> FloatArray:
    """Return mean and spread of each channel of each stage, [n, F], of images [n, 1, *S]."""
    stages = _stages(images.ndim - 2)
    pool = functional.avg_pool2d if images.ndim == 4 else functional.avg_pool3d
    lane, features = max(1, _LARGEST_BATCH // images[0].numel()), []
    with torch.inference_mode():
        for batch in images.split(lane):
            maps, of_batch = batch, []
            for stage in stages:
                maps = functional.relu(stage(maps))
                flat = maps.flatten(2).double()
                of_batch += [flat.mean(2), flat.std(2)]
                if min(maps.shape[2:]) > 1:
                    maps = pool(maps, 2)
            features.append(torch.cat(of_batch, dim=1))
    return torch.cat(features).numpy()


def told_apart(
    real: FloatArray, edited: FloatArray, sample: Sample, folds: int, suite: str
) -> FloatArray:
    """Return how much each image looks edited, [r + n], by a regression fitted without it.

    Args:
        real: [r, F] texture of real images.
        edited: [n, F] texture of edited images.
        sample: Sample of both, the real ones first; no subject is in two folds.
        folds: Number of folds.
        suite: Name of the suite, for the draw of the folds.
    """
    # scikit-learn takes longer to load than all else, and most runs tell nothing apart.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = np.argsort(np.array(sample.keys))  # neither folds nor fit depend on the rows' order
    values, is_edited = np.concatenate([real, edited])[order], np.array(sample.groups)[order]
    subjects = np.array(sample.subjects)[order]
    seed = seed_of(suite, "realism") % 2**32
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    held_out = cross_val_predict(
        model, values, is_edited, groups=subjects, cv=splitter, method="decision_function"
    )
    scores: FloatArray = np.empty(len(order))
    scores[order] = held_out
    return scores


def _stages(dimensions: int) -> list[nn.Module]:
    """Return convolutions with random weights, the same each time (He et al. 2015)."""
    convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
    stages: list[nn.Module] = []
    inputs = 1
    for number, width in enumerate(_WIDTHS):
        stage = convolution(inputs, width, 3, padding=1, padding_mode="replicate", bias=False)
        generator = torch_stream("texture", dimensions, number)
        deviation = (2 / (inputs * 3**dimensions)) ** 0.5
        with torch.no_grad():
            stage.weight.copy_(deviation * torch.randn(stage.weight.shape, generator=generator))
        stages.append(stage)
        inputs = width
    return stages
