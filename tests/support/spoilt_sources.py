"""Submissions whose source is missing, another, or no source at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spoiling import Case, Spoil, let, rewrite
from submissions import SOURCE, edit_manifest, relist, sha256, write_valid


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
