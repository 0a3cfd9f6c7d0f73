"""Which tasks a run has, and in which order they are begun."""

from __future__ import annotations

from runs import build_record

from benchmark.explainer import NO_EXPLAINER
from benchmark.running.suite import Cell
from benchmark.running.workers.assignment import Assignment
from benchmark.running.workers.messages import CellDone, CellLost, CellStarted, TaskDone
from benchmark.running.workers.task import Agenda, Task, tasks_of


def cells(explainer: str, model: str = "m", protocols: str = "ab") -> tuple[Cell, ...]:
    return tuple(Cell("c", model, explainer, protocol, 0) for protocol in protocols)


def test_a_task_holds_all_cells_of_a_method_on_a_model() -> None:
    """If it fails, a method's maps are drawn once for every protocol, each by another process."""
    plan = (*cells("x"), *cells("y"), *cells("x", model="n"))
    tasks = tasks_of(plan)
    assert [(task.pair, task.explainer) for task in tasks] == [
        (("c", "m"), "x"),
        (("c", "m"), "y"),
        (("c", "n"), "x"),
    ]
    assert sum((task.cells for task in tasks), ()) == plan


def test_the_slowest_task_comes_first() -> None:
    """If it fails, processes wait at the end for one that began the slowest method last."""
    cheap, dear = (Task(cells(str(cost)), cost) for cost in (2, 9))
    alone = Task(cells(NO_EXPLAINER))
    agenda = Agenda([cheap, dear, alone])
    assert agenda.take() == alone, "networks may be trained for what is asked about a model alone"
    assert [agenda.take(), agenda.take(), agenda.take()] == [dear, cheap, None]
    for task in (alone, dear, cheap):
        assert not agenda.is_done
        agenda.finish(task)
    assert agenda.is_done


def test_tasks_of_a_model_that_is_loaded_come_first() -> None:
    """If it fails, processes load one model after the other again and again."""
    tasks = [Task(cells("x", model), cost) for model, cost in (("m", 9), ("n", 1))]
    assert Agenda(tasks).take(("c", "n")) == tasks[1]
    assert Agenda(tasks).take(("c", "other")) == tasks[0]


def test_what_a_lost_process_left_is_taken_up_first() -> None:
    """If it fails, a process that dies takes its other cells along."""
    lost, later = Task(cells("lost"), cost=2), Task(cells("later"))
    agenda = Agenda([lost, later])
    assert agenda.take() == lost
    agenda.finish(lost, lost.cells[1:])
    assert agenda.take() == Task(lost.cells[1:], cost=2)
    assert agenda.take() == later


def test_a_cell_is_given_back_or_given_up_with_what_was_to_come_after_it() -> None:
    """If it fails, a machine that dies takes cells along, or one cell kills machine after machine.

    The third cell is in hand when the worker is lost.
    """
    task = Task(cells("x", protocols="abcd"))
    for is_given_up in (False, True):
        agenda, assignment = Agenda([task]), Assignment(task.pair)
        assignment.begin(agenda.take() or task)
        for cell in task.cells[:2]:
            assignment.note(CellStarted(cell), agenda)
            record = build_record()
            assignment.note(CellDone(cell, record, True, 1, 0), agenda)
        assert assignment.next_cell == task.cells[2], "it has not been begun"
        assignment.note(CellStarted(task.cells[2]), agenda)
        if is_given_up:
            (lost,) = assignment.give_up(agenda, "No more.")
            assert isinstance(lost, CellLost)
            assert (lost.cell, lost.reason) == (task.cells[2], "No more.")
        else:
            assignment.give_back(agenda)
        assert assignment.task is None
        left = agenda.take()
        assert left is not None
        assert left.cells == task.cells[2 + is_given_up :]
        assignment.begin(left)
        assignment.note(TaskDone(), agenda)
        assert agenda.is_done
