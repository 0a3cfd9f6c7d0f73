"""Metrics of other libraries as protocols, each by the name that its library gives it.

``quantus:NAME`` is a metric of Quantus, ``captum:NAME`` one of Captum. They measure what their
library measures; the suite brings maps, controls, intervals and states.
"""

from __future__ import annotations

from typing import Any

from benchmark.errors import PluginError
from benchmark.protocol import SanityProtocol
from protocols.guests import captum_metric, quantus_metric

__all__ = ["families", "protocol_of"]

_FAMILIES = {"quantus": quantus_metric, "captum": captum_metric}


def families() -> dict[str, str]:
    """Return the libraries whose metrics can be named as protocols, and which metrics these are."""
    return {f"{family}:NAME": module.DESCRIPTION for family, module in _FAMILIES.items()}


def protocol_of(spec: str) -> type[SanityProtocol[Any]]:
    """Return the protocol of a metric such as ``quantus:Sparseness``; the same for the same name.

    Raises:
        UnknownNameError: If the library has no metric of that name.
        PluginError: If no metric is named, or the library is not installed.
    """
    family, _, name = spec.partition(":")
    if not name:
        raise PluginError(f"Name a metric of {family}, as in {_FAMILIES[family].EXAMPLE}.")
    protocol: type[SanityProtocol[Any]] = _FAMILIES[family].protocol_of(name)
    return protocol
