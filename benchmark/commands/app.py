"""The command line: a group that imports a command's file when that command is looked at.

Parsing must not wait for torch, so that ``--help``, ``--version`` and a mistyped option answer at
once. While a command's file is imported, modules of the project are therefore put in place without
being executed; each is executed when something of it is first used. So a command's file imports
modules at its top, as in ``from benchmark.running import engine``; a name that it imports *from* a
module executes that module at once, and is only for what is light.
"""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmark.commands.exits import BAD_INPUT
from benchmark.plugins.neighbours import check_neighbour
from benchmark.records import checkout
from benchmark.running.allocator import tune_allocator
from benchmark.running.workers.threads import wait_passively

# Other packages bring commands of their own by this group of entry points.
GROUP = "medsanity.commands"
COMMANDS = {
    "run": "benchmark.commands.run:run",
    "list": "benchmark.commands.listing:list_plugins",
    "check": "benchmark.commands.check:check",
    "report": "benchmark.commands.report:report",
    "merge": "benchmark.commands.merge:merge",
    "model": "benchmark.commands.model:app",
    "train": "benchmark.commands.train:train",
    "experiments": "benchmark.commands.experiments:experiments",
    "paper": "leaderboard.commands.paper:paper",
    "relatives": "benchmark.commands.train:relatives",
    "cohort": "benchmark.commands.cohort:app",
    "board": "leaderboard.commands.board:app",
    "publish": "leaderboard.commands.publish:publish",
    "submit": "leaderboard.commands.submit:submit",
    "verify": "leaderboard.commands.verify:verify",
    "gate": "leaderboard.commands.gate:gate",
    "controls": "leaderboard.commands.controls:controls",
}
_SETTINGS: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False}


class _Pending(ModuleType):
    """A module that is in its place, and is executed when a name of it is first looked up.

    ``importlib.util.LazyLoader`` would execute it when anything asks for its ``__file__``, as torch
    asks of every module in the middle of its own import.
    """

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 # whatever the module holds
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment] # it waits no longer
        spec: Any = self.__spec__
        self.__loader__ = spec.loader = spec.loader_state
        spec.loader.exec_module(self)
        return getattr(self, name)


class _OnFirstUse(MetaPathFinder, Loader):
    """Finds modules of the project's packages that hold commands, and leaves each pending."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is; None leaves it to the finders that come after."""
        if path is None or fullname.partition(".")[0] not in ("benchmark", "leaderboard"):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader_state, spec.loader = spec.loader, self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Leave it for later."""
        module.__class__ = _Pending


class _Commands(UserDict[str, Any]):
    """Commands by name, made of entry points when they are looked at."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 # a command of whatever Click typer uses
        point: EntryPoint = super().__getitem__(name)
        command, context = _load(point)
        if isinstance(command, typer.Typer):
            group = typer.main.get_group(command)
            group.name = name
            return group
        alone = typer.Typer(**_SETTINGS)
        alone.command(name, context_settings=context)(command)
        return typer.main.get_command(alone)


class _Group(TyperGroup):
    """Knows every command by name, and imports the file of the one that is called."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 # whatever typer passes on
        super().__init__(**attributes)
        own = {name: EntryPoint(name, value, GROUP) for name, value in COMMANDS.items()}
        points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
        installed = {point.name: point for point in points}
        # What is installed stands after the project's own and takes the name of none.
        self.commands = _Commands(own | installed | own)


app = typer.Typer(
    name="medsanity",
    cls=_Group,
    help="Sanity protocols for explanations of medical image models.",
    no_args_is_help=True,
    **_SETTINGS,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        try:
            installed = version("medsanity")
        except PackageNotFoundError:
            installed = "of a folder that is not installed"
        typer.echo(f"medsanity {installed}{_commit()}")
        raise typer.Exit


def _commit() -> str:
    """Return the commit in brackets, or nothing where none is known."""
    checkout_of_code = checkout.find_checkout()
    if checkout_of_code is None:
        commit = checkout.installed_commit()
        return "" if commit is None else f" (commit {commit[:12]})"
    changes = ", with changes that are not committed" if checkout_of_code.dirty else ""
    return f" (commit {checkout_of_code.commit[:12]}{changes})"


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Tell version and commit."
        ),
    ] = False,
) -> None:
    """Put heatmaps of medical image models through sanity protocols."""
    tune_allocator()
    wait_passively()


def _load(point: EntryPoint) -> tuple[Any, dict[str, Any]]:
    """Return what an entry point names, a function or a typer.Typer, and settings of its context.

    Where it cannot be imported it is a command that says so, whatever its arguments.
    """
    finder = _OnFirstUse()
    sys.meta_path.insert(0, finder)
    try:
        check_neighbour(point.module)
        return point.load(), {}
    except (Exception, SystemExit) as error:
        sentence = f"The command {point.name!r} ({point.value}) cannot be used: {error}"
    finally:
        sys.meta_path.remove(finder)

    def refuse() -> None:
        typer.echo(sentence, err=True)
        raise typer.Exit(BAD_INPUT)

    refuse.__doc__ = sentence
    return refuse, {"allow_extra_args": True, "ignore_unknown_options": True}
