"""What commands say on the terminal: progress while it lasts, tables of what there is or was."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import TimeElapsedColumn as Elapsed
from rich.segment import Segment
from rich.text import Text

from benchmark.commands.tables import Column, FittedTable, print_sentences
from benchmark.explainer import Control
from benchmark.plain_text import printable
from benchmark.plugins.clause import Finding
from benchmark.plugins.entry import Entry
from benchmark.reading import FAILED, shared_bootstrap
from benchmark.records.experiment import ExperimentCard
from benchmark.records.record import Record
from benchmark.records.storage.finished import FinishedCell
from benchmark.report.experiment_table import describe
from benchmark.results import lookup
from benchmark.results.conclusions import sizes
from benchmark.results.conclusions.bottom_line import bottom_lines
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.health import Health
from benchmark.results.paired import Comparison, aligned_pairs
from benchmark.results.result import Estimate, Result
from benchmark.running.suite import Cell
from benchmark.statistics.studentised import TOO_FEW
from benchmark.training.regimes import Epoch

_PIPED_WIDTH, _LEAST_WIDTH = 160, 40
_MARKS = {True: "✓", False: "✗", None: "?"}
_STYLES: dict[sizes.Tone, str] = {"good": "green", "bad": "red"}


class PlainConsole(Console):
    """A console that writes out the control codes of whatever text it is given."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield segments of what is printed; only the console's own hold control codes."""
        for segment in super().render(renderable, options):
            if segment.control is None and (text := printable(segment.text)) != segment.text:
                yield Segment(text, segment.style)
            else:
                yield segment


