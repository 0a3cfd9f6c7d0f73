"""``check``: a plugin against its contract."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from benchmark import contract
from benchmark.commands import options, terminal
from benchmark.commands.exits import DONE, FAILED, exit_on_error
from benchmark.plugins import catalogue as catalogues
from benchmark.records.files import write_text


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
        findings = contract.run_checks(contract.checks_of(entry.plugin))
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
