"""Writes the report of a run: a page, a table, figures and maps, all of them or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import InputError, StoreError
from benchmark.records.storage.finished import FinishedCell
from benchmark.report import webpage
from benchmark.report.digest import report_digest
from benchmark.report.file_names import FileNames
from benchmark.report.folder import is_complete, read_marker, replace_folder
from benchmark.report.sections import build_section
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.lookup import Protocols
from benchmark.results.result import Result
from benchmark.results.summary import summarise_records
from benchmark.results.table import statistics_csv, to_csv


def write_report(
    folder: Path,
    records: Sequence[FinishedCell],
    explained_models: Sequence[ExplainedModel],
    protocols: Protocols,
) -> Path:
    """Write index.html, tables, figures and maps; nothing is done if they are there already.

    Everything is made in a temporary folder beside ``folder``, which then takes its place.

    Args:
        folder: New, empty, or an earlier report.
        records: Records of any models and cohorts; at least one.
        explained_models: Maps and outputs of those models that have some at hand.
        protocols: Protocols of the records.

    Returns:
        Path of the page.

    Raises:
        InputError: If there are no records.
        UnknownNameError: If a record's protocol is not among ``protocols``.
        StoreError: If the folder holds anything but a report, or cannot be written.
    """
    if not records:
        raise InputError("There are no records to report.")
    try:
        target = Path(folder).resolve()
        marker = read_marker(target)
        digest = report_digest(records, explained_models, protocols)
        if marker is None or not is_complete(target, marker, digest):
            with replace_folder(target, digest) as new:
                _render(new, records, explained_models, protocols)
    except OSError as error:
        raise StoreError(
            f"The report cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return Path(folder) / "index.html"


def check_folder(folder: Path) -> None:
    """Refuse a folder that a report cannot take the place of, before anything is computed for it.

    Raises:
        StoreError: If it is a file, or holds what no report wrote.
    """
    read_marker(Path(folder).resolve())


def _render(
    folder: Path,
    records: Sequence[FinishedCell],
    explained_models: Sequence[ExplainedModel],
    protocols: Protocols,
) -> None:
    results = summarise_records(records, protocols)
    (folder / "summary.csv").write_text(to_csv(results), encoding="utf-8")
    (folder / "statistics.csv").write_text(statistics_csv(results), encoding="utf-8")
    for name in ("figures", "maps"):
        (folder / name).mkdir()
    groups: dict[tuple[str, ...], list[tuple[FinishedCell, Result]]] = {}
    for record, result in zip(records, results, strict=True):
        identity = record.identity
        group = (identity.cohort_fingerprint, *identity.network, identity.suite)
        groups.setdefault((result.cohort, result.model, *group), []).append((record, result))
    # Two models of one name: nothing says whose the maps are, so the page shows neither's.
    models_called = Counter(key[:2] for key in {key[:5] for key in groups})
    explained_of = {(model.cohort.name, model.model): model for model in explained_models}
    file_names = FileNames()
    sections = []
    for key, pairs in groups.items():
        explained = explained_of.get((key[0], key[1])) if models_called[key[:2]] == 1 else None
        sections.append(build_section(folder, file_names, pairs, explained, protocols))
    page = webpage.render_page(sections, protocols)
    (folder / "index.html").write_text(page, encoding="utf-8")
