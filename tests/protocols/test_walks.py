"""Walks: every parameter in one stage, really changed, and prefixes reused without a trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from images import build_images
from torch import Tensor, nn
from trials import build_trial, cohort_of, trained

from baselines.explainers.attention import AttentionRollout
from baselines.explainers.class_activation import GradCAM
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier, PrefixMemory
from benchmark.errors import ClassifierError
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_classifier, build_transformer
from benchmark.target import ClassLogit
from protocols.randomization.walks import BOTTOM_UP, CASCADE, INDEPENDENT, altered, steps

MODELS = [
    pytest.param(build, dimensions, id=f"{build.__name__}-{dimensions}-D")
    for build in (build_classifier, build_transformer)
    for dimensions in (2, 3)
]


def _parameters(model: Classifier) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters())


@pytest.mark.parametrize(("build", "dimensions"), MODELS)
def test_every_parameter_belongs_to_one_stage(build: object, dimensions: int) -> None:
    """If it fails, a walk leaves weights in place and flatters a method."""
    model = build(dimensions)  # type: ignore[operator]
    names = [name for stage in model.stages for name in stage.parameters]
    assert sorted(names) == sorted(_parameters(model))
    assert model.stages[0].name == "head"


@pytest.mark.parametrize(("build", "dimensions"), MODELS)
def test_each_step_changes_its_stages_and_no_other(build: object, dimensions: int) -> None:
    """If it fails, "block 3 randomised" means something else."""
    model = build(dimensions)  # type: ignore[operator]
    images = build_images(8, model.input_shape)
    donor = model.randomised(3, images)
    for stage in model.stages:
        own, other = _parameters(model), _parameters(model.partly(donor, [stage], images))
        for name in own:
            changed = not torch.equal(own[name], other[name])
            assert changed == (name in stage.parameters), name


def test_token_position_and_projection_of_a_transformer_change() -> None:
    """If it fails, a third of a transformer stays trained, as it does with reset_parameters."""
    model = build_transformer()
    own, other = _parameters(model), _parameters(model.randomised(1, build_images(4)))
    for part in ("token", "position", "in_proj_weight", "in_proj_bias"):
        (name,) = [one for one in own if one.endswith(part)]
        assert not torch.equal(own[name], other[name]), part


def test_layers_of_one_shape_get_weights_of_their_own() -> None:
    """If it fails, each layer is reseeded alike."""
    model = build_classifier().randomised(5, build_images(4))
    weights = [one for one in model.parameters() if one.ndim == 1]
    drawn = [one for one in weights if one.std() > 0]
    assert len({tuple(one.tolist()) for one in drawn}) == len(drawn)


def test_a_parameter_that_stays_is_named() -> None:
    """If it fails, a model that cannot be randomised is scored as if it were."""
    model = build_classifier()
    with pytest.raises(ClassifierError, match=r"left head\.weight as it was"):
        model.partly(model, [model.stages[0]], build_images(4))


def test_walks_end_in_the_fully_randomised_copy() -> None:
    """If it fails, two walks disagree about what no knowledge means."""
    trial = build_trial(GradCAM())
    last = [
        one for one in steps(trial.classifier) if len(one.stages) == len(trial.classifier.stages)
    ]
    assert {one.walk for one in last} == {CASCADE, BOTTOM_UP}
    full = trial.randomised(1).classifier
    for one in last:
        assert altered(trial, one.stages, 1).classifier is full
    assert len({one.stages for one in steps(trial.classifier)}) < len(list(steps(trial.classifier)))
    assert {one.walk for one in steps(trial.classifier)} == {CASCADE, BOTTOM_UP, INDEPENDENT}


@pytest.mark.parametrize(("build", "dimensions"), MODELS)
def test_shared_activations_change_no_copy(build: object, dimensions: int) -> None:
    """If it fails, a walk's copies are other networks than those that go through every stage."""
    model = build(dimensions)  # type: ignore[operator]
    images, others = build_images(8, model.input_shape), build_images(3, model.input_shape, seed=1)
    donors, memory = [model.randomised(seed, images) for seed in (3, 4)], PrefixMemory()
    for step in steps(model):
        stages = [model.stages[number] for number in sorted(step.stages)]
        for donor in donors:
            whole = model.partly(donor, stages, images)
            shared = model.partly(donor, stages, images, memory)
            assert shared.weights_sha256 == whole.weights_sha256
            with torch.no_grad():
                for batch in (others, images, others):
                    assert torch.equal(shared(batch)[0], whole(batch)[0])


def test_a_map_of_attention_sees_every_layer_of_a_copy_of_a_walk() -> None:
    """If it fails, a method that watches functions is unsupported where activations are reused."""
    cohort = Catalogue().cohorts.find("phantom").create().load()
    model = Catalogue().models.find("smallvit").create().load(cohort.shape)
    images = build_images(4, cohort.shape)
    donor, memory, explainer = model.randomised(3, images), PrefixMemory(), AttentionRollout()
    for step in steps(model):
        stages = [model.stages[number] for number in sorted(step.stages)]
        whole = model.partly(donor, stages, images)
        shared = model.partly(donor, stages, images, memory)
        maps = [explainer.attribute(copy, images, ClassLogit(1)) for copy in (whole, shared)]
        torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=0)


