"""An attempt to carry an experiment out: training, validation, and everything on disk.

An attempt that is killed leaves a card and a checkpoint, and the next one goes on to the same
weights.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from benchmark.cohort import Cohort
from benchmark.errors import InputError, StoreError, short_message
from benchmark.records.experiment import CourseEntry, ExperimentCard, ModelEntry
from benchmark.records.processes import ProcessEntry
from benchmark.records.provenance import peak_memory
from benchmark.running import experiment_files as files
from benchmark.running.device import reproducible
from benchmark.running.experiment import Experiment, describe_head
from benchmark.training.findings import Validation
from benchmark.training.learning_curve import cross_validate, cross_validate_probe
from benchmark.training.predictions import Predictions, predict
from benchmark.training.regimes import Epoch
from benchmark.training.shortcuts import watch_shortcuts
from benchmark.training.trainer import Trained, TrainingState, train
from benchmark.training.validation import floor_reason, validate

STOPPED = "stopped by Ctrl-C"
LOG = "failure.log"
_BATCH = 64
_SHARE_OF_TIME = 0.1  # that checkpoints may take; those of a large network take longer than epochs


class TrainingProgress(Protocol):
    """Listener to the course of an experiment."""

    def stage_began(self, name: str) -> None:
        """Note what is being done now."""
        return

    def epoch_ended(self, epoch: Epoch, most_epochs: int) -> None:
        """Note an epoch."""
        return

    def warned(self, sentences: Sequence[str]) -> None:
        """Note what a reader must know before any map is drawn."""
        return


Draw = Callable[[Path, ExperimentCard], None]


def carry_out(experiment: Experiment, draw: Draw, progress: TrainingProgress) -> ExperimentCard:
    """Train, validate and keep everything; return the card, which says whether that failed.

    Args:
        experiment: Experiment that was begun or reopened.
        draw: Function that draws the figures of a card into a folder.
        progress: Listener.

    Raises:
        KeyboardInterrupt: If it was stopped; it can be resumed.
        StoreError: If something cannot be written, as on a full disk; it can be resumed.
        InputError: If the cohort or the model cannot be trained.
    """
    attempt = _Attempt(experiment, progress)
    with _held(experiment.folder), reproducible():
        files.sweep(experiment.folder)
        try:
            attempt.run(draw)
        except KeyboardInterrupt:
            attempt.give_up("interrupted", STOPPED)
            raise
        except StoreError as error:
            attempt.give_up("interrupted", str(error))
            raise
        except InputError as error:
            attempt.give_up("failed", str(error))
            raise
        except (Exception, SystemExit) as error:  # a network of somebody else raises anything
            log = traceback.format_exc()
            with suppress(OSError):
                (experiment.folder / LOG).write_text(log, encoding="utf-8")
            attempt.give_up("failed", short_message(error))
    return experiment.card


class _Attempt:
    """One attempt to carry an experiment out, the first or after an interruption."""

    def __init__(self, experiment: Experiment, progress: TrainingProgress) -> None:
        self._experiment, self._progress = experiment, progress
        self._start, self._earlier = time.perf_counter(), experiment.card.seconds
        self._epochs: list[Epoch] = []
        self._saved_at, self._saving = -1e9, 0.0

    def run(self, draw: Draw) -> None:
        """Train, validate, and write what came of it; the card last."""
        experiment, card, cohort = self._experiment, self._experiment.card, self._experiment.cohort
        running = {"status": "running", "reason": None, "process": ProcessEntry.current()}
        experiment.note(running)
        notices = [experiment.source.notice] if experiment.source.notice else []
        self._progress.warned(notices)
        self._progress.stage_began("embedding every image")
        before = predict(experiment.classifier, cohort, _BATCH)
        self._progress.stage_began("looking for shortcuts")
        shortcuts = watch_shortcuts(cohort)
        self._progress.warned((*shortcuts.warnings, *_floor_sentences(before, cohort)))
        trained = self._train()
        predictions = predict(trained.classifier, cohort, _BATCH)
        findings = validate(
            predictions,
            before,
            cohort,
            card.recipe,
            self._announce,
            trained.epochs,
            shortcuts=shortcuts,
        )
        validation = self._cross_validated(findings)
        course = CourseEntry(
            epochs=trained.epochs, best=trained.best_epoch, remarks=trained.remarks
        )
        draft = card.updated(
            {
                "status": "stopped early" if trained.stopped_early else "finished",
                "reason": None,
                "process": None,
                "model": _trained_entry(card.model, trained),
                "course": course,
                "validation": validation,
                "warnings": tuple(
                    dict.fromkeys((*notices, *validation.warnings, *trained.remarks))
                ),
            }
        )
        self._keep(trained, predictions, draft, draw)

    def give_up(self, status: str, reason: str) -> None:
        """Say on the card how the attempt ended; a full disk keeps the earlier card."""
        changes = {"status": status, "reason": reason, "process": None, "seconds": self._seconds()}
        with suppress(StoreError):
            self._experiment.note(changes)

    def _train(self) -> Trained:
        experiment, card = self._experiment, self._experiment.card
        state = files.read_checkpoint(experiment.folder, card.identity)
        self._epochs = [] if state is None else list(state.epochs)
        self._progress.stage_began("training")
        return train(experiment.classifier, experiment.cohort, card.recipe, state, self._listen)

    def _announce(self, step: str) -> None:
        self._progress.stage_began(f"validating: {step}")

    def _cross_validated(self, findings: Validation) -> Validation:
        """Return the findings with cross-validation of the whole training, where that is asked."""
        experiment, card = self._experiment, self._experiment.card
        if card.cross_validated == "probe":
            return findings
        self._announce("training anew in each fold")

        def fit(fold: Cohort) -> Predictions:
            return predict(train(experiment.classifier, fold, card.recipe).classifier, fold, _BATCH)

        crossed = cross_validate(fit, experiment.cohort)
        return replace(findings, cross_validation=crossed.metrics, folds=crossed.folds)

    def _listen(self, epoch: Epoch, state: TrainingState) -> None:
        """Keep the state, unless the last time took so long that training would wait for it."""
        self._epochs = [*self._epochs[: epoch.number - 1], epoch]
        self._progress.epoch_ended(epoch, self._experiment.card.recipe.most_epochs)
        start = time.perf_counter()
        if (start - self._saved_at) * _SHARE_OF_TIME < self._saving:
            return
        files.write_checkpoint(self._experiment.folder, state, self._experiment.card.identity)
        course = CourseEntry(epochs=tuple(self._epochs), best=None)
        self._experiment.note({"course": course, "seconds": self._seconds()})
        self._saved_at = time.perf_counter()
        self._saving = self._saved_at - start

    def _keep(
        self, trained: Trained, predictions: Predictions, draft: ExperimentCard, draw: Draw
    ) -> None:
        folder = self._experiment.folder
        self._progress.stage_began("writing weights and figures")
        files.write_weights(folder, trained.classifier)
        files.write_predictions(folder, predictions)
        files.write_model(folder, draft, self._experiment.source)
        files.replace_figures(folder, lambda target: draw(target, draft))
        changes = {
            "files": files.hash_files(folder),
            "seconds": self._seconds(),
            "peak_memory_bytes": peak_memory(),
        }
        self._experiment.card = draft
        self._experiment.note(changes)
        for name in (files.CHECKPOINT, LOG):
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)

    def _seconds(self) -> float:
        return round(self._earlier + time.perf_counter() - self._start, 3)


def _floor_sentences(before: Predictions, cohort: Cohort) -> list[str]:
    """Return what speaks against training a head on this encoder."""
    reason = floor_reason(cross_validate_probe(before, cohort.group_names).metrics)
    if reason is None:
        return []
    return [
        "floor: the embedding hardly carries the groups before training: cross-validated by "
        f"subject, the probe's {reason}"
    ]


def _trained_entry(model: ModelEntry, trained: Trained) -> ModelEntry:
    changes = {
        "head": describe_head(trained.classifier.head),
        "weights_sha256": trained.classifier.weights_sha256,
        "trained": trained.trained_stages,
        "frozen": trained.frozen_stages,
    }
    return model.model_copy(update=changes)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold an experiment's folder, so that no second process resumes it meanwhile.

    The system lets go of it when the process ends, however that happens.
    """
    try:
        import fcntl  # Windows has none
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(f"{folder} is being trained by another process.") from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)
