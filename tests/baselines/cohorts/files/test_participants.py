"""Tables are read as spreadsheets save them, and what is nearly a number is refused."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from baselines.cohorts.files.participants import build_participants, format_rows, read_rows
from benchmark.errors import CohortError

GROUPS = ("CN", "AD")
TABLE = """\
participant_id\tgroup\tage\tsite\tnote
s1\tCN\t70.5\t007\tfell, once
s2\tAD\t71\t012\tn/a
s3\tCN\t72.25\t007\t
"""
EXPECTED = [
    {"participant_id": "s1", "group": "CN", "age": "70.5", "site": "007", "note": "fell, once"},
    {"participant_id": "s2", "group": "AD", "age": "71", "site": "012", "note": "n/a"},
    {"participant_id": "s3", "group": "CN", "age": "72.25", "site": "007", "note": ""},
]
COMMAS = TABLE.replace("fell, once", '"fell, once"').replace("\t", ",")
SEMICOLONS = TABLE.replace("\t", ";").replace(".", ",")
SAVED: dict[str, bytes] = {
    "tabs": TABLE.encode(),
    "tabs of a spreadsheet": TABLE.replace("fell, once", '"fell, once"').encode("utf-8-sig"),
    "commas": COMMAS.encode("utf-8-sig"),
    "commas and CRLF": COMMAS.replace("\n", "\r\n").encode(),
    "semicolons and decimal commas": SEMICOLONS.encode(),
    "tabs and decimal commas": TABLE.replace("70.5", "70,5").replace("72.25", "72,25").encode(),
    "UTF-16, little": TABLE.encode("utf-16-le").join([b"\xff\xfe", b""]),
    "UTF-16, big": TABLE.encode("utf-16-be").join([b"\xfe\xff", b""]),
    "declared delimiter": f"sep=;\n{SEMICOLONS}".encode(),
    "old Macintosh": TABLE.replace("\n", "\r").encode(),
    "blanks round cells": TABLE.replace("\t", " \t ").encode(),
    "empty rows and columns": TABLE.replace("\n", "\t\t\n").encode() + b"\t\t\t\t\t\t\n\n",
}


@pytest.mark.parametrize("saved", SAVED)
def test_tables_are_read_as_spreadsheets_save_them(saved: str, tmp_path: Path) -> None:
    """If it fails, a clinician's table is refused, or read with other cells than it shows."""
    path = tmp_path / "participants.tsv"
    path.write_bytes(SAVED[saved])
    assert read_rows(path) == EXPECTED
    people = build_participants(read_rows(path), GROUPS, path)
    assert people["age"].tolist() == [70.5, 71.0, 72.25]
    assert people["site"].tolist() == ["007", "012", "007"]


def test_text_with_quotes_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """If it fails, an exported cohort has other covariates than the one that was exported."""
    rows = [{"participant_id": "s1", "group": "CN", "note": '"so called" case, 5" long'}]
    path = tmp_path / "participants.tsv"
    path.write_text(format_rows(rows), encoding="utf-8")
    assert read_rows(path) == rows