def make_console(stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console; into a file or pipe it writes wide lines, unless COLUMNS says how wide.

    Args:
        stderr: Whether it writes there, and not to stdout.
        quiet: Whether nothing is to be written, as of notes with ``--quiet``.
    """
    console = PlainConsole(stderr=stderr, highlight=False, quiet=quiet)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = _PIPED_WIDTH
    if console.width < _LEAST_WIDTH:  # no number is cut; the terminal goes on in its next line
        console.width = _LEAST_WIDTH
    return console


class Bars(Progress):
    """A bar of the run's cells, and one of the passes of each cell that is being measured.

    In a pipe, a line per cell. A quiet one tells failures alone.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed()
        remaining = TextColumn("left"), TimeRemainingColumn()
        super().__init__(*columns, *remaining, console=console, transient=True, disable=quiet)
        self._quiet = quiet
        self._cells: TaskID | None = None
        self._passes: dict[Cell, TaskID] = {}

    def remarked(self, remark: str) -> None:
        """Say what was found in a model."""
        if not self._quiet:
            print_sentences(self.console, [remark], "yellow")

    def started(self, cells: int) -> None:
        """Show how many cells there are."""
        self._cells = self.add_task("cells", total=cells)

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Show a cell that is being measured."""
        self._drop_passes(cell)
        what = f"{cell.explainer} · {cell.protocol} (passes)"
        self._passes[cell] = self.add_task(what, total=passes or None)

    def preparing(self, cell: Cell, what: str) -> None:
        """Say what takes long, and which protocol it is for."""
        line = f"{what}, for {cell.protocol} on {cell.cohort} × {cell.model}"
        if not self._quiet:
            print_sentences(self.console, [line], "dim")

    def advanced(self, cell: Cell, passes: int) -> None:
        """Count passes."""
        if cell in self._passes:
            self.advance(self._passes[cell], passes)

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Count the cell, and say at once where it failed."""
        self._drop_passes(cell)
        if self._cells is not None:
            self.advance(self._cells)
        name = f"{cell.explainer} · {cell.protocol}"
        if record.state == FAILED:
            print_sentences(self.console, [f"{name} failed: {record.reason}"], "red")
        elif measured and not self._quiet and not self.console.is_terminal:
            line = f"{name}: {record.state}, {record.resources.seconds:.1f} s"
            self.console.print(line, markup=False)

    def _drop_passes(self, cell: Cell) -> None:
        if (bar := self._passes.pop(cell, None)) is not None:
            self.remove_task(bar)


class FileBar(Progress):
    """A bar of files that are read or written, which vanishes; nothing in a pipe."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed()
        remaining = TextColumn("left"), TimeRemainingColumn()
        hidden = console.quiet or not console.is_terminal
        super().__init__(*columns, *remaining, console=console, transient=True, disable=hidden)
        self._steps: dict[str, TaskID] = {}

    def show(self, step: str, done: int, total: int | None) -> None:
        """Show how many of the files of a step are done; of None, how many there are is unknown."""
        if step not in self._steps:
            self._steps[step] = self.add_task(step, total=total)
        self.update(self._steps[step], completed=done, total=total)


class TrainingBar(Progress):
    """A bar of the epochs of a training with loss and AUROC; in a pipe, a line per epoch."""

    def __init__(self, console: Console) -> None:
        columns = BarColumn(), MofNCompleteColumn(), Elapsed(), TextColumn("{task.fields[now]}")
        name = TextColumn("{task.description}")
        hidden = console.quiet
        super().__init__(name, *columns, console=console, transient=True, disable=hidden)
        self._task: TaskID | None = None

    def stage_began(self, name: str) -> None:
        """Show what is being done now."""
        if self._task is not None:
            self.remove_task(self._task)
        self._task = self.add_task(name, total=None, now="")
        if not self.console.is_terminal:
            self.console.print(name, markup=False)

    def epoch_ended(self, epoch: Epoch, most_epochs: int) -> None:
        """Show an epoch; the bar is full early where training stops early."""
        course = f"loss {epoch.loss:.3f}, validation AUROC {epoch.validation_auroc:.3f}"
        if self._task is not None:
            self.update(self._task, completed=epoch.number, total=most_epochs, now=course)
        if not self.console.is_terminal:
            line = f"epoch {epoch.number} of at most {most_epochs}: {course}"
            self.console.print(line, markup=False)

    def warned(self, sentences: Sequence[str]) -> None:
        """Say at once what a reader must know."""
        lines = (f"warning: {sentence}" for sentence in sentences)
        print_sentences(self.console, lines, "yellow")


def print_card(console: Console, notes: Console, card: ExperimentCard, folder: Path) -> None:
    """Print what came of a training; among the notes, how its network is explained."""
    texts = describe(card)
    words = ["--model", str(folder), "--cohort", card.cohort.spec, "--explainer", "gradcam_aligned"]
    print_sentences(
        console,
        [
            f"{card.id}: {card.status}, epochs {', '.join(texts['epochs'])}, {card.seconds:.1f} s",
            f"test split: {', '.join(texts['metrics (test)'])}",
        ],
    )
    print_sentences(notes, (f"warning: {sentence}" for sentence in card.warnings))
    print_lines(
        notes,
        [
            f"card, weights and figures: {folder}",
            f"explain it: python -m benchmark run {shlex.join(words)}",
        ],
    )


def catalogue_table(entries: Sequence[Entry[object]]) -> FittedTable:
    """Return a table of plugins of one kind, with what an explainer says of itself."""
    kind = entries[0].kind
    headings = {"version": "version", "family": "family", "polarity": "polarity"}
    headings["passes"] = "passes per map\n(forward, backward)"
    used = [name for name in headings if any(entry.declared[name] for entry in entries)]
    columns = [Column(kind, "title"), Column("origin")]
    columns += [Column(headings[name]) for name in used]
    table = FittedTable([*columns, Column("description", "prose", label="")], f"{kind}s")
    for entry in entries:
        what = Text(entry.error, style="red") if entry.error else Text(entry.description)
        facts = [entry.declared[name] or "" for name in used]
        texts = [
            ", ".join(map(str, fact)) if isinstance(fact, tuple) else str(fact) for fact in facts
        ]
        table.add_row(entry.spec, entry.origin, *texts, what)
    return table


def unsupported_lines(pairs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return one line for all explainers that one model refuses for one reason."""
    together: dict[str, list[str]] = {}
    for pair in pairs:
        refusal = f"{pair['cohort']} × {pair['model']}: {pair['reason']}"
        together.setdefault(refusal, []).append(pair["explainer"])
    return [f"unsupported: {', '.join(names)} on {refusal}" for refusal, names in together.items()]


def findings_table(findings: Sequence[Finding]) -> FittedTable:
    """Return a table of what each check found."""
    columns = Column("clause", "title"), Column("what must hold", "prose"), Column("found", "prose")
    table = FittedTable(columns, with_lines=True)
    style = {"held": "green", "broken": "red", "not asked": "dim"}
    for finding in findings:
        result = Text(finding.state, style=style[finding.state])
        if finding.detail:
            result.append(f": {finding.detail}", style="default")
        table.add_row(finding.check.name, finding.check.clause.claim, result)
    return table


def print_results(console: Console, results: Sequence[Result], controls: Collection[str]) -> None:
    """Print a table for each model and cohort."""
    tables: dict[str, list[Result]] = {}
    for result in results:
        tables.setdefault(f"{result.cohort} × {result.model}", []).append(result)
    for title, rows in tables.items():
        console.print(_results_table(title, rows, controls))


def _results_table(title: str, results: Sequence[Result], controls: Collection[str]) -> FittedTable:
    """Return a table in which controls, which look at no model, pass and fail nothing."""
    columns = (
        Column("explainer", "title"),
        Column("protocol", "title"),
        Column("score [95 % interval]", "number", label="score"),
        Column("calibrated", "number"),
        Column("n", "number"),
        Column("verdict", label=""),
        Column("state, reason", "prose", label=""),
    )
    table = FittedTable(columns, title)
    for row in results:
        calibrated = row.primary.calibrated and row.primary.calibrated.estimate
        verdict: str = row.verdict or "–"
        size = row.primary.size
        tone = sizes.tone_of(row.verdict, size, None)
        if row.explainer in controls:
            verdict, tone, size = "control", "plain", None
        elif row.verdict is not None and size is not None:
            verdict += "\nsize not known" if size == "not known" else f"\n{size}"
        state = row.state if row.reason is None else f"{row.state}: {row.reason}"
        if row.badges and row.explainer not in controls:
            state += "\n" + ", ".join(f"{badge.name} {_MARKS[badge.held]}" for badge in row.badges)
        table.add_row(
            row.explainer,
            row.protocol,
            _interval(row.primary),
            "–" if calibrated is None else f"{calibrated:.2f}",
            str(row.primary.n_subjects),
            Text(verdict, style=_STYLES.get(tone, "dim")),
            state,
        )
    if any(row.primary.has_too_few_subjects for row in results):
        table.caption = TOO_FEW
    return table


def controls(entries: Iterable[Entry[Any]]) -> set[str]:
    """Return the names of the explainers that look at no model."""
    classes = {entry.name: entry.plugin_class for entry in entries}
    return {name for name, plugin in classes.items() if plugin and issubclass(plugin, Control)}


def print_bottom_lines(
    console: Console,
    results: Sequence[Result],
    judged: Sequence[Health],
    protocols: lookup.Protocols,
) -> None:
    """Print a sentence a method on each model, given the health of protocols there."""
    for cohort, model in dict.fromkeys((result.cohort, result.model) for result in results):
        own = [result for result in results if (result.cohort, result.model) == (cohort, model)]
        own_health = [each for each in judged if (each.cohort, each.model) == (cohort, model)]
        lines = bottom_lines(own, protocols, own_health)
        print_sentences(console, (f"{cohort} × {model}: {line.text}" for line in lines))


def print_conclusions(
    console: Console,
    records: Sequence[FinishedCell],
    judged: Sequence[Health],
    explained: Sequence[ExplainedModel],
    protocols: lookup.Protocols,
) -> None:
    """Print what records say together: of models, of pairs of methods, of protocols."""
    print_sentences(console, map(_model_line, explained))
    print_sentences(console, map(_comparison_line, aligned_pairs(records, protocols)))
    for each in judged:
        what = f"{each.protocol} on {each.cohort} × {each.model}"
        print_sentences(console, [f"protocol health, {what}: {each.reason}"])


def _model_line(explained: ExplainedModel) -> str:
    groups, case = explained.evaluation.groups, explained.evaluation.probabilities[:, 1]
    auroc = shared_bootstrap(explained.cohort.subjects).auroc(case, groups)
    accuracy = float(((case >= 0.5) == groups).mean())
    return (
        f"{explained.model} on {explained.cohort.name}, {len(groups)} test images: AUROC "
        f"{auroc.estimate:.3f} [{auroc.low:.3f}, {auroc.high:.3f}], "
        f"accuracy {accuracy:.3f}, T {explained.evaluation.group_distance:.3g}"
    )


def _comparison_line(comparison: Comparison) -> str:
    interval = comparison.interval
    limits = "" if math.isnan(interval.low) else f" [{interval.low:+.3f}, {interval.high:+.3f}]"
    return (
        f"{comparison.first} − {comparison.second}, {comparison.statistic} of "
        f"{comparison.protocol} on {comparison.cohort} × {comparison.model}: "
        f"{interval.estimate:+.3f}{limits}, {interval.n_subjects} subjects"
    )


def rows_table(title: str, rows: Mapping[str, str]) -> FittedTable:
    """Return a table of names and what stands for each."""
    columns = Column("name", "title"), Column("value", "prose", label="")
    table = FittedTable(columns, title, with_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def predictions_table(photographs: Mapping[str, Sequence[Any]]) -> FittedTable:
    """Return a table of the most probable classes of each photograph."""
    numbers_of = (Column("logit", "number"), Column("probability", "number"))
    columns = (Column("image", "title"), Column("class", "number"), Column("name"), *numbers_of)
    table = FittedTable(columns, "photographs")
    for path, predictions in photographs.items():
        for rank, prediction in enumerate(predictions):
            numbers = (f"{prediction.logit:.2f}", f"{prediction.probability:.3f}")
            path_cell = path if rank == 0 else ""
            table.add_row(path_cell, str(prediction.index), prediction.name, *numbers)
    return table


def print_notices(console: Console, entries: Iterable[Entry[Any]]) -> None:
    """Print what must be known of models before their scores are read."""
    notices = [getattr(entry.plugin_class, "notice", "") for entry in entries]
    print_sentences(console, filter(None, notices))


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print each as it stands, without reading markup into brackets."""
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _interval(estimate: Estimate) -> str:
    if estimate.estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.estimate:.3f}"
    return f"{estimate.estimate:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
