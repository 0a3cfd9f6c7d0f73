"""The contract of explainers: every clause catches what breaks it, and says how to mend it."""

# ruff: noqa: D102  # what the plugins break is said where they are used

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.cohort import Batch
from benchmark.contract import checks_of, run_checks
from benchmark.errors import ContractError
from benchmark.explainer import Explainer
from benchmark.plugins.examples import build_examples
from benchmark.target import Target

EXAMPLES = build_examples()[:1]


def gradient(classifier: Classifier, images: Tensor, target: Target) -> Tensor:
    leaf = images.detach().requires_grad_()
    return torch.autograd.grad(target(*classifier(leaf)).sum(), leaf)[0]


class Good(Explainer):
    """The gradient; subclasses break one clause each."""

    name = "good"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return gradient(classifier, images, target)


class Secret(Good):
    """Has a setting that no record learns of."""

    def __init__(self, power: int = 2) -> None:
        self.power = power


class Needy(Good):
    """Cannot be made."""

    def __init__(self, power: int) -> None:
        self.power = power


class Unrecordable(Good):
    """Has a setting that no record can hold."""

    config: ClassVar[Any] = {"power": None}


class Vague(Good):
    """Foretells no passes."""

    passes: ClassVar[Any] = (1.5, -1)


class Curt(Good):
    """Refuses without words."""

    def supports(self, classifier: Classifier) -> str | None:
        return "no"


class Refusing(Good):
    """Refuses everyone."""

    def supports(self, classifier: Classifier) -> str | None:
        return "it needs ten attention heads"


class Coloured(Good):
    """Gives three channels."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return super().attribute(classifier, images, target).expand(-1, 3, -1, -1)


class Raising(Good):
    """Breaks down."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        raise ValueError("out of ideas.\nsecond line")


class Hooked(Good):
    """Leaves a hook behind."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        classifier.trunk.register_forward_hook(lambda *_: None)
        return super().attribute(classifier, images, target)


class Dicing(Good):
    """Draws from the global random state."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return super().attribute(classifier, images, target) + torch.rand_like(images)


class Dividing(Good):
    """Divides by what is zero."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return super().attribute(classifier, images, target) / torch.zeros_like(images)


class Blank(Good):
    """Says nothing."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return 0 * super().attribute(classifier, images, target)


class Drifting(Good):
    """Gives another map each time."""

    calls = 0

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        Drifting.calls += 1
        return super().attribute(classifier, images, target) * Drifting.calls


class Normalising(Good):
    """Takes the mean of the batch away."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        made = super().attribute(classifier, images, target)
        return made - made.mean(0, keepdim=True)


class Remembering(Good):
    """Keeps the first map of an image, whatever the model."""

    def __init__(self) -> None:
        self._known: dict[bytes, Tensor] = {}

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        made = super().attribute(classifier, images, target)
        return torch.stack(
            [
                self._known.setdefault(image.numpy().tobytes(), one)
                for image, one in zip(images, made, strict=True)
            ]
        )


class Hoarding(Remembering):
    """Keeps them for all explainers of its class."""

    everyones: ClassVar[dict[bytes, Tensor]] = {}

    def __init__(self) -> None:
        self._known = self.everyones


class Frugal(Good):
    """Foretells a tenth of its passes."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return sum(super(Frugal, self).attribute(classifier, images, target) for _ in range(10))  # type: ignore[return-value]


class Channelwise(Good):
    """Goes through the network once for each channel of its maps, and says so of each network."""

    passes = (9, 9)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        for _ in range(classifier.maps_shape[0]):
            made = super().attribute(classifier, images, target)
        return made

    def passes_on(self, classifier: Classifier) -> tuple[int, int]:
        channels = classifier.maps_shape[0]
        return channels, channels


class Modest(Channelwise):
    """Says too little of them."""

    def passes_on(self, classifier: Classifier) -> tuple[int, int]:
        return 1, 1


class Vaguer(Channelwise):
    """Says them in no form that can be counted."""

    def passes_on(self, classifier: Classifier) -> Any:
        return classifier.maps_shape[0]


