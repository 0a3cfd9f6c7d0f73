"""Training by regime: what is free, what is frozen, and that a recipe names its weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from baselines.cohorts.phantom import Phantom
from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError, CohortError, InputError
from benchmark.plugins.examples import (
    SHAPE_2D,
    SHAPE_3D,
    build_classifier,
    build_cohort,
    build_transformer,
    build_trunk,
)
from benchmark.training import logistic_regression
from benchmark.training.regimes import REGIMES, Epoch, Regime, RegimeRecipe
from benchmark.training.trainer import Trained, TrainingState, train
from benchmark.training.trainer.material import class_weights, draw_rows

QUICK = RegimeRecipe(head_rate=5e-2, encoder_rate=1e-2, epochs=3, copies=1)


def _recipe(regime: Regime, **changes: int | float | str | bool) -> RegimeRecipe:
    return replace(QUICK, regime=regime, **changes)  # type: ignore[arg-type]


def _tensors(classifier: Classifier, prefix: str) -> dict[str, Tensor]:
    tensors = classifier.state_dict().items()
    return {name: tensor for name, tensor in tensors if name.startswith(prefix)}


def _equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def _with_splits(cohort: Cohort, splits: Sequence[str]) -> Cohort:
    return replace(cohort, participants=cohort.participants.assign(split=list(splits)))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    ("regime", "free", "frozen"),
    [
        ("probe", ("head",), ("block", "stem")),
        ("last_stage", ("head", "block"), ("stem",)),
        ("full", ("head", "block", "stem"), ()),
    ],
)
def test_a_regime_changes_its_parts_and_leaves_the_others_to_the_byte(
    dimensions: int, regime: Regime, free: tuple[str, ...], frozen: tuple[str, ...]
) -> None:
    """If it fails, a "frozen" encoder was trained, or batch norm moved behind its back."""
    start = build_classifier(dimensions)
    original = start.weights_sha256
    trained = train(start, build_cohort((SHAPE_2D, SHAPE_3D)[dimensions - 2]), _recipe(regime))
    assert (trained.trained_stages, trained.frozen_stages) == (free, frozen)
    for part in ("stem", "block"):
        prefix = f"trunk.{part}."
        same = _equal(_tensors(trained.classifier, prefix), _tensors(start, prefix))
        assert same == (part in frozen)
    means = [network.trunk.stem.norm.running_mean for network in (start, trained.classifier)]
    assert torch.equal(*means) == (regime != "full")
    assert start.weights_sha256 == original
    assert not trained.classifier.training
    assert not any(parameter.requires_grad for parameter in trained.classifier.parameters())


def test_a_transformer_is_trained_by_each_regime_too() -> None:
    """If it fails, regimes are for convolutions alone, or a class token slips out of the stem."""
    start, cohort = build_transformer(), build_cohort()
    for regime, stages in zip(REGIMES, (("embed", "block"), ("embed",), ()), strict=True):
        trained = train(start, cohort, _recipe(regime, epochs=1))
        assert set(trained.frozen_stages) == set(stages)
        assert torch.equal(trained.classifier.trunk.token, start.trunk.token) == bool(stages)


def test_the_head_is_fresh_and_linear_whatever_the_network_brings() -> None:
    """If it fails, a head that saw other labels, or another head, is passed off as the recipe's."""
    cohort, trunk = build_cohort(), build_trunk()
    layers = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    heads = [build_classifier(seed=0).head, layers]
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(8))
    trained = [
        train(Classifier("net", trunk, head, SHAPE_2D, pool), cohort, QUICK).classifier
        for head in heads
    ]
    assert isinstance(trained[1].head, nn.Linear)
    assert trained[0].weights_sha256 == trained[1].weights_sha256
    free = train(Classifier("net", trunk, heads[0], SHAPE_2D, pool), cohort, _recipe("last_stage"))
    assert free.trained_stages == ("head", "pool", "block")


class Courses:
    """A listener that keeps every epoch, and every state by way of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.epochs = folder, list[Epoch]()

    def __call__(self, epoch: Epoch, state: TrainingState) -> None:
        """Keep them."""
        self.epochs.append(epoch)
        save_file(state.to_arrays(), self.folder / f"{epoch.number}.safetensors")

    def state(self, number: int) -> TrainingState:
        """Return the state after an epoch."""
        return TrainingState.from_arrays(load_file(self.folder / f"{number}.safetensors"))


def _with_dropout() -> Classifier:
    trunk = build_trunk()
    trunk.add_module("last", nn.Sequential(nn.Conv2d(8, 8, 1), nn.Dropout(0.5)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in (trunk.stem.conv, trunk.block.conv, trunk.last[0]):
            layer.reset_parameters()
    return Classifier("dropout", trunk, nn.Linear(8, 2), SHAPE_2D)


def _course(trained: Trained) -> list[tuple[float, ...]]:
    return [(epoch.loss, epoch.validation_loss) for epoch in trained.epochs]


@pytest.mark.parametrize("regime", REGIMES)
def test_a_resumed_training_gives_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, regime: Regime
) -> None:
    """If it fails, a killed training ends in other weights, under the same name."""
    start, cohort, recipe = _with_dropout(), build_cohort(), _recipe(regime, epochs=5)
    courses = Courses(tmp_path)
    whole = train(start, cohort, recipe, listener=courses)
    assert courses.epochs == list(whole.epochs)
    for number in (1, 3, len(whole.epochs)):
        torch.manual_seed(number)
        resumed = train(start, cohort, recipe, courses.state(number))
        assert resumed.classifier.weights_sha256 == whole.classifier.weights_sha256
        assert _course(resumed) == _course(whole)
        assert resumed.best_epoch == whole.best_epoch
    weights = courses.state(whole.best_epoch).weights
    ended = whole.classifier.state_dict()
    assert all(np.array_equal(array, ended[name].numpy()) for name, array in weights.items())


def test_a_state_of_another_training_is_refused(tmp_path: Path) -> None:
    """If it fails, one experiment goes on from the weights of another."""
    courses, cohort = Courses(tmp_path), build_cohort()
    train(build_classifier(), cohort, QUICK, listener=courses)
    state = courses.state(2)
    others = [
        (build_classifier(), cohort, replace(QUICK, head_rate=1e-2)),
        (build_classifier(seed=1), cohort, QUICK),
        (build_classifier(), build_cohort(seed=1), QUICK),
    ]
    for classifier, other, recipe in others:
        with pytest.raises(InputError, match="belongs to another training"):
            train(classifier, other, recipe, state)
    for torn in (replace(state, weights={}), replace(state, optimiser={})):
        with pytest.raises(InputError, match="incomplete"):
            train(build_classifier(), cohort, QUICK, torn)


@pytest.mark.parametrize("regime", REGIMES)
def test_a_recipe_names_its_weights_in_any_order_of_rows(regime: Regime) -> None:
    """If it fails, the same recipe gives other weights from a shuffled table or another process."""
    cohort, recipe = build_cohort(), _recipe(regime, refit=1, mirror=True)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(cohort))
    hashes = []
    for seed, rows in enumerate((cohort, cohort, cohort.take(order))):
        start = _with_dropout()
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        hashes.append(train(start, rows, recipe).classifier.weights_sha256)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert len(set(hashes)) == 1
    other = train(_with_dropout(), cohort, replace(recipe, refit=2))
    assert other.classifier.weights_sha256 not in hashes


def test_training_looks_at_no_test_image() -> None:
    """If it fails, the test split leaks into the model."""
    cohort, altered = build_cohort(), build_cohort()
    tested = (altered.participants["split"] == "test").to_numpy()
    altered.images[tested] = 0.5 + 0.1 * altered.images[tested]
    weights = [train(build_classifier(), images, QUICK) for images in (cohort, altered)]
    assert weights[0].classifier.weights_sha256 == weights[1].classifier.weights_sha256


def test_training_stops_after_its_patience_and_says_so() -> None:
    """If it fails, a training runs on, or a reader takes the last epoch for the best."""
    recipe = replace(QUICK, epochs=60, patience=2, shift=0)
    trained = train(build_classifier(), build_cohort(), recipe)
    assert trained.stopped_early
    assert len(trained.epochs) == trained.best_epoch + 2
    short = train(build_classifier(), build_cohort(), RegimeRecipe(epochs=1, copies=0))
    assert not short.stopped_early
    assert any("The best epoch is the last of 1" in remark for remark in short.remarks)
    assert any("logistic regression on the same embeddings" in remark for remark in short.remarks)


def test_where_the_groups_are_ranked_perfectly_the_loss_decides() -> None:
    """If it fails, a network that ranks everyone rightly is kept before it is sure of anyone."""
    recipe = replace(QUICK, epochs=8, shift=0)
    trained = train(build_classifier(), build_cohort(), recipe)
    aurocs = [epoch.validation_auroc for epoch in trained.epochs]
    assert aurocs.index(1) + 1 < trained.best_epoch
    losses = [epoch.validation_loss for epoch in trained.epochs]
    assert losses.index(min(losses)) + 1 == trained.best_epoch


def test_the_probe_reaches_the_convex_solution_on_the_phantom() -> None:
    """If it fails, a probe's result is the optimiser's and not the encoder's."""
    cohort = Phantom().load()
    trained = train(SmallResNet().load(cohort.shape), cohort, RegimeRecipe(copies=1))
    assert not any("logistic regression" in remark for remark in trained.remarks)
    assert trained.epochs[trained.best_epoch - 1].validation_auroc > 0.85
    assert trained.frozen_stages == ("block4", "block3", "block2", "block1", "stem")


def test_the_convex_probe_does_not_depend_on_the_order_of_rows() -> None:
    """If it fails, the check beside the probe is itself a draw."""
    generator = np.random.Generator(np.random.PCG64(0))
    features, groups = generator.normal(size=(60, 12)), np.arange(60) % 2
    features[:, 0] += groups
    order = generator.permutation(60)
    weight, bias = logistic_regression(features, groups)
    other, intercept = logistic_regression(features[order], groups[order])
    np.testing.assert_allclose(other, weight, atol=1e-8)
    assert abs(bias - intercept) < 1e-8


def _unbalanced() -> Cohort:
    """Return a cohort whose images know nothing of the groups, a fifth of them cases."""
    cohort = build_cohort(subjects=120)
    splits = np.where(np.arange(120) % 3 < 2, "train", "validation")
    groups = np.random.Generator(np.random.PCG64(1)).permutation(np.arange(120) % 5 == 0)
    people = cohort.participants.assign(split=splits, group=groups.astype(int))
    return replace(cohort, participants=people)


def test_class_weights_lift_the_small_class_and_are_one_where_both_are_equal() -> None:
    """If it fails, a rare disease is never predicted, or balanced cohorts get other weights."""
    assert class_weights(np.array([0, 1, 1, 0, 0, 1])).tolist() == [1.0, 1.0]
    assert class_weights(np.array([0] * 8 + [1] * 2)).tolist() == [0.625, 2.5]
    cohort, means = _unbalanced(), []
    for weighted in (True, False):
        recipe = _recipe("probe", epochs=40, monitor="loss", patience=40, class_weights=weighted)
        network = train(build_classifier(), cohort, recipe).classifier
        logits, _ = network(torch.from_numpy(cohort.images))
        means.append(float(logits.softmax(1)[:, 1].mean()))
    assert abs(means[0] - 0.5) < 0.1
    assert abs(means[1] - 0.2) < 0.1


