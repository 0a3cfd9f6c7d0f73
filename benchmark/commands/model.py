"""``model init`` and ``model inspect``: a checkpoint becomes a model, and what a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands import terminal
from benchmark.commands.exits import exit_on_error
from benchmark.errors import InputError
from benchmark.plugins import catalogue as catalogues

app = typer.Typer(help="Bring a network of your own by its checkpoint.", no_args_is_help=True)

ModelSpec = Annotated[
    str, typer.Argument(help="path/to/model.toml, its folder, or an architecture's name.")
]


@app.command()
def init(
    checkpoint: Annotated[Path, typer.Argument(help="Weights: .safetensors, .pt or .pth.")],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("model.toml"),
    architecture: Annotated[
        str | None,
        typer.Option(help="torchvision.NAME, timm.NAME, monai.NAME or path/to/file.py:function."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Side that images are resized to.")
    ] = None,
) -> None:
    """Recognise the network of a checkpoint and write its model.toml."""
    with exit_on_error():
        files = catalogues.model_files()
        rows = files.write_model_file(checkpoint, out, architecture, size)
        console = terminal.make_console()
        console.print(terminal.rows_table(f"checkpoint {checkpoint.name}", rows))
        terminal.print_lines(console, [f"model: {out}"])


@app.command()
def inspect(
    model: ModelSpec,
    image: Annotated[
        list[Path] | None, typer.Option(help="Photograph to tell the classes of; repeatable.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Text file with the name of a class on each line.")
    ] = None,
    cohort: Annotated[
        str | None, typer.Option(help="Name, cohort.toml or its folder; its shape is taken.")
    ] = None,
) -> None:
    """Say what a model consists of, and which classes it tells of photographs."""
    with exit_on_error():
        catalogue, console = catalogues.Catalogue(), terminal.make_console()
        source: Any = catalogue.models.find(model).create()
        if not hasattr(source, "content"):
            raise InputError(
                f"The model {model!r} is a class of its own; ask `check` what it consists of."
            )
        files = catalogues.model_files()
        shape = None if cohort is None else catalogue.cohorts.find(cohort).create().load().shape
        classifier = files.load_anyhow(source.name, source.content, source.folder, shape)
        rows = files.describe_model(classifier, source.content)
        console.print(terminal.rows_table(f"model {source.name}", rows))
        if image:
            photographs = files.classify_photographs(source.content, source.folder, image, classes)
            console.print(terminal.predictions_table(photographs))
