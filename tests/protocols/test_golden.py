"""A score that moves needs a new version of its protocol."""

from __future__ import annotations

import json
from functools import lru_cache

import golden
import numpy as np
import pytest

from benchmark.plugins.catalogue import Catalogue

# A convolution's last bits are the machine's own, and ranks of all but equal pixels turn on them.
_MOVED = 2e-3
_SWAPPED = 0.05  # share of subjects that such a swap may move further


@lru_cache(maxsize=1)
def _now() -> golden.Scores:
    return golden.measure()


@pytest.mark.parametrize("protocol", golden.SPECS)
def test_no_score_moves_without_a_new_version(protocol: str) -> None:
    """If it fails, scores under one version do not compare: raise it, and write golden again."""
    kept, now = json.loads(golden.PATH.read_text("utf-8"))[protocol], _now()[protocol]
    assert kept["version"] == now["version"], "a new version: run tests/support/golden.py"
    for explainer in [one for one in kept if one != "version"]:
        assert kept[explainer].keys() == now[explainer].keys()
        moved = np.abs([now[explainer][key] - value for key, value in kept[explainer].items()])
        assert np.mean(moved > _MOVED) <= _SWAPPED, (explainer, moved.max())


def test_the_golden_scores_are_of_every_protocol() -> None:
    """If it fails, a protocol's scores may move unseen."""
    assert set(Catalogue().protocols.names) == set(golden.SPECS)