FILES: dict[str, tuple[bytes, str]] = {
    "xlsx": (b"PK\x03\x04" + bytes(900), r"is a workbook such as .xlsx .* save it as text"),
    "xls": (b"\xd0\xcf\x11\xe0" + bytes(90), r"an old Excel workbook .* save it as text"),
    "gzip": (b"\x1f\x8b" + bytes(90), "compressed by gzip; unpack it"),
    "UTF-16 without mark": (TABLE.encode("utf-16-le"), "UTF-16 text without a byte order mark"),
    "Windows' letters": (TABLE.replace("fell", "Gefäß").encode("cp1252"), "byte 0xe4 in line 2"),
    "binary": (bytes(range(1, 256)) * 9, "is no UTF-8 text"),
    "half a letter": (b"\xff\xfe" + TABLE.encode("utf-16-le")[:-1], "is no UTF-16 text"),
    "open quote": (TABLE.replace("fell", '"fell').encode(), "cannot be understood in line"),
    "line break": (TABLE.replace("fell, once", '"fell\nonce"').encode(), "a line break within"),
    "empty": (b"", "lacks the column.s. participant_id, group; it has none"),
    "one column": (b"participant_id\ns1\ns2\n", "lacks the column.s. group; it has part"),
    "other name": (
        b"PatientID\tdiagnosis\ns1\tCN\n",
        "it has PatientID, diagnosis; if 'PatientID' is it, call it 'participant_id'; if 'diag",
    ),
    "repeated column": (TABLE.replace("site", "age").encode(), "has the column 'age' twice"),
    "unnamed column": (TABLE.replace("site", "").encode(), "'007' in line 2 in a column without a"),
    "200,000 columns": (
        "\t".join(["participant_id", "group", *map(str, range(200_000))]).encode(),
        "has 200002 columns; at most 2000 were expected",
    ),
    "other columns": (
        ",".join(f"a rather long name of column {n}" for n in range(1900)).encode(),
        r"a rather long name of column 11, … \(1900 in all\)",
    ),
    "capitals": (TABLE.replace("site", "Split").encode(), "the column 'Split'; call it 'split'"),
    "capital group": (TABLE.replace("group", "Group").encode(), "if 'Group' is it, call it 'grou"),
    "split by another name": (
        b"participant_id\tgroup\tset\ns1\tCN\tTrain\ns2\tAD\tval\ns3\tAD\tTest\n",
        "has the splits Test, Train, val in the column 'set'; call it 'split', or they would do",
    ),
    "long cell": (b"participant_id\tgroup\n" + b"x" * 10**6, "field larger than field limit"),
    "17 MiB in one line": (b"x" * 17 * 2**20, "is larger than 16 MiB"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_no_table_is_refused_in_one_short_sentence(case: str, tmp_path: Path) -> None:
    """If it fails, a file that is no table ends in a traceback, a page of names, or no memory."""
    content, message = FILES[case]
    path = tmp_path / "participants.tsv"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(CohortError, match=message) as refusal:
            read_rows(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = str(refusal.value).replace(str(tmp_path), "")
    assert "\n" not in text
    assert len(text) < 700
    assert peak < 200 * 2**20


def test_a_table_has_no_more_rows_than_a_cohort_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a table of everything that a registry holds fills the memory."""
    monkeypatch.setattr("baselines.cohorts.files.tables.delimited.MOST_ROWS", 2)
    path = tmp_path / "participants.tsv"
    path.write_text(TABLE, encoding="utf-8")
    with pytest.raises(CohortError, match="has more than 2 rows"):
        read_rows(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """If it fails, a pipe in place of the table waits for ever."""
    path = tmp_path / "participants.tsv"
    path.mkdir()
    with pytest.raises(CohortError, match="cannot be read: it is a folder"):
        read_rows(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(CohortError, match="cannot be read: it is no regular file"):
        read_rows(path)
    path.unlink()
    (tmp_path / "participants.xlsx").write_bytes(FILES["xlsx"][0])
    with pytest.raises(CohortError, match=r"participants.xlsx is a workbook .* save it as text"):
        read_rows(path)
    (tmp_path / "participants.csv").write_text(COMMAS, encoding="utf-8")
    with pytest.raises(CohortError, match=r'such file, but .*; name .* as in participants = "part'):
        read_rows(path)


SUBJECTS: dict[str, tuple[str, str]] = {
    "parent": ("../s1", "'../s1' in line 2; a plain name without / and"),
    "root": ("/etc/passwd", "a plain name without / and"),
    "drive": ("C:\\scans", "a plain name without / and"),
    "dots": ("..", "a plain name without / and"),
    "bell": ("s\a1", "a name without control characters"),
    "invisible": ("s\u200b1", r"'s\\u200b1' in line 2; a name without control .* and invisible"),
    "capitals": ("S2", "the subjects 'S2' in line 2 and 's2' in line 3, whose names differ by"),
    "wide": ("\uff53\uff12", "the subjects .* whose names differ by"),
    "empty": ("", "the participant_id '' in line 2; each row needs the name"),
    "missing": ("n/a", "each row needs the name"),
    "long": ("s" * 5000, "a name of at most 200 characters"),
}


@pytest.mark.parametrize("case", SUBJECTS)
def test_names_of_subjects_stay_in_the_folder(case: str, tmp_path: Path) -> None:
    """If it fails, a table leads the reader to files outside of the cohort's folder."""
    name, message = SUBJECTS[case]
    path = tmp_path / "participants.tsv"
    path.write_text(TABLE.replace("s1", name), encoding="utf-8")
    with pytest.raises(CohortError, match=message) as refusal:
        read_rows(path)
    assert len(str(refusal.value)) < 600


NEARLY: dict[str, tuple[str, list[str], str]] = {
    "decimal comma": ("age", ["71.5", "71,5"], "'71,5' for 's1'; write 71.5, with a decimal point"),
    "open end": ("age", ["71.5", "90+"], "the age '90\\+' for 's1'; write a number such as"),
    "word": ("AGE", ["unknown", "80"], "the AGE 'unknown' for 's0'; write a number .* or n/a"),
    "several": ("tiv", ["1 450 mL", "1 500 mL", "3"], "1 450 mL.* n/a where .*2 such cells"),
    "unit": ("left_volume", ["12 kg", "3"], "the left_volume '12 kg' for 's0'; write a number"),
    "doubt": ("mmse", ["30", "29", "28", "27", "NaN?"], "'NaN.' for 's4'; most of the column are"),
    "date": ("weight", ["70", "71", "72", "73", "12. May"], "'12. May' for 's4'; most of"),
    "thousands": ("tiv", ["1,450", "1,512"], "'1,450' for 's0'; .* without separators of"),
    "all thousands": ("score", ["1'450'000", "1'512'000"], "without separators of thousands"),
    "points of thousands": ("score", ["1.450.000", "5"], "without separators of thousands"),
    "two kinds of point": ("score", ["1,5", "1.5"], "'1,5' for 's0'; write 1.5, with a decimal po"),
    "negative": ("age", ["-3", "71"], "the age '-3' for 's0'; an age in years lies between 0 and"),
    "too old": ("age_at_scan", ["71", "711"], "'711' for 's1'; an age in years"),
    "infinite": ("score", ["1e999", "1"], "'1e999' for 's0'; a finite number"),
    "endless": ("score", ["1" * 5000, "1"], "1…' for|… for 's0'; no number has so many digits"),
    "broken formula": ("site", ["a", "#REF!"], "'#REF!' for 's1'; mend the formula"),
}


@pytest.mark.parametrize("case", NEARLY)
def test_what_is_nearly_a_number_is_refused(case: str, tmp_path: Path) -> None:
    """If it fails, an age becomes a category, and no probe sees that it differs between groups."""
    name, cells, message = NEARLY[case]
    lines = [f"participant_id\tgroup\t{name}"]
    lines += [f"s{n}\t{GROUPS[n % 2]}\t{cell}" for n, cell in enumerate(cells)]
    path = tmp_path / "participants.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CohortError, match=message) as refusal:
        build_participants(read_rows(path), GROUPS, path)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("site", ["01", "02", "11", "12", "13", "14"]),
        ("diagnosed", ["2020-01-31", "2019-12-01"]),
        ("scanned", ["31.01.2020", "01.12.2019"]),
        ("scanner", ["3T", "1.5T"]),
        ("visit_name", ["12", "baseline", "6"]),
    ],
)
def test_codes_and_dates_stay_text(name: str, cells: list[str], tmp_path: Path) -> None:
    """If it fails, codes of hospitals are refused or become numbers."""
    lines = [f"participant_id\tgroup\t{name}"]
    lines += [f"s{n}\t{GROUPS[n % 2]}\t{cell}" for n, cell in enumerate(cells)]
    path = tmp_path / "participants.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert build_participants(read_rows(path), GROUPS, path)[name].tolist() == cells


def test_groups_are_spelled_as_in_the_cohort_file(tmp_path: Path) -> None:
    """If it fails, 'ad' and 'AD' are two groups, or the message does not say what to mend."""
    path = tmp_path / "participants.tsv"
    path.write_text(TABLE.replace("AD", "ad"), encoding="utf-8")
    with pytest.raises(CohortError, match=r"'s2' into the group 'ad'; did you mean 'AD'. known"):
        build_participants(read_rows(path), GROUPS, path)


def test_a_subject_in_both_groups_is_named_with_its_table(tmp_path: Path) -> None:
    """If it fails, a person is compared with himself as though with another."""
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tgroup\tvisit\na\tCN\t1\na\tAD\t2\nb\tAD\t1\n", "utf-8")
    with pytest.raises(CohortError, match=r"tsv has 'a' in both groups, 'a' in CN and"):
        build_participants(read_rows(path), GROUPS, path)
