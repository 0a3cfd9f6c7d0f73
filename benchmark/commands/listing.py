"""``list``: what is registered, and what does not fit."""

from __future__ import annotations

import json
from itertools import chain
from typing import Annotated

import typer

from benchmark.commands import options, tables, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.plugins import catalogue as catalogues
from benchmark.records.files import write_text
from benchmark.running import plan as plans
from benchmark.running import suite as suites


def list_plugins(
    kind: Annotated[options.Kinds | None, typer.Argument(help="Default: all of them.")] = None,
    json_file: options.Json = None,
) -> None:
    """List what is registered, where from, and which pairs are unsupported and why."""
    with exit_on_error():
        catalogue, console = catalogues.Catalogue(), terminal.make_console()
        kinds = [kind] if kind else list(options.Kinds)
        shelves = [getattr(catalogue, kind.value).entries for kind in kinds]
        for entries in shelves:
            console.print(terminal.catalogue_table(entries))
        if options.Kinds.MODELS in kinds:
            architectures = catalogues.model_families()
            console.print(terminal.rows_table("models by architecture", architectures))
        if options.Kinds.PROTOCOLS in kinds:
            metrics = catalogues.protocol_families()
            console.print(terminal.rows_table("protocols by metric", metrics))
        unsupported = []
        if options.Kinds.EXPLAINERS in kinds:
            unsupported = plans.unsupported_pairs(catalogue, suites.load_suite("v1"))
        tables.print_sentences(console, terminal.unsupported_lines(unsupported))
        if json_file is not None:
            fields = ("kind", "origin", "description", "error")
            plugins = [
                {"name": entry.spec}
                | {name: getattr(entry, name) for name in fields}
                | entry.declared
                for entry in chain.from_iterable(shelves)
            ]
            listed = {"plugins": plugins, "unsupported": unsupported}
            write_text(json_file, json.dumps(listed, indent=2) + "\n")
