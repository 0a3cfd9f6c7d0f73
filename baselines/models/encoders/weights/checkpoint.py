"""Weights in a file, read without running any code that the file may hold."""

from __future__ import annotations

import argparse
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import ClassifierError

_FORBIDDEN = re.compile(r"(?:GLOBAL|global:?|class) ([\w.]+)")
_DEEPEST = 12
# What torch says of a file whose end is missing.
_CUT_OFF = ("central directory", "Ran out of input", "truncated", "Invalid argument")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file.

    Attributes:
        path: Path of the file.
        sha256: SHA-256 of its bytes.
        tensors: Tensors in main memory by name; dots between the levels of nested dictionaries.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor] = field(repr=False)


def read_checkpoint(path: Path, expected_sha256: str | None = None) -> Checkpoint:
    """Return the weights in a file of safetensors, or one that ``torch.save`` wrote.

    The state of optimisers is left out, and so is whatever is no tensor.

    Args:
        path: Path of the file.
        expected_sha256: SHA-256 that a model file names, or None where it takes any file.

    Raises:
        ClassifierError: If the file is missing, broken, holds code, holds no weights, or is
            another than the model file names.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Opening a pipe would wait for whoever writes into it.
        raise ClassifierError(f"The weights {path} cannot be read: it is no ordinary file.")
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ClassifierError(f"The weights {path} cannot be read: {error.strerror}.") from error
    if path.stat().st_size == 0:
        raise ClassifierError(f"The weights {path} are an empty file.")
    if expected_sha256 not in (None, sha256):
        raise ClassifierError(
            f"The weights {path} have SHA-256 {sha256}, but the model file names "
            f"{expected_sha256}: the file has changed since. If that is meant, take sha256 out of "
            "the model file."
        )
    is_safe = path.suffix == ".safetensors"
    loaded = _load_safetensors(path) if is_safe else _load_torch(path)
    if isinstance(loaded, Tensor):
        raise ClassifierError(
            f"The weights {path} hold a single tensor of shape {list(loaded.shape)}, and not the "
            "named tensors of a state dict."
        )
    tensors = dict(_flatten(loaded))
    if not tensors:
        raise ClassifierError(f"The weights {path} hold {_content_without_weights(loaded)}.")
    return Checkpoint(path, sha256, tensors)


def usable(checkpoint: Checkpoint, names: Iterable[str]) -> dict[str, Tensor]:
    """Return tensors by name as a network takes them: contiguous, floating-point ones in float32.

    Raises:
        ClassifierError: If one holds NaN or infinite numbers or none, or is quantised or sparse.
    """
    tensors, broken = {}, []
    for name in names:
        tensor = checkpoint.tensors[name]
        if tensor.is_meta:
            raise ClassifierError(
                f"The tensor {name} of {checkpoint.path} is on the device 'meta', which keeps "
                "shapes and no numbers: save the weights once more after they were loaded."
            )
        if tensor.is_quantized or tensor.layout != torch.strided or tensor.is_complex():
            kind = "complex" if tensor.is_complex() else str(tensor.layout).removeprefix("torch.")
            kind = "quantised" if tensor.is_quantized else kind
            raise ClassifierError(
                f"The tensor {name} of {checkpoint.path} is {kind} ({tensor.dtype}), "
                "but weights are dense numbers in floating point."
            )
        if tensor.is_floating_point():
            tensor = tensor.float()
            if not bool(torch.isfinite(tensor).all()):
                broken.append(name)
        tensors[name] = tensor.contiguous()
    if broken:
        raise ClassifierError(
            f"{len(broken)} of {len(tensors)} tensors of {checkpoint.path} hold NaN or infinite "
            f"numbers, the first of them {broken[0]}; the training has probably diverged."
        )
    return tensors


def _load_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ClassifierError(
            f"The weights {path} are no complete file of safetensors: {str(error).rstrip('.')}."
        ) from error


def _load_torch(path: Path) -> object:
    """Return what ``torch.save`` wrote, as far as it is data."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            # A namespace holds the options of a training; it is data, and many trainings save it.
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of any kind; whatever torch stumbles over
        raise ClassifierError(_why_unreadable(path, str(error))) from error


def _why_unreadable(path: Path, message: str) -> str:
    if "TorchScript" in message:
        return (
            f"The weights {path} are a TorchScript archive, which is code; save the "
            "state_dict() of the network instead."
        )
    if "nsupported" in message and (names := _FORBIDDEN.findall(message)):
        return (
            f"The weights {path} hold Python objects ({names[0]}), not only tensors; unpickling "
            "them would run code, so it is refused. In the environment that wrote the file, save "
            "the state_dict() of the network instead."
        )
    if any(sign in message for sign in _CUT_OFF):
        return f"The weights {path} are cut off or broken: copy the file again."
    first = message.strip().splitlines()[0].rstrip(".") if message.strip() else "nothing is known"
    return (
        f"The weights {path} are no checkpoint that torch.save or safetensors wrote, or a broken "
        f"one ({first[:120]})."
    )


def _flatten(value: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of nested dictionaries by their dotted names, but for optimisers'."""
    if isinstance(value, nn.Module):
        value = value.state_dict()
    if isinstance(value, Tensor):
        yield prefix, value.detach()
    elif isinstance(value, Mapping) and not _is_optimiser(value) and depth < _DEEPEST:
        for name, item in value.items():
            if not str(name).startswith("optim"):
                yield from _flatten(item, f"{prefix}.{name}" if prefix else str(name), depth + 1)


def _is_optimiser(value: Mapping[object, object]) -> bool:
    return "param_groups" in value


def _content_without_weights(loaded: object) -> str:
    if isinstance(loaded, Mapping):
        if any(
            isinstance(item, Mapping) and _is_optimiser(item) for item in (loaded, *loaded.values())
        ):
            return "the state of an optimiser, and no weights of a network"
        names = ", ".join(str(name) for name in list(loaded)[:5])
        return f"no tensors; keys of the file: {names or 'none'}"
    return f"no state dict, but a {type(loaded).__name__}"
