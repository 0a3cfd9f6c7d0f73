"""The two tables: cohorts and models, and the scores of all methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.explainer import NO_EXPLAINER
from benchmark.reading import SCORED
from benchmark.report.paper.bands.view import signed
from benchmark.report.paper.evidence import MODEL_CHOICES, Evidence
from benchmark.report.paper.sections import Section
from benchmark.report.paper.text.markup import to_latex, to_markdown
from benchmark.report.paper.values import EXPERIMENT, Value
from benchmark.results import table as tables
from benchmark.results.scores import CONTROLS

NOTHING, FAILED_MARK = "–", "†"
# In mm: the width of a page, of an em of LaTeX's scriptsize, between two columns, of a number with
# its interval, and of a column at most.
_PAGE, _EM, _SPACE, _NUMBER, _WIDEST = 173.0, 2.8, 1.4, 24.9, 40.0
# Widths of Computer Modern's letters in em; a letter that is not here has that of a digit.
_LETTERS = dict.fromkeys("il.,:;", 0.28) | dict.fromkeys("frstj_-", 0.39)
_LETTERS |= {"m": 0.83, "w": 0.72} | dict.fromkeys("ABCDEFGHKLMNOPQRSTUVWXYZ", 0.75)

Entry = str | int | Value | None


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        number: Number of the table.
        name: Part of its file name.
        title: Title in its caption.
        caption: Sentences on how to read it.
        columns: Headings; the first columns name the row.
        rows: An entry for each column. A value is shown rounded, with its interval.
        marks: Mark behind a value, by row and column.
    """

    number: int
    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    marks: dict[tuple[int, int], str]

    @property
    def stem(self) -> str:
        """Name of its files without an ending."""
        return f"table_{self.number}_{self.name}"

    @property
    def values(self) -> tuple[Value, ...]:
        """All values that it shows."""
        return tuple(entry for row in self.rows for entry in row if isinstance(entry, Value))


def cohort_table(evidence: Evidence) -> PaperTable:
    """Return the table of cohorts and models, with a row for each model and each experiment."""
    of_cells = [_row_of_section(evidence, section) for section in evidence.people]
    of_cards = [
        (
            section.cohort,
            f"{section.model}, {method}",
            *_people_of_card(evidence, method),
            _metric(evidence, section, method, "auroc"),
            _metric(evidence, section, method, "balanced accuracy"),
            None,
            None,
        )
        for section, method in dict.fromkeys(
            (value.section, value.method)
            for value in evidence.values
            if value.protocol == EXPERIMENT
        )
    ]
    return PaperTable(
        1,
        "cohorts_and_models",
        "Cohorts and models",
        "Subjects of the test split, as many as any record is about. The probability of the own "
        "group is that which the model gives to the true group of an image. The effect of removing "
        "the regions of interest is the drop of the difference between the groups, beyond that of "
        "removing equally large random regions, in units of T. Numbers in brackets are 95 % "
        "intervals over subjects.",
        (
            "cohort",
            "model",
            "images",
            "subjects",
            "reference",
            "cases",
            "AUROC",
            "balanced accuracy",
            "probability of the own group",
            "effect of removing the regions (T)",
        ),
        (*of_cells, *of_cards),
        {},
    )


