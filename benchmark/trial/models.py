"""The network on trial as protocols use it: embeddings of images, and copies made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, ImageArray, Rows
from benchmark.classifier import Classifier
from benchmark.classifier.architecture import network_sha256
from benchmark.classifier.exchange import Statistics
from benchmark.cohort import Cohort
from benchmark.seeding import seed_of
from benchmark.training.relatives import Relative, from_arrays, load_committed, relation, to_arrays
from benchmark.trial.maps import lane_of
from benchmark.trial.memory import Keeping, Memory, kept_for, kept_or, return_memory
from benchmark.trial.runtime import Peers, Runtime

RANDOM_COPIES = 3
REESTIMATION_IMAGES = 64
_SUBJECTS_AT_ONCE = 4
_LARGE = 2**17  # pixels of an image whose alterations are altered and embedded by themselves
_LARGEST_BATCH = 2**21  # pixels of a batch, whose feature maps take several times their memory

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True)
class Models:
    """A network, and the copies of it that all trials of one cohort share.

    Attributes:
        classifier: Network itself.
        cohort: Cohort with all splits.
        runtime: Device, batch size and other settings of the computation.
        memory: Memory that holds the copies.
    """

    classifier: Classifier
    cohort: Cohort
    runtime: Runtime
    memory: Memory

    @property
    def identity(self) -> str:
        """SHA-256 of weights and architecture, computed once per model object."""
        model = self.classifier
        # The model is kept beside its hash: the id of one that is gone may be given to another.
        key = ("identity", id(model))

        def name() -> tuple[Classifier, str]:
            return model, network_sha256(self.weights_sha256, model.architecture_sha256)

        _, sha256 = self.memory.common.once(key, name)
        return sha256

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights alone, computed once per model object."""
        model, common = self.classifier, self.memory.common
        _, sha256 = common.once(("weights", id(model)), lambda: (model, model.weights_sha256))
        return sha256

    @property
    def streamlined(self) -> Classifier:
        """The network as it runs fastest without gradients of its parameters."""

        def streamline() -> Classifier:
            # Weights that are folded in inference mode could never be asked for gradients.
            with torch.inference_mode(mode=False):
                return self.classifier.streamlined()

        return self.memory.once(("streamlined", self.identity), streamline)

    def randomised(self, copy: int) -> Classifier:
        """Return a fully randomised copy, by its number below ``RANDOM_COPIES``."""

        def make(number: int, images: Tensor | Statistics) -> Classifier:
            seed = seed_of(self.runtime.suite, "randomised", number)
            return self.classifier.randomised(seed, images)

        key = ("randomised", self.identity, copy)
        return self.memory.once(key, lambda: self.copies("randomised", (copy,), make)[0])

    def copies(
        self, kind: str, parts: Sequence[A], make: Callable[[A, Tensor | Statistics], Classifier]
    ) -> list[Classifier]:
        """Return randomised copies, whose running statistics later processes find.

        Weights are drawn by seed and need no keeping; statistics cost a pass of every image.

        Args:
            kind: Kind of copies: what decides them beside network, cohort, suite and parts.
            parts: Parts by which each copy is made; their ``repr`` must tell copies apart.
            make: Function from such a part, and from images or kept statistics, to the copy.
        """
        made: list[Classifier] = []

        def take() -> list[dict[str, Tensor]]:
            images = self.reestimation_images()
            made.extend(make(part, images) for part in parts)
            return [copy.statistics for copy in made]

        # Another torch may draw other weights from the same seed.
        key = ("statistics", kind, self.identity, torch.__version__, *parts)
        kept = kept_for(self, key, Keeping("1"), take)
        return made or [make(part, known) for part, known in zip(parts, kept, strict=True)]

    def reestimation_images(self) -> Tensor:
        """Return the images that batch norm is re-estimated on, [M, 1, *S].

        Training images; test images where the cohort has no others.
        """
        splits = self.cohort.participants["split"].to_numpy()
        rows = np.flatnonzero(splits == ("train" if "train" in splits else "test"))
        rows = rows[np.argsort(np.array(self.cohort.keys)[rows])][:REESTIMATION_IMAGES]
        return torch.from_numpy(self.cohort.images[rows]).to(self.runtime.device)

    def related(self, relative: Relative, peers: Peers) -> Classifier:
        """Return a network that was trained beside this one.

        The committed weights are taken where there are some of this very relation, then those
        that an earlier run kept, and otherwise they are fitted now and kept.
        """

        def fit() -> Classifier:
            self.runtime.say(f"training {relative.description or relative.name}")
            return relative.train()

        def find() -> Classifier:
            related = relation(relative, self.cohort, self.identity)
            model = load_committed(self.classifier, peers.weights, relative.name, related)
            if model is None:
                arrays = kept_or(
                    self.runtime.archive, f"relative {related}", lambda: to_arrays(fit())
                )
                model = from_arrays(self.classifier, relative.name, arrays)
            return model

        key = ("relative", self.identity, relation(relative, self.cohort, ""))
        return self.memory.once(key, find)

    def embed_alterations(
        self, alter: Callable[[slice], Tensor], subjects: int
    ) -> tuple[FloatArray, FloatArray]:
        """Return logits [n, M, 2] and embeddings [n, M, D] of M alterations of n subjects' images.

        A few subjects are altered and embedded at a time, of volumes one: ``alter`` returns
        [k, M, *S].
        """
        _ = self.streamlined  # made once, before there are several threads to make it

        def embed(chunk: slice) -> tuple[FloatArray, FloatArray]:
            altered = alter(chunk)
            logits, embeddings = self.embed(altered.flatten(0, 1).unsqueeze(1))
            count = altered.shape[:2]
            return logits.reshape(*count, 2), embeddings.reshape(*count, -1)

        at_once = 1 if math.prod(self.cohort.shape) > _LARGE else _SUBJECTS_AT_ONCE
        chunks = [slice(start, start + at_once) for start in range(0, subjects, at_once)]
        if at_once == 1:
            return_memory()  # what was freed before is none of the threads' own
        logits, embeddings = zip(*side_by_side(embed, chunks, self.runtime.device), strict=True)
        if at_once == 1:
            return_memory()
        return np.concatenate(logits), np.concatenate(embeddings)

    def embed(self, images: Tensor) -> tuple[FloatArray, FloatArray]:
        """Return logits [M, 2] and embeddings [M, D] of images [M, 1, *S], in batches."""
        largest = min(
            self.runtime.batch_size, max(1, _LARGEST_BATCH // math.prod(images.shape[2:]))
        )
        # As even as can be: a last batch of a few images costs as much as one of many.
        return self._embed(images.tensor_split(max(1, -(-len(images) // largest))))

    def embed_in_lanes(self, images: Tensor) -> tuple[FloatArray, FloatArray]:
        """Return the same to the bit whatever the batch size and the order of the images.

        For what maps are made from: a direction that moves in its last bit moves close ranks.
        """
        lane = lane_of(self.cohort.shape, self.runtime.device)
        *full, last = images.split(lane)
        missing = -len(images) % lane
        filled = torch.cat([last, images[-1:].expand(missing, *images.shape[1:])])
        logits, embeddings = self._embed([*full, filled])
        return logits[: len(images)], embeddings[: len(images)]

    def embed_rows(self, images: ImageArray, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Return the same of some rows of images [N, 1, *S], copying one lane at a time."""
        lane = lane_of(self.cohort.shape, self.runtime.device)
        lanes = np.split(rows, range(lane, len(rows), lane))
        batches = (torch.from_numpy(images[some]) for some in lanes)
        logits, embeddings = zip(*map(self.embed_in_lanes, batches), strict=True)
        return np.concatenate(logits), np.concatenate(embeddings)

    def _embed(self, batches: Sequence[Tensor]) -> tuple[FloatArray, FloatArray]:
        logits, embeddings = [], []
        with torch.inference_mode():
            for batch in batches:
                some_logits, some_embeddings = self.streamlined(batch.to(self.runtime.device))
                logits.append(some_logits.double().cpu())
                embeddings.append(some_embeddings.double().cpu())
        return torch.cat(logits).numpy(), torch.cat(embeddings).numpy()


def side_by_side(work: Callable[[A], T], items: Sequence[A], device: torch.device) -> list[T]:
    """Return ``work(item)`` of each item, in order; on a CPU with one thread for each core.

    A convolution uses every core by itself, but what stands between convolutions, such as imputing,
    does not. Whole pieces of work side by side keep all cores busy throughout; the values are those
    of one thread to the bit, also of a piece by itself. No piece may touch what another changes.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return [work(item) for item in items]
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
