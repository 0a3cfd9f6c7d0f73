"""``train`` and ``relatives``: weights of a model, and of what a suite sets beside it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark import training
from benchmark.commands import options, terminal
from benchmark.commands.exits import FAILED, exit_on_error
from benchmark.errors import ClassifierError, InputError, StoreError
from benchmark.plugins import catalogue as catalogues
from benchmark.plugins import cohort_checks
from benchmark.records import experiment as cards
from benchmark.records import registry as registries
from benchmark.records.files import check_folder
from benchmark.report import experiment_figures
from benchmark.running import attempt, default_models, engine
from benchmark.running import device as devices
from benchmark.running import experiment as trials
from benchmark.running import plan as plans
from benchmark.running import suite as suites


class Regime(StrEnum):
    """Parts that are trained."""

    PROBE = "probe"
    LAST_STAGE = "last_stage"
    FULL = "full"


class CrossValidated(StrEnum):
    """Parts that are trained anew in each fold."""

    PROBE = "probe"
    FULL = "full"


def train(
    model: Annotated[str | None, typer.Option(help=options.MODEL_HELP)] = None,
    cohort: Annotated[str | None, typer.Option(help=options.COHORT_HELP)] = None,
    regime: Annotated[
        Regime | None, typer.Option(help="What is trained. [default: the recipe's, or probe]")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="TOML of settings; what it leaves out has its default.")
    ] = None,
    refit: Annotated[
        int | None, typer.Option(min=0, help="Another head, order and bootstrap of subjects.")
    ] = None,
    cv: Annotated[
        CrossValidated | None,
        typer.Option(help="What cross-validation trains anew. [default: probe]"),
    ] = None,
    experiments: options.Experiments = options.EXPERIMENTS,
    resume: Annotated[
        str | None, typer.Option(help="ID of an interrupted experiment, which goes on.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Train a model from scratch by its own recipe into here.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of a training with --out. [default: 0]")
    ] = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Train a network on a cohort, validate it, and keep it as the next experiment."""
    with exit_on_error("Stopped before anything was written."):
        chosen = {"--regime": regime, "--recipe": recipe, "--refit": refit, "--cv": cv}
        if out is not None:
            _refuse({**chosen, "--resume": resume}, "--out trains a model by its own recipe")
            _train_from_scratch(out, (model, cohort), seed or 0, device, quiet)
            return
        _refuse({"--seed": seed}, "--seed belongs to --out, and --refit N to an experiment")
        resolved, catalogue = devices.resolve_device(device), catalogues.Catalogue()
        if resume is not None:
            others = {"--model": model, "--cohort": cohort, **chosen}
            _refuse(others, f"--resume takes everything from the card of {resume}")
            registries.read_registry(experiments).select([resume])
            experiment = trials.reopen(experiments / resume, resolved, catalogue)
        else:
            missing = [
                name for name, value in (("--model", model), ("--cohort", cohort)) if value is None
            ]
            if model is None or cohort is None:
                raise InputError(
                    f"Expected {' and '.join(missing)}, to train an experiment; "
                    "`--out FOLDER` trains a built-in model from scratch."
                )
            settings = trials.read_settings(recipe, regime, refit)
            crossed: cards.CrossValidated = "full" if cv == CrossValidated.FULL else "probe"
            request = trials.Request(model, cohort, settings, crossed)
            experiment = trials.begin(experiments, request, resolved, catalogue)
        _carry_out(experiment, experiments, quiet)


def relatives(
    out: options.Out,
    model: options.Model = None,
    cohort: options.Cohort = None,
    suite: options.Suite = "v1",
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Train what a suite sets beside a model, such as its twin, and write the weights."""
    with exit_on_error():
        console = terminal.make_console(quiet=quiet)
        catalogue, chosen = catalogues.Catalogue(), suites.load_suite(suite)
        if cohort is None:
            own = default_models.default_cohort(catalogue, model)
            cohorts = (own, *chosen.joined_to(own))
        else:
            cohorts = (cohort,)
        models = () if model is None else (model,)
        selection = suites.Selection(("random",), cohorts=cohorts, models=models)
        plan = plans.make_plan(catalogue, chosen, selection)
        check_folder(out)
        settings = engine.Settings(devices.resolve_device(device))
        for path in engine.fit_relatives(plan, out, settings):
            terminal.print_lines(console, [f"weights: {path}"])


def _refuse(values: Mapping[str, object], reason: str) -> None:
    """Refuse options that mean nothing beside another."""
    if unwanted := [name for name, value in values.items() if value is not None]:
        raise InputError(f"{reason}, so {unwanted[0]} cannot be given with it.")


def _carry_out(experiment: trials.Experiment, experiments: Path, quiet: bool) -> None:
    """Train with a bar, and say how it ended and what comes next."""
    name = experiment.card.id
    again = f"python -m benchmark train --resume {name}"
    if experiments != options.EXPERIMENTS:
        again += f" --experiments {shlex.quote(str(experiments))}"
    sentence = f"{name} is interrupted; `{again}` goes on."
    with exit_on_error(sentence):
        try:
            with terminal.TrainingBar(terminal.make_console(stderr=True, quiet=quiet)) as bar:
                card = attempt.carry_out(experiment, experiment_figures.draw_figures, bar)
        except StoreError as error:
            raise StoreError(f"{error} {sentence}") from error
    if card.status == "failed":
        lines = [f"{name} failed: {card.reason}; see {experiment.folder / attempt.LOG}."]
        terminal.print_lines(terminal.make_console(stderr=True), lines)
        raise typer.Exit(FAILED)
    console, notes = terminal.make_console(), terminal.make_console(quiet=quiet)
    terminal.print_card(console, notes, card, experiment.folder)


def _train_from_scratch(
    out: Path, names: tuple[str | None, str | None], seed: int, device: str, quiet: bool
) -> None:
    """Train a model by the recipe of its class, and write weights that can be committed."""
    catalogue, console = catalogues.Catalogue(), terminal.make_console(quiet=quiet)
    model, cohort = names
    chosen = devices.resolve_device(device)
    entry = catalogue.cohorts.find(cohort or default_models.default_cohort(catalogue, model))
    people = cohort_checks.load_cohort(entry)
    source = catalogue.models.find(model or default_models.default_model(entry, people)).create()
    if source.recipe is None:
        raise ClassifierError(f"Model {source.name!r} has no recipe to train it by.")
    check_folder(out)
    untrained = source.build(people.shape).to(chosen)

    def report_epoch(epoch: int, epochs: int, loss: float) -> None:
        console.print(f"epoch {epoch} of {epochs}: loss {loss:.4f}")

    with devices.reproducible():
        trained = training.train_from_scratch(untrained, people, source.recipe, seed, report_epoch)
    card = training.recipe_card(source.recipe, people, seed)
    path = training.save_weights(trained, out, card)
    terminal.print_lines(console, [f"weights: {path}"])
