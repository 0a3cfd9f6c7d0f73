"""Counts what makes the project's English hard to read; without arguments, prints a table.

`python tests/support/readability.py` counts each fault of the project's prose:

- sentences of more than 30 words, in the documentation and in docstrings;
- descriptions of attributes and arguments that do not begin with a noun ("Of the suite.");
- such descriptions whose verb is passive ("Cells that were measured.");
- pronouns and participles as names in the code (`one`, `found`).

With `--list KIND` it prints where they are, so that they can be mended.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmark", "protocols", "baselines", "leaderboard")
PAGES = ("README.md", "CONTRIBUTING.md")
LONGEST = 30
PRONOUNS = frozenset(
    ("one", "found", "told", "place", "here", "seen", "asked", "heard", "put", "given", "shown")
)
# What stands in front of a noun, or asks for one, and is not one.
_BEFORE_A_NOUN = """
about above across after against along among around as at before behind below beneath beside between
beyond by down during for from if in inside into like near of off on onto out outside over per since
so than through to toward towards under until unlike up upon when whenever where wherever which
while who whom whose why with within without what whatever how however
it its they them their this these those he she we you there then else also only again not is are was
were be been has have had can may must will would should
"""
_NO_NOUN = frozenset(_BEFORE_A_NOUN.split())
_PASSIVE = re.compile(
    r"\b(?:is|are|was|were|be|been|being)\s+(?:\w+ly\s+|not\s+|never\s+|also\s+|then\s+|all\s+)?"
    r"(?:\w{2,}(?:ed|wn|ken|ven|sen|tten|ught)|made|kept|left|held|said|told|put|cut|set|read|known"
    r"|found|built|sent|lost|begun|run|laid|hidden|drawn|dealt|meant|met|paid|sold|bound|spent)\b"
)
_PARTICIPLE = re.compile(r"[A-Z]\w+(?<!Ne)(?<!Se)(?<!Spe)ed (?:by|with|as|on|in|from|to|of|if)\b")
_NARROWS = re.compile(
    r"\b(?:that|which|who|whose|whom|where|when|while|whether|if|unless|how|what|why|as|than"
    r"|before|after|until|once|since|because)\b",
    re.IGNORECASE,
)
_SECTIONS = re.compile(r"^\s*(Attributes|Args):\s*$")
_HEADING = re.compile(r"^\s*(Attributes|Args|Returns|Raises|Yields|Example|Examples|Notes):\s*$")


@dataclass(frozen=True)
class Fault:
    """A text that is hard to read.

    Attributes:
        path: File that holds the text.
        line: Number of the line at which the text, or its docstring, begins.
        text: The text.
    """

    path: Path
    line: int
    text: str


@dataclass(frozen=True)
class Kind:
    """A kind of fault, with all that could have had it.

    Attributes:
        name: Name of the kind in the table.
        faults: Texts that have the fault.
        total: Number of texts that were examined.
    """

    name: str
    faults: tuple[Fault, ...]
    total: int

    @property
    def share(self) -> float:
        """Return the faults in each hundred of the texts."""
        return 100 * len(self.faults) / self.total


def count(root: Path = ROOT) -> dict[str, Kind]:
    """Return the kinds of faults of the documentation and the packages of a project, by key."""
    pages = [root / page for page in PAGES] + sorted((root / "docs").glob("*.md"))
    modules = sorted(path for name in PACKAGES for path in (root / name).rglob("*.py"))
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in modules}
    documented = [(path, *item) for path, tree in trees.items() for item in _docstrings(tree)]
    in_pages = list(_sentences_of_pages(pages))
    in_docstrings = [
        Fault(path, line, sentence)
        for path, line, text in documented
        for sentence in sentences(_prose_of_docstring(text))
    ]
    descriptions = [
        Fault(path, line, description)
        for path, line, text in documented
        for description in descriptions_of(text)
    ]
    names = [name for path, tree in trees.items() for name in _names(path, tree)]
    return {
        "pages": _kind("sentences of pages over 30 words", in_pages, is_long),
        "docstrings": _kind("sentences of docstrings over 30 words", in_docstrings, is_long),
        "nounless": _kind("attribute descriptions without a noun", descriptions, is_nounless),
        "passive": _kind("attribute descriptions in the passive", descriptions, is_passive),
        "pronouns": _kind("names that are pronouns or participles", names, PRONOUNS.__contains__),
    }


def is_long(sentence: str) -> bool:
    """Return whether a sentence has more than 30 words; numbers and symbols are no words."""
    return len(re.findall(r"[^\W\d_][\w'’-]*", sentence)) > LONGEST


def is_nounless(description: str) -> bool:
    """Return whether a description begins with what needs a noun in front of it.

    "Whether" may begin one, as in scikit-learn; it says that the value is true or false.
    """
    words = re.findall(r"[\w'’]+", _without_shape(description))
    return bool(words) and words[0].lower() in _NO_NOUN


def is_passive(description: str) -> bool:
    """Return whether a description says what is done instead of what is there.

    It does so if it begins with a participle ("Measured on the CPU."), or if the verb of its first
    sentence is passive. In a clause that narrows a noun ("Cells that were measured.") it may be.
    """
    sentence = re.split(r"(?<=[.;])\s", _without_shape(description))[0]
    passive = _PASSIVE.search(sentence)
    participle = re.match(
        r"(?!Need|Seed|Speed|Feed)[A-Z]\w+ed\b(?= (?:by|with|as|on|in|from|to|of|if)\b)", sentence
    )
    narrowed = passive and _NARROWS.search(sentence[: passive.start()])
    return bool(participle or (passive and not narrowed))


def sentences(prose: str) -> list[str]:
    """Return the sentences of paragraphs that are divided by empty lines."""
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", prose))
    return [
        sentence
        for paragraph in paragraphs
        for sentence in re.split(r"(?<=[.!?:;])\s+(?=[^a-z\s])|(?<=[:;])\s+", paragraph)
        if sentence
    ]


def descriptions_of(docstring: str) -> Iterator[str]:
    """Yield the description of each attribute or argument in a docstring of Google's style."""
    lines, section, margin = docstring.splitlines(), False, 0
    description: list[str] = []
    for line in [*lines, ""]:
        indent = len(line) - len(line.lstrip())
        starts = section and indent == margin and re.match(r"\s*[*\w., ]+(?: \(.*?\))?: ", line)
        if description and (starts or not line.strip() or indent <= margin):
            yield " ".join(description)
            description = []
        if _HEADING.match(line):
            section, margin = bool(_SECTIONS.match(line)), indent + 4
        elif starts:
            description = [line.split(": ", 1)[1].strip()]
        elif description:
            description.append(line.strip())


