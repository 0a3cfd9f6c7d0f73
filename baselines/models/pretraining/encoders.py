"""The committed encoders, each with the function that makes it again.

From the project's root, this writes ``simclr_encoder.safetensors`` and its card into a folder::

    python -c "from pathlib import Path
    from baselines.models.pretraining.encoders import ENCODERS, write_encoder
    write_encoder(ENCODERS['simclr_encoder'], Path('encoders'))"
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from baselines.cohorts.generator import make_cohort
from baselines.cohorts.phantom import Phantom
from baselines.cohorts.template import coronal_view
from baselines.models.pretraining.contrastive import ContrastiveRecipe, Progress, pretrain
from baselines.models.pretraining.views import ViewRecipe
from baselines.models.smallresnet import WIDTHS, build_trunk
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.records.files import check_folder, write_atomically
from benchmark.training import Recipe, train_from_scratch

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class EncoderRecipe:
    """How an encoder was pretrained.

    Attributes:
        name: Name of the encoder and of its files.
        pretraining: Source of what it learned: ``"other cohort"``, which is the labels of one, or
            ``"self-supervised"``.
        draw: Function that returns the cohort that it was trained on.
        images: Sentence that says which images these are.
        recipe: Settings of the training.
    """

    name: str
    pretraining: str
    draw: Callable[[], Cohort]
    images: str
    recipe: Recipe | ContrastiveRecipe

    def train(self, cohort: Cohort, progress: Progress | None = None) -> nn.Module:
        """Return the trunk of `smallresnet`, trained on a cohort by the recipe from seed 0."""
        if isinstance(self.recipe, ContrastiveRecipe):
            images = torch.from_numpy(np.array(cohort.images))
            return pretrain(build_trunk(), images, self.recipe, progress=progress)
        head = nn.Linear(WIDTHS[-1], 2)
        network = Classifier(self.name, build_trunk(), head, cohort.shape)

        def tell(epoch: int, _: int, loss: float) -> None:
            if progress is not None:
                progress(epoch, loss)

        return train_from_scratch(network, cohort, self.recipe, progress=tell).trunk


def draw_other_cohort(subjects: int, seed: int) -> Cohort:
    """Return other subjects with phantom's disease: drawn by its generator, from another seed."""
    return make_cohort(f"phantom-{seed}", coronal_view(), {"train": subjects}, seed)


def phantom_training_images() -> Cohort:
    """Return the training split of `phantom`."""
    return Phantom().load().select("train")


MILD_VIEWS = ViewRecipe(rotation=0.03, scale=0.03, shift=0.02, contrast=0.1, bias=0.0, blur=1.0)
"""What SimCLR is usually given for grey images: a small affine, gamma, contrast, blur and noise."""

ENCODERS: Mapping[str, EncoderRecipe] = {
    encoder.name: encoder
    for encoder in (
        EncoderRecipe(
            "supervised_encoder",
            "other cohort",
            lambda: draw_other_cohort(260, seed=7),
            "260 subjects of the generator of phantom, seed 7",
            Recipe(epochs=10),
        ),
        EncoderRecipe(
            "simclr_encoder",
            "self-supervised",
            phantom_training_images,
            "the 300 training images of phantom",
            ContrastiveRecipe(epochs=60, views=MILD_VIEWS),
        ),
        EncoderRecipe(
            "simclr_elastic_encoder",
            "self-supervised",
            phantom_training_images,
            "the 300 training images of phantom",
            ContrastiveRecipe(epochs=60, views=ViewRecipe(elastic=2.0)),
        ),
    )
}
"""Encoders by name."""


def write_encoder(
    encoder: EncoderRecipe, folder: Path = DATA, progress: Progress | None = None
) -> Path:
    """Train an encoder, write ``NAME.safetensors`` and its card, and return the weights' path.

    Args:
        encoder: Recipe of the encoder.
        folder: Folder to write into, made if missing.
        progress: Function that is called after each epoch with its number and its mean loss.

    Raises:
        StoreError: If a file cannot be written.
    """
    check_folder(folder)
    cohort = encoder.draw()
    trunk = encoder.train(cohort, progress)
    weights = save({name: part.contiguous() for name, part in trunk.state_dict().items()})
    card = {
        "name": encoder.name,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "architecture": "baselines/models/smallresnet.py:build_trunk",
        "pretraining": encoder.pretraining,
        "images": encoder.images,
        "cohort_fingerprint": cohort.fingerprint,
        "method": type(encoder.recipe).__name__,
        "recipe": asdict(encoder.recipe),
        "seed": 0,
        "torch": torch.__version__,
    }
    path = folder / f"{encoder.name}.safetensors"
    write_atomically(path, weights)
    write_atomically(path.with_suffix(".json"), f"{json.dumps(card, indent=2)}\n".encode())
    return path
