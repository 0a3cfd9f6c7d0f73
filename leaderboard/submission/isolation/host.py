"""Asks a worker for maps, and holds it to giving an image the same map whenever it is asked.

The scorer runs here, with cohort, truth and protocols; the worker is sent networks, images and
targets. It is told neither which protocol asks nor whom an image shows. Images of a batch are
shuffled, and now and then images of earlier requests, whatever they were asked for, are mixed and
asked for again: a map that depends on the time, the neighbours or the number of a request differs.
"""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import random
import sys
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.classifier.side_effects import versions
from benchmark.cohort import Batch
from benchmark.errors import AttributionError, NotAssessableError, PluginError, UnsupportedError
from benchmark.explainer import same_map
from benchmark.target import Target
from leaderboard.published.fault import plain
from leaderboard.submission.isolation import facts
from leaderboard.submission.isolation.connection import Allowance, Connection, WorkerError
from leaderboard.submission.isolation.wire import Header

_RAISED: dict[str, type[Exception]] = {
    "plugin": PluginError,
    "unsupported": UnsupportedError,
    "not assessable": NotAssessableError,
}
# Every so many requests, on average, images of earlier ones are asked for again.
_BETWEEN_REPEATS = 24
_MOST_REPEATED_BYTES = 2**27


@dataclass(frozen=True)
class Source:
    """File and class of a method.

    Attributes:
        file: Name of the file, without its folder.
        content: The file.
        class_name: Name of the class in it.
        sha256: SHA-256 of the file.
    """

    file: str
    content: bytes = field(repr=False)
    class_name: str
    sha256: str


@dataclass(frozen=True)
class Question:
    """What a map is asked of: a method, a network, a target and images to compare with."""

    explainer: int
    network: int
    target: Target
    references: int | None


@dataclass
class Answers:
    """Images [1, *S] of one question and the maps that were given for them, to be asked for again.

    Attributes:
        count: Number of images that were asked about, of which those kept are an even sample.
    """

    images: list[Tensor]
    maps: list[Tensor]
    count: int = 0


