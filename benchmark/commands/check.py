"""``check``: a plugin against its contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from benchmark import contract
from benchmark.commands import options, terminal
from benchmark.commands.exits import DONE, FAILED, exit_on_error
from benchmark.errors import PluginError
from benchmark.plugins import catalogue as catalogues
from benchmark.plugins import clause
from benchmark.plugins import entry as entries
from benchmark.plugins.foreign import apart
from benchmark.records.files import write_text

_DEADLINE = 30 * 60.0  # seconds that all checks may take


def check(
    plugin: Annotated[
        str, typer.Argument(help="path/to/file.py:Class, or a name that is registered.")
    ],
    kind: Annotated[
        options.Kinds,
        typer.Option(help="What a name stands for; a class in a file says so itself."),
    ] = options.Kinds.EXPLAINERS,
    json_file: options.Json = None,
) -> None:
    """Check a plugin against its contract, clause by clause, before any scoring."""
    with exit_on_error():
        entry = catalogues.Catalogue().find(plugin, kind.value)
        terminal.print_notices(terminal.make_console(stderr=True), [entry])
        findings = _examine(entry)
        console = terminal.make_console()
        console.print(terminal.findings_table(findings))
        held = sum(finding.state == "held" for finding in findings)
        broken = [finding.check.name for finding in findings if finding.state == "broken"]
        verdict = f"{held} of {len(findings)} clauses hold"
        verdict += f"; broken: {', '.join(broken)}" if broken else ", none is broken"
        terminal.print_lines(console, [f"{entry.kind} {entry.name}: {verdict}"])
        if json_file is not None:
            clauses = [
                {"clause": finding.check.name, "claim": finding.check.clause.claim}
                | {"state": finding.state, "detail": finding.detail}
                for finding in findings
            ]
            listed = {"plugin": entry.name, "kind": entry.kind, "clauses": clauses}
            write_text(json_file, json.dumps(listed, indent=2) + "\n")
        raise typer.Exit(FAILED if broken else DONE)


def _examine(entry: entries.Entry[Any]) -> Sequence[clause.Finding]:
    """Return what each check finds; a file's class is checked in a copy of this process."""
    checks = contract.checks_of(entry.plugin)
    if entry.source_sha256 is None:
        return contract.run_checks(checks)

    def find() -> list[tuple[clause.State, str, bool]]:
        findings = contract.run_checks(checks)
        return [(finding.state, finding.detail, finding.partial) for finding in findings]

    try:
        what = f"{entry.location} breaks its contract: it"
        answers = apart.run_apart(find, what, _DEADLINE)
    except PluginError as error:
        terminal.print_lines(terminal.make_console(stderr=True), [str(error)])
        raise typer.Exit(FAILED) from error
    return [clause.Finding(check, *answer) for check, answer in zip(checks, answers, strict=True)]
