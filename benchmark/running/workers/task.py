"""Tasks of a run, and the agenda that says which of them can be carried out next.

A task holds cells of one explainer on one model and cohort. First, one method prepares each model:
what depends on model and cohort alone is made for it and kept in the store's archive. Then every
other task finds it there, so that processes side by side make nothing twice. The preparation has
two steps: what its first protocol makes, such as null maps, the others need too; these then make
what is their own side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.explainer import NO_EXPLAINER
from benchmark.running.suite import Cell

FIRST, SECOND, PREPARED = range(3)


@dataclass(frozen=True)
class Task:
    """Cells of one explainer on one model and cohort, by name.

    Attributes:
        cells: Cells in the order of the plan, at least one.
        cost: Expected cost in relation to other tasks.
        step: Number of its step; it waits for all tasks of the same model with a lower one.
    """

    cells: tuple[Cell, ...]
    cost: int = 1
    step: int = 0

    def prepare(self) -> tuple[Task, ...]:
        """Return the task cut into those of the two steps in which it prepares its model."""
        first, *others = (replace(self, cells=(cell,)) for cell in self.cells)
        return (replace(first, step=FIRST), *(replace(task, step=SECOND) for task in others))

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

    Those that prepare a model come first, then what is asked about a model alone, since networks
    may be trained for it, then the most costly methods.

    Args:
        tasks: All tasks of a run.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = sorted(tasks, key=_rank)
        self._in_hand = 0
        self._unfinished = Counter((task.pair, task.step) for task in tasks)

    def __len__(self) -> int:
        """Return the number of tasks that nobody has taken yet."""
        return len(self._waiting)

    @property
    def is_done(self) -> bool:
        """Whether no task is left, taken or not."""
        return not self._waiting and not self._in_hand

    def take(self, pair: tuple[str, str] | None = None) -> Task | None:
        """Return the next task, or None where all that are left wait for a model's preparation.

        What is asked about a model alone waits for nothing.

        Args:
            pair: Cohort and model that whoever takes the task has loaded, whose tasks come first.
        """
        ready = [task for task in self._waiting if self._is_ready(task)]
        if not ready:
            return None
        chosen = next((task for task in ready if task.pair == pair), ready[0])
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
        else:
            self._unfinished[task.pair, task.step] -= 1

    def _is_ready(self, task: Task) -> bool:
        is_alone = task.explainer == NO_EXPLAINER
        return is_alone or not any(self._unfinished[task.pair, step] for step in range(task.step))


def _rank(task: Task) -> tuple[int, bool, int]:
    return task.step, task.explainer != NO_EXPLAINER, -task.cost
