"""Subjects are divided 60/20/20 within every stratum, and the division that is written is used."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from baselines.cohorts.files.cohort_toml import Split
from baselines.cohorts.files.participants import build_participants, read_rows
from baselines.cohorts.files.splits import divide, read_splits, write_splits
from benchmark.cohort import split_by_subject
from benchmark.errors import CohortError

GROUPS = ("CN", "AD")
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def _rows(sizes: dict[tuple[str, str], int]) -> list[dict[str, str]]:
    """Return rows of subjects, as many as asked of each group and site."""
    return [
        {"participant_id": f"{group}-{site}-{number}", "group": group, "site": site}
        for (group, site), size in sizes.items()
        for number in range(size)
    ]


def test_without_strata_it_is_the_division_of_today() -> None:
    """If it fails, every cohort without a split column has another fingerprint than before."""
    rows = _rows({("CN", "a"): 23, ("AD", "a"): 31})
    subjects = [row["participant_id"] for row in rows]
    expected = split_by_subject(subjects, [GROUPS.index(row["group"]) for row in rows], seed=4)
    assert list(divide(rows, GROUPS, seed=4).values()) == expected


def test_every_stratum_is_within_one_subject_of_its_shares() -> None:
    """If it fails, small sites have no subject in test, or all of theirs."""
    rng = np.random.Generator(np.random.PCG64(0))
    for trial in range(30):
        sizes = {
            (group, f"site{number}"): int(rng.integers(1, 9 if trial % 2 else 40))
            for group in GROUPS
            for number in range(int(rng.integers(1, 20)))
        }
        rows = _rows(sizes)
        division = divide(rows, GROUPS, by=("site",), seed=trial)
        for groups_of in (("group", "site"), ("group",)):
            strata = Counter(tuple(row[name] for name in groups_of) for row in rows)
            counts = Counter(
                (*(row[name] for name in groups_of), division[row["participant_id"]])
                for row in rows
            )
            for stratum, size in strata.items():
                for split, share in SHARES.items():
                    assert abs(counts[*stratum, split] - share * size) < 1


def test_the_division_follows_subjects_and_seed_and_not_the_order() -> None:
    """If it fails, a table sorted otherwise moves people from training to test."""
    rows = _rows({("CN", "a"): 23, ("CN", "b"): 4, ("AD", "a"): 31, ("AD", "b"): 9})
    first = divide(rows, GROUPS, ("site",))
    assert divide(rows[::-1], GROUPS, ("site",)) == first
    assert divide(rows, GROUPS, ("site",), seed=1) != first
    # Visits at two sites keep their subject in one split.
    moved = [*rows, {**rows[0], "site": "b"}]
    assert len(divide(moved, GROUPS, ("site",))) == len(rows)
    assert divide(moved[::-1], GROUPS, ("site",)) == divide(moved, GROUPS, ("site",))


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    """If it fails, the division beside a cohort is not the one that is used."""
    division = divide(_rows({("CN", "a"): 7, ("AD", "a"): 8}), GROUPS)
    write_splits(tmp_path / "splits.tsv", division)
    assert read_splits(tmp_path / "splits.tsv") == division


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("hospital", "'hospital' needs a column .* it has participant_id, group, site"),
        ("participant_id", "leaves nothing to divide"),
    ],
)
def test_impossible_strata_are_refused(by: str, message: str) -> None:
    """If it fails, a slip in `by` divides by something else, or ends in a traceback."""
    with pytest.raises(CohortError, match=message):
        divide(_rows({("CN", "a"): 5}), GROUPS, (by,))


TABLE = "participant_id\tgroup\n" + "".join(f"s{n}\t{GROUPS[n % 2]}\n" for n in range(10))
OWN = TABLE.replace("group\n", "group\tsplit\n").replace("CN\n", "CN\ttrain\n")
OWN = OWN.replace("AD\n", "AD\ttest\n")
ALL_TRAIN = dict.fromkeys((f"s{n}" for n in range(10)), "train")


def _build(folder: Path, split: Split | None, table: str = TABLE) -> list[str]:
    path = folder / "participants.tsv"
    path.write_text(table, encoding="utf-8")
    splits: list[str] = build_participants(read_rows(path), GROUPS, path, split)["split"].tolist()
    return splits


def test_a_written_division_is_used_and_else_one_is_made(tmp_path: Path) -> None:
    """If it fails, what `cohort init` wrote, or the user's own column, is passed over."""
    numbers = [n % 2 for n in range(10)]
    subjects = [f"s{n}" for n in range(10)]
    assert _build(tmp_path, None) == split_by_subject(subjects, numbers)
    assert _build(tmp_path, Split(seed=3)) == split_by_subject(subjects, numbers, 3)
    assert _build(tmp_path, None, OWN) == ["train", "test"] * 5
    write_splits(tmp_path / "splits.tsv", ALL_TRAIN)
    assert _build(tmp_path, Split()) == ["train"] * 10
    (tmp_path / "splits.tsv").rename(tmp_path / "mine.csv")
    assert _build(tmp_path, Split(path="mine.csv")) == ["train"] * 10
    write_splits(tmp_path / "splits.tsv", {f"s{n}": ("train", "test")[n % 2] for n in range(10)})
    assert _build(tmp_path, Split(), OWN) == ["train", "test"] * 5


REFUSED: dict[str, tuple[str | None, str, Split | None, str]] = {
    "missing subject": (
        "s0\ttrain\n",
        TABLE,
        Split(),
        "lacks the subject.s. s1, s2, .*; mend it by hand, or, to divide everybody anew, remove it",
    ),
    "surplus subject": (
        "".join(f"s{n}\ttrain\n" for n in range(11)),
        TABLE,
        Split(),
        r"has the subject.s. s10, which participants.tsv does not list",
    ),
    "twice": ("s0\ttrain\ns0\ttest\n", TABLE, Split(), "'s0' .line 3. into 'test', but lists it"),
    "synonym": ("s0\tval\n", TABLE, Split(), "'s0' .line 2. into the split 'val'; write 'valid"),
    "unused": ("s0\ttrain\n", TABLE, None, "splits.tsv lies beside .* add a line .split."),
    "named and gone": (None, TABLE, Split(path="my.tsv"), "my.tsv cannot be read: No such file"),
    "disagreement": (
        "".join(f"s{n}\ttrain\n" for n in range(10)),
        OWN,
        Split(),
        "'s1' into the split 'test', but the table of splits beside it into 'train'",
    ),
    "seed added later": (
        "".join(f"s{n}\ttrain\n" for n in range(10)),
        TABLE,
        Split(seed=7),
        "not the division by the seed 7 and the columns none .* remove the table to divide anew",
    ),
    "own synonym": (None, OWN.replace("test", "Testing"), None, "'s1' into the split 'Testing'"),
    "own empty": (None, OWN.replace("test", ""), None, "'s1' into the split ''; known: train"),
    "own in two": (
        None,
        "participant_id\tgroup\tsplit\tvisit\ns0\tCN\ttrain\t1\ns0\tCN\ttest\t2\n",
        None,
        "subject 's0' in more than one split, 'train' and 'test'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_divisions_that_contradict_the_table_are_refused(case: str, tmp_path: Path) -> None:
    """If it fails, a subject is trained on and tested on, or is left out, without a word."""
    splits, table, split, message = REFUSED[case]
    if splits is not None:
        (tmp_path / "splits.tsv").write_text(f"participant_id\tsplit\n{splits}", encoding="utf-8")
    with pytest.raises(CohortError, match=message) as refusal:
        _build(tmp_path, split, table)
    assert "\n" not in str(refusal.value)
