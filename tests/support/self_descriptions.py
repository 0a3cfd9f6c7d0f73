"""Bundles that are whole and agree with themselves, but say of themselves what cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from submissions import Json, edit_all, edit_manifest, write_valid

Case = tuple[str, str, Callable[[Path], object]]

# What a reader does not see: directions, joiners, a soft hyphen, fillers and selectors.
INVISIBLE = (
    *("\u061c", "\u200b", "\u200d", "\u200e", "\u200f", "\u202a", "\u202d", "\u202e", "\u2066"),
    *("\u2069", "\u2028", "\u2029", "\u00ad", "\u2060", "\ufeff", "\u034f", "\u115f", "\u3164"),
    *("\uffa0", "\ufe0f", "\u180e", "\u2800", "\U000e0041", "\U000e0101"),
)
SPACES = ("\u00a0", "\u2003", "\u3000", "\u202f")
VERSIONS = (
    "",
    "one",
    "-1",
    "1.",
    "1" * 9,
    "1." * 5 + "1",
    "1.0 beta",
    "1.0\n",
    "1.0" + "a" * 30,
    "１",
)
DATES = (
    *("1970-01-01T00:00:00Z", "2026-11-22T23:59:59Z", "2099-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "2027-02-30T12:00:00Z", "2026-13-01T00:00:00Z"),
    *("2026-12-01T25:00:00Z", "0000-00-00T00:00:00Z"),
)
COSTS = {"seconds": 1e7, "forward": 10**13, "backward": 10**13, "peak_memory_bytes": 2**51}
DEVICES = ("con", "PRN", "aux", "Nul", "com1", "LPT9", "nul.x", "mine.")


def told(*path: str, value: object) -> Callable[[Path], object]:
    """Return what changes one field of all records."""

    def change(fields: Json) -> None:
        inner: Any = fields
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return lambda folder: edit_all(folder, change)


def titled(title: str) -> Callable[[Path], object]:
    """Return what changes the title, in the manifest and in all records."""

    def spoil(folder: Path) -> None:
        told("method", "title", value=title)(folder)
        edit_manifest(folder, lambda fields: fields.update(title=title))

    return spoil


def submitted(submitter: str) -> Callable[[Path], object]:
    """Return what changes the submitter, in the manifest and in all records."""

    def spoil(folder: Path) -> None:
        told("submitter", value=submitter)(folder)
        edit_manifest(folder, lambda fields: fields.update(submitter=submitter))

    return spoil


def cases() -> Iterator[Case]:
    """Yield name, expected fault and spoiler of each bundle."""
    for character in INVISIBLE:
        code, text = f"U+{ord(character):04X}", f"Mi{character}ne"
        yield f"title with {code}", "hidden-character", titled(text)
        yield (
            f"platform with {code}",
            "hidden-character",
            told("provenance", "platform", value=text),
        )
        yield f"paper with {code}", "hidden-character", told("method", "paper", value=text)
        yield (
            f"setting with {code}",
            "hidden-character",
            told("identity", "explainer", "config", value={text: 1}),
        )
        source = f'"""Maps{character}."""\n'.encode()
        yield f"source with {code}", "hidden-character", lambda f, s=source: write_valid(f, s)
    for space in SPACES:
        name = f"U+{ord(space):04X}"
        yield f"title with {name}", "hidden-character", titled(f"Mi{space}ne")
        yield f"submitter with {name}", "hidden-character", submitted(f"Some{space}one")
    for title, fault in (
        ("Rand0m", "look-alike"),
        ("GradCАM", "look-alike"),
        ("ᏀᎡᎪᎠᏟᎪᎷ", "look-alike"),
        ("Grad-CАMs", "mixed-script"),
        ("Audited", "reserved-name"),
        ("all", "reserved-name"),
        ("L0ading", "reserved-name"),
        ("tiny_mode1", "reserved-name"),
    ):
        yield f"title {title}", fault, titled(title)
    for submitter, fault in (
        ("medsanity", "reserved-name"),
        ("The MedSanity Team", "reserved-name"),
        ("rnedsanity", "reserved-name"),
        ("Sоmeоne", "mixed-script"),
    ):
        yield f"submitter {submitter}", fault, submitted(submitter)
    for family in ("", "control", "Gradient", "best", "gradient ", "x" * 400):
        yield f"family {family[:9]!r}", "unknown-family", told("method", "family", value=family)
    for version in VERSIONS:
        wrong = told("identity", "explainer", "version", value=version)
        yield f"version {version[:9]!r}", "odd-version", wrong
        python = told("provenance", "python", value=version)
        yield f"Python {version[:9]!r}", "odd-version", python
        packages = told("provenance", "packages", value={"torch": version})
        yield f"torch {version[:9]!r}", "odd-version", packages
    many = {f"package{number}": None for number in range(65)}
    yield "65 packages", "odd-version", told("provenance", "packages", value=many)
    for date in DATES:
        yield f"measured at {date}", "odd-date", told("created", value=date)
    for key, cost in COSTS.items():
        yield f"{cost:g} {key}", "odd-cost", told("resources", key, value=cost)
    for key in ("batch_size", "threads"):
        yield f"many {key}", "odd-cost", told("provenance", key, value=2**17)
    for device in DEVICES:
        path = f"records/{device}/x.json"
        yield (
            f"file {device} listed",
            "reserved-name",
            lambda f, p=path: edit_manifest(f, lambda all_: all_["files"].update({p: "0" * 64})),
        )
        yield f"file {device}", "reserved-name", lambda f, p=path: _add(f / p)
        yield (
            f"method {device}",
            "reserved-name",
            lambda f, n=device: edit_manifest(f, lambda all_: all_.update(explainer=n)),
        )
    yield (
        "source aux.py",
        "reserved-name",
        lambda folder: edit_manifest(folder, lambda fields: fields.update(source="aux.py")),
    )


def _add(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("{}")
