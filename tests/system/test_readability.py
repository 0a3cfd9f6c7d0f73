"""The project's English stays as readable as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from readability import Kind, count, descriptions_of, is_long, is_nounless, is_passive

# Faults in each hundred, as reached; `python tests/support/readability.py` prints them. Lower a
# number when the text gets better. `--list KIND` says where the faults are.
REACHED = {"pages": 0.1, "docstrings": 0.1, "nounless": 0.1, "passive": 0.0, "pronouns": 0.1}


@pytest.fixture(scope="module")
def kinds() -> dict[str, Kind]:
    """What the project has now."""
    return count()


@pytest.mark.parametrize("key", REACHED)
def test_the_text_gets_no_harder_to_read(kinds: dict[str, Kind], key: str) -> None:
    """If it fails, readers meet more sentences or names that they have to decode than before."""
    kind = kinds[key]
    listed = "\n".join(f"{fault.path}:{fault.line}: {fault.text}" for fault in kind.faults[-20:])
    assert kind.share <= REACHED[key], f"{kind.name}: {kind.share:.2f} in 100, such as\n{listed}"


def test_the_counts_find_what_they_count(tmp_path: Path) -> None:
    """If it fails, the text may get worse and no test says so."""
    assert is_long("A word " * 16)
    assert not is_long("A word " * 15)
    for description in (
        "Of the suite.",
        "What is read.",
        "[N, D] of the test images.",
        "Its name.",
    ):
        assert is_nounless(description), description
    for description in ("Name of the suite.", "[N] labels.", "Whether it is known."):
        assert not is_nounless(description), description
    assert is_passive("Measured on the CPU.")
    assert is_passive("The cells are measured in order.")
    assert not is_passive("Cells that were measured.")
    text = "One.\n\nArgs:\n    first: Of it, and\n        more.\n    second: A name.\n\nMore: text."
    assert list(descriptions_of(text)) == ["Of it, and more.", "A name."]
    for folder in ("benchmark", "protocols", "baselines", "leaderboard", "docs"):
        (tmp_path / folder).mkdir()
    for page in ("README.md", "CONTRIBUTING.md"):
        (tmp_path / page).write_text("```\n" + "code " * 40 + "\n```\n\n" + "word " * 31 + ".\n")
    (tmp_path / "benchmark/module.py").write_text(f'"""Text.\n\n{text}\n"""\n\none = 1\n')
    counted = count(tmp_path)
    assert {key: len(kind.faults) for key, kind in counted.items()} == {
        "pages": 2,
        "docstrings": 0,
        "nounless": 1,
        "passive": 0,
        "pronouns": 1,
    }
