"""Layer-wise relevance propagation by zennit: a rule for each layer carries the score back.

The network is brought into canonical form first, with batch norm folded, because zennit binds rules
to modules. A shortcut's sum, a reused ReLU or a batch norm without a module of its own passes
relevance on as if it were a gradient. That breaks conservation without a word. A layer that no rule
is known for is refused by name.

The relevance of the output is the target's share of each logit, z_k ∂target/∂z_k, so it sums to
the target. Biases take their share of relevance, as in the paper; with ``bias="none"`` the rules
leave them out, and what reaches the image sums to the target up to the stabiliser.
"""

from __future__ import annotations

from abc import abstractmethod
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines import canonical as forms
from baselines.canonical import CONVOLUTIONS
from baselines.explainers.gradient import per_image
from benchmark.classifier import Classifier
from benchmark.classifier.resizing import carry_back
from benchmark.errors import UnsupportedError
from benchmark.explainer import Explainer
from benchmark.target import Target

if TYPE_CHECKING:
    from zennit.core import Composite, Hook

Bias = Literal["kept", "none"]

# What hands relevance on as its gradient does: winners take all.
_HANDED_ON = (*forms.MAX_POOLS, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU)
_KNOWN_MODULES = (*forms.LINEAR, *_HANDED_ON, *_ACTIVATIONS)
_KNOWN_FUNCTIONS = forms.REARRANGING_FUNCTIONS | {functional.max_pool2d, functional.max_pool3d}

Rules = list[tuple[tuple[type[nn.Module], ...], "Hook"]]


