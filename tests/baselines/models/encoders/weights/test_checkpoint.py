"""Files of weights: what is read of them, and every way in which one can be broken."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from baselines.models.encoders.weights.checkpoint import read_checkpoint, usable
from benchmark.errors import ClassifierError


class Network(nn.Module):
    """A network that somebody pickled whole."""


class Attack:
    """An object whose unpickling calls a function of the system."""

    def __reduce__(self) -> Any:
        """Return the call."""
        return os.mkdir, ("attacked",)


def tensors() -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.randn(4, 1, 3, 3), "conv.bias": torch.zeros(4)}


def truncated(path: Path) -> None:
    torch.save({f"layer{n}.weight": torch.randn(64, 64) for n in range(8)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def truncated_legacy(path: Path) -> None:
    torch.save(tensors(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-40])


def truncated_safetensors(path: Path) -> None:
    save_file(tensors(), path)
    path.write_bytes(path.read_bytes()[:-40])


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and many files of it are about
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def optimiser(path: Path) -> None:
    network = nn.Linear(2, 2)
    network(torch.zeros(1, 2)).sum().backward()
    adam = torch.optim.Adam(network.parameters())
    adam.step()
    torch.save(adam.state_dict(), path)


def training_without_weights(path: Path) -> None:
    adam = torch.optim.Adam(nn.Linear(2, 2).parameters())
    torch.save({"epoch": 3, "optimizer": adam.state_dict()}, path)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("a.pth", lambda path: None, "cannot be read: No such file"),
    "folder": ("a.pth", lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "pipe": ("a.pth", lambda path: os.mkfifo(path), "is no ordinary file"),
    "empty": ("a.pth", lambda path: path.write_bytes(b""), "are an empty file"),
    "text": ("a.pth", lambda path: path.write_text("weights\n" * 9), "are no checkpoint"),
    "noise": ("a.pt", lambda path: path.write_bytes(bytes(range(256)) * 9), "are no checkpoint"),
    "truncated": ("a.pth", truncated, "cut off or broken"),
    "truncated legacy": ("a.pth", truncated_legacy, "cut off or broken|are no checkpoint"),
    "truncated safetensors": ("a.safetensors", truncated_safetensors, "no complete file"),
    "no safetensors": ("a.safetensors", lambda path: torch.save(tensors(), path), "no complete"),
    "whole network": ("a.pth", lambda path: torch.save(Network(), path), "Python objects"),
    "code": ("a.pth", lambda path: torch.save({"w": Attack()}, path), "would run code"),
    "torchscript": ("a.pt", scripted, "a TorchScript archive"),
    "optimiser": ("a.pth", optimiser, "state of an optimiser"),
    "training": ("a.pth", training_without_weights, "state of an optimiser"),
    "one tensor": ("a.pth", lambda path: torch.save(torch.zeros(3), path), "a single tensor"),
    "list": ("a.pth", lambda path: torch.save([1, 2], path), "no state dict, but a list"),
    "no tensors": ("a.pth", lambda path: torch.save({"epoch": 3}, path), "no tensors; .*epoch"),
    "empty dictionary": ("a.pth", lambda path: torch.save({}, path), "no tensors"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_told_in_one_sentence_and_never_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a user sees a traceback of torch, or code in a file is run."""
    monkeypatch.chdir(tmp_path)
    name, write, message = BROKEN[kind]
    write(tmp_path / name)
    with pytest.raises(ClassifierError, match=message) as caught:
        read_checkpoint(Path(name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    assert not Path("attacked").exists()


def test_weights_are_found_however_deep_they_are_nested(tmp_path: Path) -> None:
    """If it fails, the checkpoint of a training framework has to be unpacked by hand."""
    adam = torch.optim.Adam(nn.Linear(2, 2).parameters())
    training = {"model": {"teacher": tensors()}, "optimizer": adam.state_dict(), "epoch": 3}
    training |= {"optimizer_states": [adam.state_dict()], "args": argparse.Namespace(rate=0.1)}
    torch.save(training, tmp_path / "a.ckpt")
    checkpoint = read_checkpoint(tmp_path / "a.ckpt")
    assert set(checkpoint.tensors) == {"model.teacher.conv.weight", "model.teacher.conv.bias"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    """If it fails, a network in half precision is refused by every layer, or silently cast."""
    strided = torch.randn(3, 4).to(dtype).T
    torch.save({"weight": strided, "count": torch.tensor(3)}, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    weights = usable(checkpoint, checkpoint.tensors)
    assert weights["weight"].dtype == torch.float32
    assert weights["weight"].is_contiguous()
    torch.testing.assert_close(weights["weight"], strided.float())
    assert weights["count"].dtype == torch.int64


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (torch.tensor([1.0, float("nan")]), "1 of 2 tensors .* NaN .* first of them broken"),
        (torch.tensor([float("inf"), 1.0]), "NaN or infinite"),
        (torch.zeros(2, dtype=torch.complex64), "is complex .*but weights are dense"),
        (torch.zeros(2, device="meta"), "on the device 'meta', which keeps shapes and no numbers"),
        (torch.eye(2).to_sparse(), "is sparse_coo"),
    ],
)
def test_what_is_no_usable_number_is_refused(
    broken: torch.Tensor, message: str, tmp_path: Path
) -> None:
    """If it fails, a diverged training is scored, or a sparse layer stops the run."""
    torch.save({"conv": torch.zeros(2), "broken": broken}, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(ClassifierError, match=message):
        usable(checkpoint, checkpoint.tensors)
