"""Measures on committed networks what the specification of `uncertainty` asks for, as tables.

``python tests/support/uncertainty_acceptance.py`` takes half an hour on one core. The tables of
docs/uncertainty.md were made by it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from markdown_output import write_line, write_table

from benchmark.errors import SanityError
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading
from benchmark.trial import Peers, Runtime, Trial
from protocols.uncertainty import Uncertainty, UncertaintyConfig
from protocols.uncertainty.tables import uncertainty_tables

PAIRS = (("smallresnet", "phantom"), ("phantom2_resnet", "phantom2"))
EXPLAINERS = (
    "saliency", "gradcam_aligned", "gradcam", "guided_backprop", "random", "sobel", "intensity",
)  # fmt: skip
FEW = ("saliency", "gradcam_aligned")
VARIANTS = {
    "10 heads": UncertaintyConfig(),
    "20 heads": UncertaintyConfig(count=20),
    "10 heads, true group": UncertaintyConfig(target="true"),
}


def build_trial(model: str, cohort: str, explainer: str, suite: str = "v2") -> Trial:
    """Return the trial of a committed network on a committed cohort."""
    catalogue = Catalogue()
    people = catalogue.cohorts.find(cohort).plugin().load()
    source = catalogue.models.find(model).plugin()
    runtime = Runtime(torch.device("cpu"), suite=suite)
    peers = Peers(weights=source.relatives)
    method = catalogue.explainers.find(explainer).plugin()
    return Trial(method, source.load(people.shape), people, runtime, peers)


def main() -> None:
    """Print the tables of every variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pair", nargs=2, action="append", help="model and cohort; else all")
    parser.add_argument("--explainer", action="append", help="method; several if not given")
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), help="else all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for model, cohort in arguments.pair or PAIRS:
        trial = build_trial(model, cohort, "saliency")
        for variant in arguments.variant or VARIANTS:
            write_line(f"\n## {model} on {cohort}, {variant}\n")
            protocol, measured = Uncertainty(VARIANTS[variant]), {}
            # Acceptance of other settings is about two methods.
            methods = EXPLAINERS if variant == next(iter(VARIANTS)) else FEW
            for name in arguments.explainer or methods:
                readings = _measure(trial, name, protocol)
                if readings:
                    measured[name] = readings
            for table in uncertainty_tables(measured):
                write_table(table)


def _measure(trial: Trial, name: str, protocol: Uncertainty) -> Sequence[Reading]:
    start, method = time.perf_counter(), Catalogue().explainers.find(name).plugin()
    try:
        readings = protocol.readings(trial.on(explainer=method))
    except SanityError as error:
        write_line(f"{name}: {type(error).__name__}, {error}")
        return []
    verdict = protocol.verdict(readings)
    write_line(f"{name}: {verdict.reason}; {time.perf_counter() - start:.0f} s")
    return readings


if __name__ == "__main__":
    main()