class _Relevance(Explainer):
    """Relevance by the rules that a subclass gives.

    Args:
        bias: Treatment of biases, ``"kept"`` or ``"none"``.
    """

    family = "relevance"
    polarity = "positive"
    passes = (1, 1)
    stabiliser: ClassVar[float] = 1e-6

    def __init__(self, bias: Bias = "kept") -> None:
        self.bias = bias

    @property
    def config(self) -> dict[str, str | int | float]:
        """Stabiliser of denominators, and what becomes of biases."""
        return {"bias": self.bias, "stabiliser": self.stabiliser}

    def supports(self, classifier: Classifier) -> str | None:
        """Return which layer no rule is known for, or None where all have one."""
        try:
            rewritten = forms.canonical(classifier, fold=True)
        except UnsupportedError as error:
            return str(error)
        return forms.why_no_rule(classifier, rewritten, _KNOWN_MODULES, _KNOWN_FUNCTIONS)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the relevance of each pixel [B, 1, *S], summed over channels."""
        rewritten = forms.canonical(classifier, fold=True)
        inputs = classifier.preprocessing(images).detach().requires_grad_()
        classifier.passes.add_forward(len(images))
        classifier.passes.add_backward(len(images))
        with self._composite().context(rewritten) as ruled:
            logits, embedding = ruled.tail(ruled.trunk(inputs))
            outputs, shares = _shares(logits, embedding, target)
            (relevance,) = torch.autograd.grad(outputs, inputs, shares)
        return carry_back(relevance.sum(1, keepdim=True), images.shape[2:])

    def _composite(self) -> Composite:
        from zennit.composites import SpecialFirstLayerMapComposite  # late, as the rules are

        zero, rules = ["bias"] if self.bias == "none" else None, _rules_of_zennit()
        # One input for each output: without a bias there is nothing to divide relevance among.
        affine = rules.Pass() if zero else rules.Epsilon(epsilon=self.stabiliser)
        shared: Rules = [
            (_ACTIVATIONS, rules.Pass()),
            ((forms.Sum, *forms.AVERAGE_POOLS), rules.Norm(stabilizer=self.stabiliser)),
            ((forms.Affine,), affine),
        ]
        first, others = self._rules(zero)
        return SpecialFirstLayerMapComposite(layer_map=shared + others, first_map=first)

    @abstractmethod
    def _rules(self, zero: list[str] | None) -> tuple[Rules, Rules]:
        """Return rules of the first layer, and of all linear ones; ``zero`` is left out."""


class LRPEpsilon(_Relevance):
    """LRP-ε on every layer: what small activations would carry is absorbed.

    ε is a share of the root mean square of a layer's activations, image by image. Where ε is small
    the map of a ReLU network is image × gradient; it is not conserved where ε is large.

    Args:
        epsilon: Size of ε as that share.
    """

    name = "lrp_epsilon"
    paper = "Bach et al. 2015, On pixel-wise explanations by layer-wise relevance propagation"

    def __init__(self, epsilon: float = 0.25, bias: Bias = "kept") -> None:
        super().__init__(bias)
        self.epsilon = epsilon

    @property
    def config(self) -> dict[str, str | int | float]:
        """ε, stabiliser of the other denominators, and what becomes of biases."""
        return {"epsilon": self.epsilon, **super().config}

    def _rules(self, zero: list[str] | None) -> tuple[Rules, Rules]:
        rule = _rules_of_zennit().Epsilon(epsilon=self._absorb, zero_params=zero)
        return [], [((*CONVOLUTIONS, nn.Linear), rule)]

    def _absorb(self, activations: Tensor) -> Tensor:
        spread = activations.flatten(1).square().mean(1).sqrt()
        epsilon = (self.epsilon * spread).clamp_min(self.stabiliser)
        sign = torch.where(activations < 0, -1.0, 1.0).to(activations)
        return activations + sign * per_image(epsilon, activations)


class LRPGamma(_Relevance):
    """LRP-γ on convolutions, which favours positive weights, and LRP-ε on linear layers.

    Args:
        gamma: Weight γ by which positive weights count more.
    """

    name = "lrp_gamma"
    paper = "Montavon et al. 2019, Layer-wise relevance propagation: an overview"

    def __init__(self, gamma: float = 0.25, bias: Bias = "kept") -> None:
        super().__init__(bias)
        self.gamma = gamma

    @property
    def config(self) -> dict[str, str | int | float]:
        """γ, stabiliser of denominators, and what becomes of biases."""
        return {"gamma": self.gamma, **super().config}

    def _rules(self, zero: list[str] | None) -> tuple[Rules, Rules]:
        rules = _rules_of_zennit()
        gamma = rules.Gamma(gamma=self.gamma, stabilizer=self.stabiliser, zero_params=zero)
        epsilon = rules.Epsilon(epsilon=self.stabiliser, zero_params=zero)
        return [], [(CONVOLUTIONS, gamma), ((nn.Linear,), epsilon)]


class LRPComposite(_Relevance):
    """One rule for each height: flat on the first layer, z⁺ on convolutions, ε on linear layers."""

    name = "lrp_composite"
    paper = "Kohlbrenner et al. 2020, Towards best practice in explaining neural network decisions"

    def _rules(self, zero: list[str] | None) -> tuple[Rules, Rules]:
        rules = _rules_of_zennit()
        flat = rules.Flat(stabilizer=self.stabiliser, zero_params=zero)
        plus = rules.ZPlus(stabilizer=self.stabiliser, zero_params=zero)
        epsilon = rules.Epsilon(epsilon=self.stabiliser, zero_params=zero)
        return [((*CONVOLUTIONS, nn.Linear), flat)], [(CONVOLUTIONS, plus), ((nn.Linear,), epsilon)]


def _rules_of_zennit() -> ModuleType:
    """Return zennit's rules; it imports torchvision, which no other run should wait for."""
    from zennit import rules

    return cast("ModuleType", rules)


def _shares(
    logits: Tensor, embedding: Tensor, target: Target
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the outputs that the target depends on, and the relevance that each starts with."""
    outputs = (logits, embedding)
    leaves = tuple(output.detach().requires_grad_() for output in outputs)
    gradients = torch.autograd.grad(target(*leaves).sum(), leaves, allow_unused=True)
    used = [index for index, gradient in enumerate(gradients) if gradient is not None]
    shares = tuple(leaves[index].detach() * gradients[index] for index in used)
    return tuple(outputs[index] for index in used), shares
