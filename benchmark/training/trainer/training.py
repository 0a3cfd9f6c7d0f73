"""Training by regime: a fresh head alone, the last stage too, or everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier, PassCounter
from benchmark.classifier.redrawing import redraw
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.seeding import seed_of
from benchmark.training.probe import probe_margins
from benchmark.training.regimes import Epoch, RegimeRecipe, best_epoch, has_stopped
from benchmark.training.threads import torch_threads
from benchmark.training.trainer.course import Course, auroc
from benchmark.training.trainer.freezing import hashes_of, last_stage_of, parts_of, set_free
from benchmark.training.trainer.material import (
    Draw,
    KeptActivations,
    Material,
    black_image,
    check_shift,
    draw_rows,
    prepare,
)
from benchmark.training.trainer.state import TrainingState

# A probe that is further from the convex solution than this is named on the card.
LARGEST_GAP = 0.03

Listener = Callable[[Epoch, TrainingState], None]


@dataclass(frozen=True)
class Trained:
    """A network after training.

    Attributes:
        classifier: Network with the weights of its best epoch, frozen, in evaluation mode.
        epochs: Epochs of the training.
        best_epoch: Number of the epoch whose weights were restored.
        stopped_early: Whether training stopped for want of a gain.
        remarks: Sentences that a reader of the results must see.
        trained_stages: Names of the parts that were trained, from the head to the stem.
        frozen_stages: Names of the parts that are byte for byte as they were.
    """

    classifier: Classifier
    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped_early: bool
    remarks: tuple[str, ...]
    trained_stages: tuple[str, ...]
    frozen_stages: tuple[str, ...]


def train(
    classifier: Classifier,
    cohort: Cohort,
    recipe: RegimeRecipe,
    state: TrainingState | None = None,
    listener: Listener | None = None,
    draw: Draw | None = None,
) -> Trained:
    """Return a copy with a fresh linear head, trained on a cohort's training split by a recipe.

    AdamW has constant rates, one for the head and one for the rest. Training stops early on the
    validation split, and the weights of the best epoch are restored. Frozen parts stay in
    evaluation mode, and their hashes are compared before and after. The same arguments give the
    same bytes on one machine; on a GPU only with deterministic algorithms, as commands ask for.

    Args:
        classifier: Network that gives trunk and pool; its head is replaced by ``Linear(D, 2)``.
        cohort: Cohort whose training and validation splits are used, and nothing else.
        recipe: Recipe to train by.
        state: State of the same training to go on from.
        listener: Function that is called after each epoch with it and the state.
        draw: Rows to train and to validate on; those of ``draw_rows`` unless given.

    Raises:
        InputError: If the recipe does not fit the cohort, or the state belongs to another training.
        CohortError: If a group has no member to train or to validate on.
        ClassifierError: If the network has no such stage, cannot be trained, or its loss is not
            finite.
    """
    check_shift(cohort, recipe)
    draw = draw_rows(cohort, recipe) if draw is None else draw
    student = _student(classifier, recipe)
    parts, free = parts_of(student), _free_parts(student, recipe)
    _require_precision(student, free)
    before = hashes_of(parts)
    course = Course(student, cohort, recipe, free, before)
    if state is not None:
        course.restore(state)
    set_free(student, ())
    material = prepare(student, free[-1], cohort, draw, recipe)
    watched = torch.from_numpy(cohort.groups[draw.validation])
    course.check_finite(material)
    # A head alone takes 40 ms an epoch on one thread. More wait for each other, up to seconds on a
    # busy machine, and the order of their sums would show in the weights.
    with torch_threads(1 if recipe.regime == "probe" else torch.get_num_threads()):
        while len(course.epochs) < recipe.most_epochs and not has_stopped(course.epochs, recipe):
            course.advance(material, watched)
            if listener is not None:
                listener(course.epochs[-1], course.state())
    course.finish()
    _prove(student, before, free)
    remarks = (*draw.remarks, *_remarks(course, material, watched))
    return Trained(
        student,
        tuple(course.epochs),
        best_epoch(course.epochs, recipe),
        has_stopped(course.epochs, recipe),
        remarks,
        tuple(part.removeprefix("trunk.") for part in free),
        tuple(part.removeprefix("trunk.") for part in parts if part not in free),
    )


def _student(classifier: Classifier, recipe: RegimeRecipe) -> Classifier:
    """Return a copy whose head is a linear layer drawn for the refit."""
    student = classifier.copy()
    student.passes = PassCounter()
    with torch.no_grad():
        embedding = student(black_image(student))[1]
    if embedding.dtype not in (torch.float32, torch.float64):
        raise ClassifierError(
            f"Model {student.name!r} cannot be trained: its embedding is {embedding.dtype}, but "
            "logits and losses need torch.float32; let its pool end in single precision."
        )
    # Without an initial draw, which would move the global stream.
    student.head = nn.utils.skip_init(nn.Linear, embedding.shape[1], 2, dtype=embedding.dtype)
    redraw(student.head, seed_of("head", recipe.refit))
    return student.to(classifier.device)


def _free_parts(student: Classifier, recipe: RegimeRecipe) -> tuple[str, ...]:
    """Return the names of the parts that are trained, from the head to the stem."""
    parts = tuple(parts_of(student))
    if recipe.regime == "probe":
        return ("head",)
    if recipe.regime == "full":
        return parts
    stage = last_stage_of(student)
    if stage is None:
        raise ClassifierError(
            f"Model {student.name!r} cannot be trained by the regime 'last_stage': its trunk, a "
            f"{type(student.trunk).__name__}, is not made of several stages with weights; train "
            "by 'probe' or 'full', or build a trunk whose children are its stages."
        )
    return parts[: parts.index(stage) + 1]


def _require_precision(student: Classifier, free: tuple[str, ...]) -> None:
    """Refuse to train weights that are too coarse for the steps of an optimiser."""
    parts = parts_of(student)
    for part in free:
        for name, tensor in parts[part].items():
            if isinstance(tensor, nn.Parameter) and tensor.dtype.itemsize < 4:
                raise ClassifierError(
                    f"Model {student.name!r} cannot be trained in its part "
                    f"{part.removeprefix('trunk.')!r}: {name} is {tensor.dtype}, but training "
                    "needs torch.float32; convert the network with .float(), or train by 'probe'."
                )


def _prove(student: Classifier, before: Mapping[str, str], free: tuple[str, ...]) -> None:
    """Check that frozen parts are as they were, and that the others are not.

    Raises:
        ClassifierError: If one is not.
    """
    parts = parts_of(student)
    after = hashes_of(parts)
    for part, members in parts.items():
        name, has_changed = part.removeprefix("trunk."), after[part] != before[part]
        if part not in free and has_changed:
            raise ClassifierError(
                f"Training {student.name!r} changed its part {name!r}, which is frozen: a layer of "
                "it changes itself in evaluation mode."
            )
        is_learnt = any(isinstance(tensor, nn.Parameter) for tensor in members.values())
        if part in free and is_learnt and not has_changed:
            raise ClassifierError(
                f"Training {student.name!r} left its part {name!r} as it was, to the last bit: the "
                "rate is too small for its weights."
            )


def _remarks(course: Course, material: Material, watched: Tensor) -> tuple[str, ...]:
    """Return what a reader must know of a finished training."""
    remarks = []
    recipe, best = course.recipe, course.epochs[best_epoch(course.epochs, course.recipe) - 1]
    if best.number == recipe.most_epochs:
        remarks.append(
            f"The best epoch is the last of {best.number}: training longer may give more."
        )
    if isinstance(material, KeptActivations) and recipe.regime == "probe":
        parts = material.kept[0], material.watched
        features, others = (part.cpu().double().numpy() for part in parts)
        margins = torch.from_numpy(probe_margins(features, material.groups.numpy(), others))
        convex = auroc(torch.stack([-margins / 2, margins / 2], 1), watched)
        if abs(convex - best.validation_auroc) > LARGEST_GAP:
            remarks.append(
                f"The probe's validation AUROC is {best.validation_auroc:.3f}, but that of a "
                f"logistic regression on the same embeddings {convex:.3f}: a gap of more than "
                f"{LARGEST_GAP} says that other rates or more epochs are needed."
            )
    return tuple(remarks)
