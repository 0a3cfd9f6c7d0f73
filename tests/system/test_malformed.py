"""Hundreds of careless and hostile submissions, each refused under the name that it must get."""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from submissions import (
    FIRST,
    FOLDER,
    PROTOCOLS,
    SOURCE,
    Json,
    build_standard,
    copy,
    edit_all,
    edit_manifest,
    edit_record,
    faults_of,
    forge,
    lay_out,
    relist,
    replace_sidecar,
    reseal,
    sha256,
    tree,
    write_valid,
)

from benchmark.reading import Reading, Sample
from leaderboard.published.fault import plain
from leaderboard.published.record import MOST_BYTES
from leaderboard.published.sidecar import MOST_PACKED, pack, unpack
from leaderboard.submission.bundle import MOST_SOURCE
from leaderboard.submission.checks import Standard
from leaderboard.submission.manifest import MANIFEST

Spoil = Callable[[Path], object]
Case = tuple[str, str, Spoil]

RECORD, SIDECAR = f"{FIRST}.json", f"{FIRST}.readings"


# Text and bytes


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change a file's bytes, and list it as it then is."""

    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))
        if name != MANIFEST:
            relist(folder)

    return spoil


def swap(name: str, old: str, new: str) -> Spoil:
    """Replace a piece of text that is there once at least."""

    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode("utf-8", "surrogatepass"), 1)

    return rewrite(name, change)


def truncations() -> Iterator[Case]:
    for name, count in ((RECORD, 24), (MANIFEST, 20)):
        for step in range(1, count):
            yield (
                f"{name} cut at {step}/{count}",
                "not-json",
                rewrite(name, lambda all_, part=step / count: all_[: int(len(all_) * part)]),
            )
        yield f"{name} cut to nothing", "empty", rewrite(name, lambda _: b"")
        yield f"{name} of spaces", "empty", rewrite(name, lambda _: b" \n\t")
        yield f"{name} without its line end", "not-canonical", rewrite(name, lambda one: one[:-1])
    for step in range(12):

        def cut(folder: Path, part: float = step / 12) -> None:
            content = (folder / SIDECAR).read_bytes()
            replace_sidecar(folder, content[: int(len(content) * part)] or b"\0")

        yield f"sidecar cut at {step}/12", "sidecar-malformed", cut
        yield (
            f"sidecar cut at {step}/12, not sealed",
            "sidecar-checksum",
            rewrite(SIDECAR, lambda one, part=step / 12: one[: int(len(one) * part)]),
        )


def encodings() -> Iterator[Case]:
    for name in (RECORD, MANIFEST):
        yield f"{name} in UTF-16", "not-utf8", rewrite(name, lambda one: one.decode().encode("u16"))
        yield f"{name} with a stray byte", "not-utf8", rewrite(name, lambda one: one + b"\xff")
        yield f"{name} with a BOM", "not-json", rewrite(name, lambda one: b"\xef\xbb\xbf" + one)
        yield f"{name} with CRLF", "not-canonical", rewrite(name, crlf)
        yield f"{name} in one line", "not-canonical", rewrite(name, one_line)
        yield f"{name} with more after it", "not-json", rewrite(name, lambda one: one + b"{}")
        yield f"{name} with a comment", "not-json", rewrite(name, lambda one: b"// hi\n" + one)
        yield f"{name} that is a list", "wrong-type", rewrite(name, lambda _: b"[]\n")
        yield f"{name} that is a number", "wrong-type", rewrite(name, lambda _: b"7\n")
        yield f"{name} that is null", "wrong-type", rewrite(name, lambda _: b"null\n")
        yield f"{name} of brackets", "too-deep", rewrite(name, lambda _: b"[" * 100_000)
        yield f"{name} of quotes", "not-json", rewrite(name, lambda _: b'"' + b'\\"' * 100_000)
        yield f"{name} with null bytes", "not-json", rewrite(name, lambda one: b"\0" + one)
    yield "half a character", "lone-surrogate", swap(RECORD, '"Mine"', '"\\ud800"')
    yield "half a character in the manifest", "lone-surrogate", swap(MANIFEST, "Mine", "\\udc00")
    yield "an escape that needs none", "not-canonical", swap(RECORD, '"Mine"', '"\\u004dine"')


