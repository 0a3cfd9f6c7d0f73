"""Options that several commands share, each written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

STORE, REPORT = Path("medsanity-runs/store"), Path("medsanity-runs/report")
COHORTS = Path("medsanity-runs/cohort")
EXPERIMENTS = Path("experiments")


class Kinds(StrEnum):
    """Kinds of plugin that can be listed and checked."""

    EXPLAINERS = "explainers"
    MODELS = "models"
    COHORTS = "cohorts"
    PROTOCOLS = "protocols"


class Engines(StrEnum):
    """What can carry out a run."""

    LOCAL = "local"
    RAY = "ray"


COHORT_HELP = "Name, cohort.toml or its folder."
MODEL_HELP = "Name, model.toml, its folder, torchvision.NAME, or path/to/file.py:Class."
Models = Annotated[
    list[str] | None,
    typer.Option(help=f"{MODEL_HELP} Default: the suite's, or the own one of another cohort."),
]
Cohorts = Annotated[list[str] | None, typer.Option(help=f"{COHORT_HELP} Default: the suite's.")]
Protocols = Annotated[list[str] | None, typer.Option(help="Default: the suite's.")]
Model = Annotated[str | None, typer.Option(help=f"{MODEL_HELP} Default: the cohort's.")]
Cohort = Annotated[str | None, typer.Option(help=f"{COHORT_HELP} Default: the model's.")]
NamedCohort = Annotated[str, typer.Argument(help=COHORT_HELP)]
Suite = Annotated[str, typer.Option(help="Version, or path of a .toml file.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images per pass.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes of one thread each. Default: one for each core where several explainers "
        "are named and no GPU is used, else 1; of a Ray cluster, one for each core or GPU.",
    ),
]
Deadline = Annotated[
    float,
    typer.Option(
        min=1, help="Seconds that a cell may take in a worker process; one that takes longer fails."
    ),
]
DEADLINE = 6 * 60 * 60.0  # that of benchmark.running, whose import takes long
Engine = Annotated[
    Engines,
    typer.Option(
        "--engine", help="Processes of this machine, or of a Ray cluster (docs/clusters.md)."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="HOST:PORT of a Ray cluster, or 'auto' on a machine of one. Default: RAY_ADDRESS, "
        "else Ray is started on this machine."
    ),
]
Store = Annotated[Path, typer.Option(help="Where finished cells are kept.")]
Submitter = Annotated[str, typer.Option(help="Who measured.")]
Out = Annotated[Path, typer.Option(help="Folder to write.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the results here.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print results and errors alone: no progress, no notes, no names of written files.",
    ),
]
Experiments = Annotated[
    Path, typer.Option("--experiments", help="Folder with a folder for each experiment.")
]