class Uncounted(Good):
    """Goes past the counter."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        leaf = images.detach().requires_grad_()
        score = target(*classifier.tail(classifier.trunk(leaf)))
        return torch.autograd.grad(score.sum(), leaf)[0]


@pytest.mark.parametrize(
    ("plugin", "clause", "said"),
    [
        (Secret, "settings", "`config` lacks 'power'"),
        (Needy, "settings", "TypeError"),
        (Unrecordable, "settings", "'power' as None"),
        (Vague, "declaration", "`passes` is (1.5, -1)"),
        (Curt, "support", "the reason is 'no'"),
        (Refusing, "support", "it needs ten attention heads"),
        (Coloured, "shape", "but returned [2, 3, 24, 24]"),
        (Raising, "shape", "on a small conv net in 2-D it raises ValueError: out of ideas, at "),
        (Hooked, "side effects", "changed the network's hooks"),
        (Dicing, "side effects", "drew from the global random state"),
        (Dividing, "values", "are not finite"),
        (Blank, "values", "every map is constant"),
        (Drifting, "repeatability", "differs from call to call"),
        (Normalising, "independence", "gets another map alone"),
        (Remembering, "memory", "a second model gets another map after the first"),
        (Hoarding, "memory", "a second model gets the map of the first"),
        (Frugal, "cost", "declares (1, 1), but on a small conv net in 2-D makes (10, 10)"),
        (Uncounted, "cost", "makes (0, 0)"),
        (Modest, "cost", "declares (1, 1), but on a small conv net in 2-D makes (8, 8)"),
        (Vaguer, "cost", "`passes_on` gives 8 for a small conv net in 2-D"),
    ],
)
def test_a_broken_clause_is_named_with_how_to_mend_it(
    plugin: type[Explainer], clause: str, said: str
) -> None:
    """If it fails, an author is told of another fault than theirs, or of none."""
    findings = run_checks(checks_of(plugin, EXAMPLES))
    broken = [one for one in findings if one.state == "broken"]
    assert [one.check.name for one in broken][:1] == [clause]
    assert said in broken[0].detail
    # What the method's own code raised says more than the clause's advice.
    ending = "`." if plugin is Raising else broken[0].check.clause.mend
    assert broken[0].detail.endswith(ending)
    check = next(one for one in checks_of(plugin, EXAMPLES) if str(one) == clause)
    with pytest.raises(ContractError, match=f"^good breaks '{clause}': "):
        check()


def test_after_a_broken_basis_nothing_else_is_asked() -> None:
    """If it fails, one fault comes out as ten."""
    findings = run_checks(checks_of(Raising, EXAMPLES))
    states = {one.check.name: one.state for one in findings}
    assert states["support"] == "held"
    assert states["shape"] == "broken"
    assert {states[name] for name in ("side effects", "values", "cost")} == {"not asked"}
    assert findings[-1].detail == "'shape' is broken"


def test_a_good_method_breaks_nothing() -> None:
    """If it fails, the contract cannot be kept."""
    for check in checks_of(Good):
        check()
    device = run_checks(checks_of(Good, EXAMPLES))[-1]
    assert device.state == ("held" if torch.cuda.is_available() else "not asked")


def test_passes_may_depend_on_the_network() -> None:
    """If it fails, a method that masks channel after channel can be submitted for no network."""
    findings = {one.check.name: one for one in run_checks(checks_of(Channelwise))}
    assert findings["cost"].state == "held", findings["cost"].detail


def test_models_are_asked_one_by_one() -> None:
    """If it fails, a method that suits one kind of model alone is refused, or not told so."""

    class Wide(Good):
        def supports(self, classifier: Classifier) -> str | None:
            return None if len(classifier.input_shape) == 2 else "it needs a flat image"

    findings = {one.check.name: one for one in run_checks(checks_of(Wide))}
    assert findings["support"].detail.count("refuses") == 2
    assert all(one.state != "broken" for one in findings.values())


def test_methods_that_compare_are_given_something_to_compare_with() -> None:
    """If it fails, a method with baselines of the cohort cannot be checked."""

    class Comparing(Good):
        needs_references = True

        def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
            assert batch.references is not None
            made = self.attribute(classifier, batch.images, target)
            return made * (batch.images - batch.references.mean)

    assert all(one.state != "broken" for one in run_checks(checks_of(Comparing)))