@pytest.mark.parametrize(("build", "dimensions"), MODELS)
def test_kept_statistics_change_no_copy(build: object, dimensions: int) -> None:
    """If it fails, a later process scores other copies than the first, or pays for them again."""
    model = build(dimensions)  # type: ignore[operator]
    images, others = build_images(8, model.input_shape), build_images(3, model.input_shape, seed=1)
    donor = model.randomised(3, images)
    before = model.passes.snapshot()
    same = model.randomised(3, donor.statistics)
    assert model.passes.since(before).forward == 0
    assert same.weights_sha256 == donor.weights_sha256
    for step in steps(model):
        stages = [model.stages[number] for number in sorted(step.stages)]
        first = model.partly(donor, stages, images, PrefixMemory())
        before = model.passes.snapshot()
        later = model.partly(same, stages, first.statistics, PrefixMemory())
        assert model.passes.since(before).forward == 0
        assert later.weights_sha256 == first.weights_sha256
        with torch.no_grad():
            assert torch.equal(later(others)[0], first(others)[0])


def test_copies_of_a_walk_have_their_weights_in_common_and_statistics_of_their_own() -> None:
    """If it fails, dozens of copies of a large network fill the memory, or one spoils the rest."""
    model, images = trained(), build_images(8)
    donor = model.randomised(3, images)
    other = model.partly(donor, [model.stages[-1]], images, PrefixMemory())
    for name, parameter in other.named_parameters():
        owner = donor if name in model.stages[-1].parameters else model
        assert parameter.data_ptr() == owner.get_parameter(name).data_ptr()
    for name, buffer in other.named_buffers():
        owners = {network.get_buffer(name).data_ptr() for network in (model, donor)}
        assert buffer.data_ptr() not in owners


def test_activations_that_a_later_stage_overwrote_are_made_again() -> None:
    """If it fails, a network that works in place is explained by what another pass left."""
    stages = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Hardtanh(-0.1, 0.1, inplace=True), nn.ELU())
    images, memory = build_images(2), PrefixMemory()
    for count in (3, 1, 2, 1, 3):
        with torch.no_grad():
            expected = stages[:count](images)
            assert torch.equal(memory.after(count, stages, images), expected)


def test_activations_take_no_more_memory_than_they_may() -> None:
    """If it fails, walks over a large network end without memory."""
    stages, images = nn.Sequential(*[nn.ELU() for _ in range(4)]), build_images(4)
    calls: list[int] = []
    for number, stage in enumerate(stages):
        stage.register_forward_hook(lambda *_, number=number: calls.append(number))
    memory = PrefixMemory(size=2 * images.nbytes)
    _ = memory.after(4, stages, images), memory.after(4, stages, images)
    assert calls == [0, 1, 2, 3]
    _ = memory.after(2, stages, images)
    assert calls[4:] == [0, 1]


def test_batch_norm_before_the_first_change_stays() -> None:
    """If it fails, a prefix that nobody randomised is not the same any more."""
    model, images = trained(), build_images(16)
    donor = model.randomised(2, images)
    head, block, stem = model.stages
    kept = model.partly(donor, [head, block], images)
    own, other = dict(model.named_buffers()), dict(kept.named_buffers())
    assert all(torch.equal(own[name], other[name]) for name in own)
    moved = dict(model.partly(donor, [stem], images).named_buffers())
    assert not torch.equal(
        own["trunk.stem.norm.running_mean"], moved["trunk.stem.norm.running_mean"]
    )


@pytest.mark.parametrize("explainer", [GradCAM(), Saliency()], ids=lambda one: one.name)
def test_a_resumed_prefix_changes_no_map(
    explainer: GradCAM | Saliency, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, reusing the prefix is not the same as computing it."""
    trial, rows, resumptions, after = build_trial(explainer), np.arange(6), [], PrefixMemory.after

    def counted(
        self: PrefixMemory, count: int, prefix: nn.Sequential, images: Tensor, of: object
    ) -> Tensor:
        resumptions.append(count)
        return after(self, count, prefix, images, of)

    resumed = altered(trial, frozenset({0, 1}), 0)
    monkeypatch.setattr(PrefixMemory, "after", counted)
    maps = resumed.draw(rows)
    # A pass that needs the gradient of the image cannot begin behind it.
    assert bool(resumptions) == isinstance(explainer, GradCAM)
    assert torch.equal(resumed.draw(rows), maps)
    resumptions.clear()
    assert torch.equal(trial.on(classifier=resumed.classifier.copy()).draw(rows), maps)
    assert not resumptions, "a copy computes its own prefix"


def test_a_prefix_is_computed_once_for_a_batch_and_again_for_another() -> None:
    """If it fails, an image is explained by the activations of another."""
    model, memory = trained().copy(), PrefixMemory()
    model.resume_after(1, memory)
    batches = [torch.from_numpy(cohort_of().images[start : start + 4]) for start in (0, 4, 0)]
    whole = trained()
    calls = []
    handle = model.trunk[0].conv.register_forward_hook(lambda *_: calls.append(1))
    for batch in batches:  # a hook on the prefix must see every pass
        model(batch)
    assert len(calls) == 3
    handle.remove()
    for batch in batches:
        assert torch.equal(model(batch)[0], whole(batch)[0])
    prefix = nn.Conv2d(1, 2, 3)
    prefix.register_forward_hook(lambda *_: calls.append(1))
    for batch in batches:
        memory.after(2, prefix, batch)
    assert len(calls) == 3 + 2
