"""The process that a method runs in: it is given networks and images, and gives back maps.

It is started by ``sandbox.command``, reads requests from its standard input and answers each on
what was its standard output. It has no secret, and nothing that it says is believed without a
check: from the moment that a method is loaded, this process may be the method's.
"""

from __future__ import annotations

import contextlib
import inspect
import linecache
import os
import pickle
import sys
from types import ModuleType
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from benchmark.classifier import Classifier, PassCounter
from benchmark.cohort import Batch, References
from benchmark.errors import (
    AttributionError,
    NotAssessableError,
    PluginError,
    SanityError,
    UnsupportedError,
    short_message,
)
from benchmark.explainer import Control, Explainer
from benchmark.plugins.blame import short_author_line
from leaderboard.submission.isolation import confinement, wire
from leaderboard.submission.isolation.wire import Header

# What this process is told of an error is the kind of it, and its first line.
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (PluginError, "plugin"),
    (UnsupportedError, "unsupported"),
    (NotAssessableError, "not assessable"),
    (AttributionError, "attribution"),
)
_FOLDER = "/plugin"


class Worker:
    """Answers requests: each is a method of this class and its arguments by name."""

    def __init__(self) -> None:
        self._plugin: type[Explainer] | None = None
        self._file = ""
        self._explainers: dict[int, Explainer] = {}
        self._networks: dict[int, Classifier] = {}
        self._references: dict[int, References] = {}
        self._sources: set[str] = set()

    def load(self, source: bytes, file: str, class_name: str, sha256: str) -> Header:
        """Run the file of a method, and return what its class declares."""
        self._file = f"{_FOLDER}/{file}"
        module = _run(f"medsanity_plugin_{sha256[:16]}", self._file, source)
        plugin = getattr(module, class_name, None)
        if plugin is None:
            raise PluginError(f"{file} has no class {class_name!r}.")
        if not isinstance(plugin, type) or not issubclass(plugin, Explainer):
            raise PluginError(f"{file}:{class_name} must be a subclass of Explainer.")
        if issubclass(plugin, Control):
            raise PluginError(f"{class_name!r} is a Control, which explains no model.")
        if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
            raise PluginError(f"{file}:{class_name} must implement {', '.join(missing)}.")
        self._plugin = plugin
        declared = ("version", "family", "polarity", "dimensions", "paper")
        return {
            **{name: _plain(getattr(plugin, name)) for name in declared},
            "name": getattr(plugin, "name", None) or file.removesuffix(".py"),
            "passes": _plain(plugin.passes),
            "passes_by_network": plugin.passes_on is not Explainer.passes_on,
            "settings": [*inspect.signature(plugin).parameters],
        }

    def make(self, explainer: int, settings: dict[str, object]) -> Header:
        """Make a method with some settings, and return its configuration."""
        assert self._plugin is not None
        made = self._plugin(**settings)
        if getattr(made, "name", None) is None:
            made.name = self._file.rpartition("/")[2].removesuffix(".py")  # type: ignore[misc]
        self._explainers[explainer] = made
        return {"config": dict(made.config), "needs_references": bool(made.needs_references)}

    def know(self, sources: dict[str, tuple[str, bytes]], networks: dict[int, bytes]) -> Header:
        """Take networks, and the sources of what they are made of."""
        for name, (file, source) in sources.items():
            if name not in self._sources:
                _run(name, file, source)
                self._sources.add(name)
        for number, content in networks.items():
            self._networks[number] = pickle.loads(content)
        return {}

    def refer(self, number: int, mean: object, group: object, sha256: str) -> Header:
        """Take images that a method may compare others with."""
        tensors = torch.as_tensor(mean), torch.as_tensor(group)
        self._references[number] = References(*tensors, sha256)
        return {}

    def forget(self, explainers: list[int], networks: list[int]) -> Header:
        """Forget methods and networks that are no longer asked about."""
        for number in explainers:
            self._explainers.pop(number, None)
        for number in networks:
            self._networks.pop(number, None)
        return {}

    def supports(self, explainer: int, network: int) -> Header:
        """Return why a method cannot explain a network, or None."""
        return {"reason": _plain(self._explainers[explainer].supports(self._networks[network]))}

    def passes_on(self, explainer: int, network: int) -> Header:
        """Return the passes that a method declares for a network."""
        return {"passes": _plain(self._explainers[explainer].passes_on(self._networks[network]))}

    def explain(
        self,
        explainer: int,
        network: int,
        images: object,
        target: bytes,
        references: int | None,
        threads: int,
    ) -> tuple[Header, memoryview]:
        """Return the passes that were counted, and the maps of some images as bytes.

        They are drawn by as many threads as whoever asks would draw them by, so that they have the
        same bits.
        """
        torch.set_num_threads(threads)
        classifier = self._networks[network]
        classifier.passes = PassCounter()
        known = None if references is None else self._references[references]
        tensor = torch.as_tensor(images).to(classifier.device)
        batch = Batch(
            rows=np.zeros(len(tensor), dtype=np.int64),
            keys=("",) * len(tensor),
            images=tensor,
            foreground=torch.ones_like(tensor, dtype=torch.bool),
            truth=None,
            references=known and known.to(tensor.device),
        )
        maps: Tensor = self._explainers[explainer](classifier, batch, pickle.loads(target))
        counted = [classifier.passes.forward, classifier.passes.backward]
        content = maps.detach().to("cpu", torch.float32).contiguous().numpy()
        return {"passes": counted}, content.data.cast("B")

    def describe(self, error: BaseException) -> Header:
        """Return what an error is to be told as."""
        kind = next((kind for base, kind in _KINDS if isinstance(error, base)), "failed")
        message = str(error) if isinstance(error, SanityError) else short_message(error)
        line = "" if isinstance(error, SanityError) else short_author_line(error, self._file)
        message = message[: wire.MOST_TEXT - 100] + (f", at {line}" if line else "")
        return {"error": kind, "message": message.encode("utf-8", "replace").decode()}


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    worker = Worker()
    while prefix := requests.read(wire.REQUEST.size):
        (length,) = wire.REQUEST.unpack(prefix)
        payload: memoryview | bytes = b""
        try:
            name, arguments = pickle.loads(requests.read(length))
            answer = getattr(worker, name)(**arguments)
            header, payload = answer if isinstance(answer, tuple) else (answer, b"")
            start = wire.pack_reply(header, payload)
        except BaseException as error:  # a method may raise anything, SystemExit among it
            payload = b""
            start = wire.pack_reply(worker.describe(error))
        replies.write(start)
        replies.write(payload)
        replies.flush()


def _run(name: str, file: str, source: bytes) -> ModuleType:
    """Run a source as a module, which tracebacks and ``inspect`` can read."""
    text = source.decode("utf-8", "replace")
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    exec(compile(source, file, "exec"), module.__dict__)
    return module


def _plain(value: object) -> object:
    """Return a value as JSON can hold it; what it cannot hold becomes a description of it."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value[:16]]
    return f"{type(value).__name__}"


def _configure(deterministic: bool) -> None:
    """Compute as the process does that asks, so that a map is the same to the bit."""
    if deterministic:  # to set it imports a compiler, and takes seconds
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True


def main() -> None:
    """Give up what is not needed, and serve."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    # What a method prints, or reads, is no part of the conversation.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    (length,) = wire.REQUEST.unpack(requests.read(wire.REQUEST.size))
    bounds, deterministic = pickle.loads(requests.read(length))
    confinement.confine(bounds)
    _configure(deterministic)
    replies.write(wire.pack_reply({"ready": True}))
    replies.flush()
    with contextlib.suppress(BrokenPipeError):
        serve(requests, replies)
    os._exit(0)


if __name__ == "__main__":
    main()