def score_table(evidence: Evidence) -> PaperTable:
    """Return the table of scores, with a row for each method on each model."""
    protocols = sorted({value.protocol for value in evidence.scores()})
    score_of = {(v.section, v.method, v.protocol): v for v in evidence.scores()}
    cell_of = {
        (evidence.section_of[cell.identity_sha256], cell.names.explainer, cell.names.protocol): cell
        for cell in evidence.cells
    }
    methods = dict.fromkeys(
        (evidence.section_of[cell.identity_sha256], cell.names.explainer)
        for cell in evidence.cells
        if cell.names.explainer != NO_EXPLAINER
    )
    scored = {(section, method) for section, method, _ in score_of}
    ordered = sorted(scored, key=lambda key: (key[0].title, key[1] in CONTROLS, key[1]))
    unscored = [key for key in methods if key not in scored]
    rows, marks = [], {}
    for number, (section, method) in enumerate(ordered):
        row: list[Entry] = [section.cohort, section.model, method]
        for column, protocol in enumerate(protocols, start=3):
            cell = cell_of.get((section, method, protocol))
            row.append(score_of.get((section, method, protocol)))
            if cell is not None and cell.state != SCORED:
                row[-1] = cell.state
            elif cell is not None and cell.verdict == "fail":
                marks[number, column] = FAILED_MARK
        rows.append(tuple(row))
    headings = [
        f"{name}: {evidence.protocols[name].primary}"
        + (" (lower is better)" if _is_lower(evidence, name) else "")
        for name in protocols
    ]
    return PaperTable(
        2,
        "scores",
        "Scores of all methods",
        "Each score with its 95 % interval over subjects. Controls, which look at no model, stand "
        f"last on each model. {FAILED_MARK} marks what the protocol judges as failed; "
        f"{NOTHING} means that there is no record or no number.{_tell_unscored(unscored)}",
        ("cohort", "model", "method", *headings),
        tuple(rows),
        marks,
    )


def to_csv(table: PaperTable) -> str:
    """Return the table as CSV with all digits; an interval has two columns of its own."""
    with_interval = [
        any(isinstance(row[column], Value) for row in table.rows)
        for column in range(len(table.columns))
    ]
    columns = [
        name
        for heading, wide in zip(table.columns, with_interval, strict=True)
        for name in ((heading, f"{heading}: low", f"{heading}: high") if wide else (heading,))
    ]
    rows = []
    for row in table.rows:
        cells: list[tables.Value] = []
        for entry, wide in zip(row, with_interval, strict=True):
            if isinstance(entry, Value):
                cells += [entry.estimate, entry.low, entry.high]
            else:
                cells += [entry, None, None] if wide else [entry]
        rows.append(cells)
    return tables.write_table(columns, rows)


def to_markdown_table(table: PaperTable) -> str:
    """Return the table as Markdown, numbers rounded."""
    columns = _filled(table)
    lines = [[table.columns[column] for column in columns]]
    lines.append(["---"] * len(columns))
    lines += [[_show(table, row, column) for column in columns] for row in range(len(table.rows))]
    text = "\n".join(
        f"| {' | '.join(cells if number == 1 else map(to_markdown, cells))} |"
        for number, cells in enumerate(lines)
    )
    caption = f"**Table {table.number}. {to_markdown(table.title)}.** {to_markdown(table.caption)}"
    return f"{caption}\n\n{text}\n"


def to_latex_table(table: PaperTable) -> str:
    """Return the table for LaTeX with booktabs, over several pages where it is long.

    Columns of numbers that do not fit side by side stand in tables below each other.
    """
    columns = _filled(table)
    names = [column for column in columns if not _is_number(table, column)]
    if "method" in table.columns and len({row[0] for row in table.rows}) == 1:
        names.remove(table.columns.index("cohort"))  # which would say the same in every row
    numbers = [column for column in columns if _is_number(table, column)]
    room = _PAGE - sum(_width(table, column) for column in names)
    most = max(1, int(room / (_NUMBER + _SPACE)))
    parts = [numbers[i : i + most] for i in range(0, len(numbers), most)] or [[]]
    texts = []
    for index, part in enumerate(parts):
        printed = [*names, *part]
        width = min(room / max(1, len(part)), _WIDEST) - _SPACE
        kind = rf">{{\raggedright\arraybackslash}}p{{{width:.1f}mm}}"
        heading = " & ".join(to_latex(table.columns[column]) for column in printed) + r" \\"
        caption = f"{to_latex(table.title)}. {to_latex(table.caption)}"
        body = "\n".join(
            "\\addlinespace\n" * (row > 0 and table.rows[row][:2] != table.rows[row - 1][:2])
            + " & ".join(_latex_entry(table, row, column) for column in printed)
            + r" \\"
            for row in range(len(table.rows))
        )
        begin = rf"\caption{{{caption}}}\\" if index == 0 else r"\caption[]{(continued)}\\"
        counter = "\\addtocounter{table}{-1}\n" if index else ""
        texts.append(
            f"{counter}{{\\scriptsize\\setlength{{\\tabcolsep}}{{{_SPACE / 2:g}mm}}\n"
            f"\\setlength{{\\LTcapwidth}}{{\\linewidth}}\n"
            f"\\begin{{longtable}}{{@{{}}{'l' * len(names)}{kind * len(part)}@{{}}}}\n{begin}\n"
            f"\\toprule\n{heading}\n\\midrule\n\\endfirsthead\n"
            f"\\toprule\n{heading}\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot\n"
            f"{body}\n\\end{{longtable}}}}\n"
        )
    return "\n".join(texts)


