"""Measures the numbers of docs/quantus.md, and can be stopped and resumed at any time.

::

    python tests/support/quantus_page.py measure --out /tmp/quantus --pair phantom:smallresnet
    python tests/support/quantus_page.py table --out /tmp/quantus --pair phantom:smallresnet \
        --board leaderboard/v1/board.json

``measure`` appends a line for every metric and explainer to a file, and skips what stands there.
``table`` prints the page's table, from what there is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmark.errors import SanityError, short_message
from benchmark.plugins.catalogue import Catalogue
from benchmark.protocol import SanityProtocol
from benchmark.reading import find
from benchmark.seeding import global_seed, stream
from benchmark.target import own_margin
from benchmark.trial import Peers, Runtime, Trial
from protocols.guests.network import OwnClassFirst
from protocols.guests.quantus_metric import QuantusProtocol

BLIND = ("random", "sobel", "atlas")
CONTROLS = (*BLIND, "oracle")
NAMES = dict(zip(CONTROLS, ("noise", "edges", "atlas", "truth"), strict=True))
METHODS = (
    "saliency",
    "input_x_gradient",
    "integrated_gradients",
    "guided_backprop",
    "deeplift",
    "lrp_epsilon",
    "gradcam",
    "gradcam_aligned",
    "gradcampp_aligned",
    "layercam_aligned",
)
# Far fewer steps than Quantus takes by default: 37 metrics are asked about 14 maps of each image.
SETTINGS = {
    "nr_runs": 16,
    "nr_samples": 3,
    "nr_steps": 4,
    "regions_evaluation": 9,
    "features_in_step": 1152,
    "n_perturb_samples": 3,
    "samples": 5,
}
OWN_SETTINGS = {
    "quantus:ROAD": {"percentages": [2, 10, 30]},
    "quantus:Selectivity": {"patch_size": 24},
    "quantus:RegionPerturbation": {"patch_size": 24},
    "quantus:Infidelity": {"perturb_patch_sizes": [24]},
}
MATES = 3
RESAMPLES = 2000

Line = dict[str, Any]


def main() -> None:
    """Measure or print, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measure", "table"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pair", default="phantom:smallresnet")
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--board", type=Path)
    parser.add_argument("--metric", action="append", help="of several: only these")
    arguments = parser.parse_args()
    path = arguments.out / f"{arguments.pair.replace(':', '-')}.jsonl"
    if arguments.what == "measure":
        arguments.out.mkdir(parents=True, exist_ok=True)
        chosen = arguments.metric or specs()
        measure(path, chosen, *arguments.pair.split(":"), arguments.subjects)
    else:
        totals = own_totals(arguments.board, arguments.pair.split(":")[1])
        sys.stdout.write("\n".join(table(read(path), totals)) + "\n")


def specs() -> list[str]:
    """Return every metric of both libraries."""
    from quantus.helpers.constants import AVAILABLE_METRICS

    names = [metric.__name__ for each in AVAILABLE_METRICS.values() for metric in each.values()]
    return [*(f"quantus:{name}" for name in names), "captum:infidelity", "captum:sensitivity_max"]


def read(path: Path) -> list[Line]:
    """Return the lines of a file of measurements, but one that was cut off."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def protocol_of(catalogue: Catalogue, spec: str, subjects: int) -> SanityProtocol[Any]:
    """Return a metric with the page's settings."""
    plugin = catalogue.protocols.find(spec).plugin
    known = {name: value for name, value in SETTINGS.items() if name in plugin.Config.model_fields}
    return plugin(plugin.Config(subjects=subjects, **{**known, **OWN_SETTINGS.get(spec, {})}))


