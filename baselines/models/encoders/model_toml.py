"""Contents of a ``model.toml``, which names a network, its weights and how images reach it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from benchmark.classifier import Preprocessing
from benchmark.errors import ClassifierError
from benchmark.plugins.catalogue import MODEL_FILE, PLUGIN_NAME
from benchmark.records.toml_file import describe_fault, format_toml, read_toml

CLASSES_NEEDED = (
    "a head of other than two classes needs `classes`, two of them, such as classes = [0, 1]"
)
_COHORT_KEYS = {"image", "groups", "foreground", "intensity"}
_LONGEST_SIDE = 4096

Head = Literal["checkpoint", "probe"]
Positive = Annotated[float, Field(gt=0)]
Length = Annotated[int, Field(ge=1, le=_LONGEST_SIDE)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Input(_Table):
    """How a grey image in [0, 1] reaches the network.

    Attributes:
        channels: Number of channels that the network expects; a grey image is repeated.
        mean: Mean of each channel, which is subtracted.
        std: Standard deviation of each channel, which divides the rest.
        size: Spatial shape that images are resized to inside the model; as they are unless given.
    """

    channels: Annotated[int, Field(ge=1, le=64)] = 1
    mean: Annotated[list[float], Field(min_length=1)] = [0.0]
    std: Annotated[list[Positive], Field(min_length=1)] = [1.0]
    size: Annotated[list[Length], Field(min_length=2, max_length=3)] | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> Input:
        for name in ("mean", "std"):
            count = len(getattr(self, name))
            if count not in (1, self.channels):
                raise ValueError(f"{name} has {count} values for {self.channels} channels")
        return self

    @property
    def preprocessing(self) -> Preprocessing:
        """The same as the step that the classifier takes."""
        mean, std = (
            tuple(values * self.channels if len(values) == 1 else values)
            for values in (self.mean, self.std)
        )
        return Preprocessing(
            self.channels, mean, std, None if self.size is None else tuple(self.size)
        )


class ModelFile(_Table):
    """The whole file.

    Attributes:
        name: Name of the model in records; that of the file, or of its folder, unless given.
        architecture: ``torchvision.NAME``, ``timm.NAME``, ``monai.NAME`` or ``file.py:function``.
        settings: Further arguments of the function that builds the network.
        weights: Path of the weights, relative to the file; drawn by ``seed`` unless given.
        sha256: SHA-256 of the file of the weights.
        prefix: Text before each name of the network in the weights; found unless given.
        seed: Seed of what is drawn: the weights where there are none, and the head of a probe.
        layer: Child of the trunk whose output class activation maps are made of; the last one
            unless given.
        head: ``"checkpoint"`` for the head in the weights; ``"probe"`` for a logistic regression
            that is fitted to the training split of each cohort.
        classes: The two classes of a larger head that stand for the groups 0 and 1.
        input: Preparation of the images for the network.
    """

    name: str | None = None
    architecture: str
    settings: dict[str, JsonValue] = {}
    weights: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    prefix: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    layer: str | None = None
    head: Head = "probe"
    classes: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    input: Input = Input()

    @model_validator(mode="after")
    def _check_head(self) -> ModelFile:
        if self.name is not None and not PLUGIN_NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name!r}, but a name begins with a letter or digit and goes on "
                "with these, '.', '_', '+' or '-', since files are called by it"
            )
        if self.weights is None:
            for key in ("sha256", "prefix", "classes"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} says something of weights, but no weights are named")
            if self.head == "checkpoint":
                raise ValueError("head = 'checkpoint' needs weights that hold a head")
        if self.classes is not None:
            if self.head != "checkpoint":
                raise ValueError("classes are those of a head in the weights: head = 'checkpoint'")
            if self.classes[0] == self.classes[1] or min(self.classes) < 0:
                raise ValueError("classes are two different ones, counted from 0")
        return self


def read_model_file(path: Path) -> ModelFile:
    """Return the checked contents of a ``model.toml``.

    Raises:
        ClassifierError: If it is missing, is no TOML, or holds what is not understood.
    """
    return check_model_file(path, read_toml(path, "model file", ClassifierError))


def check_model_file(path: Path, content: dict[str, object]) -> ModelFile:
    """Return the contents of a ``model.toml`` that was read, if they can be understood.

    Raises:
        ClassifierError: If they cannot.
    """
    if "architecture" not in content and _COHORT_KEYS & set(content):
        raise ClassifierError(f"The file {path} describes a cohort, and not a model.")
    try:
        return ModelFile.model_validate(content)
    except ValidationError as error:
        fault = describe_fault(error, content, ModelFile)
        raise ClassifierError(f"The model file {path} {fault}.") from error


def model_name(path: Path, chosen: str | None) -> str:
    """Return the name of a model: its own, its folder's for ``FOLDER/model.toml``, or its file's.

    Raises:
        ClassifierError: If no name can be made of that.
    """
    if chosen is not None:
        return chosen
    name = path.resolve().parent.name if path.name == MODEL_FILE else path.stem
    if not PLUGIN_NAME.fullmatch(name):
        raise ClassifierError(
            f'No model can be called {name!r}, as {path} would be; give it a name = "..." of '
            "letters, digits, '.', '_', '+' or '-'."
        )
    return name


def format_model_file(content: ModelFile, comments: tuple[str, ...] = ()) -> str:
    """Return the text of a ``model.toml``, with comments as its first lines."""
    values = content.model_dump(exclude_none=True, exclude_defaults=True)
    values["head"] = content.head
    table = content.input.model_dump(exclude_none=True)
    values.pop("input", None)
    settings = {key: values[key] for key in ModelFile.model_fields if key in values}
    text = "".join(f"# {comment}\n" for comment in comments)
    return f"{text}{format_toml(settings)}\n[input]\n{format_toml(table)}"
