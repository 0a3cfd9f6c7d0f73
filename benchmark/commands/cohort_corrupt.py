"""``cohort corrupt``: clean against corrupted images, as a positive control of one's own."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark import cohort as cohorts
from benchmark.commands import options, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.errors import InputError, StoreError
from benchmark.plugins import catalogue as catalogues
from benchmark.plugins import cohort_checks
from benchmark.records import store as stores
from benchmark.results import finished_maps
from benchmark.running import default_models


class Kind(StrEnum):
    """Kinds of corruption."""

    BLUR = "blur"
    ATTENUATE = "attenuate"
    ZERO = "zero"


def corrupt(
    name: options.NamedCohort,
    out: options.Out,
    kind: Annotated[Kind, typer.Option(help="What is done to the images.")],
    strength: Annotated[
        list[float] | None,
        typer.Option(
            help="Blur: σ in mm; attenuate: share of intensity taken away; zero: none. "
            "Repeatable: one folder each."
        ),
    ] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="X,Y,Z in world mm, centre of a ball; repeatable.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Region of the cohort; repeatable.")
    ] = None,
    random_sites: Annotated[
        int | None, typer.Option(help="Number of balls at random places.")
    ] = None,
    map_of: Annotated[
        str | None, typer.Option(help="Explainer of a finished run: the top of its maps.")
    ] = None,
    radius: Annotated[float | None, typer.Option(help="Radius of the balls in mm.")] = None,
    top: Annotated[
        float | None, typer.Option(help="Share of the foreground at the top of a map, like 0.04.")
    ] = None,
    mean_map: Annotated[
        bool, typer.Option("--mean-map", help="One place for everybody: the top of the mean map.")
    ] = False,
    store: Annotated[
        Path | None, typer.Option(help="Store of that run. [default: medsanity-runs/store]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help=f"Network of that run. {options.MODEL_HELP}")
    ] = None,
    soft_edge: Annotated[
        float, typer.Option(help="Width in mm over which the corruption fades in.")
    ] = 0.0,
    only_group: Annotated[
        str | None, typer.Option(help="Take the images of this group alone.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the draw of subjects, sites and control regions.")
    ] = 0,
    quiet: options.Quiet = False,
) -> None:
    """Corrupt half of a cohort's subjects in known places, and write it as a cohort."""
    with exit_on_error("Stopped before anything was written."):
        places = {"--site": site, "--region": region, "--random-sites": random_sites}
        _check_companions(
            _only_place({**places, "--map-of": map_of}),
            {"--radius": radius, "--top": top},
            {"--mean-map": mean_map or None, "--store": store, "--model": model},
        )
        corruption, files = catalogues.cohort_corruption(), catalogues.corruption_files()
        strengths: list[float | None] = [*strength] if strength else [None]
        kinds = [corruption.Corruption(str(kind), each, soft_edge) for each in strengths]
        if len({each.name for each in kinds}) < len(kinds):
            raise InputError("Expected strengths that differ, got one twice.")
        files.check_target(out)
        catalogue = catalogues.Catalogue()
        entry = catalogue.cohorts.find(name)
        whole = cohort_checks.load_cohort(entry)
        maps: dict[str, object] | None = None
        if map_of is not None:
            run = _Run(name, map_of, model, store or options.STORE, mean_map)
            base, sites, maps = _map_sites(run, catalogue, whole, only_group, (top or 0, seed))
        else:
            base = whole if only_group is None else corruption.only_group(whole, only_group)
            if site:
                sites = corruption.at_points(base, [_point(text) for text in site], radius)
            elif region:
                sites = corruption.in_regions(base, region)
            else:
                sites = corruption.at_random(base, random_sites, radius, seed)
        origin = {"only_group": only_group, "maps": maps}
        made = (corruption.corrupt(base, sites, each, seed) for each in kinds)
        records = files.write_corrupted(made, out, whole, origin)
        trained = default_models.default_model(entry, whole)
        terminal.print_lines(terminal.make_console(quiet=quiet), _summary(records, trained))


@dataclass(frozen=True)
class _Run:
    """The finished run whose maps say where to corrupt, as the command names it."""

    cohort: str
    explainer: str
    model: str | None
    store: Path
    mean_map: bool


