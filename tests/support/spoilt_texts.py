"""Submissions whose text is cut, badly encoded, of wrong types, or says a thing twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spoiling import RECORD, SIDECAR, Case, at, in_manifest, in_record, let, rewrite, swap
from submissions import Json, replace_sidecar

from leaderboard.submission.manifest import MANIFEST


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
