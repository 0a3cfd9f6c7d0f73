"""Contents of a ``model.toml``, which names a network, its weights and how images reach it."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from benchmark.classifier import Preprocessing
from benchmark.errors import ClassifierError

MODEL_FILE = "model.toml"
CLASSES_NEEDED = (
    "a head of other than two classes needs `classes`, two of them, such as classes = [0, 1]"
)
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
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
        prefix: What stands before each name of the network in the weights; found unless given.
        seed: Seed of what is drawn: the weights where there are none, and the head of a probe.
        layer: Child of the trunk whose output class activation maps are made of; the last one
            unless given.
        head: ``"checkpoint"`` for the head in the weights; ``"probe"`` for a logistic regression
            that is fitted to the training split of each cohort.
        classes: The two classes of a larger head that stand for the groups 0 and 1.
        input: How an image reaches the network.
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
        if self.name is not None and not _NAME.fullmatch(self.name):
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
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClassifierError(f"The model file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a broken TOML or a broken UTF-8
        raise ClassifierError(f"The model file {path} is no TOML: {error}.") from error
    if "architecture" not in content and _COHORT_KEYS & set(content):
        raise ClassifierError(f"The file {path} describes a cohort, and not a model.")
    try:
        return ModelFile.model_validate(content)
    except ValidationError as error:
        raise ClassifierError(f"The model file {path} {_problem(error, content)}.") from error


def model_name(path: Path, content: ModelFile) -> str:
    """Return the name of a model: its own, its folder's for ``FOLDER/model.toml``, or its file's.

    Raises:
        ClassifierError: If no name can be made of that.
    """
    if content.name is not None:
        return content.name
    name = path.resolve().parent.name if path.name == MODEL_FILE else path.stem
    if not _NAME.fullmatch(name):
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
    lines = [f"# {comment}" for comment in comments]
    lines += [f"{key} = {_toml(values[key])}" for key in ModelFile.model_fields if key in values]
    lines += ["", "[input]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _problem(error: ValidationError, content: dict[str, object]) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        fields = ModelFile.model_fields if len(fault["loc"]) == 1 else Input.model_fields
        nearest = difflib.get_close_matches(str(fault["loc"][-1]), fields, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        return f"has the unknown key {key!r}.{hint} Known: {', '.join(fields)}"
    if fault["type"] == "missing":
        return f"lacks the key {key!r}; it has {', '.join(content) or 'none'}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"has a wrong {key!r}: {message}" if key else f"is wrong: {message}"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        items = ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items())
        return f"{{ {items} }}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # JSON's strings, numbers and booleans are TOML's, as long as no character is split in two.
    return json.dumps(value, ensure_ascii=False)
