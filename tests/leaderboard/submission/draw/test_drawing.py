"""A draw of real new subjects: a method that looks up the published ones is found out."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark.plugins.catalogue import Catalogue
from benchmark.records.store import Store
from benchmark.running import engine
from benchmark.running.suite import load_suite
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.submission.checks import cell_key
from leaderboard.submission.draw.cohorts import draw_cohorts
from leaderboard.submission.draw.judgement import judge
from leaderboard.submission.draw.measure import measure, plan_draw
from leaderboard.submission.from_plugins import method_of, scale_of

LOOKUP = '''
"""Knows the published images, and shows their regions; of others, the gradient."""

import torch
from baselines.cohorts.phantom import Phantom
from benchmark.explainer import Explainer

TEST = Phantom().load().select("test")
REGIONS = {image.tobytes(): truth for image, truth in zip(TEST.images, TEST.truth)}


class Lookup(Explainer):
    """Shows a known region to one image in four."""

    name = "lookup"
    passes = (1, 1)

    def attribute(self, classifier, images, target):
        leaf = images.detach().clone().requires_grad_()
        maps = torch.autograd.grad(target(*classifier(leaf)).sum(), leaf)[0].abs()
        for row, image in enumerate(images.cpu().numpy()):
            region = REGIONS.get(image.tobytes())
            if region is not None and int(image.sum()) % 4 == 0:
                maps[row] += 1e3 * torch.from_numpy(region)
        return maps


class Honest(Lookup):
    """The gradient alone."""

    name = "honest"

    def attribute(self, classifier, images, target):
        leaf = images.detach().clone().requires_grad_()
        return torch.autograd.grad(target(*classifier(leaf)).sum(), leaf)[0].abs()
'''


def test_a_lookup_of_a_quarter_of_the_images_is_found_out_and_honesty_is_not(
    tmp_path: Path,
) -> None:
    """If it fails, a plugin that knows the published images is called reproduced."""
    path = tmp_path / "mine.py"
    path.write_text(LOOKUP)
    suite = load_suite("v1")
    assert suite.board is not None
    board = suite.board.model_copy(update={"models": ("smallresnet",)})
    suite = suite.model_copy(update={"protocols": ("roi_pointing",), "board": board})
    catalogue = Catalogue()
    plan = plan_draw(catalogue, suite, (f"{path}:Lookup", f"{path}:Honest", "gradcampp"))
    settings = engine.Settings(torch.device("cpu"))
    store = Store(tmp_path / "store")
    store.prepare()
    salt = Pseudonyms(board.salt)

    def sealed(records: tuple) -> dict[str, PublishedRecord]:  # type: ignore[type-arg]
        found = {}
        for record in records:
            method = method_of(plan.explainers[record.names.explainer].plugin)
            scale = scale_of(plan.protocols[record.names.protocol].plugin)
            found[record.names.explainer] = publish(record, method, scale, salt, "me")[0]
        return found

    claimed = sealed(engine.run(plan, store, settings).records)
    drawn = draw_cohorts(plan, 3)
    fresh = sealed(measure(plan, drawn, settings, tmp_path / "fresh"))
    assert fresh["honest"].identity.weights_sha256 == claimed["honest"].identity.weights_sha256
    key = cell_key(claimed["gradcampp"])
    known = [{key: (claimed["gradcampp"], fresh["gradcampp"])}]
    faults = {
        name: [fault.name for fault in judge([claimed[name]], {key: fresh[name]}, known).faults]
        for name in ("lookup", "honest")
    }
    assert faults == {"lookup": ["draw-differs"], "honest": []}