def _latex_entry(table: PaperTable, row: int, column: int) -> str:
    text, mark = to_latex(_show(table, row, column)), to_latex(FAILED_MARK)
    if not isinstance(table.rows[row][column], Value):
        return text
    # One line, and a mark that stands in the space between two columns.
    text = text.replace(" ", r"\,")
    return text.removesuffix(mark) + rf"\rlap{{{mark}}}" if text.endswith(mark) else text


def _tell_unscored(unscored: Sequence[tuple[Section, str]]) -> str:
    """Return a sentence on methods that no protocol could score, empty where there is none."""
    by_model: dict[str, list[str]] = {}
    for section, method in unscored:
        by_model.setdefault(section.title, []).append(method)
    sentences = [f"{', '.join(sorted(own))} on {title}" for title, own in sorted(by_model.items())]
    return f" No protocol could score {'; '.join(sentences)}." if sentences else ""


def _show(table: PaperTable, row: int, column: int) -> str:
    entry = table.rows[row][column]
    if not isinstance(entry, Value):
        return NOTHING if entry is None else str(entry)
    if entry.estimate is None:
        return NOTHING
    text = signed(entry.estimate)
    if entry.low is not None and entry.high is not None:
        text += f" [{signed(entry.low)}, {signed(entry.high)}]"
    return text + table.marks.get((row, column), "")


def _filled(table: PaperTable) -> list[int]:
    """Return the columns that hold anything."""
    return [
        column
        for column in range(len(table.columns))
        if any(row[column] is not None for row in table.rows) or column < 2
    ]


def _width(table: PaperTable, column: int) -> float:
    """Return the width of a column of text in mm."""
    texts = [table.columns[column], *(str(row[column]) for row in table.rows)]
    widths = (sum(_LETTERS.get(letter, 0.53) for letter in text) for text in texts)
    return _EM * max(widths) + _SPACE


def _is_number(table: PaperTable, column: int) -> bool:
    return any(isinstance(row[column], Value) for row in table.rows)


def _is_lower(evidence: Evidence, protocol: str) -> bool:
    kind = evidence.protocols[protocol]
    return kind.statistic(kind.primary).direction == "lower"


def _row_of_section(evidence: Evidence, section: Section) -> tuple[Entry, ...]:
    people = evidence.people[section]
    of_model = [
        next((v for v in evidence.values if v.section == section and choice.matches(v)), None)
        for choice in MODEL_CHOICES
    ]
    counts = people.images, people.subjects, *people.by_group
    return section.cohort, section.model, *counts, None, None, *of_model


def _people_of_card(evidence: Evidence, method: str) -> Sequence[int | None]:
    card = next(card for card in evidence.cards if method == f"{card.id} {card.recipe.regime}")
    counts = next((part for part in card.cohort.splits if part.split == "test"), None)
    if counts is None:
        return (None, None, None, None)
    return (sum(counts.images), sum(counts.subjects), *counts.subjects)


def _metric(evidence: Evidence, section: Section, method: str, name: str) -> Value | None:
    own = (
        value
        for value in evidence.values
        if value.protocol == EXPERIMENT
        and (value.section, value.method, value.statistic) == (section, method, name)
    )
    return next(own, None)
