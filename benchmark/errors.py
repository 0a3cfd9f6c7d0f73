"""Every error that medsanity raises on purpose.

::

    SanityError
    ├── InputError            something the user can mend; exit code 2
    │   ├── UnknownNameError  a name that no catalogue entry has
    │   ├── CohortError       a cohort that cannot be read or contradicts itself
    │   ├── ClassifierError   a model that does not fit the cohort or the suite
    │   ├── SuiteError        a suite file that cannot be used
    │   ├── PluginError       a plugin that cannot be imported or is not of its kind
    │   ├── DeviceError       a device that this machine does not have
    │   └── StoreError        a store or report folder that cannot be read or written
    ├── AttributionError      an explainer broke its contract; the cell is `failed`
    ├── ContractError         a plugin broke a clause of its contract, found by ``check``
    ├── UnsupportedError      this pair cannot be scored, by its nature; `unsupported`
    └── NotAssessableError    the model gives the protocol nothing to assess; `not assessable`

Messages are one sentence: what arrived, what was expected, what is known.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from benchmark.plain_text import one_line

__all__ = [
    "AttributionError",
    "ClassifierError",
    "CohortError",
    "ContractError",
    "DeviceError",
    "InputError",
    "NotAssessableError",
    "PluginError",
    "SanityError",
    "StoreError",
    "SuiteError",
    "UnknownNameError",
    "UnsupportedError",
]

# So many names of a list are written out in a message.
_NAMES = 6


def message_of(error: BaseException) -> str:
    """Return the message of an error, also of one whose class does not give it away."""
    try:
        return str(error)
    except BaseException:  # the author's own code; anything may come back
        return "its message cannot be read"


def short_message(error: BaseException) -> str:
    """Return the type of an error and the first line of its message, as printable text.

    A first line that ends with a colon announces the others, as where a state dict does not fit;
    they then follow, and of a long list of names the first ones and their number.
    """
    lines = [" ".join(line.split()) for line in message_of(error).strip().splitlines()]
    if not lines:
        return one_line(type(error).__name__)
    rest = [_shorten(line) for line in lines[1:] if line] if lines[0].endswith(":") else []
    return one_line(f"{type(error).__name__}: {' '.join([lines[0], *rest])}")


def _shorten(line: str) -> str:
    """Return a line whose list of names is cut, with the number of those that are left out."""
    names = line.split(", ")
    if len(names) <= _NAMES:
        return line
    return f"{', '.join(names[:_NAMES])} and {len(names) - _NAMES} more."


class SanityError(Exception):
    """Base of every error raised on purpose."""


class InputError(SanityError):
    """Something that the user gave and can mend."""


class UnknownNameError(InputError):
    """A name that the catalogue does not hold.

    Args:
        kind: Kind of plugin that was looked for, in the singular, such as ``"explainer"``.
        name: Name that arrived.
        known: Names that would have been accepted.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        nearest = difflib.get_close_matches(name, choices, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(choices) or 'none'}.")


class CohortError(InputError):
    """A cohort that cannot be read or that contradicts itself."""


class ClassifierError(InputError):
    """A model that does not fit the cohort or the suite."""


class SuiteError(InputError):
    """A suite file that cannot be used."""


class PluginError(InputError):
    """A plugin that cannot be imported or is not what its folder promises."""


class DeviceError(InputError):
    """A device that this machine does not have."""


class StoreError(InputError):
    """A folder that cannot be read or written as a store or report."""


class AttributionError(SanityError):
    """An explainer returned something that is not an attribution, or touched the network."""


class ContractError(SanityError):
    """A plugin broke a clause of its contract; the message says which, how, and how to mend it."""


class UnsupportedError(SanityError):
    """This explainer cannot be scored on this model, by its nature; the message is the reason."""


class NotAssessableError(SanityError):
    """The model gives the protocol nothing to assess; the message is the reason."""