def measure(
    path: Path, chosen: Sequence[str], cohort_name: str, model_name: str, subjects: int
) -> None:
    """Measure what the file lacks, metric by metric."""
    torch.set_num_threads(1)
    catalogue, known = Catalogue(), {(line["metric"], line["explainer"]) for line in read(path)}
    cohort = catalogue.cohorts.find(cohort_name).create().load()
    source = catalogue.models.find(model_name).create()
    classifier = source.fit(source.load(cohort.shape), cohort)
    explainers = {name: catalogue.explainers.find(name).create() for name in (*CONTROLS, *METHODS)}
    peers = Peers({"random": explainers["random"]}, references=cohort.references)
    runtime = Runtime(torch.device("cpu"), 64, "v2")
    trial = Trial(explainers["saliency"], classifier, cohort, runtime, peers)
    for spec in chosen:
        protocol = protocol_of(catalogue, spec, subjects)
        for name, explainer in explainers.items():
            if (spec, name) not in known:
                line = measured(protocol, trial.on(explainer=explainer))
                append(path, {"metric": spec, "explainer": name, **line})
        if (spec, "batch") not in known and isinstance(protocol, QuantusProtocol):
            append(path, {"metric": spec, "explainer": "batch", **in_batches(protocol, trial)})


def append(path: Path, line: Line) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def measured(protocol: SanityProtocol[Any], trial: Trial) -> Line:
    """Return the values of the subjects, or why there are none."""
    start = time.perf_counter()
    try:
        reading = find(protocol.readings(trial), "value")
    except (SanityError, RuntimeError) as error:
        return {"values": [], "reason": short_message(error), "seconds": 0.0}
    seconds = round(time.perf_counter() - start, 2)
    if reading is None:
        return {"values": [], "reason": "no reading", "seconds": seconds}
    values = [None if np.isnan(value) else float(value) for value in reading.values]
    direction = protocol.statistic("value").direction
    reason = next(iter(reading.reasons.values()), "")
    return {"values": values, "reason": reason, "seconds": seconds, "direction": direction}


def in_batches(protocol: QuantusProtocol, trial: Trial) -> Line:
    """Return how the value of an image changes with its neighbours, and with their number.

    The image stands first in every batch, and every batch begins with the same seed. Its saliency
    is handed over, and made anew where the metric asks for maps.
    """
    rows = np.flatnonzero(trial.test.groups == 1)[: 1 + 2 * MATES]
    first, others = rows[:1], rows[1:]
    batches = {
        "alone": first,
        "mates": np.concatenate([first, others[:MATES]]),
        "other mates": np.concatenate([first, others[MATES:]]),
    }
    try:
        value = {name: first_value(protocol, trial, chosen) for name, chosen in batches.items()}
    except Exception as error:
        return {"reason": short_message(error)}
    return {"reason": "", **value}


def first_value(protocol: QuantusProtocol, trial: Trial, rows: np.ndarray) -> Any:
    """Return what the metric says of the first of some images of one group in one batch."""
    batch = trial.test.batch(rows, torch.device("cpu"))
    truth = batch.regions if batch.truth is None else batch.truth

    def explain(model: OwnClassFirst, inputs: Any, targets: Any, **_: object) -> Any:
        group = model.group if int(np.ravel(targets)[0]) == 0 else 1 - model.group
        images = torch.as_tensor(inputs, dtype=torch.float32).requires_grad_()
        score = own_margin(group)(*model.classifier(images)).sum()
        return torch.autograd.grad(score, images)[0].numpy()

    maps = trial.maps(rows)
    prepared = maps.abs() if protocol.config.maps == "importance" else maps
    with global_seed(7, torch.device("cpu")), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = protocol.metric(batch.images[0].numel())(
            model=OwnClassFirst(trial.classifier, 1),
            x_batch=batch.images.numpy(),
            y_batch=np.zeros(len(rows), dtype=np.int64),
            a_batch=prepared.numpy(),
            s_batch=None if truth is None else truth.numpy(),
            channel_first=True,
            explain_func=explain,
            device="cpu",
            batch_size=len(rows),
        )
    return of_first(result, len(rows))


def of_first(result: Any, count: int) -> Any:
    """Return the part of a result that belongs to the first image, or to the whole batch."""
    if isinstance(result, Mapping):
        return [of_first(each, count) for each in result.values()]
    values = np.asarray(result, dtype=np.float64)
    if values.ndim == 0:
        return float(values)
    return values[0].tolist() if len(values) == count else values.tolist()


