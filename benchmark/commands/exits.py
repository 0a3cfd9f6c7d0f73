"""How every command ends: exit codes, and one sentence for what a user can mend."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from benchmark.errors import InputError, message_of, short_message
from benchmark.plain_text import one_line, printable

DONE, FAILED, BAD_INPUT, INCONCLUSIVE, NOTHING_MEASURED, NO_BASELINE = range(6)
INTERRUPTED = 130
STOPPED = "Stopped; finished cells are kept, run again to go on."


@contextmanager
def exit_on_error(stopped: str = STOPPED) -> Iterator[None]:
    """Turn what the user can mend, and Ctrl-C, into one sentence and an exit code.

    Args:
        stopped: Sentence for Ctrl-C, unless what was stopped knows a better one.
    """
    try:
        with _no_quiet_exit():
            yield
    except InputError as error:
        typer.echo(printable(message_of(error)), err=True)
        raise typer.Exit(BAD_INPUT) from error
    except SystemExit as error:  # typer's own way out is another exception
        if isinstance(error.__context__, BrokenPipeError):  # nobody reads on, as after `| head`
            raise typer.Exit(FAILED) from error
        line = traceback.extract_tb(error.__traceback__)[-1]
        typer.echo(
            f"The program was ended by {line.filename}:{line.lineno}, in {line.name}, with the "
            f"code {one_line(str(error.code))}: a plugin raises an error, and leaves the ending to "
            "this command.",
            err=True,
        )
        raise typer.Exit(BAD_INPUT) from error
    except KeyboardInterrupt as error:
        typer.echo(printable(message_of(error)) or stopped, err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Exception:
        raise
    except BaseException as error:  # of a plugin's own making, which nothing else would catch
        typer.echo(f"The program was ended by a plugin's {short_message(error)}.", err=True)
        raise typer.Exit(BAD_INPUT) from error


@contextmanager
def _no_quiet_exit() -> Iterator[None]:
    """Turn ``os._exit`` into an error: no plugin is to end this process as if all was well.

    Copies that were forked off leave as they like.
    """
    process, leave = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:
            leave(status)
        raise SystemExit(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave
