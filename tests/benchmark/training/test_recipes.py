"""Recipes of training: what a file may say, and when a training stops."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.recipe_file import read_recipe
from benchmark.training.regimes import Epoch, RegimeRecipe, best_epoch, has_stopped
from benchmark.training.trainer import TrainingState


def _write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "[recipe]\n"])
def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path, header: str) -> None:
    """If it fails, a network is trained by another recipe than its author wrote."""
    text = 'regime = "full"\nhead_rate = 1\nmirror = true\nepochs = 7\n'
    recipe = read_recipe(_write(tmp_path, header + text))
    changed = {"regime": "full", "head_rate": 1.0, "mirror": True, "epochs": 7}
    assert asdict(recipe) == {**asdict(RegimeRecipe()), **changed}
    assert recipe.most_epochs == 7


def test_no_file_and_an_empty_file_are_the_documented_defaults(tmp_path: Path) -> None:
    """If it fails, the defaults in the documentation are not those of the trainer."""
    defaults = RegimeRecipe(
        "probe", 1e-3, 1e-4, 1e-4, True, "auroc", 5, 1e-4, None, 16, 2, False, 4, 0
    )
    assert read_recipe(None) == defaults
    assert read_recipe(_write(tmp_path, "")) == defaults
    most = {regime: RegimeRecipe(regime).most_epochs for regime in ("probe", "last_stage", "full")}
    assert most == {"probe": 60, "last_stage": 40, "full": 40}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("headrate = 0.1", "unknown key 'headrate'; did you mean 'head_rate'"),
        ("[training]\nepochs = 3", "unknown key 'training'"),
        ("patience = 3\n[recipe]\nepochs = 3", "unknown key 'recipe'"),
        ('regime = "finetune"', "'regime' is 'finetune'.*'probe', 'last_stage' or 'full'"),
        ('monitor = "accuracy"', "'monitor' is 'accuracy'.*'auroc' or 'loss'"),
        ("head_rate = 0", "'head_rate' is 0,.*greater than 0"),
        ("encoder_rate = -1e-4", "'encoder_rate' is -0.0001"),
        ("head_rate = nan", "'head_rate' is nan"),
        ("head_rate = inf", "'head_rate' is inf"),
        ('head_rate = "1e-3"', "'head_rate' is '1e-3'.*valid number"),
        ("weight_decay = -1", "'weight_decay' is -1"),
        ("patience = 0", "'patience' is 0"),
        ("patience = true", "'patience' is True.*integer"),
        ("epochs = 2.5", "'epochs' is 2.5.*integer"),
        ("epochs = 0", "'epochs' is 0"),
        ("batch_size = 1", "'batch_size' is 1.*greater than or equal to 2"),
        ("shift = -1", "'shift' is -1"),
        ("shift = 1000", "'shift' is 1000"),
        ("mirror = 1", "'mirror' is 1.*boolean"),
        ("copies = -1", "'copies' is -1"),
        ("refit = -1", "'refit' is -1"),
        ("epochs 3", "is no TOML"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_in_a_sentence(
    tmp_path: Path, line: str, message: str
) -> None:
    """If it fails, a slip in the recipe ends in a traceback, or is trained by in silence."""
    path = _write(tmp_path, line)
    with pytest.raises(InputError, match=message) as refusal:
        read_recipe(path)
    assert str(path) in str(refusal.value)


def test_a_recipe_that_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """If it fails, a wrong path ends in a traceback."""
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path)
    path = tmp_path / "latin.toml"
    path.write_bytes(b'regime = "\xe9"')
    with pytest.raises(InputError, match="not UTF-8"):
        read_recipe(path)


def test_a_recipe_in_code_is_checked_too() -> None:
    """If it fails, only those who write files are told of a slip."""
    with pytest.raises(InputError, match="'patience' is 0"):
        RegimeRecipe(patience=0)


def _epochs(aurocs: list[float], losses: list[float] | None = None) -> list[Epoch]:
    losses = losses or [1.0] * len(aurocs)
    values = zip(losses, aurocs, strict=True)
    return [Epoch(n, 1.0, loss, auroc, 0.1) for n, (loss, auroc) in enumerate(values, start=1)]


def _stop(epochs: list[Epoch], recipe: RegimeRecipe) -> int:
    """Return the epoch that a training with this course stops after."""
    counts = range(1, len(epochs) + 1)
    return next((count for count in counts if has_stopped(epochs[:count], recipe)), 0)


def test_a_scripted_curve_stops_five_after_the_first_of_the_best() -> None:
    """If it fails, training stops too soon, or restores a later epoch that is no better."""
    recipe = RegimeRecipe()
    curve = _epochs([0.6, 0.7, 0.8, 0.80005, 0.8, 0.79, 0.8, 0.7, 0.9, 0.9])
    assert best_epoch(curve[:8], recipe) == 3
    assert _stop(curve, recipe) == 8
    losses = RegimeRecipe(monitor="loss", patience=2)
    course = _epochs([0.9, 0.8, 0.7, 0.6, 0.5], [1.0, 0.8, 0.8, 0.79995, 0.1])
    assert best_epoch(course[:4], losses) == 2
    assert _stop(course, losses) == 4
    assert not has_stopped([], recipe)


def test_patience_begins_with_the_first_epoch_that_is_better_than_guessing() -> None:
    """If it fails, a head that starts on the wrong side is given up though its loss falls."""
    curve = _epochs([0.1] + [0.0] * 9 + [0.9, 0.8, 0.8, 0.8, 0.8, 0.8])
    assert _stop(curve, RegimeRecipe()) == 16
    assert best_epoch(curve, RegimeRecipe()) == 11


def test_arrays_that_are_no_state_are_refused() -> None:
    """If it fails, resuming from a foreign file ends in a traceback."""
    with pytest.raises(InputError, match="no state of a training"):
        TrainingState.from_arrays({})
