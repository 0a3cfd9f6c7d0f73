"""The explained scalar: of logits or embedding, never of probabilities, never of the largest."""

from __future__ import annotations

import pytest
import torch

from benchmark.target import ClassLogit, Margin, Projection, Target, own_margin

LOGITS = torch.tensor([[1.0, 4.0], [3.0, -2.0], [0.5, 0.5]])
EMBEDDING = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [-1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ClassLogit(0), [1.0, 3.0, 0.5]),
        (ClassLogit(1), [4.0, -2.0, 0.5]),
        (Margin(0, 1), [-3.0, 5.0, 0.0]),
        (Margin(1, 0), [3.0, -5.0, 0.0]),
        (Projection(torch.tensor([1.0, 0.0, -1.0])), [-1.0, 0.0, -2.0]),
        (Projection(torch.tensor([1.0, 0.0, -1.0]), sign=-1), [1.0, 0.0, 2.0]),
    ],
)
def test_a_target_is_the_scalar_that_it_names(target: Target, expected: list[float]) -> None:
    """If it fails, methods explain another number, or the largest class, or a probability."""
    assert target(LOGITS, EMBEDDING).tolist() == expected


@pytest.mark.parametrize("group", [0, 1])
def test_the_own_margin_grows_with_the_own_logit(group: int) -> None:
    """If it fails, one group's maps show evidence against itself."""
    assert own_margin(group) == Margin(group, 1 - group)
    raised = LOGITS.clone()
    raised[:, group] += 1
    gain = own_margin(group)(raised, EMBEDDING) - own_margin(group)(LOGITS, EMBEDDING)
    assert gain.tolist() == [1, 1, 1]


def test_a_projection_takes_the_dtype_of_the_embedding() -> None:
    """If it fails, a direction in float64, as the group means give it, cannot be explained."""
    direction = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert Projection(direction)(LOGITS, EMBEDDING).dtype == torch.float32


@pytest.mark.parametrize("target", [ClassLogit(0), Margin(0, 1), Projection(torch.ones(3))])
def test_images_do_not_mix(target: Target) -> None:
    """If it fails, the gradient of one image's scalar holds another image's evidence."""
    logits, embedding = LOGITS.clone().requires_grad_(), EMBEDDING.clone().requires_grad_()
    target(logits, embedding)[0].backward()
    for tensor in (logits, embedding):
        assert tensor.grad is None or not tensor.grad[1:].any()
