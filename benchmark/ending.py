"""How every command ends: exit codes, and one sentence for what a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from benchmark.errors import InputError, StoreError

DONE, FAILED, BAD_INPUT, INCONCLUSIVE, NOTHING_MEASURED, NO_BASELINE, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    130,
)
STOPPED = "Stopped; finished cells are kept, run again to go on."


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what the user can mend, and Ctrl-C, into one sentence and an exit code."""
    try:
        yield
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from error
    except KeyboardInterrupt:
        typer.echo(STOPPED, err=True)
        raise typer.Exit(INTERRUPTED) from None


def check_folder(folder: Path) -> None:
    """Make a folder, and show that it can be written to, before anything is computed for it.

    Raises:
        StoreError: If it cannot.
    """
    from benchmark.store import write_atomically

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    probe = folder / ".writable"
    write_atomically(probe, b"")
    probe.unlink(missing_ok=True)


def check_file(path: Path) -> None:
    """Show that a file can be written, before anything is computed for it.

    Raises:
        StoreError: If it cannot.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder; a file was expected.")
    check_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreError: If it cannot be written.
    """
    from benchmark.store import write_atomically

    check_file(path)
    write_atomically(path, text.encode())
