"""Tasks of a run, and the agenda that says which of them is carried out next.

A task holds cells of one explainer on one model and cohort. What depends on model and cohort alone
is made by the process that first needs it, and kept in the store's archive; others that need it
meanwhile wait for that alone. So processes side by side make nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.explainer import NO_EXPLAINER
from benchmark.running.suite import Cell


@dataclass(frozen=True)
class Task:
    """Cells of one explainer on one model and cohort, by name.

    Attributes:
        cells: Cells in the order of the plan, at least one.
        cost: Expected cost in relation to other tasks.
    """

    cells: tuple[Cell, ...]
    cost: int = 1

    @property
    def explainer(self) -> str:
        """Name of the explainer."""
        return self.cells[0].explainer

    @property
    def pair(self) -> tuple[str, str]:
        """Names of cohort and model."""
        return self.cells[0].cohort, self.cells[0].model


def tasks_of(cells: Iterable[Cell]) -> tuple[Task, ...]:
    """Return the tasks of a plan's cells, in the order of their first cells."""
    together: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        together.setdefault((cell.cohort, cell.model, cell.explainer), []).append(cell)
    return tuple(Task(tuple(own)) for own in together.values())


class Agenda:
    """Tasks that are left, in the order in which they are best begun.

    What is asked about a model alone comes first, since networks may be trained for it, then the
    most costly methods.

    Args:
        tasks: All tasks of a run.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = sorted(tasks, key=_rank)
        self._in_hand = 0

    def __len__(self) -> int:
        """Return the number of tasks that nobody has taken yet."""
        return len(self._waiting)

    @property
    def is_done(self) -> bool:
        """Whether no task is left, taken or not."""
        return not self._waiting and not self._in_hand

    def take(self, pair: tuple[str, str] | None = None) -> Task | None:
        """Return the next task, or None where nobody has to take one.

        Args:
            pair: Cohort and model that whoever takes the task has loaded, whose tasks come first.
        """
        if not self._waiting:
            return None
        chosen = next((task for task in self._waiting if task.pair == pair), self._waiting[0])
        self._waiting.remove(chosen)
        self._in_hand += 1
        return chosen

    def next_pair(self, processes: int) -> tuple[str, str] | None:
        """Return what a further process should load, or None where no task is left for it.

        Args:
            processes: Number of processes there are, each of which takes a task before it.
        """
        later = self._waiting[max(0, processes - self._in_hand) :]
        return later[0].pair if later else None

    def finish(self, task: Task, left: Sequence[Cell] = ()) -> None:
        """Note that a task has ended.

        Args:
            task: Task that was taken.
            left: Cells that it did not come to, which another process is to measure.
        """
        self._in_hand -= 1
        if left:
            self._waiting.insert(0, replace(task, cells=tuple(left)))


def _rank(task: Task) -> tuple[bool, int]:
    return task.explainer != NO_EXPLAINER, -task.cost
