"""The LaTeX file that sets figures, tables, methods and checklist, for pdflatex alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.paper.figures import PaperFigure
from benchmark.report.paper.text.checklist import Item
from benchmark.report.paper.text.markup import to_latex

_HIGHEST = 190.0  # mm, of a figure that leaves room for its caption
_PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[a4paper,hmargin=18mm,vmargin=18mm]{geometry}
\usepackage{graphicx}
\usepackage{booktabs}
\usepackage{array}
\usepackage{longtable}
\pdfinfoomitdate=1
\pdftrailerid{}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\sloppy
\begin{document}
"""


@dataclass(frozen=True)
class Parts:
    """Everything that the file sets.

    Attributes:
        figures: Figures with caption and with width and height in mm.
        tables: Names of the tables' files without an ending.
        methods: Paragraphs with their headings.
        checklist: Lines of the checklist.
    """

    figures: Sequence[tuple[PaperFigure, str, tuple[float, float]]]
    tables: Sequence[str]
    methods: Sequence[tuple[str, str]]
    checklist: Sequence[Item]


def paper_tex(parts: Parts) -> str:
    """Return the file; it names others by paths from its own folder."""
    sections = [
        r"\section*{Methods}",
        *(
            f"\\textbf{{{to_latex(heading)}.}} {to_latex(text)}\n"
            for heading, text in parts.methods
        ),
        r"\section*{Tables}",
        *(f"\\input{{tables/{stem}}}" for stem in parts.tables),
        r"\clearpage",
        *(_figure(figure, caption, size) for figure, caption, size in parts.figures),
        r"\section*{Checklist}",
        _checklist(parts.checklist),
    ]
    return _PREAMBLE + "\n".join(sections) + "\n\\end{document}\n"


def _figure(figure: PaperFigure, caption: str, size: tuple[float, float]) -> str:
    width, height = size
    option = f"width={width:g}mm" if height <= _HIGHEST else f"height={_HIGHEST:g}mm"
    # A part continues the number of its figure.
    again = "\\addtocounter{figure}{-1}\n" if figure.part > 1 else ""
    part = f" (part {figure.part})" if figure.part else ""
    number = figure.specification.number - (1 if figure.part <= 1 else 0)
    reset = "" if figure.part > 1 else f"\\setcounter{{figure}}{{{number}}}\n"
    return (
        f"{again}{reset}\\begin{{figure}}[p]\n\\centering\n"
        f"\\includegraphics[{option}]{{figures/{figure.stem}.pdf}}\n"
        f"\\caption{{\\small {to_latex(part.strip() + ' ' if part else '')}{to_latex(caption)}}}\n"
        "\\end{figure}\n\\clearpage"
    )


def _checklist(items: Sequence[Item]) -> str:
    lines = [r"\begin{itemize}"]
    for item in items:
        mark = r"\ensuremath{\surd}" if item.is_done else r"\ensuremath{\circ}"
        command = f" \\texttt{{{to_latex(item.command)}}}" if item.command else ""
        lines.append(f"\\item[{mark}] {to_latex(item.text)}{command}")
    return "\n".join([*lines, r"\end{itemize}"])
