"""Training by recipe: fine-tuning, a linear probe on a frozen trunk, and weights on disk."""

from benchmark.training.fine_tuning import (
    LONGEST_MEMORISING,
    Recipe,
    fine_tune,
    memorise,
    permuted,
    train_from_scratch,
    training_accuracy,
)
from benchmark.training.probe import fit_probe, logistic_regression
from benchmark.training.weights import load_weights, recipe_card, save_weights

__all__ = [
    "LONGEST_MEMORISING",
    "Recipe",
    "fine_tune",
    "fit_probe",
    "load_weights",
    "logistic_regression",
    "memorise",
    "permuted",
    "recipe_card",
    "save_weights",
    "train_from_scratch",
    "training_accuracy",
]
