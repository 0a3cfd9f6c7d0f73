"""What a run says on the terminal: progress while it lasts, a table when it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.table import Table
from rich.text import Text

from benchmark.cohort import SPLITS, Cohort
from benchmark.explainer import Control
from benchmark.plugins.clause import Finding
from benchmark.plugins.entry import Entry
from benchmark.protocol import Protocols
from benchmark.reading import FAILED, shared_bootstrap
from benchmark.records.record import Record
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.health import Health, protocol_health
from benchmark.results.paired import Comparison, aligned_pairs
from benchmark.results.result import Estimate, Result
from benchmark.running.suite import Cell

_PIPED_WIDTH = 160


def make_console(stderr: bool = False) -> Console:
    """Return a console; into a file or pipe it writes wide lines, so that nothing is cut off."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, width=_PIPED_WIDTH)
    return console


class Bars:
    """Two bars: cells of the run, and passes of the cell at hand.

    Args:
        console: Where they are drawn; a line per cell where that is no terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Elapsed(),
            console=console,
            transient=True,
        )
        self._cells: TaskID | None = None
        self._passes: TaskID | None = None

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear what was drawn."""
        self._progress.stop()

    def started(self, cells: int) -> None:
        """Show how many cells there are."""
        self._cells = self._progress.add_task("cells", total=cells)

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Show the cell that is being measured."""
        self._drop_passes()
        what = f"{cell.explainer} · {cell.protocol} (passes)"
        self._passes = self._progress.add_task(what, total=passes or None)

    def advanced(self, passes: int) -> None:
        """Count passes."""
        if self._passes is not None:
            self._progress.advance(self._passes, passes)

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Count the cell, and say at once where it failed."""
        self._drop_passes()
        if self._cells is not None:
            self._progress.advance(self._cells)
        if record.state == FAILED:
            said = f"{cell.explainer} · {cell.protocol} failed: {record.reason}"
            self._console.print(said, markup=False, style="red")
        elif measured and not self._console.is_terminal:
            seconds = record.resources.seconds
            said = f"{cell.explainer} · {cell.protocol}: {record.state}, {seconds:.1f} s"
            self._console.print(said, markup=False)

    def _drop_passes(self) -> None:
        if self._passes is not None:
            self._progress.remove_task(self._passes)
            self._passes = None


def catalogue_table(entries: Sequence[Entry[object]]) -> Table:
    """Return a table of plugins of one kind, with what an explainer says of itself."""
    kind = entries[0].kind
    table = Table(title=f"{kind}s", title_justify="left")
    headings = {"version": "version", "family": "family", "polarity": "polarity"}
    headings["passes"] = "passes per map\n(forward, backward)"
    used = [name for name in headings if any(one.declared[name] for one in entries)]
    table.add_column(kind, no_wrap=True)
    for name in ("origin", *(headings[one] for one in used), "description"):
        table.add_column(name)
    for one in entries:
        said = Text(one.error, style="red") if one.error else Text(one.description)
        facts = [_fact(one.declared[name]) for name in used]
        table.add_row(Text(one.name), Text(one.origin), *facts, said)
    return table


