"""The device of a run, and the switches that make its arithmetic reproducible."""

from __future__ import annotations

import pytest
import torch
from runs import CPU

from benchmark.errors import DeviceError
from benchmark.records.provenance import collect_provenance
from benchmark.running.device import reproducible, resolve_device


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    for spec in ("cuda", "cuda:0", "gpu", ""):
        with pytest.raises(DeviceError, match="known: auto, cpu"):
            resolve_device(spec)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda:0")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="known: auto, cpu, cuda:0, cuda:1"):
        resolve_device("cuda:2")


def test_provenance_says_that_nothing_rounds_to_tf32_and_the_switches_come_back() -> None:
    """Ten bits of an activation swap the ranks of pixels."""
    before = torch.backends.cudnn.allow_tf32
    with reproducible():
        inside = collect_provenance(CPU, 8)
    assert torch.backends.cudnn.allow_tf32 == before
    assert not inside.tf32
    assert inside.deterministic
    assert inside.packages["torch"]
    assert inside.batch_size == 8
