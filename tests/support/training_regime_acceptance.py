"""Measures on the committed encoders what `training_regime` is to show, as tables.

``python tests/support/training_regime_acceptance.py --store DIR`` takes an hour on two cores, most
of it for training in full. It can be stopped, and goes on where it was. The tables of
docs/training_regime.md were made by it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from markdown_output import write_line, write_table

from baselines.models.pretraining.encoders import ENCODERS, draw_other_cohort, write_encoder
from benchmark.errors import SanityError
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading
from benchmark.records.arrays import ArrayFolder
from benchmark.report.figures.style import save
from benchmark.trial import Runtime, Trial
from protocols.training_regime import TrainingRegime, TrainingRegimeConfig
from protocols.training_regime.figures import draw_epochs
from protocols.training_regime.tables import regime_tables

MEASURED = ("supervised_encoder", "simclr_encoder")
EXPLAINERS = ("saliency", "gradcam_aligned", "sobel")
DATA = Path(__file__).parents[2] / "baselines" / "models" / "data"


def build_trial(encoder: str, store: Path) -> Trial:
    """Return the trial of a committed encoder with its probe on `phantom`."""
    catalogue = Catalogue()
    people = catalogue.cohorts.find("phantom").plugin().load()
    source = catalogue.models.find(str(DATA / f"{encoder}.toml")).plugin()
    method = catalogue.explainers.find("saliency").plugin()
    runtime = Runtime(torch.device("cpu"), suite="v2")

    def prepare() -> None:
        store.mkdir(parents=True, exist_ok=True)

    runtime = replace(runtime, archive=ArrayFolder(store, prepare))
    return Trial(method, load_fitted(source, people), people, runtime)


def write_encoder_of(seed: int, store: Path) -> str:
    """Return the model file of `supervised_encoder`'s recipe on subjects of another seed."""
    name = f"supervised_encoder_{seed}"
    recipe = replace(
        ENCODERS["supervised_encoder"],
        name=name,
        draw=lambda: draw_other_cohort(260, seed),
        images=f"260 subjects of the generator of phantom, seed {seed}",
    )
    file = store / f"{name}.toml"
    if not file.exists():
        weights = write_encoder(recipe, store)
        trunk = DATA.parent / "smallresnet.py"
        file.write_text(
            f'architecture = "{trunk}:build_trunk"\nweights = "{weights.name}"\nhead = "probe"\n'
        )
    return str(file)


def main() -> None:
    """Print the tables of each encoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="folder of trained refits")
    parser.add_argument("--encoder", action="append", help="committed encoder; else both")
    parser.add_argument("--explainer", action="append", help="method; several if not given")
    parser.add_argument("--refits", type=int, default=5, help="refits of each regime")
    parser.add_argument("--epochs", type=int, help="largest number of epochs")
    parser.add_argument("--subjects", type=int, default=64, help="test images")
    parser.add_argument(
        "--other-seed", type=int, action="append", default=[], help="seed of another encoder"
    )
    parser.add_argument(
        "--traced", type=int, action="append", default=[], help="epoch to read stability at"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainingRegimeConfig(
        refits=arguments.refits,
        epochs=arguments.epochs,
        subjects=arguments.subjects,
        traced=tuple(arguments.traced),
        encoders=tuple(write_encoder_of(seed, arguments.store) for seed in arguments.other_seed),
    )
    for encoder in arguments.encoder or MEASURED:
        write_line(f"\n## {encoder}\n")
        trial = build_trial(encoder, arguments.store)
        for name in arguments.explainer or EXPLAINERS:
            readings = _measure(trial, name, TrainingRegime(config))
            for table in regime_tables({name: readings}) if readings else ():
                write_table(table)
            if readings and config.traced:
                save(draw_epochs({name: readings}), arguments.store / f"epochs_{encoder}_{name}")


def _measure(trial: Trial, name: str, protocol: TrainingRegime) -> Sequence[Reading]:
    start, method = time.process_time(), Catalogue().explainers.find(name).plugin()
    try:
        readings = protocol.readings(trial.on(explainer=method))
    except SanityError as error:
        write_line(f"{name}: {type(error).__name__}, {error}")
        return []
    verdict = protocol.verdict(readings)
    seconds = time.process_time() - start
    write_line(f"{name}: {verdict.state}, {verdict.reason}; {seconds:.0f} s of processor time")
    return readings


if __name__ == "__main__":
    main()
