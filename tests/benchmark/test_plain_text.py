"""What plugins say, made harmless: for a terminal, a record, a page and a table."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from rich.text import Text

from benchmark.commands import terminal
from benchmark.errors import message_of, short_message
from benchmark.plain_text import LONGEST, one_line, printable

NASTY = "\x1b[2J\ud800 =cmd()\r\n\x00|\u202e<b>[red]" + "\x9b31m" + chr(0xFFFF)


class _MuteError(Exception):
    def __str__(self) -> str:
        raise SystemExit(0)


def test_printable_text_is_valid_everywhere() -> None:
    """If it fails, an error's text clears a terminal, or its record cannot be written or read."""
    text = printable(NASTY)
    text.encode()
    assert ElementTree.fromstring(f"<a>{text.replace('<', '&lt;')}</a>").text
    assert not {"\x1b", "\x9b", "\x00", "\u202e"} & set(text)
    assert printable(text) == text
    assert printable("plain text, 3 × 4 µm\nnext\tline") == "plain text, 3 × 4 µm\nnext\tline"


def test_a_reason_is_one_line_that_somebody_can_read() -> None:
    """If it fails, a megabyte of an error's text fills every table and page."""
    line = one_line("x" * 10**6)
    assert line.endswith("… (1000000 characters)")
    assert len(line) < LONGEST + 50
    assert one_line(" a\n b ") == "a b"
    assert len(short_message(ValueError("y" * 10**6))) < LONGEST + 50


def test_an_error_that_does_not_tell_its_message_is_still_told() -> None:
    """If it fails, a plugin ends the command by an error's ``__str__``."""
    assert short_message(_MuteError()) == "_MuteError: its message cannot be read"
    assert message_of(_MuteError())


def test_a_console_prints_no_control_codes_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a plugin's text moves the cursor, or hides what stands before it."""
    console = terminal.make_console()
    console.file = written = io.StringIO()
    terminal.print_lines(console, [NASTY])
    console.print(terminal.rows_table("title", {"a": NASTY}))
    console.print(Text(NASTY))
    text = written.getvalue()
    assert text.count("\\x1b[2J") == 3
    assert not {"\x1b", "\x9b", "\x00", "\ud800"} & set(text)
