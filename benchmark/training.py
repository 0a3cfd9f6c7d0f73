"""Training by recipe: full fine-tuning, and a linear probe on a frozen trunk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.redrawing import redraw
from benchmark.seeding import seed_of, stream, torch_stream

Progress = Callable[[int, int, float], None]
FloatArray = npt.NDArray[np.float64]
Line = tuple[FloatArray, float]

LONGEST_MEMORISING = 150


@dataclass(frozen=True)
class Recipe:
    """How a network is fine-tuned; kept beside its weights.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Images per step.
        learning_rate: Peak of the one-cycle schedule of AdamW.
        weight_decay: Of AdamW.
        shift: Images are moved by up to this many pixels along each axis.
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
) -> Classifier:
    """Return a copy trained on the cohort's training split, every parameter free.

    Args:
        classifier: Where training starts from.
        cohort: Its training split is used, and nothing else.
        recipe: How to train.
        seed: Order and augmentation.
        progress: Called after each epoch with the epoch, the number of epochs and the mean loss.

    Returns:
        The trained copy, frozen, in evaluation mode.
    """
    student = classifier.copy().train().requires_grad_(True)
    train = _training_split(cohort)
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

    No augmentation and no decay, which would keep it from memorising. It stops as soon as its
    accuracy in evaluation mode reaches ``enough``, and after ``LONGEST_MEMORISING`` epochs anyway;
    look at the accuracy to know which.

    Args:
        classifier: Gives the architecture.
        cohort: Images and true labels; see ``permuted``.
        recipe: Batch size and learning rate.
        seed: Of permutation, initial weights and order.
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
    train = _training_split(cohort)
    labels = stream("permuted labels", seed).permutation(train.groups)
    return replace(train, participants=train.participants.assign(group=labels))


def _training_split(cohort: Cohort) -> Cohort:
    """Return the training split by key, so that training is the same in any order of rows."""
    train = cohort.select("train")
    return train.take(np.argsort(np.array(train.keys)))


def training_accuracy(classifier: Classifier, cohort: Cohort) -> float:
    """Return the share of images whose larger logit is that of their label."""
    right = 0
    with torch.no_grad():
        for batch in cohort.batches(64, classifier.device):
            called = classifier(batch.images)[0].argmax(1).cpu().numpy()
            right += int((called == cohort.groups[batch.rows]).sum())
    return right / len(cohort)


def fit_probe(classifier: Classifier, cohort: Cohort, batch_size: int = 64) -> Classifier:
    """Return a copy whose head is a logistic regression on the frozen embedding.

    The regression is folded into the head, which stays linear in the embedding.

    Args:
        classifier: Its trunk and pool stay as they are.
        cohort: Its training split is used.
        batch_size: Images per pass.
    """
    train = _training_split(cohort)
    embeddings = []
    with torch.inference_mode():
        for batch in train.batches(batch_size, classifier.device):
            embeddings.append(classifier(batch.images)[1].double().cpu())
    features = torch.cat(embeddings).numpy()
    weight, bias = logistic_regression(features, train.groups)
    head = nn.Linear(features.shape[1], 2)
    with torch.no_grad():
        # Half to each class: the margin is the regression's logit, and no class is favoured.
        head.weight.copy_(torch.from_numpy(np.stack([-weight, weight]) / 2))
        head.bias.copy_(torch.tensor([-bias / 2, bias / 2]))
    probed = classifier.copy()
    probed.head = head.to(classifier.device)
    probed.eval().requires_grad_(False)
    return probed


def logistic_regression(features: FloatArray, groups: npt.NDArray[np.int64]) -> Line:
    """Return the weights [D] and the intercept of a logistic regression on features [n, D].

    With an L2 penalty on standardised features; the scaling is folded back. Newton steps go to the
    one optimum as far as rounding allows, so the order of rows does not show.
    """
    from sklearn.linear_model import LogisticRegression  # two seconds that most commands do without

    mean, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    probe = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=200)
    probe.fit((features - mean) / spread, groups)
    weight: FloatArray = probe.coef_[0] / spread
    return weight, float(probe.intercept_[0] - weight @ mean)


def save_weights(classifier: Classifier, folder: Path, card: dict[str, object]) -> Path:
    """Write ``NAME.safetensors`` and its card ``NAME.json`` into ``folder``.

    Args:
        classifier: Whose parameters and buffers are written.
        folder: Made if missing.
        card: Recipe and results; the SHA-256 of the weights is added.

    Returns:
        Path of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{classifier.name}.safetensors"
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(tensors, path)
    card = {"name": classifier.name, "sha256": classifier.weights_sha256, **card}
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def load_weights(classifier: Classifier, path: Path) -> Classifier:
    """Load weights that ``save_weights`` wrote, and check them against their card.

    Args:
        classifier: Changed in place and returned.
        path: The ``.safetensors`` file.

    Raises:
        ClassifierError: If the file is missing, belongs to another architecture, or holds other
            weights than its card names.
    """
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        classifier.load_state_dict(load_file(path))
    except (OSError, ValueError, SafetensorError) as error:
        raise ClassifierError(f"The weights {path.name} cannot be read: {error}") from error
    except RuntimeError as error:
        raise ClassifierError(
            f"The weights {path.name} do not fit the architecture of {classifier.name!r}."
        ) from error
    if classifier.weights_sha256 != card.get("sha256"):
        raise ClassifierError(
            f"The weights {path.name} have SHA-256 {classifier.weights_sha256}, "
            f"but their card names {card.get('sha256')}."
        )
    return classifier


def recipe_card(recipe: Recipe, cohort: Cohort, seed: int) -> dict[str, object]:
    """Return what a reader needs to train the same network again."""
    return {
        "recipe": asdict(recipe),
        "seed": seed,
        "cohort": cohort.name,
        "cohort_fingerprint": cohort.fingerprint,
        "torch": torch.__version__,
    }


def _augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Move each image by whole pixels, the same way along an axis for a batch, and mirror some."""
    reach, axes = recipe.shift, tuple(range(2, images.ndim))
    if reach:
        moves = torch.randint(-reach, reach + 1, (len(axes),), generator=generator).tolist()
        images = torch.roll(images, moves, axes)
    if recipe.mirror:
        flip = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(flip.view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)
    return images
