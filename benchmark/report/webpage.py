"""The report as one HTML page that carries its figures and style inside and asks for nothing."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from benchmark.protocol import SanityProtocol
from benchmark.reading import SCORED, shared_bootstrap
from benchmark.records.record import Record
from benchmark.report.figures.style import CONTROLS
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.health import Health
from benchmark.results.paired import Comparison
from benchmark.results.result import Result
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.discrimination import Discrimination, classification_report

Protocols = Mapping[str, type[SanityProtocol[Any]]]

NO_NUMBER = "no value"
_MARKS = {"pass": "✓", "fail": "✗", "not assessable": "–", "unsupported": "∅", "failed": "!"}
_MIME = {"png": "image/png", "svg": "image/svg+xml"}
_SHORT_HASH = 12


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        title: What it shows, in a few words.
        caption: How to read it.
        kind: Format of ``content``.
        content: The file.
    """

    title: str
    caption: str
    kind: Literal["png", "svg"]
    content: bytes

    @property
    def address(self) -> str:
        """The file as a data URI."""
        return f"data:{_MIME[self.kind]};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True)
class Metrics:
    """How well the model itself does on the test images.

    Attributes:
        images: Number of test images.
        group_names: Names of group 0 and 1.
        found: Point estimates.
        auroc: With its interval over subjects.
    """

    images: int
    group_names: tuple[str, str]
    found: Discrimination
    auroc: Interval


@dataclass(frozen=True)
class Section:
    """Everything about one model on one cohort.

    Attributes:
        cohort: Name.
        model: Name.
        results: One a cell, in the order of the figures.
        records: Those that the results were made from, in the same order.
        health: One a protocol.
        comparisons: Methods at true centres against as published.
        metrics: None where the model's output was not at hand.
        pictures: In order.
    """

    cohort: str
    model: str
    results: Sequence[Result]
    records: Sequence[Record]
    health: Sequence[Health]
    comparisons: Sequence[Comparison]
    metrics: Metrics | None
    pictures: Sequence[Picture]


def measure_model(shown: ExplainedModel) -> Metrics:
    """Return how well a model tells the groups of the test split apart."""
    groups, case = shown.evaluation.groups, shown.evaluation.probabilities[:, 1]
    return Metrics(
        images=len(groups),
        group_names=shown.cohort.group_names,
        found=classification_report(groups, case),
        auroc=shared_bootstrap(shown.cohort.subjects).auroc(case, groups),
    )


def render_page(sections: Sequence[Section], protocols: Protocols) -> str:
    """Return the page; everything that comes from records, plugins and files is escaped.

    Args:
        sections: One a model and cohort.
        protocols: Classes by name, of all results.
    """
    page = resources.files("benchmark.report") / "page"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=format_number, range=format_range, verdict=format_verdict)
    environment.filters.update(conditions=_format_conditions, mark=_mark)
    template = environment.from_string((page / "report.html.j2").read_text("utf-8"))
    used = dict.fromkeys(one.protocol for section in sections for one in section.results)
    return template.render(
        style=Markup((page / "report.css").read_text("utf-8")),
        sections=sections,
        protocols=[protocols[name] for name in used],
        provenance=_provenance([one for section in sections for one in section.records]),
        controls=CONTROLS,
        no_number=NO_NUMBER,
        short=_SHORT_HASH,
    )


def format_number(value: float | None, *beside: float | None) -> str:
    """Return a number with three decimals, or three digits where those say little; or words.

    Args:
        value: The number.
        beside: Numbers it stands with, such as the limits of its interval; the largest of all
            decides the form.
    """
    if value is None or not math.isfinite(value):
        return NO_NUMBER
    known = [abs(one) for one in (value, *beside) if one is not None and math.isfinite(one)]
    text = f"{value:.3f}" if max(known) == 0 or 0.01 <= max(known) < 1000 else f"{value:.3g}"
    # What rounds to zero has no sign.
    text = text.lstrip("-") if float(text) == 0 else text
    return text.replace("-", "−")


def format_range(low: float | None, high: float | None) -> str:
    """Return ``[low, high]``, or nothing where there is no interval."""
    if low is None or high is None or not math.isfinite(low + high):
        return ""
    return f"[{format_number(low, high)}, {format_number(high, low)}]"


def format_verdict(result: Result) -> str:
    """Return the verdict in words, or why there is none; a control has none to pass."""
    if result.state != SCORED:
        return result.state
    if result.explainer in CONTROLS:
        return "control"
    return result.verdict or "no verdict"


def _mark(word: str) -> str:
    return _MARKS.get(word, "")


def _format_conditions(conditions: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in conditions.items())


def _provenance(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return what the records were made with; several values where they differ."""

    def distinct(values: Iterable[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    made = [one.provenance for one in records]
    packages = dict.fromkeys(name for one in made for name in one.packages)
    rows = [
        ("suite", (one.identity.suite for one in records)),
        ("seed", (str(one.identity.seed) for one in records)),
        (
            "cohort fingerprint",
            (f"{one.names.cohort} {one.identity.cohort_fingerprint}" for one in records),
        ),
        (
            "model weights (SHA-256)",
            (f"{one.names.model} {one.identity.weights_sha256}" for one in records),
        ),
        (
            "protocol settings",
            (
                f"{one.names.protocol} {one.identity.protocol.version} "
                f"{json.dumps(one.identity.protocol.config, sort_keys=True)}"
                for one in records
            ),
        ),
        ("device", (_device(one.device, one.driver) for one in made)),
        ("arithmetic", (_arithmetic(one.dtype, one.tf32, one.deterministic) for one in made)),
        ("images per pass", (str(one.batch_size) for one in made)),
        ("host threads", (str(one.threads) for one in made)),
        ("platform", (one.platform for one in made)),
        ("Python", (one.python for one in made)),
        *((name, (one.packages.get(name) or "not installed" for one in made)) for name in packages),
        (
            "checkout",
            (
                f"{one.git.commit}{' with changes' if one.git.dirty else ''}"
                if one.git
                else "not from a checkout"
                for one in made
            ),
        ),
        ("measured", (_span(one.created for one in records),)),
    ]
    return [(name, distinct(values)) for name, values in rows]


def _device(name: str, driver: str | None) -> str:
    return name if driver is None else f"{name}, driver {driver}"


def _arithmetic(dtype: str, tf32: bool, deterministic: bool) -> str:
    return f"{dtype}, TF32 {'on' if tf32 else 'off'}, " + (
        "deterministic" if deterministic else "not held to deterministic algorithms"
    )


def _span(moments: Iterable[str]) -> str:
    ordered = sorted(moments)
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
