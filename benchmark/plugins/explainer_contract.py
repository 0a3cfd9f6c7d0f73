"""The contract of explainers: clauses that every attribution method and control keeps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import Rows
from benchmark.classifier import Classifier, PassCounter
from benchmark.cohort import Batch
from benchmark.errors import AttributionError, short_message
from benchmark.explainer import Control, Explainer, same_map, why_unsupported
from benchmark.plugins.blame import advice_on, advice_on_array, advice_on_none
from benchmark.plugins.clause import Broken, Contract, NotAsked, clause
from benchmark.plugins.examples import Example
from benchmark.stopping import is_stop
from benchmark.target import Margin

_IMAGES = 2
# An image that is darker by this factor has the same map up to rounding.
_UNSEEN = 1 - 2**-10
_TARGET = Margin(0, 1)


@dataclass(frozen=True)
class _Explained:
    explainer: Explainer
    example: Example
    model: Classifier
    maps: Tensor
    passes: tuple[float, float]

    def explain(self, explainer: Explainer, model: Classifier | None = None) -> Tensor:
        """Return the maps of the same images by another explainer, or of another model."""
        return _explain(explainer, self.example, model or self.model)


class ExplainerContract(Contract[Explainer]):
    """The clauses that every attribution method and control is held to, on some examples."""

    def __init__(
        self,
        build: Callable[[], Explainer],
        name: str,
        examples: Sequence[Example],
        plugin_file: str = "",
    ) -> None:
        super().__init__(build, name, plugin_file)
        self._examples = examples

    def advise(self, error: BaseException) -> str | None:
        """Return how to mend what the method's code raised; None for the clause's own advice."""
        return advice_on(error)

    @clause(
        "it is made without arguments, and `config` holds every setting",
        "Give every argument of the constructor a default, and return its value from `config` "
        "under its own name.",
        basis=True,
    )
    def settings(self) -> None:  # noqa: D102 - clauses say what they are
        explainer = self.build()
        for name, value in explainer.config.items():
            if not isinstance(value, str | int | float) or value != value:
                raise Broken(f"`config` gives {name!r} as {value!r}, which no record can hold")
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        for parameter in inspect.signature(type(explainer)).parameters.values():
            if parameter.kind not in variable and parameter.name not in explainer.config:
                raise Broken(f"`config` lacks {parameter.name!r}, which the constructor takes")
        if self.build().config != explainer.config:
            raise Broken("`config` is another each time")

    @clause(
        "version, family, passes and dimensions are declared as tables need them",
        "`version` and `family` are strings, `passes` two whole numbers: forward and backward "
        "passes of one image; `dimensions` is a tuple of 2, 3 or both, such as `(2,)`.",
    )
    def declaration(self) -> None:  # noqa: D102
        explainer = self.build()
        for name in ("version", "family"):
            if not isinstance(value := getattr(explainer, name), str) or not value:
                raise Broken(f"`{name}` is {value!r}")
        if not _are_passes(explainer.passes):
            raise Broken(f"`passes` is {explainer.passes!r}")
        dimensions: object = explainer.dimensions
        if not isinstance(dimensions, tuple) or not dimensions or set(dimensions) - {2, 3}:
            raise Broken(f"`dimensions` is {dimensions!r}")

    @clause(
        "`supports` gives None or a reason in words, and takes at least one kind of model",
        "Return None where the method can work, and elsewhere a sentence that says what it needs.",
        basis=True,
    )
    def support(self) -> str | None:  # noqa: D102
        explainer, refused = self.build(), []
        for example in self._examples:
            reason = self._why_not(explainer, example)
            if reason is not None:
                if not isinstance(reason, str) or len(reason.split()) < 3 or "\n" in reason:
                    raise Broken(f"on {example.name} the reason is {reason!r}")
                refused.append(f"refuses {example.name}: {reason}")
        if len(refused) == len(self._examples):
            raise Broken(f"it {'; '.join(refused)}")
        return "; ".join(refused) or None

    @clause(
        "a map is a floating-point tensor [B, 1, *S] on the images' device",
        "Return one value for each pixel of each image, summed over channels, also for volumes.",
        basis=True,
    )
    def shape(self) -> None:  # noqa: D102
        if not self._faults:
            return
        (example, error), *_ = self._faults
        working = [example for _, example in self._working()]
        mend = advice_on(error)
        if isinstance(error, AttributionError):
            fault = _gist(error, self.build().name)
            mend = advice_on_none() if fault.endswith("NoneType") else mend
            mend = advice_on_array() if fault.endswith("ndarray") else mend
        else:
            fault = f"raises {short_message(error).rstrip('.')}"
            mend = mend or ""
        if working:
            mend = _advice_for_others([example for example, _ in self._faults], working) or mend
        raise Broken(f"on {example.name} it {fault}", mend, partial=bool(working)) from error

    @clause(
        "network, images, random state and torch's switches stay as they were",
        "Take gradients with torch.autograd.grad, work on a copy of what you alter, remove hooks, "
        "and draw from benchmark.seeding.torch_stream.",
        basis=True,
    )
    def side_effects(self) -> None:  # noqa: D102
        self._explained  # noqa: B018 - an explainer that makes a map looks after itself

    @clause(
        "values are finite, and not the same everywhere",
        "Look for a division by a sum that can be zero, and for a gradient that does not reach "
        "the image.",
    )
    def values(self) -> None:  # noqa: D102
        constant = []
        for explained in self._explained:
            if count := int((~explained.maps.isfinite()).sum()):
                raise Broken(f"on {explained.example.name} {count} are not finite")
            constant.append(bool((explained.maps.flatten(1).std(1) == 0).all()))
        if all(constant):
            raise Broken("every map is constant")

    @clause(
        "the same image gets the same map, bit for bit, every time",
        "Seed what is random by what it is for (benchmark.seeding.torch_stream), and keep nothing "
        "between calls.",
    )
    def repeatability(self) -> None:  # noqa: D102
        for explained in self._explained:
            for explainer in (explained.explainer, self.build()):
                if not torch.equal(explained.explain(explainer), explained.maps):
                    raise Broken(f"on {explained.example.name} it differs from call to call")

    @clause(
        "a map does not depend on the other images of its batch",
        "Normalise, rank and average within each image; seed what is random without the place in "
        "the batch.",
    )
    def independence(self) -> None:  # noqa: D102
        rows = np.arange(_IMAGES)
        for explained in self._explained:
            explainer, example, model = explained.explainer, explained.example, explained.model
            reversed_maps = _explain(explainer, example, model, rows[::-1].copy()).flip(0)
            single_maps = [_explain(explainer, example, model, rows[[row]]) for row in rows]
            other_maps = {"in another order": reversed_maps, "alone": torch.cat(single_maps)}
            for order, maps in other_maps.items():
                if not all(map(same_map, explained.maps, maps)):
                    raise Broken(f"on {example.name} an image gets another map {order}")

    @clause(
        "the model is an argument: nothing is remembered of the one before",
        "Compute everything from the model that the call brings; key what you cache by model and "
        "weights.",
    )
    def memory(self) -> None:  # noqa: D102
        for explained in self._explained:
            images = _batch(explained.explainer, explained.example, explained.model).images
            other_model = explained.model.randomised(1, images)
            used_maps = explained.explain(explained.explainer, other_model)
            fresh_maps = explained.explain(self.build(), other_model)
            example_name = explained.example.name
            if not torch.equal(used_maps, fresh_maps):
                raise Broken(f"on {example_name} a second model gets another map after the first")
            # What the class or its module remembers is there for a fresh explainer too, but not
            # for images that it has never seen.
            if torch.equal(used_maps, explained.maps):
                unseen_maps = _explain(self.build(), explained.example, other_model, scale=_UNSEEN)
                if not all(map(same_map, used_maps, unseen_maps)):
                    raise Broken(f"on {example_name} a second model gets the map of the first")

    @clause(
        "`passes` foretells the cost of a map within a factor of two",
        "Count forward and backward passes of one image, by `passes_on(classifier)` where they "
        "depend on the network, and send images through `classifier(images)` or "
        "`classifier.feature_maps(images)`, which count them.",
    )
    def cost(self) -> None:  # noqa: D102
        for explained in self._explained:
            declared, counted = explained.explainer.passes_on(explained.model), explained.passes
            name = explained.example.name
            if not _are_passes(declared):
                raise Broken(f"`passes_on` gives {declared!r} for {name}")
            pairs = [*zip(declared, counted, strict=True)]
            if any(max(pair) > 2 * min(pair) for pair in pairs):
                passes = tuple(map(math.ceil, counted))
                raise Broken(f"it declares {tuple(declared)}, but on {name} makes {passes}")

    @clause(
        "on a GPU it gives the same maps",
        "Create tensors with `.to(images)` or `device=images.device`.",
    )
    def device(self) -> None:  # noqa: D102
        if not torch.cuda.is_available():
            raise NotAsked("there is no GPU here")
        for explained in self._explained:
            gpu_maps = explained.explain(explained.explainer, explained.model.copy().to("cuda"))
            if not all(map(same_map, explained.maps, gpu_maps.cpu())):
                raise Broken(f"on {explained.example.name} the GPU gives another map")

    @cached_property
    def _explained(self) -> list[_Explained]:
        """Maps of each example that the explainer supports."""
        explained = []
        for explainer, example in self._working():
            model = example.classifier.copy()
            model.passes = PassCounter()
            maps = _explain(explainer, example, model)
            counted = model.passes.forward / _IMAGES, model.passes.backward / _IMAGES
            explained.append(_Explained(explainer, example, model, maps, counted))
        return explained

    @cached_property
    def _faults(self) -> list[tuple[Example, BaseException]]:
        """Examples that the explainer takes and makes no map of, and the error of each."""
        faults: list[tuple[Example, BaseException]] = []
        for explainer, example in self._supported():
            model = example.classifier.copy()
            batch = _batch(explainer, example, model)
            try:
                maps = explainer.attribute_batch(model, batch, _TARGET)
                explainer.check_map(maps, batch.images)
            except BaseException as error:  # the author's code; anything may come back
                if is_stop(error):
                    raise
                faults.append((example, error))
        return faults

    def _working(self) -> Iterator[tuple[Explainer, Example]]:
        """Yield the examples that the explainer takes, and makes a map of."""
        faulty = [id(example) for example, _ in self._faults]
        return (pair for pair in self._supported() if id(pair[1]) not in faulty)

    def _supported(self) -> Iterator[tuple[Explainer, Example]]:
        for example in self._examples:
            explainer = self.build()
            if self._why_not(explainer, example) is None:
                yield explainer, example

    def _why_not(self, explainer: Explainer, example: Example) -> str | None:
        has_truth = bool(example.cohort.anatomy.rois)
        return why_unsupported(explainer, example.classifier.copy(), has_truth)


def _batch(
    explainer: Explainer, example: Example, model: Classifier, rows: Rows | None = None
) -> Batch:
    """Return test images on the model's device: the first ones, or those of some rows."""
    chosen_rows = np.arange(_IMAGES) if rows is None else rows
    batch = example.cohort.select("test").batch(chosen_rows, model.device)
    if explainer.needs_references:
        batch = replace(batch, references=example.cohort.references.to(model.device))
    if isinstance(explainer, Control) and batch.change is None and batch.regions is not None:
        # Examples have no partners and no normals: what lies in the regions stands for what
        # changes there.
        batch = replace(batch, change=batch.images * batch.regions)
    if isinstance(explainer, Control) and batch.deviation is None and batch.regions is not None:
        batch = replace(batch, deviation=-batch.images * batch.regions)
    return batch


