"""The page of a report: one HTML file with its figures and style inside, which loads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmark.protocol import Table
from benchmark.reading import SCORED
from benchmark.records.storage.finished import FinishedCell
from benchmark.report.contents.first_screen import build_first_screen
from benchmark.report.contents.section import Section
from benchmark.report.glossary import terms_in
from benchmark.results.conclusions.sizes import Tone, describe_steps, tone_of
from benchmark.results.lookup import Protocols
from benchmark.results.result import Result
from benchmark.results.scores import CONTROLS
from benchmark.statistics.wording import NO_NUMBER, format_number, format_range

_MARKS = {"pass": "✓", "fail": "✗", "not assessable": "–", "unsupported": "∅", "failed": "!"}
_INTERVAL = re.compile(r"\[[^\[\] ]+ [^\[\] ]+\]")
_AT_CHANCE = "≈"  # in the place of the tick of a pass that is near chance
_TICKS = {True: "✓", False: "✗", None: "?"}


def render_page(sections: Sequence[Section], protocols: Protocols) -> str:
    """Return the page; everything that comes from records, plugins and files is escaped."""
    template = page_environment().get_template("report.html.j2")
    names = dict.fromkeys(result.protocol for section in sections for result in section.results)
    used = [protocols[name] for name in names]
    scores = [protocol.statistic(protocol.primary) for protocol in used]
    provenance = _provenance([record for section in sections for record in section.records])
    return template.render(
        style=page_style(),
        first=build_first_screen(sections, dict(provenance)),
        steps=describe_steps(),
        sections=sections,
        protocols=used,
        questions=[protocol.title for protocol in used] + [score.description for score in scores],
        provenance=provenance,
        controls=CONTROLS,
        no_number=NO_NUMBER,
        short=12,
    )


def page_environment() -> Environment:
    """Return what every page is rendered in; texts are escaped, and a missing name is an error."""
    environment = Environment(
        loader=PackageLoader("benchmark.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "range": format_range,
        "verdict": format_verdict,
        "mark": mark_of,
        "tone": tone_of_result,
        "tick": _TICKS.get,
        "terms": terms_in,
        "text_columns": text_columns,
        "whole": keep_intervals,
    }
    return environment


def page_style() -> Markup:
    """Return the style sheet that every page carries inside."""
    page = resources.files("benchmark.report") / "page"
    return Markup((page / "report.css").read_text("utf-8"))


def keep_intervals(text: str) -> str:
    """Return a text in which no line ends between the limits of an interval."""
    return _INTERVAL.sub(lambda match: match[0].replace(" ", "\u00a0"), text)


def text_columns(table: Table) -> set[int]:
    """Return which columns name things; their headings stand above the texts, at the left."""
    columns = zip(*table.rows, strict=True)
    texts = {
        number
        for number, cells in enumerate(columns)
        if any(isinstance(cell, str) for cell in cells)
    }
    return {0} | texts


def format_verdict(result: Result) -> str:
    """Return the verdict in words, or why there is none; a control has none to pass."""
    if result.state != SCORED:
        return result.state
    if result.explainer in CONTROLS:
        return "control"
    return result.verdict or "no verdict"


def tone_of_result(result: Result, unhealthy: Collection[str]) -> Tone:
    """Return how the verdict of a result may look; that of a control looks like none."""
    verdict = None if result.explainer in CONTROLS or result.state != SCORED else result.verdict
    return tone_of(verdict, result.primary.size, result.protocol not in unhealthy)


def mark_of(word: str, tone: Tone) -> str:
    """Return the mark before a verdict; a pass that is near chance has no tick."""
    return _AT_CHANCE if tone == "chance" else _MARKS.get(word, "")


def _provenance(records: Sequence[FinishedCell]) -> list[tuple[str, str]]:
    """Return what the records were made with; several values where they differ."""
    packages = dict.fromkeys(name for record in records for name in record.provenance.packages)
    facts = [_facts(record, packages) for record in records]
    rows = [(name, "; ".join(dict.fromkeys(fact[name] for fact in facts))) for name in facts[0]]
    moments = sorted({record.created for record in records})
    return [*rows, ("measured", " to ".join(dict.fromkeys((moments[0], moments[-1]))))]


def _facts(record: FinishedCell, packages: Iterable[str]) -> dict[str, str]:
    """Return what a record was made with."""
    names, identity, made = record.names, record.identity, record.provenance
    protocol = identity.protocol
    settings = f"{protocol.version} {json.dumps(protocol.config, sort_keys=True)}"
    order = "deterministic" if made.deterministic else "not held to deterministic algorithms"
    changes = " with changes" if made.git and made.git.dirty else ""
    return {
        "suite": identity.suite,
        "seed": str(identity.seed),
        "cohort fingerprint": f"{names.cohort} {identity.cohort_fingerprint}",
        "model weights (SHA-256)": f"{names.model} {identity.weights_sha256}",
        "model architecture (SHA-256)": identity.architecture_sha256 or "named by the weights",
        "protocol settings": f"{names.protocol} {settings}",
        "device": made.device if made.driver is None else f"{made.device}, driver {made.driver}",
        "arithmetic": f"{made.dtype}, TF32 {'on' if made.tf32 else 'off'}, {order}",
        "images per pass": str(made.batch_size),
        "host threads": str(made.threads),
        "platform": made.platform,
        "Python": made.python,
        **{name: made.packages.get(name) or "not installed" for name in packages},
        "checkout": f"{made.git.commit}{changes}" if made.git else "not from a checkout",
    }
