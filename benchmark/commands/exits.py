"""How every command ends: exit codes, and one sentence for what a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from benchmark.errors import InputError

DONE, FAILED, BAD_INPUT, INCONCLUSIVE, NOTHING_MEASURED, NO_BASELINE = range(6)
INTERRUPTED = 130
STOPPED = "Stopped; finished cells are kept, run again to go on."


@contextmanager
def exit_on_error(stopped: str = STOPPED) -> Iterator[None]:
    """Turn what the user can mend, and Ctrl-C, into one sentence and an exit code.

    Args:
        stopped: Sentence for Ctrl-C.
    """
    try:
        yield
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from error
    except KeyboardInterrupt:
        typer.echo(stopped, err=True)
        raise typer.Exit(INTERRUPTED) from None
