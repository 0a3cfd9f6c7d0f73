"""Text that somebody else wrote, such as a plugin's error, made harmless for whoever reads it.

What a plugin says passes ``printable`` or ``one_line`` before a record, a page or a terminal holds
it. What a format reads as more than text (Markdown, HTML) is escaped where that is written.
"""

from __future__ import annotations

import re

# So long a text says nothing more that anybody would read.
LONGEST = 2000
# Control characters but for tabs and ends of lines; lone surrogates, which no file can hold; marks
# that reorder what stands around them; and what is no character. No XML may hold most of them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    r"""Return a text whose control characters and lone surrogates are written out, as ``\x1b``."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return a printable text in one line; of a long one the beginning and how long it was."""
    beginning = " ".join(printable(text[: 2 * longest]).split())
    if len(text) <= 2 * longest and len(beginning) <= longest:
        return beginning
    return f"{beginning[:longest]}… ({len(text)} characters)"
