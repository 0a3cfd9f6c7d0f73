"""One explainer on one model and cohort, and what a protocol asks of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import Rows
from benchmark.classifier import Classifier, PassCounter
from benchmark.cohort import Cohort, References
from benchmark.explainer import Control, Explainer, importance
from benchmark.reading import Sample
from benchmark.target import Target
from benchmark.training.relatives import Relative
from benchmark.trial.maps import draw_maps, lane_of
from benchmark.trial.memory import Memory, kept_or
from benchmark.trial.models import Models
from benchmark.trial.outputs import Evaluation
from benchmark.trial.runtime import Peers, Runtime

T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """One explainer on one model and cohort.

    Attributes:
        explainer: The method that is asked.
        classifier: The model that it explains.
        cohort: All splits; protocols score on ``test``.
        runtime: Device, batch size and other settings of the computation.
        peers: Peers that model and explainer are compared with.
        memory: Memory of what was computed already, shared by all trials of one cohort.
    """

    explainer: Explainer
    classifier: Classifier
    cohort: Cohort
    runtime: Runtime
    peers: Peers = field(default_factory=Peers)
    memory: Memory = field(default_factory=Memory)

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
            memory = memory.of_altered(cohort.fingerprint)
        return replace(
            self,
            explainer=explainer or self.explainer,
            classifier=classifier or self.classifier,
            cohort=cohort or self.cohort,
            memory=memory,
            peers=peers,
        )

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what ``compute`` gave the first time that ``key`` was asked for."""
        return self.memory.once(key, compute)

    @property
    def test(self) -> Cohort:
        """The test split."""
        return self.once(("split", "test"), lambda: self.cohort.select("test"))

    @property
    def train(self) -> Cohort:
        """The training split."""
        return self.once(("split", "train"), lambda: self.cohort.select("train"))

    def sample(self, rows: Rows | None = None) -> Sample:
        """Return who the test images, or these rows of them, are."""
        test = self.test
        chosen = np.arange(len(test)) if rows is None else rows
        return Sample(
            keys=tuple(test.keys[row] for row in chosen),
            subjects=tuple(test.subjects[row] for row in chosen),
            groups=tuple(test.groups[chosen].tolist()),
        )

    @property
    def references(self) -> References:
        """What an explainer may compare an image with; altered cohorts keep the first one's."""
        return self.peers.references or self.cohort.references

    @property
    def passes(self) -> PassCounter:
        """Image passes so far, over all trials that share the model or its copies."""
        return self.classifier.passes

    @property
    def models(self) -> Models:
        """The model and the copies made of it."""
        return Models(self.classifier, self.cohort, self.runtime, self.memory)

    @property
    def model_identity(self) -> str:
        """SHA-256 of the model's weights."""
        return self.models.identity

    @property
    def explainer_identity(self) -> str:
        """Class, name, version and settings of the explainer, and what it compares with."""
        explainer = self.explainer
        settings = ",".join(f"{key}={value}" for key, value in sorted(explainer.config.items()))
        if explainer.needs_references:
            settings += f",references={self.references.sha256}"
            if isinstance(explainer, Control):
                settings += f",regions={self.references.regions_sha256}"
        if isinstance(explainer, Control) and explainer.needs_normals:
            settings += f",normals={self.test.normals_sha256}"
        origin = f"{type(explainer).__module__}.{type(explainer).__qualname__}"
        return f"{origin}:{explainer.name}:{explainer.version}:{settings}"

    def randomised(self, copy: int) -> Trial:
        """Return the trial on a fully randomised copy, by its number below ``RANDOM_COPIES``."""
        forgetful = replace(self.runtime, archive=None)
        return replace(self, classifier=self.models.randomised(copy), runtime=forgetful)

    def relative(self, relative: Relative) -> Trial:
        """Return the trial on a model that was trained beside this one."""
        return self.on(classifier=self.models.related(relative, self.peers))

    @property
    def evaluation(self) -> Evaluation:
        """Logits and embeddings of the test images."""

        def embed() -> dict[str, npt.NDArray[np.generic]]:
            test = self.test
            logits, embeddings = self.models.embed_rows(test.images, np.arange(len(test)))
            return {"logits": logits, "embeddings": embeddings}

        def evaluate() -> Evaluation:
            kept = self._archived("evaluation", embed)
            logits, embeddings = kept["logits"].astype(float), kept["embeddings"].astype(float)
            return Evaluation(logits, embeddings, self.test.groups)

        return self.once(("evaluation", self.model_identity), evaluate)

    @property
    def attributions(self) -> Tensor:
        """Signed maps of the test images, target own margin, [N, 1, *S] float32 on the host.

        Raises:
            UnsupportedError: If the explainer cannot explain this model or cohort.
            AttributionError: If it broke its contract.
        """

        def draw() -> dict[str, npt.NDArray[np.generic]]:
            return {"attributions": self.maps(np.arange(len(self.test))).numpy()}

        def read() -> Tensor:
            kept = self._archived(f"{self.explainer_identity}, lane {self.lane}", draw)
            self.memory.drop(self._maps_key("some"))
            return torch.from_numpy(kept["attributions"].astype(np.float32, copy=False))

        return self.once(self._maps_key("all"), read)

    @property
    def importance(self) -> Tensor:
        """Non-negative maps that rank pixels, [N, 1, *S] float32 on the host."""
        return importance(self.attributions, self.explainer.polarity)

    def maps(self, rows: Rows) -> Tensor:
        """Return the signed maps of some test rows, target own margin, [n, 1, *S] on the host.

        What was drawn before is not drawn again; otherwise as ``attributions``.
        """
        if self.memory.holds(self._maps_key("all")):
            return self.attributions[torch.from_numpy(rows)]
        drawn = self.once(self._maps_key("some"), dict[int, Tensor])
        missing = np.array([row for row in rows.tolist() if row not in drawn], dtype=np.int64)
        if len(missing):
            maps = draw_maps(self, missing, None, self.lane, kept=True)
            drawn.update(zip(missing.tolist(), maps, strict=True))
        return torch.stack([drawn[row] for row in rows.tolist()])

    def keep_maps(self, rows: Rows, maps: Tensor) -> None:
        """Let ``maps`` return these signed maps [n, 1, *S] of some rows, where they are in memory.

        They are those that it would return, and whoever holds them too shares them with it.
        """
        if not self.memory.holds(self._maps_key("all")):
            drawn = self.once(self._maps_key("some"), dict[int, Tensor])
            drawn.update(zip(rows.tolist(), maps, strict=True))

    def draw(
        self, rows: Rows, targets: Sequence[Target] | None = None, lane: int | None = None
    ) -> Tensor:
        """Explain some test rows, and keep nothing; otherwise as ``draw_maps``.

        A lane is given where so few rows share a target that most of ``Trial.lane`` would be
        filling. Settings alone may decide it, never how many subjects there are.
        """
        return draw_maps(self, rows, targets, min(lane or self.lane, self.lane))

    @property
    def lane(self) -> int:
        """Images per batch in which maps are made."""
        return lane_of(self.cohort.shape, self.runtime.device)

    def forget_maps(self) -> None:
        """Drop the explainer's maps of every model and cohort from memory."""
        self.memory.forget("maps", self.explainer_identity)

    def forget_altered_maps(self) -> None:
        """Drop the explainer's maps of altered cohorts, which no other protocol asks for."""
        self.memory.forget_altered("maps", self.explainer_identity)

    def exhibit(self, purpose: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Keep arrays that a report shows of this trial; they enter no score.

        All that decides them beside cohort, model and explainer belongs into ``purpose``.
        """
        if self.runtime.archive is not None:
            self.runtime.archive.save(self._exhibit_identity(purpose), arrays)

    def exhibited(self, purpose: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return what ``exhibit`` kept, or None."""
        archive = self.runtime.archive
        return None if archive is None else archive.load(self._exhibit_identity(purpose))

    def _exhibit_identity(self, purpose: str) -> str:
        parts = ("exhibit", purpose, self.runtime.suite, self.explainer_identity)
        return "\n".join((*parts, self.test.fingerprint, self.model_identity))

    def _archived(
        self, what: str, compute: Callable[[], dict[str, npt.NDArray[np.generic]]]
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Return arrays in the order of the test rows, kept in the archive in the order of keys."""
        if self.runtime.archive is None:
            return compute()
        order = np.argsort(np.array(self.test.keys))
        identity = f"{what}\n{self.test.fingerprint}\n{self.model_identity}"

        def in_order() -> dict[str, npt.NDArray[np.generic]]:
            return {name: array[order] for name, array in compute().items()}

        kept, back = kept_or(self.runtime.archive, identity, in_order), np.argsort(order)
        return {name: array[back] for name, array in kept.items()}

    def _maps_key(self, which: str) -> Hashable:
        blind = isinstance(self.explainer, Control) and not self.explainer.redrawn
        return "maps", self.explainer_identity, "no model" if blind else self.model_identity, which
