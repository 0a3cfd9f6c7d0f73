"""A worker on some machine of a Ray cluster, as the run sees it."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from benchmark.reading import FAILED
from benchmark.records.store import Store
from benchmark.running.suite import Cell
from benchmark.running.workers.assignment import Assignment, describe_deadline
from benchmark.running.workers.cluster.actor import Batch, WorkerActor
from benchmark.running.workers.cluster.machine import Code, Machine, Origin
from benchmark.running.workers.loading import Request
from benchmark.running.workers.messages import CellDone, Message, Refused
from benchmark.running.workers.task import Agenda, Task

_ATTEMPTS = 3  # to measure a cell whose machine was lost each time


class Member:
    """An actor with its worker process, and what it has in hand.

    Args:
        request: Request that the worker gets.
        origin: Process of the run.
        pair: Cohort and model that the worker is to load.
        options: Options that the actor asks of the cluster.

    Attributes:
        assignment: Task in hand.
        machine: Machine that it runs on, once the cluster has found one.
        pending: Reference to its next answer; None while it has nothing to do.
        failure: Sentence that says how it was lost, where it is.
    """

    def __init__(
        self, request: Request, origin: Origin, pair: tuple[str, str], options: dict[str, Any]
    ) -> None:
        self.assignment = Assignment(pair)
        self.machine: Machine | None = None
        self.failure: str | None = None
        self._request = request
        self._own_store: Path | None = None  # where the worker does not see the run's
        self._actor = ray.remote(WorkerActor).options(max_concurrency=2, **options).remote()
        self.pending: Any = self._actor.describe.remote(origin)

    @property
    def is_idle(self) -> bool:
        """Whether it can be given a task."""
        return self.pending is None

    @property
    def is_late(self) -> bool:
        """Whether the cell that it is at takes longer than a cell may."""
        return self.assignment.seconds > self._request.settings.deadline

    def begin(self, task: Task) -> None:
        """Give the worker a task."""
        self.assignment.begin(task)
        self.pending = self._actor.begin.remote(pickle.dumps(task))

    def follow(self, agenda: Agenda, losses: Counter[Cell]) -> Iterator[Message]:
        """Yield what the worker reports, and ask it for more.

        Args:
            agenda: Agenda that gets back what a lost worker leaves.
            losses: Number of times that each cell was in hand when its worker was lost.
        """
        if self.is_late:
            self.failure = describe_deadline(self._request.settings.deadline)
            yield from self.assignment.give_up(agenda, self.failure)
            return
        try:
            answer = ray.get(self.pending)
        except RayError as error:
            yield from self._lose(agenda, losses, _last_line(error))
            return
        match answer:
            case Machine():
                yield from self._enlist(answer)
            case None:
                self.pending = None
            case Batch(messages, end):
                for pickled in messages:
                    yield self._note(pickle.loads(pickled), agenda)
                if end is not None:
                    yield from self._bury(agenda, losses, end)
                elif self.assignment.task is None:
                    self.pending = None
                else:
                    self.pending = self._actor.follow.remote()

    def stop(self) -> Any:  # noqa: ANN401 # a reference of Ray
        """Ask the worker to leave what it does, and return the reference to its answer."""
        return self._actor.stop.remote(self.assignment.task is not None)

    def end(self) -> None:
        """End the actor; its worker process follows it."""
        ray.kill(self._actor)

    def _enlist(self, machine: Machine) -> Iterator[Message]:
        """Let the worker start on a machine that runs the same code as this one."""
        self.machine, own_code = machine, Code.of_process()
        if machine.code != own_code:
            differs = (
                "with other source files than here"
                if machine.code.version == own_code.version
                else f"where {own_code.version} is installed here"
            )
            yield Refused(
                f"The machine {machine.host} has medsanity {machine.code.version}, {differs}; "
                "install the same on every machine of the cluster."
            )
        request = self._request
        if machine.own_store is not None:
            request = request.elsewhere(machine.own_store)
            self._own_store = request.store
        self.pending = self._actor.start.remote(pickle.dumps((request, self.assignment.pair)))

    def _note(self, message: Message, agenda: Agenda) -> Message:
        """Note a message, and keep its record where the worker does not see the run's store."""
        self.assignment.note(message, agenda)
        if isinstance(message, Refused) and self.machine is not None:
            return Refused(f"On {self.machine.host}: {message.sentence}")
        if isinstance(message, CellDone) and self._own_store is not None:
            identity, store = message.record.identity_sha256, Store(self._request.store)
            location = (self._own_store, identity)
            if message.record.state == FAILED:
                log = ""
                with suppress(RayError):  # the machine is lost, and its traceback with it
                    log = ray.get(self._actor.read_log.remote(*location))
                store.put(message.record, log)
            elif message.measured or ray.get(self._actor.holds.remote(*location)):
                store.put(message.record)
        return message

    def _bury(self, agenda: Agenda, losses: Counter[Cell], end: str) -> Iterator[Message]:
        """Give up the cell whose process has ended in the middle of it."""
        if self.assignment.cell is None:
            yield from self._lose(agenda, losses, f"its process ended {end}")
            return
        self.failure = f"The process that measured it ended {end}."
        yield from self.assignment.give_up(agenda, self.failure)

    def _lose(self, agenda: Agenda, losses: Counter[Cell], reason: str) -> Iterator[Message]:
        """Let another worker measure what this one had in hand, unless that was tried before."""
        where = f" on {self.machine.host}" if self.machine else ""
        self.failure = f"A worker{where} was lost: {reason}"
        if (cell := self.assignment.next_cell) is not None:
            losses[cell] += 1
            if losses[cell] >= _ATTEMPTS:
                sentence = f"{_ATTEMPTS} workers were lost that were to measure it, the last{where}"
                yield from self.assignment.give_up(agenda, f"{sentence}: {reason}")
                return
        self.assignment.give_back(agenda)


def _last_line(error: RayError) -> str:
    """Return the line of an error of Ray that says what has happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