def prose_of_page(text: str) -> str:
    """Return a page of Markdown without what is no prose: code, formulas, tables, pictures."""
    text = re.sub(r"^([ ]*)```.*?^\1```", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    text = re.sub(r"\$[^$\n]+\$|`[^`]*`", "X", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*(?:\||<|!!!).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^#+ (.*)$", r"\n\1\n", text, flags=re.MULTILINE)
    return re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)


def _kind(name: str, texts: Iterable[Fault], is_fault: Callable[[str], bool]) -> Kind:
    examined = list(texts)
    return Kind(name, tuple(text for text in examined if is_fault(text.text)), len(examined))


def _sentences_of_pages(pages: Iterable[Path]) -> Iterator[Fault]:
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for sentence in sentences(prose_of_page(text)):
            yield Fault(page, 1, sentence)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def _prose_of_docstring(text: str) -> str:
    text = re.sub(r"``[^`]*``|`[^`]*`", "X", text)
    text = re.sub(r"^\s*(?:>>>|\||\.\. ).*$", "", text, flags=re.MULTILINE)
    # Each description is a paragraph of its own.
    text = re.sub(r"^\s+[*\w., ]+(?: \(.*?\))?: (?=\S)", "\n", text, flags=re.MULTILINE)
    text = _HEADING.sub("\n", text)
    return re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)


def _without_shape(description: str) -> str:
    """Return a description without the shape in front of it: "[N, 1, *S] …"; a type is a noun."""
    return re.sub(r"^(?:\[[^\]]*\],?\s*)+", "", description)


def _names(path: Path, tree: ast.Module) -> Iterator[Fault]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield Fault(path, node.lineno, node.id)
        elif isinstance(node, ast.arg):
            yield Fault(path, node.lineno, node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield Fault(path, node.lineno, node.name)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="Root of the project.")
    parser.add_argument("--list", metavar="KIND", help="Print where the faults of a kind are.")
    options = parser.parse_args()
    kinds = count(options.root)
    if options.list:
        for fault in kinds[options.list].faults:
            path = fault.path.relative_to(options.root)
            sys.stdout.write(f"{path}:{fault.line}: {fault.text}\n")
        return
    sys.stdout.write("| fault | key | count | of | in 100 |\n|---|---|---|---|---|\n")
    for key, kind in kinds.items():
        row = (kind.name, key, len(kind.faults), kind.total, f"{kind.share:.1f}")
        sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")


if __name__ == "__main__":
    _main()
