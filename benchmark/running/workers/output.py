"""What a worker prints, which may be somebody else's: shown as text, and never as a command."""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
from contextlib import suppress

from benchmark.plain_text import printable

_MOST = 2**16  # bytes that are read at a time


def escape_output() -> None:
    """Let what this process and its children print reach stderr, with control codes written out.

    Standard output belongs to the tables of the command that has started the worker.
    """
    reader, writer = os.pipe()
    terminal = os.dup(2)
    for stream in (1, 2):
        os.dup2(writer, stream)
    os.close(writer)
    threading.Thread(target=_pass_on, args=(reader, terminal), daemon=True).start()
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):  # a pipe would be written to by the block
            file.reconfigure(line_buffering=True)


def _pass_on(reader: int, terminal: int) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with suppress(OSError):  # nobody reads it any more
        while part := os.read(reader, _MOST):
            # Bars of progress go back to the beginning of their line.
            text = printable(decoder.decode(part).replace("\r", "\n")).encode()
            while text:
                text = text[os.write(terminal, text) :]
