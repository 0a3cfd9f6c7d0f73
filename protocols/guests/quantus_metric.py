"""Metrics of Quantus (Hedström et al. 2023), with its own names, settings and defaults.

Quantus is an optional package and imported when a metric of it is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import JsonValue, create_model

from benchmark.errors import PluginError, SuiteError, UnknownNameError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.protocol import SanityProtocol
from benchmark.reading import Direction
from protocols.guests.guest import Guest, GuestConfig, Question, statistics_of
from protocols.guests.network import OwnClassFirst

DESCRIPTION = "any metric of Quantus, by the name of its class; pip install 'medsanity[quantus]'"
EXAMPLE = "quantus:FaithfulnessCorrelation"

# What the adapter decides itself: a number for each image, and no output but that.
_FIXED = {"return_aggregate": False, "disable_warnings": True, "display_progressbar": False}
_IGNORED = ("self", "kwargs", "args", "aggregate_func", "default_plot_func", *_FIXED)
# Settings whose default in Quantus does not fit images of two classes.
_OTHER_DEFAULTS = {"num_classes": 2, "features_in_step": None, "return_average_correlation": True}
_MOST_STEPS = 64
_ONE_PIXEL = "NonSensitivity"  # it raises an error with any other step
_OVER_IMAGES = (
    "{} compares the images of a batch with each other, so no image has a value of its own"
)
_REFUSALS = {
    "Focus": "quantus:Focus needs mosaics of several images and their maps, which no cohort has",
    **{
        name: _OVER_IMAGES.format(f"quantus:{name}")
        for name in ("Consistency", "SensitivityN", "Sufficiency")
    },
}
_RANKING = ("Localisation", "Complexity")


class QuantusProtocol(Guest[GuestConfig]):
    """A metric of Quantus, asked about one image at a time.

    Its settings are the arguments of the metric's constructor. Functions are set by the names that
    Quantus lists them by, such as ``perturb_func = "gaussian_noise"``.

    Attributes:
        metric_name: Name of the metric's class.
    """

    version = "1.0"
    library = "quantus"
    metric_name: ClassVar[str]

    def __init__(self, config: GuestConfig) -> None:
        super().__init__(config)
        chosen = config.model_dump(exclude=set(GuestConfig.model_fields))
        self._arguments = {
            name: _function(value, self.name) if self._names_function(name) else value
            for name, value in chosen.items()
            if value is not None
        }

    def _names_function(self, name: str) -> bool:
        """Return whether a setting is the name of a function; some are a name for Quantus, too."""
        default = type(self.config).model_fields[name].default
        return _is_function(name) and not isinstance(default, str)

    def settings(self, panel: Mapping[str, Explainer]) -> dict[str, Any]:
        """Return its settings, with the version of Quantus."""
        return {**super().settings(panel), self.library: version(self.library)}

    def value_of(self, question: Question) -> float:
        """Return the metric's value for one map; the mean of a curve where it returns one."""
        batch, images = question.batch, question.batch.images
        metric = self.metric(images[0].numel())
        arguments: dict[str, Any] = {"explain_func": question.explainer.explain}
        if self.needs_truth:
            truth = batch.regions if batch.truth is None else batch.truth
            if truth is None:
                raise UnsupportedError(f"{self.name} needs a cohort that declares regions")
            if not truth.any():
                return math.nan
            arguments["s_batch"] = truth.cpu().numpy()
        result = metric(
            model=OwnClassFirst(question.trial.classifier, question.group),
            x_batch=images.cpu().numpy(),
            y_batch=np.zeros(1, dtype=np.int64),
            a_batch=question.attributions.cpu().numpy(),
            channel_first=True,
            device=str(images.device),
            batch_size=1,
            **arguments,
        )
        numbers = list(_numbers(result))
        return math.fsum(numbers) / len(numbers) if numbers else math.nan

    def metric(self, pixels: int) -> Any:  # noqa: ANN401 - Quantus has no types
        """Return the metric; where no step is chosen, one that the image has few of."""
        arguments = dict(self._arguments)
        if "features_in_step" in type(self.config).model_fields:
            arguments.setdefault("features_in_step", _step(pixels))
        return _metrics()[self.metric_name](**arguments, **_FIXED)