def crlf(content: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n")


def one_line(content: bytes) -> bytes:
    return json.dumps(json.loads(content)).encode()


def numbers() -> Iterator[Case]:
    bad = {
        "NaN": "not-finite",
        "Infinity": "not-finite",
        "-Infinity": "not-finite",
        "1e999": "huge-number",
        "-1e999": "huge-number",
        "9" * 400: "huge-number",
        "1" + "0" * 30: "huge-number",
        "0x10": "not-json",
        "+1": "not-json",
        "01": "not-json",
        "1_000": "not-json",
        ".5": "not-json",
        "2e6": "wrong-type",
        "-1000001.0": "wrong-type",
        '"0.5"': "wrong-type",
        "true": "wrong-type",
        "[0.5]": "wrong-type",
    }
    for text, name in bad.items():
        yield f"score {text[:12]}", name, swap(RECORD, ",0.5,", f",{text},")
    for text, name in bad.items():
        if name not in ("wrong-type",):
            yield f"seconds {text[:12]}", name, swap(RECORD, '"seconds":1.5', f'"seconds":{text}')
    yield "seconds below 0", "wrong-type", swap(RECORD, '"seconds":1.5', '"seconds":-1.5')
    yield "a score with more digits", "checksum-mismatch", swap(RECORD, ",0.5,", ",0.50001,")
    yield "a score as an exponent", "not-canonical", swap(RECORD, ",0.5,", ",5e-1,")


# Fields


def fields_of(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every field, and to every element of the first row."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield (*path, key)
            # What is in these may be anything.
            if key not in ("config", "packages", "files"):
                yield from fields_of(one, (*path, key))
    elif isinstance(value, list) and value:
        yield (*path, 0)
        yield from fields_of(value[0], (*path, 0))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path[:-1]:
        value = value[part]
    return value


def in_record(change: Callable[[Json], object]) -> Spoil:
    """Change fields without sealing them again: the schema is asked first."""

    def spoil(folder: Path) -> None:
        fields = json.loads((folder / RECORD).read_text())
        change(fields)
        (folder / RECORD).write_text(json.dumps(fields))
        relist(folder)

    return spoil


def in_manifest(change: Callable[[Json], object]) -> Spoil:
    return lambda folder: edit_manifest(folder, change)


def schema(files: dict[str, Json]) -> Iterator[Case]:
    for name, put in ((RECORD, in_record), (MANIFEST, in_manifest)):
        for path in fields_of(files[name]):
            place = f"{name} {'.'.join(map(str, path))}"
            wrong = "unknown-schema" if path == ("schema_version",) else "wrong-type"
            may_be_table = isinstance(at(files[name], path)[path[-1]], dict) or path[-1] == "git"
            other: Any = [1] if may_be_table else {"x": [1]}
            yield f"{place} of a wrong type", wrong, put(let(*path, value=other))
            optional = path[0] == "schema_version" or path[-1] in ("source_sha256", "kind")
            if isinstance(path[-1], str) and (
                not optional or (name, path[0]) == (MANIFEST, "source_sha256")
            ):
                yield (
                    f"{place} left out",
                    "missing-field",
                    put(lambda fields, path=path: at(fields, path).__delitem__(path[-1])),
                )
        for path in [(), *(one for one in fields_of(files[name]))]:
            inside = files[name]
            for part in path:
                inside = inside[part]
            if not isinstance(inside, dict) or (path and path[-1] in ("config", "packages")):
                continue
            added = "wrong-type" if path == ("files",) else "unknown-field"
            yield (
                f"{name} {'.'.join(map(str, path))} with one more",
                added,
                put(lambda fields, path=path: at(fields, (*path, 0)).update(admin=True)),
            )
    for path in (("identity",), ("method",), ("scale",), ("resources",), ("provenance",)):
        yield (
            f"{path[0]} as null",
            "wrong-type",
            in_record(lambda f, p=path: f.update({p[0]: None})),
        )
    for version in (0, 2, -1, "1", None, 1e9, [1]):
        yield (
            f"schema version {version!r}",
            "unknown-schema",
            in_record(lambda fields, version=version: fields.update(schema_version=version)),
        )
        yield (
            f"schema version {version!r} of the manifest",
            "unknown-schema",
            in_manifest(lambda fields, version=version: fields.update(schema_version=version)),
        )
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    yield "deep settings", "too-deep", in_record(lambda f: f["identity"].update(seed=deep))
    yield "deep manifest", "too-deep", in_manifest(lambda fields: fields.update(files=deep))


def duplicates(files: dict[str, Json]) -> Iterator[Case]:
    for name in (RECORD, MANIFEST):
        for key in files[name]:
            told = json.dumps(key)
            yield (
                f"{name} {key} twice",
                "duplicate-key",
                swap(name, f" {told}:", f' {told}: "first", {told}:'),
            )
    for key in ("suite", "config", "name", "version", "seed"):
        yield (
            f"identity {key} twice",
            "duplicate-key",
            swap(RECORD, f'"{key}":', f'"{key}":1,"{key}":'),
        )


# What is sealed again, so that nothing shows on the surface


def sealed(change: Callable[[Json], object]) -> Spoil:
    return lambda folder: edit_record(folder, change)


def let(*path: Any, value: object) -> Callable[[Json], object]:
    return lambda fields: at(fields, path).__setitem__(path[-1], value)


def row(place: int, value: object, number: int = 0) -> Callable[[Json], object]:
    return lambda fields: fields["scores"][number].__setitem__(place, value)


def every_score(change: Callable[[float], float]) -> Callable[[Json], object]:
    return lambda f: [one.__setitem__(3, round(change(one[3]), 6)) for one in f["scores"]]


def claims() -> Iterator[Case]:
    other = "0" * 64
    changes: list[tuple[str, str, Callable[[Json], object]]] = [
        ("another suite's", "other-suite", let("identity", "suite", value="v1")),
        ("another cohort's", "cohort-differs", let("identity", "cohort_fingerprint", value=other)),
        ("another model's", "weights-differ", let("identity", "weights_sha256", value=other)),
        ("another seed's", "seed-differs", let("identity", "seed", value=7)),
        (
            "another version's",
            "protocol-differs",
            let("identity", "protocol", "version", value="2.0"),
        ),
        (
            "other settings'",
            "protocol-differs",
            let("identity", "protocol", "config", "power", value=2.0),
        ),
        ("no settings'", "protocol-differs", let("identity", "protocol", "config", value={})),
        (
            "a protocol's file",
            "protocol-differs",
            let("identity", "protocol", "source_sha256", value=other),
        ),
        (
            "another source's",
            "source-differs",
            let("identity", "explainer", "source_sha256", value=other),
        ),
        (
            "no source's",
            "source-differs",
            let("identity", "explainer", "source_sha256", value=None),
        ),
        (
            "two versions'",
            "explainer-differs",
            let("identity", "explainer", "version", value="1.1"),
        ),
        (
            "two settings'",
            "explainer-differs",
            let("identity", "explainer", "config", value={"a": 1}),
        ),
        ("another family's", "explainer-differs", let("method", "family", value="control")),
        ("a control's", "is-control", let("method", "control", value=True)),
        ("another title's", "title-differs", let("method", "title", value="Grad-CAM")),
        ("another submitter's", "submitter-differs", let("submitter", value="medsanity")),
        ("audited", "tier-claimed", let("tier", value="audited")),
        ("reproduced", "tier-claimed", let("tier", value="reproduced")),
        ("of a made-up tier", "wrong-type", let("tier", value="perfect")),
        ("of a made-up state", "wrong-type", let("state", value="great")),
        ("failed with scores", "state-mismatch", let("state", value="failed")),
        ("unsupported with scores", "state-mismatch", let("state", value="unsupported")),
        ("scored without scores", "state-mismatch", let("scores", value=[])),
        ("failing that passed", "verdict-differs", let("verdict", value="fail")),
        ("without verdict", "verdict-differs", let("verdict", value=None)),
        ("of a wrong identity", "identity-mismatch", lambda _: None),
        ("from the future's format", "wrong-type", let("created", value="tomorrow")),
        ("of a subject renamed", "renamed-subject", row(1, "0123456789ab")),
        ("of a group changed", "renamed-subject", lambda f: row(2, 1 - f["scores"][0][2])(f)),
        ("of a group that is none", "wrong-type", row(2, 2)),
        ("of a stranger", "scores-differ", row(0, "000000000000")),
        ("of a patient's name", "wrong-type", row(1, "Jane Doe")),
        ("of a subject by number", "wrong-type", row(0, 17)),
        ("of one subject less", "scores-differ", lambda fields: fields["scores"].pop()),
        ("of one subject", "scores-differ", lambda f: f.update(scores=f["scores"][:1])),
        ("of a subject twice", "subject-order", lambda f: f["scores"].insert(0, f["scores"][0])),
        ("of subjects in disorder", "subject-order", lambda fields: fields["scores"].reverse()),
        ("with a short row", "missing-field", lambda fields: fields["scores"][0].pop()),
        ("with a long row", "wrong-type", lambda fields: fields["scores"][0].append(None)),
        ("with a denominator", "state-mismatch", row(4, 1.0)),
        ("with one inflated score", "scores-differ", row(3, 0.99)),
        ("with a score left out", "scores-differ", row(3, None)),
        ("with all scores inflated", "scores-differ", every_score(lambda _: 1.0)),
        ("with scores shifted a little", "scores-differ", every_score(lambda one: one + 1e-3)),
        ("without a sidecar", "sidecar-orphan", let("readings", value=None)),
        ("with another sidecar's hash", "sidecar-checksum", let("readings", "sha256", value=other)),
        ("with another sidecar's size", "sidecar-checksum", let("readings", "bytes", value=1)),
        ("with no size of the sidecar", "wrong-type", let("readings", "bytes", value=0)),
        ("in another section", "section-differs", let("joins", value="phantom")),
        ("of groups that nobody read", "groups-differ", let("by_group", value=[0.5, 0.5])),
        ("of groups without numbers", "wrong-type", let("by_group", value=["a", "b"])),
        ("with a field that says nothing", "checksum-mismatch", let("faults", value=[])),
    ]
    for name, fault, change in changes:
        yield f"a record {name}", fault, sealed(change)
    for key, value in {
        "question": "Is it good?",
        "statistic": "excess",
        "direction": "lower",
        "gate": True,
        "truth_leads": False,
        "margin": 0.5,
        "tolerance": 1e6,
        "device_tolerance": 10.0,
        "chance": "excess",
        "owed": True,
        "counts": True,
    }.items():
        yield f"{key} moved", "scale-differs", sealed(let("scale", key, value=value))
    for part in ("cohort", "model"):
        for odd in (
            "..",
            ".",
            "a/b",
            "../../etc",
            "C:\\x",
            "a b",
            "",
            "-rf",
            "a" * 65,
            "ａ",
            "a\n",
        ):
            name = f"{part} {plain(odd)[:9]!r}"
            yield name, "odd-name", sealed(let("names", part, value=odd))
        yield (f"a {part} of another name", "misplaced", sealed(let("names", part, value="other")))
    yield (
        "another explainer's name",
        "name-mismatch",
        sealed(let("names", "explainer", value="x")),
    )
    yield ("another protocol's name", "name-mismatch", sealed(let("names", "protocol", value="x")))
    odd_texts = (
        "\u202egnp.exe",
        "zero\u200bwidth",
        "bell\x07",
        "\x1b[31mred",
        "line\nbreak",
        "\ue000",
    )
    for odd in odd_texts:
        yield f"reason {plain(odd)[:9]!r}", "hidden-character", sealed(let("reason", value=odd))
    yield "a reason without end", "wrong-type", sealed(let("reason", value="x" * 401))
    for digit in ("0", "f"):
        yield (
            f"checksum of {digit}",
            "checksum-mismatch",
            in_layout(lambda fields, digit=digit: fields.update(checksum=digit * 64)),
        )
    yield (
        "identity hash of zeros",
        "identity-mismatch",
        in_layout(lambda fields: fields.update(identity_sha256=other)),
    )


def in_layout(change: Callable[[Json], object]) -> Spoil:
    """Change fields, keep the layout, and seal nothing."""

    def spoil(folder: Path) -> None:
        fields = json.loads((folder / RECORD).read_text())
        change(fields)
        (folder / RECORD).write_text(lay_out(fields))
        relist(folder)

    return spoil


def wrong_identity(folder: Path) -> None:
    fields = json.loads((folder / RECORD).read_text())
    reseal(fields)
    fields["identity"]["seed"] = 3
    (folder / RECORD).write_text(lay_out(fields))
    relist(folder)


# Manifest


def manifests() -> Iterator[Case]:
    for key, value, fault in (
        ("suite", "v2", "other-suite"),
        ("suite_sha256", "6" * 64, "other-suite"),
        ("kind", "something else", "wrong-type"),
        ("title", "Mine!", "title-differs"),
        ("title", "", "wrong-type"),
        ("title", " padded ", "wrong-type"),
        ("title", "x" * 81, "wrong-type"),
        ("title", "e\u0301", "wrong-type"),
        ("title", "\u202egnp", "hidden-character"),
        ("title", "a\u200bb", "hidden-character"),
        ("title", "\x1b[2J", "hidden-character"),
        ("title", "GRAD cam", "title-taken"),
        ("title", "Ｒａｎｄｏｍ", "title-taken"),
        ("submitter", "Someone else", "submitter-differs"),
        ("submitter", "", "wrong-type"),
        ("explainer", "yours", "explainer-differs"),
        ("explainer", "gradcam", "name-taken"),
        ("explainer", "GradCAM", "name-taken"),
        ("explainer", "../mine", "wrong-type"),
        ("explainer", "mine\u0000", "hidden-character"),
        ("explainer", "ｍine", "wrong-type"),
        ("class_name", "Mine; import os", "wrong-type"),
        ("class_name", "Mine --fresh", "wrong-type"),
        ("class_name", "Mïne", "wrong-type"),
        ("source", "../mine.py", "wrong-type"),
        ("source", "/etc/passwd", "wrong-type"),
        ("source", "-c.py", "wrong-type"),
        ("source", "mine.sh", "wrong-type"),
        ("source", "a:b.py", "wrong-type"),
        ("source", "other.py", "file-missing"),
        ("source_sha256", "0" * 64, "source-mismatch"),
        ("source_sha256", "0" * 63, "wrong-type"),
        ("source_sha256", "G" * 64, "wrong-type"),
    ):
        yield (
            f"manifest {key} {plain(value)[:12]!r}, {len(value)}",
            fault,
            in_manifest(let(key, value=value)),
        )
    traversals = ("../x", "records/../../x", "/etc/passwd", "records//x", "./x", "a\\..\\b", "C:/x")
    for path in (*traversals, "", "records/", "..", "~/../x"):
        yield (
            f"path {plain(path)!r}",
            "path-traversal",
            in_manifest(let("files", path, value="0" * 64)),
        )
    odd = ("~/x", "records/ x", "records/ｘ", "records/x\n", ".hidden", "-x")
    for path in (*odd, "records/e\u0301", "records/" + "x" * 200):
        name = f"path {plain(path)[:20]!r}"
        yield name, "odd-path", in_manifest(let("files", path, value="0" * 64))
    for path in ("x\0y", "records/\u202ex"):
        name = f"path {plain(path)!r}"
        yield name, "hidden-character", in_manifest(let("files", path, value="0" * 64))
    yield (
        "a path in two cases",
        "odd-path",
        in_manifest(let("files", "SOURCE/mine.py", value="0" * 64)),
    )
    yield (
        "a file that is not there",
        "file-missing",
        in_manifest(let("files", "source/x.py", value="0" * 64)),
    )
    for name in (RECORD, SIDECAR, "source/mine.py"):
        yield f"{name} unlisted", "unlisted-file", in_manifest(lambda f, n=name: f["files"].pop(n))
        yield (
            f"{name} of another hash",
            "hash-mismatch",
            in_manifest(let("files", name, value="0" * 64)),
        )
        yield f"{name} of no hash", "wrong-type", in_manifest(let("files", name, value="xyz"))


# Files


def files_there() -> Iterator[Case]:
    for name in (MANIFEST, RECORD, SIDECAR, "source/mine.py"):
        yield f"{name} deleted", "file-missing", lambda folder, n=name: (folder / n).unlink()
        yield f"{name} a link to itself", "symlink", lambda f, n=name: link(f / n, f / n)
        yield f"{name} a link out", "symlink", lambda f, n=name: link(f / n, Path("/etc/passwd"))
        yield f"{name} a pipe", "not-a-file", lambda folder, n=name: pipe(folder / n)
        yield f"{name} a folder", "file-missing", lambda folder, n=name: become_folder(folder / n)
    for name in (RECORD, SIDECAR, "source/mine.py"):
        yield f"{name} flipped", "hash-mismatch", lambda folder, n=name: flip(folder / n)
    for name in ("records", "source"):
        yield (
            f"{name} a link to a folder",
            "symlink",
            lambda folder, n=name: link_folder(folder / n),
        )
    for name, fault in (
        (".git", "hidden-file"),
        ("records/.env", "hidden-file"),
        ("records/tiny/.DS_Store", "hidden-file"),
        ("notes.txt", "unknown-file"),
        ("run.sh", "unknown-file"),
        ("source/mine.so", "unknown-file"),
        ("source/deep/mine.py", "unknown-file"),
        ("source/second.py", "unlisted-file"),
        ("records/cat.jpg", "unknown-file"),
        (f"{FOLDER}/third.readings", "sidecar-orphan"),
        ("records/with space.json", "odd-path"),
        ("records/new\nline.json", "odd-path"),
        ("records/\u202ereversed.json", "odd-path"),
        ("records/ｗｉｄｅ.json", "odd-path"),
        ("records/\x1b[31m.json", "odd-path"),
        ("-rf", "odd-path"),
        ("/".join("abcdefghijk") + "/x.json", "too-deep"),
    ):
        yield f"there is {plain(name)}", fault, lambda folder, n=name: add(folder / n)
    yield "a second source, listed", "unknown-file", second_source
    yield (
        "a name that is no text",
        "odd-path",
        lambda f: add(Path(os.fsdecode(bytes(f) + b"/\xff"))),
    )
    yield "a folder without end", "too-deep", deep_folder
    yield "files without number", "too-many-files", many_files
    yield "a record at another place", "misplaced", move_record
    yield "one record less", "cell-missing", lambda folder: remove_record(folder)
    yield "a cell of another model", "unknown-cell", other_cell
    yield "an endless source", "too-large", lambda f: enlarge(f / "source/mine.py", MOST_SOURCE)
    yield "an endless record", "too-large", lambda folder: enlarge(folder / RECORD, MOST_BYTES)
    yield "an endless sidecar", "too-large", lambda folder: enlarge(folder / SIDECAR, MOST_PACKED)
    yield "an endless manifest", "too-large", lambda folder: enlarge(folder / MANIFEST, 2**20)


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def link_folder(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


def second_source(folder: Path) -> None:
    add(folder / "source/second.py")
    relist(folder)


def deep_folder(folder: Path) -> None:
    here = folder / "records"
    for _ in range(60):
        here /= "deep"
    here.mkdir(parents=True)


def many_files(folder: Path) -> None:
    for number in range(1_001):
        (folder / f"records/{number}.json").touch()


def move_record(folder: Path) -> None:
    (folder / "records/other").mkdir()
    for end in ("json", "readings"):
        (folder / f"{FIRST}.{end}").rename(folder / f"records/other/loading.{end}")
    relist(folder)


def remove_record(folder: Path) -> None:
    for end in ("json", "readings"):
        (folder / f"{FIRST}.{end}").unlink()
    relist(folder)


def other_cell(folder: Path) -> None:
    edit_record(folder, let("names", "model", value="other"))
    (folder / "records/tiny/other/mine").mkdir(parents=True)
    for end in ("json", "readings"):
        target = folder / f"records/tiny/other/mine/loading.{end}"
        (folder / f"{FIRST}.{end}").rename(target)
    relist(folder)


def enlarge(path: Path, most: int) -> None:
    path.write_bytes(path.read_bytes() + b" " * most)


# Sidecars


def sidecars() -> Iterator[Case]:
    def of(content: bytes) -> Spoil:
        return lambda folder: replace_sidecar(folder, content)

    table = json.dumps({"columns": [], "format": 1, "samples": []})
    zeros = zipped({"table.json": table, "values": bytes(2**25)})
    yield "a bomb of zeros", "sidecar-bomb", of(zeros)
    yield "a bomb of text", "sidecar-bomb", of(zipped({"table.json": b" " * 2**25, "values": b""}))
    yield "a bomb that lies", "sidecar-malformed", of(lying(zeros))
    yield (
        "a deflated bomb",
        "sidecar-bomb",
        of(zipped({"table.json": table, "values": bytes(2**25)}, zipfile.ZIP_DEFLATED)),
    )
    yield "a bomb in a bomb", "sidecar-malformed", of(zipped({"inner.zip": zeros}))
    yield "no zip", "sidecar-malformed", of(b"not a zip at all")
    yield "an empty zip", "sidecar-malformed", of(zipped({}))
    yield (
        "a zip with a traversal",
        "sidecar-malformed",
        of(zipped({"../table.json": "", "values": ""})),
    )
    yield (
        "a zip with more",
        "sidecar-malformed",
        of(zipped({"table.json": table, "values": "", "x": ""})),
    )
    yield (
        "a zip in another order",
        "sidecar-malformed",
        of(zipped({"values": "", "table.json": table})),
    )
    tables = (
        ("[]", "sidecar-malformed"),
        ("{}", "sidecar-malformed"),
        ("", "empty"),
        ("{", "not-json"),
        ('{"format":1,"format":1}', "duplicate-key"),
        ('{"format":NaN}', "not-finite"),
        ("[" * 50_000, "too-deep"),
        ('"' + '\\"' * 400_000, "not-json"),
        ('{"columns":[],"format":2,"samples":[]}', "sidecar-malformed"),
        ('{"columns":[],"format":1,"samples":[],"more":1}', "sidecar-malformed"),
        (table, "scores-differ"),
        (of_table(sample=5), "sidecar-malformed"),
        (of_table(sample=-1), "sidecar-malformed"),
        (of_table(keys=["a", "a"]), "sidecar-malformed"),
        (of_table(subjects=["a"]), "sidecar-malformed"),
        (of_table(groups=[0, 7]), "sidecar-malformed"),
    )
    for number, (text, fault) in enumerate(tables):
        yield (
            f"a table {number}: {text[:24]!r}",
            fault,
            of(zipped({"table.json": text, "values": ""})),
        )
    whole = of_table()
    for size in (0, 4, 7, 12, 800):
        content = zipped({"table.json": whole, "values": bytes(size)})
        yield f"{size} bytes of values", "sidecar-malformed", of(content)
    infinite = np.array([np.inf, 0], "<f4").view("u1").reshape(-1, 4).T.tobytes()
    yield (
        "infinite values",
        "sidecar-malformed",
        of(zipped({"table.json": whole, "values": infinite})),
    )
    yield "a score inflated in the sidecar alone", "scores-differ", inflate_sidecar


def zipped(members: dict[str, str | bytes], method: int = zipfile.ZIP_LZMA) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def lying(content: bytes) -> bytes:
    """Let the directory say that each member unpacks to a few bytes."""
    return content.replace(struct.pack("<I", 2**25), struct.pack("<I", 8))


def of_table(sample: int = 0, **changes: object) -> str:
    told = {"keys": ["a", "b"], "subjects": ["a", "b"], "groups": [0, 1]} | changes
    column = {
        "statistic": "share",
        "sample": sample,
        "conditions": {},
        "reasons": {},
        "ratio": False,
    }
    return json.dumps({"columns": [column], "format": 1, "samples": [told]})


def inflate_sidecar(folder: Path) -> None:
    readings = unpack((folder / SIDECAR).read_bytes(), "x")
    replace_sidecar(folder, pack([replace(one, values=one.values + 0.1) for one in readings]))


# Forgeries that contradict nothing in the bundle itself


def forgeries() -> Iterator[Case]:
    def forged(change: Callable[[Reading], Reading]) -> Spoil:
        return lambda folder: forge(folder, change)

    for name, fault, change in (
        ("with a stranger", "unknown-subject", lambda one: renamed(one, ("feedfeedfeed",) * 2)),
        ("with strangers' images", "unknown-subject", lambda one: renamed(one, ("#0",) * 2)),
        ("with two subjects swapped", "renamed-subject", swapped),
        ("with groups turned", "renamed-subject", turned),
        ("without its worst subject", "subject-missing", without_worst),
        ("of one subject", "subject-missing", lambda one: first(one, 1)),
        ("with no value of its worst subject", "subject-unscored", worst_nulled),
        ("that failed and says pass", "verdict-differs", lambda one: raised(one, -1.0)),
        ("without what the verdict needs", "verdict-differs", forgotten),
    ):
        yield f"a forgery {name}", fault, forged(change)


def renamed(one: Reading, names: tuple[str, str]) -> Reading:
    key, subject = names
    if key.startswith("#"):
        key, subject = one.sample.keys[0] + key, one.sample.subjects[0]
    sample = replace(
        one.sample, keys=(key, *one.sample.keys[1:]), subjects=(subject, *one.sample.subjects[1:])
    )
    return replace(one, sample=sample)


def swapped(one: Reading) -> Reading:
    first, second, *rest = one.sample.subjects
    return replace(one, sample=replace(one.sample, subjects=(second, first, *rest)))


def turned(one: Reading) -> Reading:
    groups = tuple(1 - group for group in one.sample.groups)
    return replace(one, sample=replace(one.sample, groups=groups))


def first(one: Reading, count: int) -> Reading:
    return kept(one, np.arange(count))


def without_worst(one: Reading) -> Reading:
    return kept(one, np.flatnonzero(one.values > one.values.min()))


def worst_nulled(one: Reading) -> Reading:
    values = np.where(one.values == one.values.min(), np.nan, one.values)
    gaps = [key for key, value in zip(one.sample.keys, values, strict=True) if np.isnan(value)]
    return replace(one, values=values, reasons=dict.fromkeys(gaps, "constant map"))


def kept(one: Reading, rows: np.ndarray[Any, Any]) -> Reading:
    names = [tuple(part[row] for row in rows) for part in astuple(one.sample)]
    return replace(one, sample=Sample(*names), values=one.values[rows])


def raised(one: Reading, by: float) -> Reading:
    return replace(one, values=one.values + by)


def forgotten(one: Reading) -> Reading:
    return replace(one, statistic="other") if one.statistic == "excess" else one


# Sources


def sources() -> Iterator[Case]:
    def edited(content: bytes) -> Spoil:
        return lambda folder: write_valid(folder, content)

    yield (
        "an edited source",
        "hash-mismatch",
        lambda f: (f / "source/mine.py").write_bytes(SOURCE + b"#"),
    )
    yield (
        "an edited source, listed",
        "source-mismatch",
        rewrite("source/mine.py", lambda one: one + b"#"),
    )
    yield "an edited source, listed and named", "source-differs", edit_source
    for number, text in enumerate(
        (
            "import os",
            "import sys as torch",
            "import inspect",
            "import numpy, socket",
            "from subprocess import run",
            "from benchmark import trial",
            "from benchmark.trial import Trial",
            "import benchmark.records.store",
            "import protocols.delta_t",
            "from . import mine",
            "def f():\n    import gc",
            "eval('1')",
            "exec('1')",
            "open('/etc/passwd')",
            "__import__('os')",
            "(lambda: 0).__globals__",
            "object.__subclasses__()",
            "getattr(print, '__code__')",
        )
    ):
        yield f"source {number}: {text[:20]!r}", "reaches-out", edited(text.encode() + b"\n")
    for text in ("batch.truth", "batch.foreground", "getattr(batch, 'truth')"):
        yield f"source {text}", "asks-for-truth", edited(text.encode() + b"\n")
    for content in (b"def", b"x = (", b"\0", b"\xff\xfe", b"(" * 5_000, b"-" * 90_000 + b"1"):
        yield f"source {content[:6]!r}", "not-python", edited(content)


def edit_source(folder: Path) -> None:
    content = SOURCE + b"# better\n"
    (folder / "source/mine.py").write_bytes(content)
    edit_manifest(folder, let("source_sha256", value=sha256(content)))
    relist(folder)


# All of them


def sample_files() -> dict[str, Json]:
    """Return the fields of a record and a manifest as they are when nothing is wrong."""
    with tempfile.TemporaryDirectory() as place:
        folder = write_valid(Path(place, "bundle"))
        return {name: json.loads((folder / name).read_text()) for name in (RECORD, MANIFEST)}


def cases() -> list[Case]:
    files = sample_files()
    made = [*truncations(), *encodings(), *numbers(), *schema(files), *duplicates(files)]
    made += [*claims(), *manifests(), *files_there(), *sidecars(), *forgeries(), *sources()]
    swapped = {"a record of a wrong identity": wrong_identity}
    return [(name, fault, swapped.get(name, spoil)) for name, fault, spoil in made]


CASES = cases()


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that every case spoils a copy of."""
    return write_valid(tmp_path_factory.mktemp("valid") / "bundle")


@pytest.fixture(scope="module")
def standard() -> Standard:
    """What the verifier knows."""
    return build_standard()


def test_nothing_is_wrong_with_the_bundle_that_is_spoilt(
    valid: Path, standard: Standard, tmp_path: Path
) -> None:
    """If it fails, the cases below are refused for another reason than their own."""
    assert faults_of(valid, tmp_path, standard) == []


def test_there_are_hundreds_of_cases_each_its_own() -> None:
    """If it fails, two cases go by one name, and one of them hides the other."""
    assert len(CASES) >= 400
    assert len({name for name, _, _ in CASES}) == len(CASES)
    assert len({fault for _, fault, _ in CASES}) >= 40


@pytest.mark.parametrize(
    ("fault", "spoil"), [case[1:] for case in CASES], ids=[plain(case[0]) for case in CASES]
)
def test_a_spoilt_submission_is_refused_by_name(
    fault: str, spoil: Spoil, valid: Path, standard: Standard, tmp_path: Path
) -> None:
    """If it fails, a submission is let in, stops the verifier, or is refused for a wrong reason."""
    bundle, workspace = copy(valid, tmp_path / "bundle"), tmp_path / "copy"
    workspace.mkdir()
    spoil(bundle)
    found = faults_of(bundle, workspace, standard)
    assert fault in {one.name for one in found}, found
    assert all(str(one).isprintable() for one in found)
    # Nothing is written but the copy.
    assert {one.name for one in tmp_path.iterdir()} <= {"bundle", "copy"}
    assert not any(path.is_symlink() for path in workspace.rglob("*"))
    assert {path.split("/")[0] for path in tree(workspace)} <= {MANIFEST, "records", "source"}


def test_all_records_of_another_suite_are_refused_together(
    valid: Path, standard: Standard, tmp_path: Path
) -> None:
    """If it fails, scores of an easier suite stand on the board."""
    bundle, workspace = copy(valid, tmp_path / "bundle"), tmp_path / "copy"
    workspace.mkdir()
    edit_all(bundle, let("identity", "suite", value="easy"))
    edit_manifest(bundle, let("suite", value="easy"))
    found = [one for one in faults_of(bundle, workspace, standard) if one.name == "other-suite"]
    assert [one.location for one in found] == [MANIFEST]
    assert len(PROTOCOLS) == 2
