"""``train`` and ``relatives``: weights of a model, and of what a suite sets beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark import training
from benchmark.commands import options, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.errors import ClassifierError
from benchmark.plugins import catalogue as catalogues
from benchmark.records.files import check_folder
from benchmark.running import device as devices
from benchmark.running import engine
from benchmark.running import plan as plans
from benchmark.running import suite as suites


def train(
    out: options.Out,
    model: options.Model = "smallresnet",
    cohort: options.Cohort = "phantom",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: options.Device = "auto",
) -> None:
    """Train a model by its recipe and write its weights."""
    with exit_on_error():
        catalogue, console = catalogues.Catalogue(), terminal.make_console()
        chosen = devices.resolve_device(device)
        source = catalogue.models.find(model).create()
        if source.recipe is None:
            raise ClassifierError(f"Model {source.name!r} has no recipe to train it by.")
        people = catalogue.cohorts.find(cohort).create().load()
        check_folder(out)
        untrained = source.build(people.shape).to(chosen)

        def tell(epoch: int, epochs: int, loss: float) -> None:
            console.print(f"epoch {epoch} of {epochs}: loss {loss:.4f}")

        with devices.reproducible():
            trained = training.train_from_scratch(untrained, people, source.recipe, seed, tell)
        card = training.recipe_card(source.recipe, people, seed)
        path = training.save_weights(trained, out, card)
        terminal.print_lines(console, [f"weights: {path}"])


def relatives(
    out: options.Out,
    model: options.Model = "smallresnet",
    cohort: options.Cohort = "phantom",
    suite: options.Suite = "v1",
    device: options.Device = "auto",
) -> None:
    """Train what a suite sets beside a model, such as its twin, and write the weights."""
    with exit_on_error():
        console = terminal.make_console()
        selection = suites.Selection(("random",), cohorts=(cohort,), models=(model,))
        plan = plans.make_plan(catalogues.Catalogue(), suites.load_suite(suite), selection)
        check_folder(out)
        settings = engine.Settings(devices.resolve_device(device))
        for path in engine.fit_relatives(plan, out, settings):
            terminal.print_lines(console, [f"weights: {path}"])