class Host:
    """A method in a worker.

    Args:
        source: The method.
        allowance: Allowance that the worker may use.
        walled: Whether it runs behind bubblewrap's walls.

    Raises:
        PluginError: If the method cannot be loaded.
        WorkerError: If the worker cannot be started, or misbehaved.
    """

    def __init__(self, source: Source, allowance: Allowance, walled: bool = True) -> None:
        self.source = source
        self._connection = Connection(allowance, walled)
        self._random = random.SystemRandom()
        self._numbers = itertools.count()
        self._networks: weakref.WeakKeyDictionary[Classifier, tuple[int, object]]
        self._networks = weakref.WeakKeyDictionary()
        self._references: dict[str, int] = {}
        self._gone: dict[str, list[int]] = {"explainers": [], "networks": []}
        self._answers: OrderedDict[Question, Answers] = OrderedDict()
        self._answer_bytes = 0
        try:
            header, _ = self._request(
                "load",
                0,
                file=source.file,
                source=source.content,
                class_name=source.class_name,
                sha256=source.sha256,
            )
            self.facts = facts.checked(facts.Facts, header, source.class_name)
        except BaseException:
            self.close()
            raise

    @property
    def fault(self) -> WorkerError | None:
        """Fault that the worker was ended by, or None."""
        return self._connection.fault

    def close(self) -> None:
        """End the worker."""
        self._connection.close()

    def make(self, owner: object, settings: dict[str, object]) -> tuple[int, facts.Made]:
        """Make a method for as long as its owner lives; return its number and what it says."""
        number = next(self._numbers)
        header, _ = self._request("make", 0, explainer=number, settings=settings)
        weakref.finalize(owner, self._gone["explainers"].append, number)
        return number, facts.checked(facts.Made, header, self.source.class_name)

    def supports(self, explainer: int, classifier: Classifier) -> str | None:
        """Return why a method cannot explain a network, or None where it can."""
        network = self._network(classifier)
        header, _ = self._request("supports", 0, explainer=explainer, network=network)
        reason = facts.checked(facts.Support, header, self.source.class_name).reason
        return None if reason is None else plain(reason)

    def passes_on(self, explainer: int, classifier: Classifier) -> tuple[int, int]:
        """Return the passes that a method declares for a network."""
        network = self._network(classifier)
        header, _ = self._request("passes_on", 0, explainer=explainer, network=network)
        return facts.checked(facts.Declared, header, self.source.class_name).passes

    def explain(
        self, explainer: int, classifier: Classifier, batch: Batch, target: Target
    ) -> Tensor:
        """Return the maps [B, 1, *S] float32 of a batch, in its order.

        Raises:
            AttributionError: If the method raised an error, or gave an image another map before.
            WorkerError: If the worker is of no more use.
        """
        self._forget()
        question = Question(
            explainer, self._network(classifier), target, self._known_references(batch)
        )
        images = batch.images.detach().cpu().contiguous()
        maps, passes = self._ask(question, images)
        classifier.passes.add_forward(passes[0])
        classifier.passes.add_backward(passes[1])
        self._note(question, images, maps)
        if self._random.randrange(_BETWEEN_REPEATS) == 0:
            self.ask_again(len(images))
        return maps

    def ask_again(self, count: int) -> None:
        """Ask once more about images of earlier requests, mixed, and compare the maps.

        Raises:
            AttributionError: If one has another map now.
        """
        self._forget()
        if not self._answers:
            return
        question = self._random.choice(list(self._answers))
        answers = self._answers[question]
        indices = self._random.choices(range(len(answers.images)), k=count)
        maps, _ = self._ask(question, torch.stack([answers.images[index] for index in indices]))
        for index, second_map in zip(indices, maps, strict=True):
            if not same_map(answers.maps[index], second_map):
                self._connection.end(
                    "map-differs",
                    "an image got another map when it was asked for again among other images",
                )
                raise self._fault_of_worker()

    def _ask(self, question: Question, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        order = list(range(len(images)))
        self._random.shuffle(order)
        shuffled = images[order]
        header, content = self._request(
            "explain",
            4 * images.numel(),
            explainer=question.explainer,
            network=question.network,
            images=shuffled.numpy(),
            target=pickle.dumps(question.target),
            references=question.references,
            threads=torch.get_num_threads(),
        )
        counted = facts.checked(facts.Counted, header, self.source.class_name)
        if len(content) != 4 * images.numel():
            self._connection.end("worker-garbage", "the worker answered without any map")
            raise self._fault_of_worker()
        shuffled_maps = torch.from_numpy(np.frombuffer(bytearray(content), dtype="<f4").copy())
        maps = torch.empty(images.shape, dtype=torch.float32)
        maps[order] = shuffled_maps.view(images.shape)
        return maps, counted.passes

    def _note(self, question: Question, images: Tensor, maps: Tensor) -> None:
        """Keep some images of each question, drawn evenly from all that were asked about it."""
        answers = self._answers.setdefault(question, Answers([], []))
        self._answers.move_to_end(question)
        room = len(images)
        for image, its_map in zip(images, maps, strict=True):
            answers.count += 1
            if len(answers.images) < room:
                answers.images.append(image.clone())
                answers.maps.append(its_map.clone())
                self._answer_bytes += image.nbytes + its_map.nbytes
            elif (index := self._random.randrange(answers.count)) < len(answers.images):
                answers.images[index], answers.maps[index] = image.clone(), its_map.clone()
        while self._answer_bytes > _MOST_REPEATED_BYTES and len(self._answers) > 1:
            self._drop(next(iter(self._answers)))

    def _network(self, classifier: Classifier) -> int:
        """Return the number of a network in the worker, and send it there if it is new."""
        state = tuple(versions(classifier))
        number, known = self._networks.get(classifier, (-1, None))
        if known == state:
            return number
        if known is not None:  # it was written into since
            self._gone["networks"].append(number)
        number = next(self._numbers)
        try:
            content = _pack(classifier)
        except Exception as error:  # whatever a network's parts raise
            raise AttributionError(
                f"The network {classifier.name!r} cannot be sent to an isolated method: {error}"
            ) from error
        self._request("know", 0, sources=_sources_of(classifier), networks={number: content})
        weakref.finalize(classifier, self._gone["networks"].append, number)
        self._networks[classifier] = number, state
        return number

    def _known_references(self, batch: Batch) -> int | None:
        references = batch.references
        if references is None:
            return None
        number = self._references.get(references.sha256)
        if number is None:
            number = self._references[references.sha256] = len(self._references)
            mean, group = (
                tensor.detach().cpu().numpy() for tensor in (references.mean, references.group)
            )
            self._request(
                "refer", 0, number=number, mean=mean, group=group, sha256=references.sha256
            )
        return number

    def _request(self, name: str, expected: int, /, **arguments: object) -> tuple[Header, bytes]:
        header, payload = self._connection.ask(name, expected, **arguments)
        if "error" in header:
            self._raise(header)
        return header, payload

    def _forget(self) -> None:
        """Let the worker forget what nobody can ask about any more."""
        gone = {kind: numbers[:] for kind, numbers in self._gone.items()}
        if not any(gone.values()):
            return
        for kind, numbers in gone.items():
            # Others may be added meanwhile, whenever an object is collected.
            del self._gone[kind][: len(numbers)]
        for question in list(self._answers):
            if question.network in gone["networks"] or question.explainer in gone["explainers"]:
                self._drop(question)
        self._request("forget", 0, **gone)

    def _drop(self, question: Question) -> None:
        """Drop the images and maps of a question."""
        answers = self._answers.pop(question)
        self._answer_bytes -= sum(tensor.nbytes for tensor in (*answers.images, *answers.maps))

    def _raise(self, header: Header) -> NoReturn:
        failure = facts.checked(facts.Failure, header, self.source.class_name)
        raise _RAISED.get(failure.error, AttributionError)(plain(failure.message))

    def _fault_of_worker(self) -> WorkerError:
        assert self._connection.fault is not None
        return self._connection.fault


def _pack(classifier: Classifier) -> bytes:
    """Return a network as a worker gets it, without what would say where it comes from."""
    bare = copy.copy(classifier)
    bare.name, bare.source, bare._resume, bare.streamlining = "network", None, None, None
    bare.reestimated = frozenset()
    file = io.BytesIO()
    pickle.Pickler(file, protocol=5).dump(bare)
    return file.getvalue()


def _sources_of(classifier: Classifier) -> dict[str, tuple[str, bytes]]:
    """Return the sources of files that a network's parts were defined in, by module."""
    sources: dict[str, tuple[str, bytes]] = {}
    for part in classifier.modules():
        module = sys.modules.get(type(part).__module__)
        if module is None or not hasattr(module, "__source_sha256__") or not module.__file__:
            continue
        path = Path(module.__file__)
        sources[module.__name__] = f"/network/{path.name}", path.read_bytes()
    return sources
