"""Worker processes on the machines of a Ray cluster."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch

from benchmark.errors import DeviceError
from benchmark.records.files import write_atomically
from benchmark.records.storage.owners import temporary_beside
from benchmark.running.suite import Cell
from benchmark.running.workers.cluster.connection import connected
from benchmark.running.workers.cluster.machine import Origin
from benchmark.running.workers.cluster.member import Member
from benchmark.running.workers.executor import FRUITLESS, WORKER_BYTES
from benchmark.running.workers.loading import Request
from benchmark.running.workers.messages import Message, Refused
from benchmark.running.workers.spawned import GRACE
from benchmark.running.workers.task import Agenda

_PATIENCE = 1.0  # seconds after which the cluster is looked at where no worker reports
_LONGEST_WAIT = 600.0  # seconds without any worker, such as until nodes have been started


class RayExecutor:
    """An ``Executor`` of worker processes on a Ray cluster.

    What a machine had in hand that is lost is done by another one: records are kept under what
    made them, so that doing it again changes nothing.

    Args:
        address: Address that ``resolve_address`` has returned.
        count: Number of workers; without, one for each core or GPU of the cluster, also of those
            that join it later, as far as memory goes.
        device: Device that was asked for: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DeviceError: If a certain GPU was asked for.
    """

    def __init__(self, address: str | None, count: int | None, device: str = "auto") -> None:
        if device.startswith("cuda:"):
            raise DeviceError(f"Ray deals out GPUs itself; name cuda instead of {device!r}.")
        self._address, self._count, self._device = address, count, device

    def carry_out(self, request: Request, agenda: Agenda) -> Generator[Message, None, None]:
        """Yield what the workers report; otherwise as ``Executor.carry_out``.

        Raises:
            InputError: If there is no cluster or not the device.
        """
        request = replace(request, store=request.store.absolute(), sources=request.read_sources())
        with connected(self._address), _marked(request.store) as marker:
            kind = self._choose_kind()
            device = torch.device("cpu" if kind == "CPU" else "cuda:0")  # the one that Ray shows it
            request = replace(request, settings=replace(request.settings, device=device))
            origin = Origin.of_process(request.store, marker)
            members: list[Member] = []
            losses: Counter[Cell] = Counter()
            fruitless, last_seen = 0, time.monotonic()
            try:
                while not agenda.is_done:
                    self._hand_out(request, origin, agenda, members, kind)
                    member = _wait(members)
                    if any(each.machine is not None for each in members):
                        last_seen = time.monotonic()
                    elif time.monotonic() - last_seen > _LONGEST_WAIT:
                        yield Refused(_describe_wait(kind))
                    if member is None:
                        continue
                    yield from member.follow(agenda, losses)
                    if member.failure is not None:
                        members.remove(member)
                        member.end()
                    if member.machine is not None:
                        fruitless = 0
                    elif member.failure is not None and (fruitless := fruitless + 1) >= FRUITLESS:
                        yield Refused(
                            f"No worker can be started in the Ray cluster: {member.failure} "
                            "(medsanity must be installed on each of its machines.)"
                        )
            finally:
                _stop(members)

    def _choose_kind(self) -> str:
        """Return what a worker takes of the cluster: ``GPU`` or ``CPU``.

        Raises:
            DeviceError: If a GPU was asked for, and there is none.
        """
        has_gpu = ray.cluster_resources().get("GPU", 0) > 0
        if self._device == "cuda" and not has_gpu:
            raise DeviceError("The Ray cluster has no GPU; `--device cpu` does without.")
        return "GPU" if has_gpu and self._device != "cpu" else "CPU"

    def _hand_out(
        self, request: Request, origin: Origin, agenda: Agenda, members: list[Member], kind: str
    ) -> None:
        """Give every idle worker a task, and ask the cluster for workers where more are needed."""
        for member in members:
            own = member.assignment
            if member.is_idle and (task := agenda.take(own.pair)) is not None:
                member.begin(task)
        if agenda.next_pair(len(members)) is None:
            return
        capacity = ray.cluster_resources().get(kind, 0)
        count = self._count or max(1, int(capacity))
        while len(members) < count and (pair := agenda.next_pair(len(members))):
            options = _options(kind, capacity, self._count)
            members.append(Member(request, origin, pair, options))


def _options(kind: str, capacity: float, count: int | None) -> dict[str, Any]:
    """Return what an actor asks of the cluster: a core, or a GPU and a core.

    As many workers as were asked for share the cores or GPUs that there are.
    """
    share = 1.0 if count is None else min(1.0, max(0.01, int(100 * capacity / count) / 100))
    options: dict[str, Any] = {"scheduling_strategy": "SPREAD", "num_cpus": share}
    if kind == "GPU":
        options["num_gpus"] = share
    if count is None:
        options["memory"] = WORKER_BYTES
    return options


def _wait(members: Sequence[Member]) -> Member | None:
    """Return a worker that has answered or takes too long, waiting a while for one."""
    if (late := next((member for member in members if member.is_late), None)) is not None:
        return late
    waiting = {member.pending: member for member in members if member.pending is not None}
    if not waiting:
        time.sleep(_PATIENCE)
        return None
    ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_PATIENCE)
    return waiting[ready[0]] if ready else None


def _describe_wait(kind: str) -> str:
    amount = ray.cluster_resources().get(kind, 0)
    return (
        f"For {_LONGEST_WAIT / 60:.0f} minutes no machine of the Ray cluster has taken up a "
        f"worker, which needs a {kind} and {WORKER_BYTES / 2**30:.0f} GB; the cluster has "
        f"{amount:g} {kind}s. `--workers N` asks for no memory."
    )


@contextmanager
def _marked(store: Path) -> Iterator[str]:
    """Let a file lie in the store, by which workers see whether they see the same folder."""
    marker = temporary_beside(store / "run")
    write_atomically(marker, b"")
    try:
        yield marker.name
    finally:
        with suppress(OSError):
            marker.unlink()


def _stop(members: Sequence[Member]) -> None:
    """Let workers leave what they do through their ``finally`` clauses, then end them by force."""
    answers = [member.stop() for member in members if member.machine is not None]
    try:
        if answers:
            ray.wait(answers, num_returns=len(answers), timeout=GRACE + _PATIENCE)
    finally:
        for member in members:
            member.end()
