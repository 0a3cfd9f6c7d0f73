"""DeepLIFT: differences from a baseline, carried back layer by layer.

Captum's rules work on the network's canonical form. In the network itself they raise where a ReLU
works in place or twice, as torchvision's do. Captum's rule for max pooling loses up to half of the
difference where windows overlap or ties decide; here max pooling is a tournament of ReLUs. Batch
norm is folded, which changes nothing: the rule for linear layers sees only their product.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines import canonical as forms
from baselines.explainers.baseline import ComparingExplainer, SingleBaselineExplainer
from baselines.explainers.gradient import Scored, at_once
from benchmark.classifier import Classifier
from benchmark.classifier.batch_norm import BATCH_NORMS
from benchmark.cohort import REFERENCE_IMAGES
from benchmark.errors import UnsupportedError
from benchmark.target import Target

# Captum's rules for what is not linear.
_RULES = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus)
_LINEAR = (*forms.LINEAR, *BATCH_NORMS, forms.PairwiseMax)
# Captum's hooks keep every activation of a pass, which then leaves the caches.
_PAIRS = 16
_POOLING_FUNCTIONS = {functional.avg_pool2d, functional.adaptive_avg_pool2d}
_LINEAR_FUNCTIONS = forms.REARRANGING_FUNCTIONS | _POOLING_FUNCTIONS


class DeepLIFT(SingleBaselineExplainer):
    """DeepLIFT with the rescale rule, by Captum.

    The attributions of an image add up to target(image) − target(baseline).
    """

    name = "deeplift"
    family = "reference difference"
    polarity = "absolute"
    passes = (2, 2)
    paper = "Shrikumar et al. 2017, Learning important features through propagating differences"

    def supports(self, classifier: Classifier) -> str | None:
        """Return which layer has no rule, or None where all have one."""
        try:
            rewritten = forms.canonical(classifier, fold=True, pairs=True)
        except UnsupportedError as error:
            return str(error)
        return forms.why_no_rule(classifier, rewritten, (*_RULES, *_LINEAR), _LINEAR_FUNCTIONS)

    def compare(
        self, classifier: Classifier, images: Tensor, baselines: Tensor, target: Target
    ) -> Tensor:
        """Return the mean over baselines of the contributions; see the base class."""
        from captum.attr import DeepLift  # slow, and the catalogue imports this file

        method = DeepLift(Scored(forms.canonical(classifier, fold=True, pairs=True), target))
        count, size = baselines.shape[1], min(_PAIRS, at_once(images[:1]))
        repeated = images.detach().repeat_interleave(count, 0).split(size)
        maps = []
        with warnings.catch_warnings():
            # Captum warns that it sets hooks on activations, which it removes afterwards.
            warnings.simplefilter("ignore", UserWarning)
            for inputs, others in zip(repeated, baselines.flatten(0, 1).split(size), strict=True):
                maps.append(method.attribute(inputs, others).detach())
        contributions: Tensor = torch.cat(maps).unflatten(0, (-1, count))
        return contributions.mean(1)


class DeepLIFTSHAP(DeepLIFT):
    """The mean of DeepLIFT over the reference group of the training split."""

    name = "deeplift_shap"
    passes = (2 * REFERENCE_IMAGES, 2 * REFERENCE_IMAGES)
    paper = "Lundberg and Lee 2017, A unified approach to interpreting model predictions"

    def __init__(self) -> None:
        ComparingExplainer.__init__(self, "reference")
