"""The members that a prediction and a map are asked of: heads, refits, or draws of dropout."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from benchmark.arrays import FloatArray, Rows
from benchmark.classifier import Classifier
from benchmark.errors import CohortError, NotAssessableError, UnsupportedError
from benchmark.seeding import seed_of, torch_stream
from benchmark.training.probe import logistic_regression, with_head
from benchmark.training.regimes import RegimeRecipe
from benchmark.training.trainer.material import bootstrap_subjects
from benchmark.trial import Memory, Study, Trial
from benchmark.trial.projection.group_axis import embed_split
from benchmark.trial.refits import refit
from protocols.uncertainty.statistics import UncertaintyConfig

NO_TRAINING_SPLIT = "no training split to fit members on"
NO_DROPOUT = "no dropout: the network was trained without a layer that drops anything"

_ACROSS_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


@dataclass(frozen=True)
class Members:
    """Networks that differ by chance, and what they predict.

    Attributes:
        classifiers: M networks.
        probabilities: [M, n, 2] predictions of the n images of a study.
    """

    classifiers: tuple[Classifier, ...]
    probabilities: FloatArray


def members_of(images: Study, config: UncertaintyConfig) -> Members:
    """Return the members of a trial's model, made once for all methods.

    Raises:
        NotAssessableError: If there is no training split to fit members on.
        UnsupportedError: If the network has no dropout, or cannot be trained.
    """
    key = (config.members, config.size, config.epochs)
    return images.shared(("members", key), lambda: _make(images, config))


def _make(images: Study, config: UncertaintyConfig) -> Members:
    trial, numbers = images.trial, range(1, config.size + 1)
    if config.members == "heads":
        return _heads(images, config.size)
    if config.members == "ensemble":
        recipe = RegimeRecipe("full", epochs=config.epochs)
        refits = [refit(trial, replace(recipe, refit=number)) for number in numbers]
        networks = [run.classifier for run in refits]
    else:
        networks = [_thinned(trial, number) for number in numbers]
    logits = np.stack([_logits(trial, network, images.rows) for network in networks])
    return Members(tuple(networks), special.softmax(logits, axis=-1))


def _heads(images: Study, count: int) -> Members:
    """Return the trunk with logistic heads, each fitted on a bootstrap of the training subjects."""
    trial = images.trial
    try:
        train = trial.train
    except CohortError as error:
        raise NotAssessableError(NO_TRAINING_SPLIT) from error
    if len(set(train.groups.tolist())) < 2:
        raise NotAssessableError(NO_TRAINING_SPLIT)
    embeddings, own = embed_split(trial, train), trial.evaluation.embeddings[images.rows]
    by_key = np.argsort(np.array(train.keys))
    networks, logits = [], []
    for number in range(count):
        name = f"{trial.runtime.suite} head {number}"
        rows = bootstrap_subjects(train, by_key, "uncertainty", name)
        weight, bias = logistic_regression(embeddings[rows], train.groups[rows])
        # Half to each class: the margin is the regression's logit, and no class is favoured.
        weights, biases = np.stack([-weight, weight]) / 2, np.array([-bias, bias]) / 2
        head = with_head(trial.classifier, torch.from_numpy(weights), torch.from_numpy(biases))
        networks.append(head)
        logits.append(own @ weights.T + biases)
    return Members(tuple(networks), special.softmax(np.stack(logits), axis=-1))


def _thinned(trial: Trial, number: int) -> Classifier:
    """Return a copy in which the units that dropout drops are drawn once, the same in every pass.

    One draw is a network of its own (Gal & Ghahramani 2016). Were units drawn anew in each pass, a
    method that averages over passes would average over networks.
    """
    network = trial.classifier.copy()
    count = 0
    for name, module in list(network.named_modules()):
        if isinstance(module, (nn.Dropout, *_ACROSS_CHANNELS)) and module.p > 0:
            seed = seed_of(trial.runtime.suite, "dropout", name, number)
            parent = network.get_submodule(name.rpartition(".")[0])
            across = isinstance(module, _ACROSS_CHANNELS)
            setattr(parent, name.rpartition(".")[2], Thinning(module.p, seed, across))
            count += 1
    if not count:
        raise UnsupportedError(NO_DROPOUT)
    network.streamlining = None
    return network.to(trial.classifier.device).eval()


class Thinning(nn.Module):
    """Dropout whose dropped units are named by a seed: the same for every image and pass.

    Args:
        p: Share of units that are dropped.
        seed: Seed of the units.
        across: Whether whole channels are dropped.
    """

    seed: Tensor

    def __init__(self, p: float, seed: int, across: bool) -> None:
        super().__init__()
        self.p, self.across = p, across
        # A buffer, so that members differ in the hash of their weights.
        self.register_buffer("seed", torch.tensor(seed))

    def forward(self, values: Tensor) -> Tensor:
        """Return values [B, ...] with units dropped, and the others scaled up."""
        shape = list(values.shape[1:])
        if self.across:
            shape[1:] = [1] * len(shape[1:])
        generator = torch_stream("units", int(self.seed), *shape)
        kept = torch.rand(shape, generator=generator) >= self.p
        return values * (kept.to(values) / (1 - self.p))


def _logits(trial: Trial, network: Classifier, rows: Rows) -> FloatArray:
    # In a memory of its own, which does not keep a streamlined copy of each member.
    models = replace(trial.models, classifier=network, memory=Memory())
    return models.embed_in_lanes(trial.test.batch(rows).images)[0]
