"""Tables and sentences that fit a terminal: a table becomes cards where it is too narrow for one.

A number, a name and an interval stand in one line at any width; only prose is wrapped, at words.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from benchmark.plain_text import printable

# Stands for a space at which no line may end, until a line is written; Rich wraps at all others.
_NO_BREAK = "\ue000"
_NUMBER = r"[-+−]?\d[\d.,]*(?:e[-+]?\d+)?(?: ?%)?"
_INTERVAL = re.compile(rf"(?:{_NUMBER} )?\[{_NUMBER}(?:,| to) {_NUMBER}\]|{_NUMBER} to {_NUMBER}")
# A column of prose is at least so wide; of its words only longer ones than the second are broken.
_LEAST_PROSE, _LONGEST_WORD = 16, 40
_FRAME = 3  # border and spaces of a column


@dataclass(frozen=True)
class Column:
    """What stands in a column, and how it may be laid out.

    Attributes:
        heading: Text above the column.
        kind: ``number``, to the right, or ``name``, neither of which wraps; ``title``, which heads
            the card of its row; ``prose``, which wraps at words.
        label: Text before the value on a card; the heading unless given.
    """

    heading: str
    kind: Literal["title", "name", "number", "prose"] = "name"
    label: str | None = None

    @property
    def card_label(self) -> str:
        """Label of the value on a card, in one line."""
        return " ".join((self.heading if self.label is None else self.label).split())


class FittedTable:
    """A table as wide as its text, as narrow as the terminal, or a card for each of its rows."""

    def __init__(
        self,
        columns: Sequence[Column],
        title: str = "",
        caption: str = "",
        with_header: bool = True,
        with_lines: bool = False,
    ) -> None:
        self.columns = tuple(columns)
        self.title = title
        self.caption = caption
        self._with_header, self._with_lines = with_header, with_lines
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a row; a line of a cell ends only where its text says so, unless it is prose."""
        texts = [cell.copy() if isinstance(cell, Text) else Text(printable(cell)) for cell in cells]
        for text in texts:
            # Of the same length, so that styles stay where they are.
            text.plain = _join_intervals(printable(text.plain).replace("\t", " "))
        self._rows.append(texts)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Yield what is written into the width that there is."""
        widths = self._fit(options.max_width)
        parts: list[RenderableType] = []
        if self.title:
            parts.append(Text(self.title, style="table.title", overflow="fold"))
        if widths is None:
            parts += self._cards(console, options.max_width)
        else:
            parts.append(self._table(widths))
        if self.caption:
            parts.append(Text(self.caption, style="table.caption", overflow="fold"))
        for segment in console.render(Group(*parts), options):
            yield segment._replace(text=segment.text.replace(_NO_BREAK, " "))

    def _fit(self, available: int) -> list[int] | None:
        """Return the width of each column, or None where the table does not fit."""
        natural, least = [], []
        for index, column in enumerate(self.columns):
            cells = [row[index].plain for row in self._rows]
            text = "\n".join([column.heading, *cells] if self._with_header else cells)
            widest = max(map(cell_len, text.split("\n")), default=0)
            words = (cell_len(word) for word in text.split())
            needed = max((word for word in words if word <= _LONGEST_WORD), default=0)
            natural.append(widest)
            prose = min(widest, max(needed, _LEAST_PROSE))
            least.append(prose if column.kind == "prose" else widest)
        room = available - _FRAME * len(self.columns) - 1
        if sum(least) > room:
            return None
        if sum(natural) <= room:
            return natural
        # What is left over is dealt out to prose by what each column lacks.
        lacking = [0, *accumulate(most - few for most, few in zip(natural, least, strict=True))]
        shares = [(room - sum(least)) * lack // lacking[-1] for lack in lacking]
        dealt = (end - begin for begin, end in pairwise(shares))
        return [few + more for few, more in zip(least, dealt, strict=True)]

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(show_header=self._with_header, show_lines=self._with_lines)
        for column, width in zip(self.columns, widths, strict=True):
            table.add_column(
                Text(column.heading),
                justify="right" if column.kind == "number" else "left",
                no_wrap=column.kind != "prose",
                overflow="fold",
                width=width,
            )
        for row in self._rows:
            table.add_row(*row)
        return table

    def _cards(self, console: Console, available: int) -> Iterator[Text]:
        """Yield the lines of a card for each row; what is short stands side by side."""
        widest = [
            max(cell_len(_in_one_line(row[index]).plain) for row in self._rows)
            for index in range(len(self.columns) if self._rows else 0)
        ]
        for row in self._rows:
            fields = list(zip(self.columns, row, widest, strict=True))
            titles = [_in_one_line(text) for column, text, _ in fields if column.kind == "title"]
            if any(text.plain for text in titles):
                title = Text(" · ").join(titles)
                title.stylize("bold")
                yield from _indented(console, title, available, 0, 2)
            short = [
                _chunk(column, _in_one_line(text), width, available)
                for column, text, width in fields
                if column.kind in ("name", "number")
                and text.plain
                and (column.card_label or text.plain != "–")
            ]
            if short:
                yield from _indented(console, Text("  ").join(short), available, 2)
            for column, text, _ in fields:
                if column.kind == "prose" and text.plain:
                    label = f"{column.card_label}: " if column.card_label else ""
                    prose = Text.assemble((label, "dim"), _in_one_line(text, " · "))
                    yield from _indented(console, prose, available, 2, 4)


def print_sentences(console: Console, sentences: Iterable[str], style: str | None = None) -> None:
    """Print each sentence, on a terminal wrapped at words, in a pipe in one line."""
    for sentence in sentences:
        text = sentence
        if console.is_terminal:
            text = wrapped(sentence, console.width)
        console.print(text, markup=False, soft_wrap=True, style=style)


def wrapped(sentence: str, width: int) -> str:
    """Return a sentence in lines that end at words; what is longer than a line stays whole."""
    lines = (
        textwrap.fill(
            _join_intervals(line),
            width,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in sentence.split("\n")
    )
    return "\n".join(lines).replace(_NO_BREAK, " ")


def _join_intervals(text: str) -> str:
    """Return a text of the same length in which no line can end within an interval."""
    return _INTERVAL.sub(lambda match: match[0].replace(" ", _NO_BREAK), text)


def _in_one_line(text: Text, separator: str = ", ") -> Text:
    return Text(separator).join(text.split("\n"))


def _chunk(column: Column, text: Text, width: int, available: int) -> Text:
    """Return label and value of a card, filled up so that the values of all cards are aligned."""
    padding = _NO_BREAK * (width - cell_len(text.plain))
    before, after = (padding, "") if column.kind == "number" else ("", padding)
    chunk = Text.assemble(
        (f"{column.card_label} " if column.card_label else "", "dim"), before, text, after
    )
    if cell_len(chunk.plain) <= available - 4:
        chunk.plain = chunk.plain.replace(" ", _NO_BREAK).replace("\n", _NO_BREAK)
    return chunk


def _indented(
    console: Console, text: Text, available: int, first: int, others: int | None = None
) -> Iterator[Text]:
    """Yield the lines of a text that is wrapped at words, the first and the others indented."""
    indents = first, first if others is None else others
    for number, line in enumerate(text.wrap(console, available - max(indents), overflow="fold")):
        line.truncate(cell_len(line.plain.rstrip(f" {_NO_BREAK}")), overflow="crop")
        yield Text.assemble(" " * indents[number > 0], line)