def unsupported_lines(pairs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return one line for all explainers that one model refuses for one reason."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for pair in pairs:
        place = pair["cohort"], pair["model"], pair["reason"]
        together.setdefault(place, []).append(pair["explainer"])
    return [
        f"unsupported: {', '.join(names)} on {cohort} × {model}: {reason}"
        for (cohort, model, reason), names in together.items()
    ]


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return a table of what each check found."""
    table = Table(show_lines=True)
    for name in ("clause", "what must hold", "found"):
        table.add_column(name)
    style = {"held": "green", "broken": "red", "not asked": "dim"}
    for one in findings:
        found = Text(one.state, style=style[one.state])
        if one.detail:
            found.append(f": {one.detail}", style="default")
        table.add_row(Text(one.check.name), Text(one.check.clause.claim), found)
    return table


def _fact(value: str | tuple[int, int] | None) -> Text:
    if isinstance(value, tuple):
        return Text(", ".join(str(one) for one in value))
    return Text(value or "")


def print_results(console: Console, results: Sequence[Result], controls: Collection[str]) -> None:
    """Print a table for each model and cohort."""
    for place in dict.fromkeys((one.cohort, one.model) for one in results):
        rows = [one for one in results if (one.cohort, one.model) == place]
        console.print(results_table(" × ".join(place), rows, controls))


def results_table(title: str, results: Iterable[Result], controls: Collection[str]) -> Table:
    """Return the table of one model and cohort.

    Args:
        title: Above it.
        results: Its rows.
        controls: Names of explainers that look at no model; they pass and fail nothing.
    """
    table = Table(title=title, title_justify="left")
    for column in ("explainer", "protocol"):
        table.add_column(column, no_wrap=True)
    for column in ("score [95 % interval]", "calibrated", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("state, reason", overflow="fold")
    for row in results:
        calibrated = row.primary.calibrated
        verdict = "control" if row.explainer in controls else row.verdict or "–"
        state = row.state if row.reason is None else f"{row.state}: {row.reason}"
        if row.badges and row.explainer not in controls:
            state += "\n" + ", ".join(f"{one.name} {_MARKS[one.held]}" for one in row.badges)
        table.add_row(
            row.explainer,
            row.protocol,
            _interval(row.primary),
            _number(calibrated.estimate if calibrated else None, 2),
            str(row.primary.n_subjects),
            Text(verdict, style={"pass": "green", "fail": "red"}.get(verdict, "dim")),
            Text(state),
        )
    return table


def controls(entries: Iterable[Entry[Any]]) -> set[str]:
    """Return the names of the explainers that look at no model."""
    classes = {entry.name: entry.plugin_class for entry in entries}
    return {name for name, plugin in classes.items() if plugin and issubclass(plugin, Control)}


def print_conclusions(
    console: Console,
    records: Sequence[Record],
    explained: Sequence[ExplainedModel],
    protocols: Protocols,
) -> None:
    """Print what records say together: of the models, of pairs of explainers, of protocols."""
    print_lines(console, [model_line(model) for model in explained])
    print_lines(console, [comparison_line(pair) for pair in aligned_pairs(records, protocols)])
    print_lines(console, [health_line(health) for health in protocol_health(records, protocols)])


def model_line(shown: ExplainedModel) -> str:
    """Say how well the model tells the groups apart on the test split."""
    groups, case = shown.evaluation.groups, shown.evaluation.probabilities[:, 1]
    auroc = shared_bootstrap(shown.cohort.subjects).auroc(case, groups)
    accuracy = float(((case >= 0.5) == groups).mean())
    return (
        f"{shown.model} on {shown.cohort.name}, {len(groups)} test images: AUROC "
        f"{auroc.estimate:.3f} [{auroc.low:.3f}, {auroc.high:.3f}], "
        f"accuracy {accuracy:.3f}, T {shown.evaluation.group_distance:.3g}"
    )


def health_line(health: Health) -> str:
    """Say whether a protocol tells truth from noise."""
    return (
        f"protocol health, {health.protocol} on {health.cohort} × {health.model}: {health.reason}"
    )


def comparison_line(comparison: Comparison) -> str:
    """Say how far two explainers lie apart on the same subjects."""
    interval = comparison.interval
    return (
        f"{comparison.first} − {comparison.second}, {comparison.statistic} of "
        f"{comparison.protocol} on {comparison.cohort} × {comparison.model}: "
        f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}], "
        f"{interval.n_subjects} subjects"
    )


def cohort_table(cohort: Cohort) -> Table:
    """Return what a cohort holds."""
    table = Table(title=f"cohort {cohort.name}", title_justify="left", show_header=False)
    people, geometry = cohort.participants, cohort.geometry
    spacing = " × ".join(f"{size:g}" for size in geometry.spacing)
    rows = {
        "images": f"{len(cohort)} of {len(set(cohort.subjects))} subjects",
        "shape": " × ".join(map(str, cohort.shape)),
        "spacing": f"{spacing} mm{', registered' if geometry.registered else ''}",
        "intensities": f"{np.min(cohort.images):.3f} to {np.max(cohort.images):.3f}",
    }
    for split in SPLITS:
        chosen = people["split"] == split
        counts = [int((chosen & (people["group"] == group)).sum()) for group in (0, 1)]
        names = zip(cohort.group_names, counts, strict=True)
        rows[f"split {split}"] = ", ".join(f"{count} {name}" for name, count in names)
    anatomy = cohort.anatomy
    rows["foreground"] = f"{anatomy.foreground.mean():.1%} of an image"
    for name, mask in anatomy.rois.items():
        control = "with control region" if name in anatomy.control_rois else "no control region"
        truth = ", truth" if name in anatomy.truth else ""
        share = mask.sum() / max(1, anatomy.foreground.sum())
        rows[f"region {name}"] = f"{share:.2%} of the foreground, {control}{truth}"
    rows["covariates"] = ", ".join(map(str, cohort.covariates.columns)) or "none"
    rows["fingerprint"] = cohort.fingerprint
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def print_lines(console: Console, lines: Sequence[str]) -> None:
    """Print each as it stands, without reading markup into brackets."""
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


_MARKS = {True: "✓", False: "✗", None: "?"}


def _interval(estimate: Estimate) -> str:
    if estimate.estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.estimate:.3f}"
    return f"{estimate.estimate:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
