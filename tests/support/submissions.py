"""A small submission that is right in everything, and ways to spoil a copy of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runs import PROVENANCE, RESOURCES, build_record

from benchmark.reading import Reading, find
from benchmark.records.identity import PluginIdentity, canonical_json, sha256_of
from benchmark.records.record import Outcome, Record
from leaderboard.published.fault import Fault
from leaderboard.published.fields import Method, Scale
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import PublishedRecord, publish, rows_of
from leaderboard.published.sidecar import pack, unpack
from leaderboard.submission.bundle import make_bundle, open_bundle
from leaderboard.submission.checks import Standard, expectations_of, verify
from leaderboard.submission.manifest import MANIFEST, Manifest
from leaderboard.submission.screening import screen

Json = dict[str, Any]

PROTOCOLS = ("loading", "second")
FOLDER = "records/tiny/tiny_model/mine"
FIRST = f"{FOLDER}/{PROTOCOLS[0]}"
SOURCE = b"from benchmark.explainer import Explainer\n\n\nclass Mine(Explainer):\n    pass\n"
VALUES = (0.5, 0.25, 0.375, 0.75)
METHOD = Method(title="Mine", family="other", paper="", control=False, polarity="positive")
SCALE = Scale(
    question="Is the truth loaded?",
    statistic="share",
    direction="higher",
    aggregate="mean",
    gate=False,
    truth_leads=True,
    margin=0.2,
    tolerance=1e-6,
    device_tolerance=1e-2,
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def judge(readings: Sequence[Reading]) -> tuple[str, str | None]:
    """Pass whoever has an excess."""
    excess = find(readings, "excess")
    assert excess is not None
    return "scored", "pass" if excess.values.mean() > 0 else "fail"


def build_published(
    protocol: str, source: bytes = SOURCE, explainer: str = "mine", scale: Scale = SCALE
) -> tuple[PublishedRecord, bytes | None]:
    """Return a published record of a plugin in a file, and its sidecar."""
    drawn = build_record(explainer, VALUES, protocol=protocol)
    own = PluginIdentity(name=explainer, version="1.0", config={}, source_sha256=sha256(source))
    identity = drawn.identity.model_copy(update={"explainer": own})
    outcome = Outcome(drawn.state, drawn.reason, drawn.verdict, drawn.to_readings())
    record = Record.seal(identity, drawn.names, outcome, PROVENANCE, RESOURCES)
    method = METHOD.model_copy(update={"title": explainer.title()})
    return publish(record, method, scale, Pseudonyms("salt"), "Someone")


def write_valid(folder: Path, source: bytes = SOURCE) -> Path:
    """Write the bundle that is right in everything."""
    manifest = Manifest.of(
        suite="test",
        suite_sha256="5" * 64,
        title="Mine",
        explainer="mine",
        class_name="Mine",
        source="mine.py",
        source_sha256=sha256(source),
        submitter="Someone",
        files={},
    )
    return make_bundle(
        folder, manifest, [build_published(one, source) for one in PROTOCOLS], source
    )


def build_standard() -> Standard:
    """Return what a verifier of it knows, going by the records of ``random``."""
    controls = [build_published(one, explainer="random")[0] for one in PROTOCOLS]
    cells = {
        place: replace(one, judge=judge)
        for place, one in expectations_of(controls, "random").items()
    }
    return Standard("test", "5" * 64, cells, frozenset({"gradcam", "random"}), tuple(controls))


def faults_of(folder: Path, workspace: Path, standard: Standard) -> list[Fault]:
    """Return every fault that is found without running anything."""
    bundle, faults = open_bundle(folder, workspace)
    if bundle is None:
        return faults
    faults += verify(bundle, standard)
    return [*faults, *screen(bundle.source, f"source/{bundle.manifest.source}")]


def relist(folder: Path) -> None:
    """Let the manifest list what is there, as a careful forger would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def lay_out(fields: Json) -> str:
    """Return the text of a record's fields as records are written."""
    rows = ",\n".join(f"  {canonical_json(row)}" for row in fields["scores"])
    lines = []
    for name, value in fields.items():
        text = (f"[\n{rows}\n ]" if rows else "[]") if name == "scores" else canonical_json(value)
        lines.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def reseal(fields: Json) -> Json:
    """Compute both hashes of a record again."""
    fields["identity_sha256"] = sha256_of(fields["identity"])
    fields["checksum"] = sha256_of({key: one for key, one in fields.items() if key != "checksum"})
    return fields


def edit_record(folder: Path, change: Callable[[Json], object], name: str = FIRST) -> None:
    """Change a record's fields, seal it again and list it again: nothing shows on the surface."""
    path = folder / f"{name}.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(lay_out(reseal(fields)))
    relist(folder)


def edit_all(folder: Path, change: Callable[[Json], object]) -> None:
    """Change all records alike."""
    for name in PROTOCOLS:
        edit_record(folder, change, f"{FOLDER}/{name}")


def edit_manifest(folder: Path, change: Callable[[Json], object]) -> None:
    """Change the manifest's fields."""
    fields = json.loads((folder / MANIFEST).read_text())
    change(fields)
    if isinstance(fields.get("files"), dict):
        fields["files"] = dict(sorted(fields["files"].items()))
    (folder / MANIFEST).write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n")


def replace_sidecar(folder: Path, content: bytes, name: str = FIRST) -> None:
    """Put another sidecar in place, sealed in its record."""
    (folder / f"{name}.readings").write_bytes(content)
    seal = {"sha256": sha256(content), "bytes": len(content)}
    edit_record(folder, lambda fields: fields.update(readings=seal), name)


def forge(folder: Path, change: Callable[[Reading], Reading], name: str = FIRST) -> None:
    """Change readings and scores alike, and seal and list both: what is left contradicts nothing.

    Args:
        folder: Of the bundle.
        change: Takes each reading of the sidecar to what the forger wants.
        name: Of the record.
    """
    path = folder / f"{name}.readings"
    readings = [change(one) for one in unpack(path.read_bytes(), "the sidecar")]
    score = find(readings, SCALE.statistic)
    assert score is not None
    rows = [list(one) for one in rows_of(score)]
    replace_sidecar(folder, pack(readings), name)
    edit_record(folder, lambda fields: fields.update(scores=rows), name)


def inflate(reading: Reading) -> Reading:
    """Return a score that is better than what was measured."""
    if reading.statistic != SCALE.statistic:
        return reading
    return replace(reading, values=reading.values * 1.01)


def tree(folder: Path) -> dict[str, str]:
    """Return what lies below a folder, with hashes."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def copy(bundle: Path, to: Path) -> Path:
    """Return a copy of a bundle to spoil."""
    return Path(shutil.copytree(bundle, to))
