"""Proofs that a network can be scored, made on a few images when it is loaded.

What a protocol or an explainer takes for granted is tried out first: that passes repeat, leave
everything as it was and reach the image with their gradient, and that an image's logits are its
own. The head must give logits, and copies must stand by themselves and compute the same. So a fault
of the network is told of the network, and not of the explainer that happens to meet it. No pass of
a proof is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.classifier.architecture.settings import own_attributes
from benchmark.classifier.network import Classifier
from benchmark.classifier.side_effects import versions, watch
from benchmark.classifier.streamlining import (
    forward,
    output_tolerance,
    rounding_of,
    streamline,
    textured_images,
)
from benchmark.errors import ClassifierError, short_message

__all__ = ["NetworkProofs", "prove"]

T = TypeVar("T")

_OUTPUTS = ("logits", "embeddings")
# Share of the outputs' spread over images that those of an image may move with its batch.
_SAME_ALONE = 1e-2
# The head is also asked for multiples of the embeddings, which logits follow and probabilities not.
_FACTORS = (1.0, -1.0, 1e3, -1e3, 1e6, -1e6)
_SUM_ROUNDING = 1e-4


def prove(classifier: Classifier, images: Tensor) -> tuple[str, ...]:
    """Return remarks on a network that can be scored, and refuse one that cannot.

    Args:
        classifier: Fitted network on the device that it will run on.
        images: A few images [B, 1, *S] of the cohort on that device; they stay as they are.

    Raises:
        ClassifierError: If the network cannot be scored; the message names it and says what to
            change.
    """
    proofs = NetworkProofs(classifier, images)
    remarks = (
        proofs.check_values(),
        proofs.check_traces(),
        proofs.check_repetition(),
        proofs.check_independence(),
        proofs.check_head(),
        proofs.check_gradient(),
        proofs.check_copies(),
        proofs.check_streamlined(),
    )
    return tuple(remark for remark in remarks if remark is not None)


class NetworkProofs:
    """Each check returns a remark or None, and raises ClassifierError as ``prove`` does.

    Args:
        classifier: Network to prove.
        images: A few images [B, 1, *S] on its device.
    """

    def __init__(self, classifier: Classifier, images: Tensor) -> None:
        self._classifier, self._images = classifier, images.detach()
        self._rounding = rounding_of(classifier)

    def check_values(self) -> str | None:
        """Refuse weights that are NaN, and outputs that are not finite."""
        for name, parameter in self._classifier.named_parameters():
            if parameter.isnan().any():
                raise self._fault(
                    f"holds NaN in {name}: the file is damaged, or was saved after training broke "
                    "down"
                )
        for what, values in zip(_OUTPUTS, self._outputs, strict=True):
            if count := int((~values.isfinite()).any(1).sum()):
                raise self._fault(
                    f"gives {what} that are not finite for {count} of {len(values)} images: look "
                    "at its weights, and at `preprocessing`, which is given grey values in [0, 1]"
                )
        return None

    def check_traces(self) -> str | None:
        """Refuse a network that changes images or itself in a pass, or draws at random."""
        _ = self._outputs  # what a network builds in its first pass is no trace of later ones
        _ = self._second_outputs
        return None

    def check_repetition(self) -> str | None:
        """Refuse a network that gives the same images other outputs in a second pass."""
        for what, first, second in zip(_OUTPUTS, self._outputs, self._second_outputs, strict=True):
            difference = float((first - second).abs().max())
            if difference > output_tolerance(first, self._rounding):
                raise self._fault(
                    f"gives the same images other {what} in a second pass, by {difference:.2g}: "
                    "leave out what is random or counts passes in evaluation mode"
                )
        return None

    def check_independence(self) -> str | None:
        """Refuse a network that gives an image other outputs alone than in a batch."""
        single_outputs = self._pass(self._images[:1])
        for what, batch, single in zip(_OUTPUTS, self._outputs, single_outputs, strict=True):
            expected = batch[:1]
            if single.shape != expected.shape:
                raise self._fault(
                    f"gives {what} of shape {list(single.shape)} for a single image, not "
                    f"{list(expected.shape)}: keep the batch's axis, which squeeze() drops"
                )
            difference = float((single - expected).abs().max())
            if difference > output_tolerance(batch, self._rounding, _SAME_ALONE):
                raise self._fault(
                    f"gives an image {what} that depend on its batch; alone they differ by "
                    f"{difference:.2g}: normalise within each image, and keep batch norm in "
                    "evaluation mode"
                )
        return None

    def check_head(self) -> str | None:
        """Remark on a head whose outputs look like probabilities."""
        embeddings = torch.cat([factor * self._outputs[1] for factor in _FACTORS])
        if self._classifier.handling.halved is not None:
            embeddings = embeddings.to(self._classifier.handling.halved)
        with torch.inference_mode(False), torch.no_grad():
            try:
                outputs = self._classifier.head(embeddings).float()
            except (Exception, SystemExit):  # it may take its own embeddings alone
                return None
        outputs = outputs[outputs.isfinite().all(1)]
        if not len(outputs) or (outputs == outputs[:1]).all():
            return None
        if (outputs >= 0).all() and (outputs.sum(1) - 1).abs().max() < _SUM_ROUNDING:
            fault = "sum to one, as probabilities behind a softmax do"
        elif (outputs <= 0).all() and outputs.logsumexp(1).abs().max() < _SUM_ROUNDING:
            fault = "are logarithms of probabilities, as behind a log-softmax"
        elif (outputs >= 0).all() and (outputs <= 1).all():
            fault = "stay between 0 and 1, as probabilities behind a sigmoid do"
        else:
            return None
        return self._remark(
            f"the outputs of its head {fault}, where logits are expected; probabilities saturate, "
            "and with them margins and gradients: let the head end before that layer"
        )

    def check_gradient(self) -> str | None:
        """Refuse a network that cuts off the image; remark on a gradient that says nothing."""
        for rows in (slice(0, 1), slice(None)):
            gradient = self._gradient(self._images[rows])
            if not gradient.isfinite().all():
                return self._remark("the gradient of its logits is not finite on every image")
            if gradient.any():
                return None
        logits = self._outputs[0]
        is_constant = torch.equal(logits, logits[:1].expand_as(logits))
        fault = "every image gets the same logits" if is_constant else "its logits are flat"
        return self._remark(f"{fault}, so no gradient of theirs reaches the image")

    def check_copies(self) -> str | None:
        """Refuse a network whose copies use the original's weights, or compute another thing."""
        if (owner := _unregistered_layers(self._classifier)) is not None:
            raise self._fault(
                f"keeps layers in {owner}, a plain list or table: their weights are in no state "
                "dict, in no identity, and are not randomised; keep them in an nn.ModuleList or "
                "nn.ModuleDict"
            )
        copy = self._classifier.copy()
        with torch.inference_mode(False), torch.no_grad(), _Reads(self._classifier) as reads:
            outputs = self._attempt(lambda: forward(copy, self._images[:1].clone()))
        if reads.met:
            raise self._fault(
                "cannot be copied: a copy still computes with weights of the original, which a "
                "lambda or a closure holds; make its layers attributes of the module that calls "
                "them, so that randomising reaches them"
            )
        for what, expected, values in zip(_OUTPUTS, self._outputs, outputs, strict=True):
            difference = float((values - expected[:1]).abs().max())
            if difference > output_tolerance(expected, self._rounding, _SAME_ALONE):
                raise self._fault(f"cannot be copied: a copy gives other {what}")
        return None

    def check_streamlined(self) -> str | None:
        """Remark on what the fast copy had to give up so that it gives the network's outputs."""
        # One of each, since each costs two passes forward and two back, and two show a spread.
        images = torch.cat([textured_images(self._classifier)[:1], self._images[:1]])
        remark = streamline(self._classifier, images)[1]
        return self._remark(remark) if remark else None

    @cached_property
    def _outputs(self) -> tuple[Tensor, Tensor]:
        """Logits and embeddings of all images."""
        images = self._images.clone()
        with torch.inference_mode(False), torch.no_grad():
            return self._attempt(lambda: forward(self._classifier, images))

    @cached_property
    def _second_outputs(self) -> tuple[Tensor, Tensor]:
        """The same by a second pass."""
        return self._pass(self._images)

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and embeddings, and refuse a pass that leaves a trace."""
        clone = images.clone()
        with torch.inference_mode(False), torch.no_grad(), self._traceless():
            outputs = self._attempt(lambda: forward(self._classifier, clone))
        if not torch.equal(clone, images):
            raise self._fault(
                "changes the images that it is given, as `x -= 0.5` and layers with inplace=True "
                "do: write `x = x - 0.5`, or leave it to Preprocessing(mean=…, std=…)"
            )
        return outputs

    def _gradient(self, images: Tensor) -> Tensor:
        """Return the gradient [B, 1, *S] of the margins with respect to the images."""

        def differentiate() -> Tensor | None:
            margins = forward(self._classifier, leaf.view_as(leaf))[0].diff(dim=1)
            if not margins.requires_grad:
                return None
            return torch.autograd.grad(margins.sum(), leaf, allow_unused=True)[0]

        with torch.inference_mode(False), torch.enable_grad(), self._traceless():
            leaf = images.clone().requires_grad_()
            gradient = self._attempt(differentiate)
        if gradient is None:
            raise self._fault(
                "lets no gradient reach the image: take torch.no_grad(), inference mode and "
                "detach() out of its forward; gradients are turned off elsewhere where none is "
                "needed"
            )
        return gradient

    def _attempt(self, run: Callable[[], T]) -> T:
        try:
            return run()
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit) as error:  # the network's own code; anything may come back
            raise self._fault(
                f"fails on images of the cohort, {list(self._images.shape[1:])} each, on "
                f"{self._images.device.type}: {short_message(error).rstrip('.')}"
            ) from error

    @contextmanager
    def _traceless(self) -> Iterator[None]:
        """Refuse what a pass leaves behind in the network, torch's switches or random states."""
        model = self._classifier
        names = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
        before, buffers = (
            versions(model),
            {name: kept.clone() for name, kept in model.named_buffers()},
        )
        with watch(model) as effects:
            yield
        written = [
            name
            for name, *pair in zip(names, before, versions(model), strict=False)
            if pair[0] != pair[1]
        ]
        written += [
            name
            for name, kept in model.named_buffers()
            if name in buffers and not torch.equal(kept.nan_to_num(), buffers[name].nan_to_num())
        ]
        changes = [*written, *effects.changes]
        if changes:
            change = changes[0].replace("the network's", "its")
            raise self._fault(
                f"changes {change} in a pass: let nothing count, update or switch in evaluation "
                "mode"
            )
        if effects.drew:
            raise self._fault(
                "draws at random in a pass: let nothing random act in evaluation mode, as "
                "F.dropout does without training=self.training"
            )

    def _fault(self, fault: str) -> ClassifierError:
        return ClassifierError(f"Model {self._classifier.name!r} {fault}.")

    def _remark(self, remark: str) -> str:
        return f"Model {self._classifier.name!r}: {remark}."


