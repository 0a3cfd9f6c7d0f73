"""`training_regime` over encoders: a shared trunk is told from what regimes do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from paths import ROOT
from trials import build_trial

from baselines.explainers.gradient import Saliency
from benchmark.errors import InputError
from benchmark.plugins.examples import build_classifier
from benchmark.reading import find
from benchmark.statistics.two_way import two_way_mean
from protocols.training_regime import TrainingRegime, TrainingRegimeConfig
from protocols.training_regime.claim import claim_of
from protocols.training_regime.encoders import checksums_of, other_trials
from protocols.training_regime.measures import Likenesses
from protocols.training_regime.over_encoders import gains_over_encoders, untold
from protocols.training_regime.statistics import MATCHED
from protocols.training_regime.tables import regime_tables

SETTINGS = {"refits": 3, "subjects": 8, "epochs": 3, "quantiles": (0.1,), "repeats": 1}
CONFIG = TrainingRegimeConfig.model_validate({**SETTINGS, "partners": 1, "copies": 0, "by_seed": 0})
PROTOCOL = TrainingRegime(CONFIG)


def test_pairs_of_one_encoder_are_no_evidence_over_encoders() -> None:
    """If it fails, a shared trunk makes maps alike over encoders too."""
    encoders = np.array([0, 0, 1, 1])
    own = np.where(encoders[:, None] == encoders, 1.0, 0.25)[None]
    alike = Likenesses(own, 0 * own, own)
    np.testing.assert_allclose(alike.excess(encoders=encoders), [0.25])
    np.testing.assert_allclose(alike.excess(), [0.5])
    np.testing.assert_allclose(alike.excess([0, 2], encoders), [0.25])


@pytest.mark.parametrize("count", [2, 3])
def test_the_claim_is_over_encoders_where_several_are_given(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, what one encoder shows is said of a recipe, or a second one is ignored."""
    trial = build_trial(Saliency(), classifier=build_classifier(seed=4))
    near = build_classifier(seed=4)
    with torch.no_grad():
        for weights in near.trunk.parameters():
            weights.mul_(1 + 0.1 * torch.sin(torch.arange(weights.numel())).view_as(weights))
    networks = (build_classifier(seed=2), near)[: count - 1]
    others = {f"encoder_{place}": trial.on(classifier=one) for place, one in enumerate(networks)}
    monkeypatch.setattr("protocols.training_regime.protocol.other_trials", lambda *_: others)
    own = PROTOCOL.readings(trial)
    assert untold(own) is None
    values = find(own, "stability_gain_over_encoders")
    over = gains_over_encoders(own)
    assert values is not None
    assert over is not None
    assert values.values.mean() == pytest.approx(over[0].estimate, abs=1e-12)
    whose = "given these 2 encoders" if count == 2 else "over 3 encoders"
    assert whose in claim_of(own)[1]
    tables = {table.name: table for table in regime_tables({"saliency": own})}
    assert str(tables["gains"].rows[0][0]) == f"saliency, probe over encoders, {MATCHED}"
    assert whose in str(tables["gains"].rows[0][-1])
    names = [str(row[0]) for row in tables["components"].rows]
    assert "saliency, full over encoders, effect" in names
    # What is said of the model's own encoder is what is said without others.
    alone = [one for one in own if "encoder" not in one.conditions]
    assert PROTOCOL.score_interval(alone) == PROTOCOL.score_interval(own)


def test_an_encoder_that_knows_nothing_says_nothing_over_encoders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, maps that point anywhere are taken for what the recipe gives."""
    trial = build_trial(Saliency(), classifier=build_classifier(seed=4))
    others = {"guess": trial.on(classifier=build_classifier(seed=3))}
    monkeypatch.setattr("protocols.training_regime.protocol.other_trials", lambda *_: others)
    own = PROTOCOL.readings(trial)
    assert gains_over_encoders(own) is None
    assert "given this encoder" in claim_of(own)[1]
    sentence = "nothing is told over encoders: signal not learned (probe) on guess"
    assert sentence in str(PROTOCOL.remark(own))


def _write_encoder(folder: Path, name: str, seed: int) -> str:
    trunk = ROOT / "baselines" / "models" / "smallresnet.py"
    file = folder / f"{name}.toml"
    file.write_text(f'architecture = "{trunk}:build_trunk"\nhead = "probe"\nseed = {seed}\n')
    return str(file)


def test_other_encoders_are_read_from_their_model_files(tmp_path: Path) -> None:
    """If it fails, an encoder is compared with itself, or a typing error ends in a traceback."""
    trial = build_trial(Saliency())
    files = [_write_encoder(tmp_path, f"encoder_{seed}", seed) for seed in (1, 2)]
    assert list(other_trials(trial, files)) == ["encoder_1", "encoder_2"]
    again = _write_encoder(tmp_path, "again", 2)
    with pytest.raises(InputError, match="another training of the same recipe"):
        other_trials(trial, [*files, again])
    first, second = checksums_of(files)
    assert first != second
    for wrong in ("none.toml", "smallresnet"):
        with pytest.raises(InputError, match="setting 'encoders'"):
            checksums_of([str(tmp_path / wrong)])
    protocol = TrainingRegime(CONFIG.model_copy(update={"encoders": tuple(files)}))
    assert protocol.settings({})["encoders"] == [first, second]


def test_intervals_over_encoders_hold_what_they_claim() -> None:
    """If it fails, what two or three encoders happen to share is taken for what all show."""
    generator, held, ignoring = np.random.default_rng(0), 0, 0
    trials, subjects, encoders, refits = 400, 48, 3, 5
    for _ in range(trials):
        values = generator.normal(0, 1, (subjects, 1, 1)) + generator.normal(
            0, 0.5, (subjects, encoders, refits)
        )
        values += generator.normal(0, 0.2**0.5, (encoders, 1))
        values += generator.normal(0, 0.05**0.5, (encoders, refits))
        interval = two_way_mean(values.mean(2)).interval
        held += interval.low <= 0 <= interval.high
        pooled = two_way_mean(values.reshape(subjects, -1)).interval
        ignoring += pooled.low <= 0 <= pooled.high
    assert 0.9 <= held / trials <= 0.98
    assert ignoring / trials < 0.85