def test_a_refit_draws_the_same_subjects_in_every_regime() -> None:
    """If it fails, regimes are compared on different subjects, or a visit is torn from its own."""
    cohort = build_cohort(subjects=48, visits=2)
    plain = draw_rows(cohort, RegimeRecipe())
    draws = [draw_rows(cohort, RegimeRecipe(regime, refit=3)) for regime in REGIMES]
    assert all(np.array_equal(draw.train, draws[0].train) for draw in draws)
    rows, counts = np.unique(draws[0].train, return_counts=True)
    assert len(rows) < len(plain.train)
    assert set(rows) <= set(plain.train)
    by_subject = {
        (cohort.subjects[row], int(times)) for row, times in zip(rows, counts, strict=True)
    }
    assert 2 * len(by_subject) == len(rows)
    for group in (0, 1):
        shares = [(cohort.groups[draw.train] == group).sum() for draw in (plain, draws[0])]
        assert shares[0] == shares[1]
    assert not np.array_equal(draw_rows(cohort, RegimeRecipe(refit=4)).train, draws[0].train)
    assert np.array_equal(draws[0].validation, plain.validation)


def test_a_cohort_without_validation_split_holds_out_training_subjects_aloud() -> None:
    """If it fails, training is watched on its own images, and nobody is told."""
    cohort = build_cohort(subjects=48, visits=2)
    cohort = _with_splits(cohort, cohort.participants["split"].replace("validation", "train"))
    draw = draw_rows(cohort, RegimeRecipe())
    subjects = [{cohort.subjects[row] for row in rows} for rows in (draw.train, draw.validation)]
    assert not subjects[0] & subjects[1]
    assert (len(subjects[0]), len(subjects[1])) == (20, 4)
    assert set(cohort.groups[draw.validation]) == {0, 1}
    assert f"{len(subjects[1])} of its training subjects" in draw.remarks[0]
    assert draw.remarks[0] in train(build_classifier(), cohort, QUICK).remarks


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_group_without_members_is_refused_before_any_pass(split: str, regime: Regime) -> None:
    """If it fails, minutes are spent on a network that can only guess, or a traceback ends them."""
    cohort = build_cohort()
    bare = (cohort.participants["split"] == split) & (cohort.participants["group"] == 1)
    cohort = _with_splits(cohort, cohort.participants["split"].mask(bare, "test"))
    classifier = build_classifier()
    with pytest.raises(CohortError, match=f"no image of group 1 .* in its {split} split"):
        train(classifier, cohort, _recipe(regime))
    assert classifier.passes.forward == 0


def test_a_cohort_with_too_few_subjects_to_hold_out_is_refused() -> None:
    """If it fails, the only case is trained on and validated on."""
    cohort = build_cohort(subjects=6)
    cohort = _with_splits(cohort, ["train", "train", "train", "test", "test", "test"])
    with pytest.raises(CohortError, match=r"only 1 training subject\(s\) of group 1"):
        train(build_classifier(), cohort, QUICK)


def test_images_that_cannot_be_moved_so_far_are_named() -> None:
    """If it fails, thin volumes are rolled around themselves in silence."""
    with pytest.raises(InputError, match=r"'shift' is 12 pixels, but .* by 11 at most"):
        train(build_classifier(), build_cohort(), replace(QUICK, shift=12))


class Exponential(nn.Module):
    """Layer that overflows as soon as what is before it learns too fast."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return exp(maps)."""
        return maps.exp()


def test_a_loss_that_is_not_finite_names_epoch_and_rate() -> None:
    """If it fails, a diverged network is restored, saved and explained."""
    trunk = build_trunk()
    trunk.add_module("exponential", Exponential())
    network = Classifier("diverging", trunk, nn.Linear(8, 2), SHAPE_2D)
    recipe = _recipe("full", encoder_rate=10.0, epochs=20, patience=20)
    with pytest.raises(ClassifierError, match=r"in epoch \d+ \(loss .*encoder_rate 10; a lower"):
        train(network, build_cohort(), recipe)


