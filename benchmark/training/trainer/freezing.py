"""The parts of a network by name: which are free to learn, and a hash of each to prove it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from benchmark.classifier.network import Classifier

Parts = Mapping[str, Mapping[str, Tensor]]


def parts_of(classifier: Classifier) -> Parts:
    """Return parameters and buffers of each part by their full names, from the head to the stem.

    A part is the head, the pool, or a child of the trunk, under its full name, such as
    ``"trunk.layer4"``; a part without tensors is left out. What the trunk holds by itself, such as
    a class token, belongs to the stem.
    """
    children = [f"trunk.{name}" for name, _ in classifier.trunk.named_children()] or ["trunk"]
    tensors = {**dict(classifier.named_parameters()), **dict(classifier.named_buffers())}
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in ("head", "pool", *children[::-1])}
    ownerless = {}
    for name, tensor in tensors.items():
        owner = next((part for part in parts if name.startswith(f"{part}.")), None)
        if owner is None:
            ownerless[name] = tensor
        else:
            parts[owner][name] = tensor
    filled = [part for part in parts if parts[part]]
    stem = filled[-1] if filled[-1:] and filled[-1].startswith("trunk") else children[0]
    parts[stem] |= ownerless
    return {part: members for part, members in parts.items() if members}


def last_stage_of(classifier: Classifier) -> str | None:
    """Return the name of the trunk's last child with weights; None where fewer than two have any.

    A child that holds nothing but vectors, such as the normalisation behind the last block of a
    DenseNet or of a transformer, belongs to the stage before it.
    """
    learnt = {
        part: [tensor for tensor in members.values() if isinstance(tensor, nn.Parameter)]
        for part, members in parts_of(classifier).items()
        if part.startswith("trunk.")
    }
    stages = [part for part, weights in learnt.items() if weights]
    matrices = [part for part in stages if any(tensor.ndim > 1 for tensor in learnt[part])]
    return (matrices or stages)[0] if len(stages) > 1 else None


def hashes_of(parts: Parts) -> dict[str, str]:
    """Return the SHA-256 over names, shapes and bytes of each part's parameters and buffers."""
    hashes = {}
    for part, members in parts.items():
        digest = hashlib.sha256()
        for name, tensor in sorted(members.items()):
            digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
            # As bytes, since NumPy has no bfloat16.
            content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(content.numpy().tobytes())
        hashes[part] = digest.hexdigest()
    return hashes


def set_free(classifier: Classifier, free: Collection[str]) -> None:
    """Let these parts learn, in training mode; all others are frozen, in evaluation mode.

    A layer that a free and a frozen part share stays frozen, so that its running statistics do.
    """
    parts = parts_of(classifier)
    frozen = [part for part in parts if part not in free]
    classifier.train(not frozen)
    classifier.requires_grad_(False)
    for part in free:
        classifier.get_submodule(part).train()
        for tensor in parts[part].values():
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(True)
    for part in frozen:
        classifier.get_submodule(part).eval()
