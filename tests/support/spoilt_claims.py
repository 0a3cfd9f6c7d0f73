"""Submissions whose records or manifest claim what is not so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from spoiling import RECORD, SIDECAR, Case, Spoil, every_score, in_manifest, let, row, sealed
from submissions import Json, lay_out, relist, reseal

from leaderboard.published.fault import plain


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