@pytest.mark.parametrize("regime", REGIMES)
def test_a_network_that_is_not_finite_is_blamed_and_not_the_rate(regime: Regime) -> None:
    """If it fails, the author of a broken checkpoint turns the learning rate down."""
    network = build_classifier()
    with torch.no_grad():
        network.trunk.block.conv.weight[0] = torch.nan
    with pytest.raises(ClassifierError, match="not finite before training begins"):
        train(network, build_cohort(), _recipe(regime))


class Block(nn.Module):
    """Trunk that is one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4, 1, 3, 3), 0.1))

    def forward(self, images: Tensor) -> Tensor:
        """Return maps."""
        return nn.functional.conv2d(images, self.weight)


@pytest.mark.parametrize("trunk", [Block(), nn.Sequential(Block(), nn.ReLU())])
def test_a_trunk_without_stages_has_no_last_one(trunk: nn.Module) -> None:
    """If it fails, "last stage" trains the whole network, or a stack trace says so."""
    network = Classifier("single", trunk, nn.Linear(4, 2), SHAPE_2D)
    name = type(trunk).__name__
    with pytest.raises(ClassifierError, match=f"'last_stage': its trunk, a {name}, is not made of"):
        train(network, build_cohort(), _recipe("last_stage"))
    assert train(network, build_cohort(), _recipe("full")).frozen_stages == ()


def test_a_norm_at_the_end_belongs_to_the_stage_before_it() -> None:
    """If it fails, the last stage of a DenseNet or of a transformer is two vectors."""
    trunk = build_trunk()
    trunk.add_module("norm", nn.BatchNorm2d(8))
    network = Classifier("norm", trunk, nn.Linear(8, 2), SHAPE_2D)
    trained = train(network, build_cohort(), _recipe("last_stage"))
    assert trained.trained_stages == ("head", "norm", "block")
    assert trained.frozen_stages == ("stem",)


def test_a_layer_in_place_does_not_change_what_is_kept() -> None:
    """If it fails, the second epoch of a last stage sees other activations than the first."""
    courses = []
    for in_place in (False, True):
        layers = build_trunk()
        last = nn.Sequential(nn.ELU(inplace=in_place), nn.Conv2d(8, 8, 1))
        trunk = nn.Sequential(OrderedDict(stem=layers.stem[:2], last=last))
        weights = build_classifier().trunk.state_dict()
        trunk.load_state_dict(
            {name: value for name, value in weights.items() if name.startswith("stem.")}
            | {"last.1.weight": torch.eye(8)[..., None, None], "last.1.bias": torch.zeros(8)}
        )
        network = Classifier("in place", trunk, nn.Linear(8, 2), SHAPE_2D)
        courses.append(_course(train(network, build_cohort(), _recipe("last_stage"))))
    assert courses[0] == courses[1]


def test_what_is_kept_gives_what_the_whole_network_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a last stage trained in little memory is another network."""
    recipe, hashes = _recipe("last_stage", shift=0), []
    first = train(build_classifier(), build_cohort(), recipe)
    monkeypatch.setattr("benchmark.training.trainer.material.MOST_KEPT_BYTES", 0)
    second = train(build_classifier(), build_cohort(), recipe)
    assert first.frozen_stages == second.frozen_stages
    hashes = [trained.classifier.state_dict() for trained in (first, second)]
    for name, tensor in hashes[0].items():
        torch.testing.assert_close(tensor, hashes[1][name])


class WithSpare(nn.Module):
    """Trunk with a layer that takes no part in the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return maps of one of the two layers."""
        maps: Tensor = self.used(images)
        return maps


def test_a_part_that_no_gradient_reaches_is_named() -> None:
    """If it fails, a network is called trained in full though a part of it is not."""
    network = Classifier("spare", WithSpare(), nn.Linear(4, 2), SHAPE_2D)
    with pytest.raises(ClassifierError, match="its part 'spare' as it is: no gradient"):
        train(network, build_cohort(), _recipe("full"))


