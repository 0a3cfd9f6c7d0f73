"""Sets the formulas of the documentation as MathML, which browsers draw without a script."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex makes of $…$ and $$…$$.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    """Return a page whose formulas are MathML; mkdocs calls this once for each page."""
    return _FORMULA.sub(_mathml, content)


def _mathml(formula: re.Match[str]) -> str:
    latex = html.unescape(formula[2])
    mathml = convert(latex, display="block" if formula[1] == "div" else "inline")
    if "\\" in mathml:
        raise PluginError(f"latex2mathml does not know a command in the formula {latex}")
    return mathml
