"""Which tensors of a file are which weights of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from baselines.models.encoders.weights.naming import Naming, namings_of

# Of two copies of a network in one file, that which followed the other is used second.
FOLLOWERS = ("encoder_k", "momentum", "target", "student")
_OPTIONAL = "num_batches_tracked"
_TAIL = "classifier."
_SAMPLES = 8


@dataclass(frozen=True)
class Match:
    """How the tensors of a file fit a network.

    Attributes:
        prefix: Text before each name in the file, with the dot at its end.
        label: Kind of names that the file uses.
        used: Name in the file by name in the network.
        missing: Names that the file lacks, of layers before the head.
        unexpected: Names in the file that look like the network's layers, which it has not.
        misshapen: Names in the file whose tensor has another shape than the network's weight.
        without: Names in the network of layers between its feature maps and the last one that the
            file lacks, as where an encoder was saved without its classifier.
        head: Name in the network of the head's weight, where the file has it.
        left_over: Names in the file that belong to nothing of the network.
    """

    prefix: str
    label: str
    used: Mapping[str, str] = field(repr=False)
    missing: tuple[str, ...] = field(repr=False)
    unexpected: tuple[str, ...] = field(repr=False)
    misshapen: tuple[str, ...] = field(repr=False)
    without: tuple[str, ...] = field(repr=False)
    head: str | None
    left_over: tuple[str, ...] = field(repr=False)

    @property
    def faults(self) -> int:
        """Number of tensors that keep the file from fitting the network."""
        return len(self.missing) + len(self.unexpected) + len(self.misshapen)

    @property
    def rank(self) -> tuple[object, ...]:
        """Key that sorts the best match first."""
        follows = sum(word in self.prefix for word in FOLLOWERS)
        return self.faults, -len(self.used), follows, self.prefix.count("."), self.prefix


def last_linear(network: nn.Module) -> str | None:
    """Return the name of the last linear layer, a classifier's head; None where there is none.

    A plain sequence has a head only if it ends with one: its linear layers may belong to blocks.
    """
    children = list(network.named_children())
    if isinstance(network, nn.Sequential):
        return children[-1][0] if children and isinstance(children[-1][1], nn.Linear) else None
    if (parts := dict(children)).keys() >= {"trunk"}:
        network = parts.get("head", nn.Identity())
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    if not names:
        return None
    return ".".join(filter(None, ["head" if "trunk" in parts else "", names[-1]]))


def match_weights(
    network: nn.Module, tensors: Mapping[str, Tensor], prefix: str | None = None
) -> Match:
    """Return how a file's tensors fit a network best.

    Args:
        network: Network, on the meta device or any other.
        tensors: Tensors of the file by name.
        prefix: Text before each name in the file; whatever fits best unless given.
    """
    return min(_matches(network, tensors, prefix), key=lambda match: match.rank)


def other_copies(network: nn.Module, tensors: Mapping[str, Tensor], match: Match) -> list[str]:
    """Return the prefixes of further copies of the network in the file."""
    others = _matches(network, tensors, None)
    kind = (match.label, 0)
    prefixes = {other.prefix for other in others if (other.label, other.faults) == kind}
    return sorted(prefixes - {match.prefix})


def _matches(
    network: nn.Module, tensors: Mapping[str, Tensor], prefix: str | None
) -> Iterator[Match]:
    weights, head = network.state_dict(), last_linear(network)
    for naming in namings_of(network):
        prefixes = [prefix] if prefix is not None else _prefixes(naming, tensors)
        for each in prefixes:
            yield _match(weights, head, naming, tensors, each)


def _prefixes(naming: Naming, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return what may stand in the file before a network's names: where most samples are found.

    A name such as ``conv1.weight`` is the end of many others, but not together with the rest.
    """
    names = list(naming.names.values())
    samples = names[:: max(1, len(names) // _SAMPLES)]
    prefixes = {
        name.removesuffix(sample)
        for sample in samples
        for name in tensors
        if name == sample or name.endswith(f".{sample}")
    }
    hits = {prefix: sum(prefix + name in tensors for name in samples) for prefix in prefixes}
    most = max(hits.values(), default=0)
    return sorted(prefix for prefix, count in hits.items() if 2 * count > most) or [""]


def _match(
    weights: Mapping[str, Tensor],
    head: str | None,
    naming: Naming,
    tensors: Mapping[str, Tensor],
    prefix: str,
) -> Match:
    used: dict[str, str] = {}
    missing, misshapen, without = [], [], []
    for name, shape in ((name, tensor.shape) for name, tensor in weights.items()):
        in_head = head is not None and name.startswith(f"{head}.")
        in_file = prefix + naming.names[name] if name in naming.names else ""
        if in_file in tensors:
            theirs = tensors[in_file].shape
            # A head may have any number of classes.
            if theirs == shape or (in_head and theirs[1:] == shape[1:]):
                used[name] = in_file
            elif not in_head:
                misshapen.append(in_file)
        elif name.startswith(_TAIL) and not in_head:
            without.append(name)
        elif not in_head and not name.endswith(_OPTIONAL):
            missing.append(in_file or name)
    if without:  # the head reads what these layers give
        used = {name: file for name, file in used.items() if not name.startswith(_TAIL)}
    weight = f"{head}.weight"
    known = {*used.values(), *misshapen}
    left_over = [name for name in tensors if name not in known]
    unexpected = _unexpected(naming, head, left_over, prefix)
    return Match(
        prefix,
        naming.label,
        used,
        tuple(missing),
        tuple(unexpected),
        tuple(misshapen),
        tuple(without),
        weight if weight in used else None,
        tuple(name for name in left_over if name not in set(unexpected)),
    )


def _unexpected(
    naming: Naming, head: str | None, left_over: Sequence[str], prefix: str
) -> list[str]:
    """Return what is left over within a network's layers, as of a deeper network."""
    body = {
        file.partition(".")[0]
        for name, file in naming.names.items()
        if not name.startswith((f"{head}.", _TAIL))
    }
    inside = [name for name in left_over if name.startswith(prefix)]
    return [
        name
        for name in inside
        if name.removeprefix(prefix).partition(".")[0] in body
        and not name.endswith(("relative_position_index", "attn_mask", _OPTIONAL))
    ]
