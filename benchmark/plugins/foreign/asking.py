"""Asks a plugin something while a run is planned, without letting it end or hold up the run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing import parent_process
from typing import TypeVar

from benchmark.classifier import Classifier
from benchmark.explainer import Explainer, why_unsupported
from benchmark.plugins.foreign.apart import run_apart
from benchmark.plugins.foreign.plugin_file import is_of_file
from benchmark.stopping import is_stop

T = TypeVar("T")
DEADLINE = 60.0  # seconds that an answer may take


def ask(plugin: object, question: Callable[[], T], otherwise: T) -> T:
    """Return what a plugin answers; one of a file is asked in a copy of this process.

    In a worker one of a file is not asked: what ends the worker must be its cell.

    Args:
        plugin: Plugin whose code the question runs.
        question: Function that asks; its answer is pickled where it comes from a copy.
        otherwise: Answer of a plugin that raises, ends the copy, or takes longer than a minute.
    """
    try:
        if is_of_file(plugin):
            if parent_process() is not None:
                return otherwise
            return run_apart(question, f"The plugin {type(plugin).__name__!r}", DEADLINE)
        return question()
    except BaseException as error:
        if is_stop(error):
            raise
        return otherwise


def ask_why_unsupported(
    explainer: Explainer, classifier: Classifier, has_truth: bool
) -> str | None:
    """Return why an explainer does not support a network, or None; a silent one says neither.

    Where there is no answer, its cells will fail, each with a reason.
    """
    silence: str | None = "it does not say"
    question = partial(why_unsupported, explainer, classifier, has_truth)
    return ask(explainer, question, otherwise=silence)
