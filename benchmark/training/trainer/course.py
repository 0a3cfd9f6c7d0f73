"""The course of a training: epoch after epoch, from the start or from a state."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.arrays import Arrays
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError, InputError, short_message
from benchmark.seeding import seed_of
from benchmark.statistics.discrimination import classification_report
from benchmark.training.regimes import Epoch, RegimeRecipe, best_epoch
from benchmark.training.trainer.freezing import parts_of, set_free
from benchmark.training.trainer.material import KeptActivations, Material, class_weights
from benchmark.training.trainer.state import TrainingState


class Course:
    """A training under way.

    Args:
        student: Network that is trained, in place.
        cohort: Cohort that it is trained on.
        recipe: Recipe to train by.
        free: Names of the parts that are trained.
        before: Hashes of all parts before training.

    Attributes:
        epochs: Epochs so far.
    """

    def __init__(
        self,
        student: Classifier,
        cohort: Cohort,
        recipe: RegimeRecipe,
        free: tuple[str, ...],
        before: Mapping[str, str],
    ) -> None:
        self.student, self.recipe, self.free = student, recipe, free
        self.epochs: list[Epoch] = []
        frame = [dict(before), repr(student.preprocessing), list(student.input_shape)]
        identity = [asdict(recipe), cohort.fingerprint, *frame]
        self.training = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        parts = parts_of(student)
        self.tensors = {name: tensor for part in free for name, tensor in parts[part].items()}
        head = list(student.head.parameters())
        encoder = [
            tensor
            for name, tensor in self.tensors.items()
            if isinstance(tensor, nn.Parameter) and not name.startswith("head.")
        ]
        groups = [{"params": head, "lr": recipe.head_rate}]
        groups += [{"params": encoder, "lr": recipe.encoder_rate}] if encoder else []
        self.optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)
        self.best: dict[str, npt.NDArray[np.generic]] = {}
        self.dtype = head[0].dtype
        # On the CPU half precision is slower, and the suite's networks are small.
        is_cuda = student.device.type == "cuda"
        self.in_half = is_cuda and torch.cuda.is_bf16_supported(including_emulation=False)

    def advance(self, material: Material, watched: Tensor) -> None:
        """Train for an epoch, and watch the validation split."""
        start, number, student = time.perf_counter(), len(self.epochs) + 1, self.student
        weights = class_weights(material.groups.numpy()) if self.recipe.class_weights else None
        weights = None if weights is None else weights.to(student.device)
        devices = [student.device] if student.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # Dropout draws from the global stream; under this seed it does not matter where it was.
            torch.manual_seed(seed_of("dropout", self.recipe.refit, number))
            set_free(student, self.free)
            total, count = torch.zeros((), device=student.device), 0
            for inputs, groups in material.batches(number):
                total += len(groups) * self._step(material, inputs, groups, weights)
                count += len(groups)
        self._require_gradients()
        set_free(student, ())
        loss = float(total) / count
        logits = _logits(student, material)
        if not (math.isfinite(loss) and bool(logits.isfinite().all())):
            raise ClassifierError(self._divergence(number, loss))
        validation_loss = functional.cross_entropy(
            logits, watched, None if weights is None else weights.cpu().double()
        )
        area = auroc(logits, watched)
        seconds = time.perf_counter() - start
        self.epochs.append(Epoch(number, loss, float(validation_loss), area, seconds))
        if best_epoch(self.epochs, self.recipe) == number:
            self.best = _arrays(self.tensors)

    def _step(
        self, material: Material, inputs: Tensor, groups: Tensor, weights: Tensor | None
    ) -> Tensor:
        self.optimiser.zero_grad()
        try:
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.in_half):
                embedding = material.embed(inputs)
            logits = self.student.head(embedding.to(self.dtype))
            loss = functional.cross_entropy(logits.float(), groups, weights)
            loss.backward()
        except (RuntimeError, ValueError, TypeError) as error:
            raise ClassifierError(
                f"Model {self.student.name!r} cannot be trained by the regime "
                f"{self.recipe.regime!r}: in training mode a batch of {len(groups)} images ends "
                f"with {short_message(error)}"
            ) from error
        self.optimiser.step()
        return loss.detach()

    def _require_gradients(self) -> None:
        """Refuse a network with a part that no gradient reaches, before more time is spent."""
        for part in self.free:
            members = [name for name in self.tensors if name.startswith(f"{part}.")]
            learnt = [name for name in members if self.tensors[name].requires_grad]
            if learnt and all(self.tensors[name].grad is None for name in learnt):
                raise ClassifierError(
                    f"Training {self.student.name!r} would leave its part "
                    f"{part.removeprefix('trunk.')!r} as it is: no gradient of the loss reaches "
                    "it, so it takes no part in the network's answer."
                )

    def _divergence(self, number: int, loss: float) -> str:
        rates = f"head_rate {self.recipe.head_rate:g}"
        if len(self.free) > 1:
            rates += f" and encoder_rate {self.recipe.encoder_rate:g}"
        return (
            f"Training {self.student.name!r} by the regime {self.recipe.regime!r} left the finite "
            f"numbers in epoch {number} (loss {loss:.4g}) with {rates}; a lower rate is needed."
        )

    def check_finite(self, material: Material) -> None:
        """Refuse a network whose embedding is not finite before anything is trained."""
        with torch.no_grad():
            embeddings = [material.embed(inputs) for inputs in material.validation()]
        kept = [material.kept] if isinstance(material, KeptActivations) else []
        if not all(bool(values.isfinite().all()) for values in (*embeddings, *kept)):
            raise ClassifierError(
                f"Model {self.student.name!r} cannot be trained: its embedding of the cohort's "
                "images is not finite before training begins."
            )

    def state(self) -> TrainingState:
        """Return the state after the last epoch."""
        moments: dict[str, Tensor] = {
            f"{index}/{name}": value
            for index, values in self.optimiser.state_dict()["state"].items()
            for name, value in values.items()
        }
        weights, epochs = _arrays(self.tensors), tuple(self.epochs)
        return TrainingState(self.training, weights, self.best, _arrays(moments), epochs)

    def restore(self, state: TrainingState) -> None:
        """Go on from a state.

        Raises:
            InputError: If it belongs to another network, cohort or recipe.
        """
        if state.training != self.training:
            raise InputError(
                f"The state belongs to another training ({state.training[:12]}) than this one of "
                f"{self.student.name!r} ({self.training[:12]}): network, cohort or recipe differ."
            )
        moments: dict[int, dict[str, Tensor]] = {}
        for name, array in state.optimiser.items():
            index, _, moment = name.partition("/")
            moments.setdefault(int(index), {})[moment] = torch.from_numpy(np.array(array))
        if not moments:
            raise InputError(self._incomplete("no moments of AdamW"))
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.best = {name: np.array(array) for name, array in state.best.items()}
        self.epochs = list(state.epochs)
        self._load(state.weights)

    def finish(self) -> None:
        """Restore the best epoch."""
        self._load(self.best)
        self.student.zero_grad()
        set_free(self.student, ())

    def _incomplete(self, content: str) -> str:
        return (
            f"The state of the training of {self.student.name!r} is incomplete: it has {content}."
        )

    def _load(self, arrays: Arrays) -> None:
        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        if {name: array.shape for name, array in arrays.items()} != shapes:
            raise InputError(
                self._incomplete(f"{len(arrays)} tensors, but {len(shapes)} are trained")
            )
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(torch.from_numpy(np.array(arrays[name])))


def _logits(student: Classifier, material: Material) -> Tensor:
    """Return the logits [V, 2] of the validation images, float64 on the CPU."""
    with torch.no_grad():
        parts = [student.head(material.embed(inputs)) for inputs in material.validation()]
    return torch.cat(parts).cpu().double()


def auroc(logits: Tensor, groups: Tensor) -> float:
    """Return the AUROC of logits [V, 2] for groups [V]."""
    probabilities = logits.softmax(1)[:, 1]
    return classification_report(groups.numpy(), probabilities.numpy()).auroc


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, npt.NDArray[np.generic]]:
    return {
        name: np.array(tensor.detach().cpu().numpy(), order="C") for name, tensor in tensors.items()
    }
