"""What a method says of itself in a worker, checked as what a stranger says."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.errors import PluginError
from benchmark.plugins.catalogue import PLUGIN_NAME
from benchmark.records.identity import first_fault
from leaderboard.published.fault import plain

_Text = Annotated[str, Field(max_length=400)]
_Name = Annotated[str, Field(pattern=r"^[^\W\d]\w{0,63}$")]
_Count = Annotated[int, Field(ge=0, le=2**40, strict=True)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Setting = (
    Annotated[bool, Field(strict=True)] | Annotated[int, Field(strict=True)] | _Number | _Text
)

T = TypeVar("T", bound=BaseModel)


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Facts(_Said):
    """What the class of a method declares."""

    name: Annotated[str, Field(pattern=f"^(?:{PLUGIN_NAME.pattern})$", max_length=400)]
    version: _Text
    family: _Text
    polarity: Literal["positive", "absolute"]
    passes: tuple[_Count, _Count]
    dimensions: Annotated[tuple[Literal[2, 3], ...], Field(min_length=1, max_length=2)]
    paper: _Text
    passes_by_network: bool
    settings: Annotated[tuple[_Name, ...], Field(max_length=64)]


class Made(_Said):
    """What a method says of itself once it is made."""

    config: Annotated[dict[_Text, _Setting], Field(max_length=64)]
    needs_references: bool


class Support(_Said):
    """Why a method cannot explain a network."""

    reason: _Text | None


class Declared(_Said):
    """Passes that a method declares for a network."""

    passes: tuple[_Count, _Count]


class Counted(_Said):
    """Passes that a worker counted."""

    passes: tuple[_Count, _Count]


class Failure(_Said):
    """What was raised in a worker."""

    error: Annotated[str, Field(max_length=20)]
    message: Annotated[str, Field(max_length=4_000)]


def checked(form: type[T], said: object, method: str) -> T:
    """Return what a worker said in the form that it must have.

    Raises:
        PluginError: If it has another.
    """
    try:
        return form.model_validate(said)
    except ValidationError as error:
        key, message = first_fault(error)
        sentence = f"The explainer {method!r} says of itself what cannot be used, at {key}: "
        raise PluginError(plain(sentence + message)[:400]) from None