def own_totals(board: Path | None, model: str) -> dict[str, float]:
    """Return the total of each explainer on a board."""
    if board is None:
        return {}
    sections = json.loads(board.read_text("utf-8"))["models"]
    rows = next(section["rows"] for section in sections if section["model"] == model)
    totals = {row["explainer"]: (row["standing"] or {}).get("total") for row in rows}
    return {name: total["estimate"] for name, total in totals.items() if total}


def table(lines: list[Line], totals: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of the page's table."""
    columns = ("metric", *NAMES.values(), "rated wrongly", "batch", "ρ with the total")
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    by_metric: dict[str, dict[str, Line]] = {}
    for line in lines:
        by_metric.setdefault(line["metric"], {})[line["explainer"]] = line
    for metric, own in by_metric.items():
        batch, name_of_metric = batch_word(own.get("batch")), f"`{metric.removeprefix('quantus:')}`"
        values = {
            name: np.array([np.nan if v is None else v for v in line["values"]])
            for name, line in own.items()
            if name != "batch" and any(v is not None for v in line["values"])
        }
        if not set(METHODS) & set(values):
            yield f"| {name_of_metric} | – | – | – | – | no value | {batch} | – |"
            continue
        sign = -1.0 if own["saliency"].get("direction") == "lower" else 1.0
        means = {name: sign * float(np.nanmean(value)) for name, value in values.items()}
        cells = [
            name_of_metric,
            *(count_beaten(name, means) for name in CONTROLS),
            wrongly_rated(means),
            batch,
            rank_correlation(values, sign, totals),
        ]
        yield f"| {' | '.join(cells)} |"


def share_beaten(control: str, means: Mapping[str, float]) -> float | None:
    """Return the share of the methods that a control beats; ties count half."""
    methods = np.array([means[name] for name in METHODS if name in means])
    if control not in means:
        return None
    ties = np.isclose(methods, means[control], rtol=1e-6)
    return float((((means[control] > methods) & ~ties) + 0.5 * ties).mean())


def count_beaten(control: str, means: Mapping[str, float]) -> str:
    """Return how many of the methods a control beats, and of how many where it is not ten."""
    share, count = share_beaten(control, means), len(set(METHODS) & set(means))
    if share is None:
        return "–"
    return f"{share * count:g}" + ("" if count == len(METHODS) else f" of {count}")


def wrongly_rated(means: Mapping[str, float]) -> str:
    """Return the blind maps that beat half of the methods, and the truth if it does not."""
    shares = {name: share_beaten(name, means) for name in CONTROLS}
    wrong = [NAMES[name] for name in BLIND if (shares[name] or 0) >= 0.5]
    truth = shares["oracle"]
    return ", ".join([*wrong, *(["truth"] if truth is not None and truth < 0.5 else [])]) or "none"


def batch_word(line: Line | None) -> str:
    """Return whether an image's value changes with its neighbours, or with their number."""
    if line is None:
        return "–"
    if line["reason"]:
        return "raises"
    alone, mates, others = (line[name] for name in ("alone", "mates", "other mates"))
    if changed(mates, others):
        return "neighbours"
    return "size" if changed(alone, mates) else "no"


def changed(first: Any, second: Any) -> bool:
    """Return whether two values or curves differ by more than rounding."""
    a, b = np.ravel(first).astype(float), np.ravel(second).astype(float)
    return a.shape != b.shape or not np.allclose(a, b, rtol=1e-3, atol=1e-6, equal_nan=True)


def rank_correlation(
    values: Mapping[str, np.ndarray], sign: float, totals: Mapping[str, float]
) -> str:
    """Return Spearman's correlation with the suite's totals, and its interval over subjects."""
    names = [name for name in METHODS if name in values and name in totals]
    if len(names) < 3:
        return "–"
    columns, own = sign * np.stack([values[name] for name in names]), [totals[n] for n in names]
    generator, count = stream("quantus page"), columns.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant metrics, and of subjects without a value
        estimate = spearmanr(np.nanmean(columns, 1), own).statistic
        drawn = [
            spearmanr(np.nanmean(columns[:, generator.integers(count, size=count)], 1), own)[0]
            for _ in range(RESAMPLES)
        ]
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
    if np.isnan(estimate):
        return "all tie"
    return f"{estimate:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")


if __name__ == "__main__":
    main()