def _explain(
    explainer: Explainer,
    example: Example,
    model: Classifier,
    rows: Rows | None = None,
    scale: float = 1.0,
) -> Tensor:
    batch = _batch(explainer, example, model, rows)
    try:
        return explainer(model, replace(batch, images=batch.images * scale), _TARGET)
    except AttributionError as error:
        raise Broken(f"on {example.name} it {_gist(error, explainer.name)}") from error


def _gist(error: AttributionError, name: str) -> str:
    """Return what the gate says of an explainer, without its name."""
    return str(error).removeprefix(f"Explainer {name!r} ").rstrip(".")


def _are_passes(passes: object) -> bool:
    """Return whether something is two numbers of passes."""
    if not isinstance(passes, tuple | list) or len(passes) != 2:
        return False
    return all(type(count) is int and count >= 0 for count in passes)


def _advice_for_others(faulty: Sequence[Example], working: Sequence[Example]) -> str:
    """Return the line by which a method says which images it is for, or nothing.

    It is for one number of dimensions where all examples of it work, and all others fail.
    """
    bad, good = ({len(each.classifier.input_shape) for each in some} for some in (faulty, working))
    if len(good) != 1 or bad & good:
        return ""
    name = {2: "slices", 3: "volumes"}[(dimensions := good.pop())]
    return (
        f"A method for {name} alone says so by one line in its class: "
        f"`dimensions = ({dimensions},)`."
    )
