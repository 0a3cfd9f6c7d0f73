"""Everything that a protocol sees of a run, each piece computed once and shared.

Attribution maps are made in *lanes*: batches of a size fixed by the image shape and the kind of
device, the last one filled up with repeats. Ranking pixels is discontinuous, and the last bit of a
convolution depends on how many images go through it together (measured: with oneDNN a batch of one
differs from a batch of 64 by 1e-6 of the largest activation, which swaps close ranks); in lanes a
subject's map is the same to the bit whatever the batch size and whoever its neighbours are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.classifier import Classifier, PassCounter
from benchmark.cohort import Batch, Cohort, References
from benchmark.errors import AttributionError, UnsupportedError
from benchmark.explainer import Control, Explainer, check_independence, importance, why_unsupported
from benchmark.reading import Sample
from benchmark.seeding import seed_of
from benchmark.target import Target, own_margin
from benchmark.training import Recipe
from benchmark.training.relatives import Relative, from_arrays, load_committed, relation, to_arrays
from benchmark.trial.outputs import Evaluation

T = TypeVar("T")
FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

RANDOM_COPIES = 3
REESTIMATION_IMAGES = 64
_LANE_PIXELS = 2**20
_OWN_MARGINS = (own_margin(0), own_margin(1))
_LANE = {"cpu": 16, "cuda": 128}


class ArrayArchive(Protocol):
    """Where finished arrays, such as attribution maps, outlive the process."""

    def load(self, identity: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays kept under ``identity``, or None."""
        ...

    def save(self, identity: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Keep ``arrays`` under ``identity``."""
        ...


@dataclass(frozen=True)
class Runtime:
    """How to compute; nothing here changes a score.

    Attributes:
        device: Where the passes run.
        batch_size: Images per pass for masked images; maps are made in lanes.
        suite: Version of the suite; names the random streams, so unlike the rest it is part of
            a score's identity.
        archive: Where maps and embeddings are kept, or None.
    """

    device: torch.device
    batch_size: int = 64
    suite: str = "v1"
    archive: ArrayArchive | None = None


@dataclass(frozen=True)
class Peers:
    """What a trial's model and explainer are compared with.

    Attributes:
        panel: The explainers that a protocol sets beside the one on trial, by name.
        recipe: How the model was trained, or how one like it is.
        weights: Folder of committed weights of the model's relatives, or None.
        references: Images that explainers may compare with; the cohort's unless given.
    """

    panel: Mapping[str, Explainer] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    weights: Path | None = None
    references: References | None = None


@dataclass(frozen=True)
class Trial:
    """One explainer on one model and cohort.

    Attributes:
        explainer: The method that is asked.
        classifier: The model that it explains.
        cohort: All splits; protocols score on ``test``.
        runtime: How to compute.
        memory: What was computed already, shared by all trials of one cohort.
        peers: What model and explainer are compared with.
    """

    explainer: Explainer
    classifier: Classifier
    cohort: Cohort
    runtime: Runtime
    memory: dict[tuple[str, ...], object]
    peers: Peers = Peers()

    def on(
        self,
        *,
        explainer: Explainer | None = None,
        classifier: Classifier | None = None,
        cohort: Cohort | None = None,
    ) -> Trial:
        """Return a trial with these parts exchanged; memory is shared by trials of one cohort."""
        memory, peers = self.memory, self.peers
        if cohort is not None and cohort is not self.cohort:
            peers = replace(peers, references=self.references)
            key, fresh = ("cohort", cohort.fingerprint), dict[tuple[str, ...], object]()
            memory = self.once(key, lambda: fresh)
        return replace(
            self,
            explainer=explainer or self.explainer,
            classifier=classifier or self.classifier,
            cohort=cohort or self.cohort,
            memory=memory,
            peers=peers,
        )

    def once(self, key: tuple[str, ...], compute: Callable[[], T]) -> T:
        """Return what ``compute`` gave the first time that ``key`` was asked for."""
        if key not in self.memory:
            self.memory[key] = compute()
        return cast("T", self.memory[key])

    @property
    def test(self) -> Cohort:
        """The test split."""
        return self.once(("split", "test"), lambda: self.cohort.select("test"))

    @property
    def train(self) -> Cohort:
        """The training split."""
        return self.once(("split", "train"), lambda: self.cohort.select("train"))

    @property
    def references(self) -> References:
        """What an explainer may compare an image with; altered cohorts keep the first one's."""
        return self.peers.references or self.cohort.references

    @property
    def passes(self) -> PassCounter:
        """Image passes so far, over all trials that share the model or its copies."""
        return self.classifier.passes

    @property
    def model_identity(self) -> str:
        """SHA-256 of the weights, computed once per model object."""
        model = self.classifier
        # The model is kept beside its hash: the id of one that is gone may be given to another.
        _, sha256 = self.once(("weights", str(id(model))), lambda: (model, model.weights_sha256))
        return sha256

    @property
    def evaluation(self) -> Evaluation:
        """Logits and embeddings of the test images."""
        return self.once(("evaluation", self.model_identity), self._evaluate)

    @property
    def attributions(self) -> Tensor:
        """Signed maps of the test images, target own margin, [N, 1, *S] float32 on the host.

        Raises:
            UnsupportedError: If the explainer cannot explain this model or cohort.
            AttributionError: If it broke its contract.
        """
        return self.once((*self._maps_key, "all"), self._all_maps)

    def maps(self, rows: Rows) -> Tensor:
        """Return the signed maps of some test rows, target own margin, [n, 1, *S] on the host.

        What was drawn before is not drawn again; otherwise as ``attributions``.
        """
        if (*self._maps_key, "all") in self.memory:
            return self.attributions[torch.from_numpy(rows)]
        drawn = self.once(self._maps_key, dict[int, Tensor])
        missing = np.array([row for row in rows.tolist() if row not in drawn], dtype=np.int64)
        drawn.update(zip(missing.tolist(), self.draw(missing), strict=True))
        return torch.stack([drawn[row] for row in rows.tolist()])

    def draw(
        self, rows: Rows, targets: Sequence[Target] | None = None, lane: int | None = None
    ) -> Tensor:
        """Explain some test rows, and keep nothing.

        Args:
            rows: [n] test rows.
            targets: The scalar to explain for each of them; own margin unless given.
            lane: Images per batch, where so few rows share a target that most of ``Trial.lane``
                would be filling. Settings alone may decide it, never how many subjects there are.

        Returns:
            Signed maps [n, 1, *S] float32 on the host.

        Raises:
            UnsupportedError: If the explainer cannot explain this model or cohort.
            AttributionError: If it broke its contract.
        """
        reason = why_unsupported(self.explainer, self.classifier, self.cohort.truth is not None)
        if reason is not None:
            raise UnsupportedError(reason)
        before, size = self.classifier.weights_sha256, min(lane or self.lane, self.lane)
        if targets is None:
            targets = [_OWN_MARGINS[group] for group in self.test.groups[rows]]
        maps = torch.empty((len(rows), *self.test.images.shape[1:]), dtype=torch.float32)
        for target, places in _lanes(targets, size):
            filled = np.concatenate([places, np.repeat(places[-1:], size - len(places))])
            batch = self.test.batch(rows[filled], self.runtime.device)
            if self.explainer.needs_references:
                batch = replace(batch, references=self.references.to(self.runtime.device))
            if isinstance(self.explainer, Control) and self.explainer.redrawn:
                batch = replace(batch, keys=tuple(f"{key} on {before}" for key in batch.keys))
            made = self.explainer(self.classifier, batch, target)
            maps[places] = made[: len(places)].cpu()
            self._check_once(batch, target, made)
        if self.classifier.weights_sha256 != before:
            raise AttributionError(
                f"Explainer {self.explainer.name!r} changed the network's weights."
            )
        return maps

    @property
    def importance(self) -> Tensor:
        """Non-negative maps that rank pixels, [N, 1, *S] float32 on the host."""
        return importance(self.attributions, self.explainer.polarity)

    @property
    def explainer_identity(self) -> str:
        """Name, version and settings of the explainer."""
        explainer = self.explainer
        settings = ",".join(f"{key}={value}" for key, value in sorted(explainer.config.items()))
        if explainer.needs_references:
            settings += f",references={self.references.sha256}"
        origin = f"{type(explainer).__module__}.{type(explainer).__qualname__}"
        return f"{origin}:{explainer.name}:{explainer.version}:{settings}"

    def relative(self, relative: Relative) -> Trial:
        """Return the trial on a model that was trained beside this one.

        The committed weights are taken where there are some of this very relation, then those
        that an earlier run kept, and otherwise they are fitted now and kept.
        """

        def find() -> Classifier:
            related = relation(relative, self.cohort, self.model_identity)
            found = load_committed(self.classifier, self.peers.weights, relative.name, related)
            if found is None:
                arrays = self.kept_or(f"relative {related}", lambda: to_arrays(relative.fit()))
                found = from_arrays(self.classifier, relative.name, arrays)
            return found

        key = ("relative", self.model_identity, relation(relative, self.cohort, ""))
        return self.on(classifier=self.once(key, find))

    def forget_maps(self) -> None:
        """Drop the explainer's maps of every model and cohort from memory."""
        own = self.explainer_identity
        inner = [one for key, one in self.memory.items() if key[0] == "cohort"]
        for memory in (self.memory, *cast("list[dict[tuple[str, ...], object]]", inner)):
            for key in [one for one in memory if one[0] == "maps" and own in one]:
                del memory[key]

    def exhibit(self, protocol: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Keep arrays that a report shows of this trial under a protocol; they enter no score."""
        if self.runtime.archive is not None:
            self.runtime.archive.save(self._exhibit_identity(protocol), arrays)

    def exhibited(self, protocol: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return what ``exhibit`` kept, or None."""
        archive = self.runtime.archive
        return None if archive is None else archive.load(self._exhibit_identity(protocol))

    def kept_or(
        self, identity: str, compute: Callable[[], dict[str, npt.NDArray[np.generic]]]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays that an earlier run kept under ``identity``, or make and keep them."""
        archive = self.runtime.archive
        kept = None if archive is None else archive.load(identity)
        if kept is None:
            kept = compute()
            if archive is not None:
                archive.save(identity, kept)
        return kept

    def randomised(self, copy: int) -> Trial:
        """Return the trial on a fully randomised copy of the model.

        Args:
            copy: Which of the ``RANDOM_COPIES``, from 0.
        """
        classifier = self.once(
            ("randomised", self.model_identity, str(copy)),
            lambda: self.classifier.randomised(
                seed_of(self.runtime.suite, "randomised", copy), self.reestimation_images()
            ),
        )
        return replace(self, classifier=classifier, runtime=replace(self.runtime, archive=None))

    def reestimation_images(self) -> Tensor:
        """Return the images that batch norm is re-estimated on, [M, 1, *S].

        Training images; test images where the cohort has no others.
        """
        known = self.train if (self.cohort.participants["split"] == "train").any() else self.test
        order = np.argsort(np.array(known.keys))[:REESTIMATION_IMAGES]
        return known.batch(order, self.runtime.device).images

    @property
    def streamlined(self) -> Classifier:
        """The model as it runs fastest without gradient."""
        return self.once(("streamlined", self.model_identity), self.classifier.streamlined)

    def embed(self, images: Tensor) -> tuple[FloatArray, FloatArray]:
        """Return logits [M, 2] and embeddings [M, D] of images [M, 1, *S], in batches."""
        # As even as can be: a last batch of a few images costs as much as one of many.
        return self._embed(images.tensor_split(max(1, -(-len(images) // self.runtime.batch_size))))

    def embed_in_lanes(self, images: Tensor) -> tuple[FloatArray, FloatArray]:
        """Return the same to the bit whatever the batch size and the order of the images.

        For what maps are made from: a direction that moves in its last bit moves close ranks.
        """
        missing = -len(images) % self.lane
        filled = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
        logits, embeddings = self._embed(filled.split(self.lane))
        return logits[: len(images)], embeddings[: len(images)]

    def _embed(self, batches: Sequence[Tensor]) -> tuple[FloatArray, FloatArray]:
        logits, embeddings = [], []
        with torch.inference_mode():
            for batch in batches:
                some_logits, some_embeddings = self.streamlined(batch.to(self.runtime.device))
                logits.append(some_logits.double().cpu())
                embeddings.append(some_embeddings.double().cpu())
        return torch.cat(logits).numpy(), torch.cat(embeddings).numpy()

    def sample(self, rows: npt.NDArray[np.int64] | None = None) -> Sample:
        """Return who the test images, or these rows of them, are."""
        chosen = np.arange(len(self.test)) if rows is None else rows
        return Sample(
            keys=tuple(self.test.keys[row] for row in chosen),
            subjects=tuple(self.test.subjects[row] for row in chosen),
            groups=tuple(int(self.test.groups[row]) for row in chosen),
        )

    def filled(self, images: int, targets: int = 2, lane: int | None = None) -> int:
        """Return how many maps are made to explain images that share few targets evenly.

        More than there are images, since the last lane of each target is filled up.
        """
        size = min(lane or self.lane, self.lane)
        return targets * size * -(-images // (targets * size))

    @property
    def lane(self) -> int:
        """Images per batch in which maps are made."""
        pixels = int(np.prod(self.cohort.shape))
        return max(1, min(_LANE.get(self.runtime.device.type, 16), _LANE_PIXELS // pixels))

    def _evaluate(self) -> Evaluation:
        def compute() -> dict[str, npt.NDArray[np.generic]]:
            everyone = self.test.batch(np.arange(len(self.test))).images
            logits, embeddings = self.embed_in_lanes(everyone)
            return {"logits": logits, "embeddings": embeddings}

        kept = self._archived("evaluation", compute)
        logits, embeddings = kept["logits"].astype(float), kept["embeddings"].astype(float)
        return Evaluation(logits, embeddings, self.test.groups)

    def _archived(
        self, what: str, compute: Callable[[], dict[str, npt.NDArray[np.generic]]]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return arrays in the order of the test rows, kept in the archive in the order of keys."""
        if self.runtime.archive is None:
            return compute()
        order = np.argsort(np.array(self.test.keys))
        identity = f"{what}\n{self.test.fingerprint}\n{self.model_identity}"
        kept = self.kept_or(
            identity, lambda: {name: array[order] for name, array in compute().items()}
        )
        back = np.argsort(order)
        return {name: array[back] for name, array in kept.items()}

    def _check_once(self, batch: Batch, target: Target, made: Tensor) -> None:
        """Check on the first batch of an explainer that its maps do not depend on the batch."""

        def check() -> bool:
            one = batch.take(slice(1))
            check_independence(self.explainer, self.classifier, one, target, made[:1])
            return True

        self.once(("independent", self.explainer_identity), check)

    @property
    def _maps_key(self) -> tuple[str, ...]:
        blind = isinstance(self.explainer, Control) and not self.explainer.redrawn
        model = "no model" if blind else self.model_identity
        return ("maps", model, self.explainer_identity)

    def _exhibit_identity(self, protocol: str) -> str:
        parts = ("exhibit", protocol, self.explainer_identity, self.test.fingerprint)
        return "\n".join((*parts, self.model_identity))

    def _all_maps(self) -> Tensor:
        def draw() -> dict[str, npt.NDArray[np.generic]]:
            return {"attributions": self.maps(np.arange(len(self.test))).numpy()}

        kept = self._archived(f"{self.explainer_identity}, lane {self.lane}", draw)
        self.memory.pop(self._maps_key, None)
        return torch.from_numpy(kept["attributions"].astype(np.float32, copy=False))


def _lanes(targets: Sequence[Target], size: int) -> Iterator[tuple[Target, Rows]]:
    """Yield places in ``targets`` of one target each, ``size`` at a time."""
    for target in dict.fromkeys(targets):
        places = np.array([n for n, one in enumerate(targets) if one == target], dtype=np.int64)
        for start in range(0, len(places), size):
            yield target, places[start : start + size]