class Counting(nn.Module):
    """Layer that counts in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Return the images, and count."""
        self.calls += 1
        return images


def test_a_frozen_part_that_changes_itself_is_named() -> None:
    """If it fails, the encoder after a probe is not the encoder before it."""
    trunk = nn.Sequential(OrderedDict(count=Counting(), **dict(build_trunk().named_children())))
    network = Classifier("counting", trunk, nn.Linear(8, 2), SHAPE_2D)
    with pytest.raises(ClassifierError, match="changed its part 'count', which is frozen"):
        train(network, build_cohort(), QUICK)


def test_a_last_batch_of_one_image_does_not_end_the_training() -> None:
    """If it fails, batch norm on the embedding refuses cohorts of 16 k + 1 images."""
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(8))
    network = Classifier("norm", build_trunk(), nn.Linear(8, 2), SHAPE_2D, pool)
    cohort = build_cohort(subjects=51)
    splits = ["train"] * 33 + ["validation"] * 18
    trained = train(network, _with_splits(cohort, splits), _recipe("full"))
    assert trained.trained_stages == ("head", "pool", "block", "stem")


class InHalf(nn.Module):
    """Layer that works in half precision by itself."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.bfloat16()

    def forward(self, images: Tensor) -> Tensor:
        """Return maps in single precision."""
        maps: Tensor = self.layer(images.bfloat16()).float()
        return maps


def test_weights_in_half_precision_serve_a_probe_and_are_not_trained() -> None:
    """If it fails, steps are lost in rounding, or a network that casts by itself is broken."""
    layers = build_trunk()
    trunk = nn.Sequential(OrderedDict(stem=layers.stem, block=InHalf(layers.block)))
    network = Classifier("half", trunk, nn.Linear(8, 2), SHAPE_2D)
    assert train(network, build_cohort(), QUICK).frozen_stages == ("block", "stem")
    with pytest.raises(ClassifierError, match=r"part 'block': .* is torch.bfloat16"):
        train(network, build_cohort(), _recipe("last_stage"))


class EvaluationOnly(nn.Module):
    """Layer that fails as soon as it is trained."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps in evaluation mode."""
        if self.training:
            raise NotImplementedError
        return maps


def test_a_network_that_cannot_be_trained_is_named() -> None:
    """If it fails, a fault of the network in training mode looks like one of the trainer."""
    trunk = build_trunk()
    trunk.add_module("evaluation", EvaluationOnly())
    network = Classifier("inference", trunk, nn.Linear(8, 2), SHAPE_2D)
    message = "'inference' cannot be trained by the regime 'full': .* with NotImplementedError"
    with pytest.raises(ClassifierError, match=message):
        train(network, build_cohort(), _recipe("full"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("regime", REGIMES)
def test_a_gpu_trains_as_well_and_freezes_the_same(regime: Regime) -> None:
    """If it fails, half precision costs the signal, or a frozen stage is changed on a GPU."""
    start, cohort, recipe = build_classifier(), build_cohort(), _recipe(regime, epochs=20)
    trained = {name: train(start.copy().to(name), cohort, recipe) for name in ("cpu", "cuda")}
    # The first epochs alone: rounding then sends the two trainings along ways of their own.
    losses = [[epoch.loss for epoch in each.epochs[:3]] for each in trained.values()]
    np.testing.assert_allclose(losses[1], losses[0], atol=0.05)
    assert trained["cuda"].epochs[-1].loss < trained["cuda"].epochs[0].loss
    on_gpu = trained["cuda"]
    assert on_gpu.classifier.device.type == "cuda"
    for stage in on_gpu.frozen_stages:
        ours = _tensors(on_gpu.classifier.copy().to("cpu"), f"trunk.{stage}.")
        assert _equal(ours, _tensors(start, f"trunk.{stage}."))
