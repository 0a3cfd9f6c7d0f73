"""Explains a few test images outside of any protocol, without access to the truth.

``verify`` runs this file in a process of its own, and compares the maps with those that the same
plugin made under a protocol.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmark.explainer import why_unsupported
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.running.allocator import tune_allocator
from benchmark.running.device import reproducible, resolve_device
from benchmark.running.plan import make_plan
from benchmark.running.suite import Selection, load_suite
from benchmark.target import own_margin


def explain(spec: str, suite: str, device: str, rows: Sequence[int], out: Path) -> None:
    """Write the maps [n, 1, *S] of the test images in ``rows``, where the model is supported.

    ``spec`` is the plugin's path and class, and the suite has one cohort and one model.
    """
    plan = make_plan(Catalogue(), load_suite(suite), Selection((spec,)))
    (cohort_entry,), (model_entry,) = plan.cohorts.values(), plan.models.values()
    (entry,) = plan.explainers.values()
    explainer, cohort, source = entry.create(), cohort_entry.create().load(), model_entry.create()
    torch_device = resolve_device(device)
    with reproducible():
        classifier = load_fitted(source, cohort, torch_device)
        test = cohort.select("test")
        if why_unsupported(explainer, classifier, has_truth=False) is not None:
            return
        images = test.batch(np.array(rows), torch_device).images
        # The explainer first meets another model, so that a map which it keeps by its image is
        # that model's, and differs.
        for model in (classifier.randomised(1, images), classifier):
            maps = []
            for row in rows:
                batch = test.batch(np.array([row]), torch_device)
                everywhere = torch.ones_like(batch.foreground)
                batch = replace(batch, truth=None, change=None, regions=None, foreground=everywhere)
                if explainer.needs_references:
                    references = replace(cohort.references, regions=None)
                    batch = replace(batch, references=references.to(torch_device))
                maps.append(explainer(model, batch, own_margin(int(test.groups[row]))).cpu())
    with out.open("wb") as file:
        np.savez(file, maps=torch.cat(maps).numpy())


if __name__ == "__main__":
    tune_allocator()
    _spec, _suite, _device, _rows, _out = sys.argv[1:]
    explain(_spec, _suite, _device, [int(row) for row in _rows.split(",")], Path(_out))
