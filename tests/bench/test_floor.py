"""Seconds over the floor and growth; run by ``make bench``, skipped by ``make test``.

`one_protocol` says what a floor is. Each measurement is a process of its own on one thread, and
counts processor seconds, so that other users of the machine do not show. ``ratios`` of each test go
into the results, where less is better, and `compare_ratios` holds them against those of earlier.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

# The package that is measured: this one, unless another checkout is named.
CHECKOUT = os.environ.get("CHECKOUT") or str(Path(__file__).resolve().parents[2])
V1 = ("positive_control", "randomization", "roi_pointing", "delta_t", "agreement")
BESIDE = ("group_maps", "biomarker", "edit_reach", "complexity")
V2 = (*V1, "known_source", *BESIDE)
PROTOCOLS = [("v1", name) for name in V1] + [("v2", name) for name in V2]
# Protocols that are asked about as many images as there are, and about a few: `edit_reach` needs
# more training images than the smaller cohort has.
GROWING = [("v1", name) for name in V1]
GROWING += [("v2", name) for name in V2 if name not in ("known_source", "edit_reach")]
# A peak moves by 20 MB from run to run: many further subjects, and chunks of 64 are full at few.
FEW, MANY = 96, 288
SMALL, LARGE = 64, 128


def _measure(*options: str) -> dict[str, Any]:
    """Return what `one_protocol` measures with these options."""
    script = [sys.executable, str(Path(__file__).with_name("one_protocol.py")), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": CHECKOUT}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    numbers: dict[str, Any] = json.loads(done.stdout)
    return numbers


@pytest.mark.parametrize(("suite", "protocol"), PROTOCOLS)
@pytest.mark.parametrize(
    ("network", "explainer"), [("own", "gradcampp"), ("own", "saliency"), ("resnet18", "gradcampp")]
)
def test_a_protocol_over_its_floor(
    benchmark: BenchmarkFixture, suite: str, protocol: str, network: str, explainer: str
) -> None:
    """Report how many times its floor a protocol costs."""
    options = ("--suite", suite, "--protocol", protocol)
    options += ("--network", network, "--explainer", explainer)
    numbers = benchmark.pedantic(lambda: _measure(*options), rounds=1)
    benchmark.extra_info.update(numbers)
    benchmark.extra_info["ratios"] = {"over its floor": numbers["ratio"]}
    sys.stdout.write(
        f"\n{suite} {protocol} × {explainer} on {network}: {numbers['seconds']:.1f} CPU s, "
        f"{numbers['forward']} forward and {numbers['backward']} backward passes, floor "
        f"{numbers['floor']:.1f} s, ratio {numbers['ratio']:.2f}, "
        f"{numbers['peak_megabytes']:.0f} MB\n"
    )


@pytest.mark.parametrize(("suite", "protocol"), GROWING)
def test_growth_with_subjects(benchmark: BenchmarkFixture, suite: str, protocol: str) -> None:
    """Report seconds and megabytes of a further subject, on a generated cohort."""
    options = ("--suite", suite, "--protocol", protocol, "--subjects")
    few, many = benchmark.pedantic(
        lambda: [_measure(*options, str(count)) for count in (FEW, MANY)], rounds=1
    )
    whole, cohort = (
        (many[f"{moment}_megabytes"] - few[f"{moment}_megabytes"]) / (MANY - FEW)
        for moment in ("peak", "resting")
    )
    growth = many["seconds"] / few["seconds"]
    # A test image brings its masks and its image at normal volume, and what is kept of them.
    benchmark.extra_info.update(few=few, many=many, megabytes_per_subject=whole)
    benchmark.extra_info["megabytes_of_cohort_per_subject"] = cohort
    benchmark.extra_info["ratios"] = {"seconds of three times as many subjects": growth}
    sys.stdout.write(
        f"\n{suite} {protocol}, {FEW} → {MANY} subjects: {few['seconds']:.1f} → "
        f"{many['seconds']:.1f} CPU s, {whole:.2f} MB a further subject, of which the cohort "
        f"itself takes {cohort:.2f}\n"
    )


@pytest.mark.parametrize(("suite", "protocol"), GROWING)
def test_growth_with_the_side(benchmark: BenchmarkFixture, suite: str, protocol: str) -> None:
    """Report the seconds over the floor on images of four times the pixels."""
    options = ("--suite", suite, "--protocol", protocol, "--subjects", str(FEW), "--side")
    small, large = benchmark.pedantic(
        lambda: [_measure(*options, str(side)) for side in (SMALL, LARGE)], rounds=1
    )
    growth = large["seconds"] / small["seconds"]
    benchmark.extra_info.update(small=small, large=large)
    benchmark.extra_info["ratios"] = {"seconds of four times the pixels": growth}
    sys.stdout.write(
        f"\n{suite} {protocol}, {SMALL} → {LARGE} pixels a side: {small['seconds']:.1f} → "
        f"{large['seconds']:.1f} CPU s, {small['peak_megabytes']:.0f} → "
        f"{large['peak_megabytes']:.0f} MB\n"
    )