class _Reads(TorchDispatchMode):
    """Notes whether an operator reads parameters or buffers of a network."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        tensors = (*classifier.parameters(), *classifier.buffers())
        self._storages = {_storage(tensor) for tensor in tensors} - {0}
        self.met = False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401 - the signature is torch's
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        tensors = (value for value in tree_leaves(args) if isinstance(value, Tensor))
        self.met |= any(_storage(tensor) in self._storages for tensor in tensors)
        return func(*args, **(kwargs or {}))


def _unregistered_layers(classifier: Classifier) -> str | None:
    """Return the attribute that holds layers with weights which the network does not know of."""
    registered = {id(values) for values in (*classifier.parameters(), *classifier.buffers())}
    for name, part in classifier.named_modules():
        if isinstance(part, torch.jit.ScriptModule) or part is classifier:
            continue
        for attribute, value in own_attributes(part).items():
            if isinstance(value, dict):
                value = list(value.values())
            for layer in value if isinstance(value, list | tuple) else ():
                if isinstance(layer, nn.Module) and any(
                    id(values) not in registered for values in layer.parameters()
                ):
                    return f"{name}.{attribute}"
    return None


def _storage(tensor: Tensor) -> int:
    """Return the address of a tensor's memory, 0 where it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse tensors, and wrappers around others
        return 0