def protocol_of(name: str) -> type[SanityProtocol[Any]]:
    """Return the protocol of a metric by the name of its class.

    Raises:
        UnknownNameError: If Quantus has no metric of that name.
        PluginError: If Quantus is not installed.
    """
    metrics = _metrics()
    if name not in metrics:
        known = [f"quantus:{metric}" for metric in metrics]
        raise UnknownNameError("protocol", f"quantus:{name}", known)
    return _protocol(name)


@lru_cache(maxsize=64)
def _protocol(name: str) -> type[QuantusProtocol]:
    metric = _metrics()[name]
    category = str(metric.evaluation_category.value)
    known: dict[str, Direction] = {"higher": "higher", "lower": "lower"}
    direction: Direction = known.get(str(metric.score_direction.value), "none")
    attributes = {
        "name": f"quantus:{name}",
        "title": f"{category}: {metric.name} (Quantus)",
        "metric_name": name,
        "needs_truth": category == "Localisation",
        "refusal": _REFUSALS.get(name, ""),
        "statistics": statistics_of(f"Quantus' {metric.name}", direction),
        "Config": _config(metric, "importance" if category in _RANKING else "signed"),
        "__module__": __name__,
        "__doc__": QuantusProtocol.__doc__,
    }
    return type(name, (QuantusProtocol,), attributes)


def _config(metric: Any, maps: str) -> type[GuestConfig]:  # noqa: ANN401
    """Return the settings of a metric: the arguments of its constructor, with their defaults."""
    fields: dict[str, Any] = {"maps": (Literal["signed", "importance"], maps)}
    for name, parameter in inspect.signature(metric.__init__).parameters.items():
        if name in _IGNORED:
            continue
        default = parameter.default
        if metric.__name__ != _ONE_PIXEL:
            default = _OTHER_DEFAULTS.get(name, default)
        if _is_function(name):
            fields[name] = (str | None, default if isinstance(default, str) else None)
        else:
            # Its type hints name what NumPy and pydantic do not know; defaults say enough.
            fields[name] = (JsonValue if default is None else type(default), default)
    return create_model(f"{metric.__name__}Config", __base__=GuestConfig, **fields)


@lru_cache(maxsize=1)
def import_quantus() -> ModuleType:
    """Return the module in which Quantus lists its metrics and functions.

    Raises:
        PluginError: If Quantus is not installed.
    """
    try:
        return importlib.import_module("quantus.helpers.constants")
    except ImportError as error:
        raise PluginError(
            "Metrics of Quantus need the package: pip install 'medsanity[quantus]'."
        ) from error


def _metrics() -> dict[str, Any]:
    """Return the metrics of Quantus by the names of their classes."""
    categories = import_quantus().AVAILABLE_METRICS.values()
    return {metric.__name__: metric for metrics in categories for metric in metrics.values()}


def _is_function(name: str) -> bool:
    return name.endswith("_func") or name.startswith("norm_")


def _function(name: str, protocol: str) -> Any:  # noqa: ANN401
    """Return the function that Quantus lists under a name.

    Raises:
        SuiteError: If it lists none.
    """
    constants = import_quantus()
    known: dict[str, Callable[..., Any]] = {
        **constants.AVAILABLE_PERTURBATION_FUNCTIONS,
        **constants.AVAILABLE_SIMILARITY_FUNCTIONS,
        **constants.AVAILABLE_NORMALISATION_FUNCTIONS,
    }
    if name not in known:
        raise SuiteError(
            f'[protocol."{protocol}"]: Quantus lists no function {name!r}; '
            f"known: {', '.join(sorted(known))}."
        )
    return known[name]


def _step(pixels: int) -> int:
    """Return the smallest number of pixels that divides an image into at most 64 steps."""
    fewest = math.ceil(pixels / _MOST_STEPS)
    return next(step for step in range(fewest, pixels + 1) if pixels % step == 0)


def _numbers(result: object) -> Iterator[float]:
    """Yield every number of what a metric returns for one image: a value, a curve or several."""
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, list | tuple):
        for each in result:
            yield from _numbers(each)
    elif result is not None:
        yield from np.asarray(result, dtype=np.float64).ravel().tolist()