def _only_place(places: Mapping[str, object]) -> str:
    """Return the one option that says where the cohort is corrupted."""
    chosen = [key for key, value in places.items() if value not in (None, [])]
    if len(chosen) != 1:
        raise InputError(
            f"Expected one of {', '.join(places)}, to say where the cohort is corrupted; got "
            f"{' and '.join(chosen) or 'none'}."
        )
    return chosen[0]


def _check_companions(
    option: str, needed: Mapping[str, object], optional: Mapping[str, object]
) -> None:
    """Refuse options that mean nothing beside the chosen place, and miss those that it needs."""
    companions = {"--site": "--radius", "--random-sites": "--radius", "--map-of": "--top"}
    own = companions.get(option)
    if own is not None and needed[own] is None:
        meaning = "MM, the radius of the balls" if own == "--radius" else "SHARE, such as 0.04"
        raise InputError(f"{option} needs {own} {meaning}.")
    foreign = [key for key, value in needed.items() if value is not None and key != own]
    if option != "--map-of":
        foreign += [key for key, value in optional.items() if value is not None]
    if foreign:
        raise InputError(f"{foreign[0]} means nothing beside {option}.")


def _point(text: str) -> tuple[float, float, float]:
    """Return a point of the command line."""
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        x = y = z = math.nan
    if not all(map(math.isfinite, (x, y, z))):
        raise InputError(f"Expected --site X,Y,Z in mm, such as 27,-21,-14, got {text!r}.")
    return x, y, z


def _map_sites(
    run: _Run,
    catalogue: catalogues.Catalogue,
    whole: cohorts.Cohort,
    group: str | None,
    top: tuple[float, int],
) -> tuple[Any, Any, dict[str, object]]:
    """Return the cohort to corrupt, the top of the maps in it, and what a record says of them."""
    if not stores.is_store(run.store):
        raise StoreError(f"The folder {run.store} is no store of finished runs.")
    corruption, (share, seed) = catalogues.cohort_corruption(), top
    # Another cohort of that name, such as the one that this was exported from, was not explained.
    named = replace(catalogue.cohorts.find(run.cohort), name=whole.name)
    others = [entry for entry in catalogue.cohorts.entries if entry.name != whole.name]
    catalogue.cohorts.entries = (*others, named)
    explainer = catalogue.explainers.include(run.explainer).name
    model = None if run.model is None else catalogue.models.include(run.model).name
    finished = finished_maps.recall_finished_maps(
        stores.read_records(run.store),
        stores.Store(run.store).arrays,
        catalogue,
        whole,
        explainer,
        model,
    )
    rows, importance = finished.rows, finished.importance
    base = whole if group is None else corruption.only_group(whole, group)
    if group is not None:
        is_kept = whole.groups[rows] == whole.group_names.index(group)
        rows, importance = rows[is_kept], importance[is_kept]
    if not len(rows):
        raise InputError(f"None of the maps is of a subject of group {group!r}.")
    if run.mean_map:
        sites = corruption.at_mean_top(base, whole.take(rows), importance, share, seed)
    else:
        base = corruption.with_maps(whole, rows, seed)
        sites = corruption.at_own_tops(base, importance, share, seed)
    identity = finished.record.identity
    description: dict[str, object] = {
        "explainer": identity.explainer.model_dump(mode="json"),
        "model": finished.record.names.model,
        "weights_sha256": identity.weights_sha256,
        "images": len(rows),
        "splits": "kept" if run.mean_map else "of the images with maps, anew 60/20/20",
    }
    return base, sites, description


def _summary(records: Mapping[Path, Any], model: str) -> Iterator[str]:
    """Yield what was written, and how a model is trained on it."""
    for path, record in records.items():
        result = record["result"]
        counts = result["subjects_by_split"].values()
        clean, damaged = (sum(split[group] for split in counts) for group in ("clean", "corrupted"))
        share = result["share_of_intensity_changed"]["mean"]
        yield (
            f"cohort: {path} ({clean} clean and {damaged} corrupted subjects; "
            f"{share:.2%} of the intensity in the foreground changed)"
        )
        if not result["has_control_region"]:
            yield "warning: the foreground has no room for a control region of the same size."
    some = next(iter(records))
    command = ["train", "--model", model, "--cohort", str(some), "--regime", "full"]
    yield f"train on it: python -m benchmark {shlex.join(command)}"
