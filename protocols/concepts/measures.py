"""What concepts do to a network: effects of pairs, shifts of sets, and directions of concepts.

The tests permute what the null hypothesis calls exchangeable: signs of pairs, or labels of images
within strata. They do not set one set against random ones by a t-test, as is usual for concepts:
the set is the same in every run of that test, which calls a random set a concept in 38 to 62 % of
trials.

Rows must come in an order of their own, such as that of their keys, for the same result each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.statistics.significance import sign_flip_p

FOLDS = 5
PENALTY = 0.01  # inverse strength of L2; stronger than usual, as images are few and features many
_BLOCK = 512  # permutations drawn at once
_ROUNDING = 1e-12


def paired_p(differences: FloatArray, permutations: int) -> float:
    """Return the two-sided p-value of sign flips of differences [n] of pairs."""
    sides = [sign_flip_p(sign * differences, permutations=permutations) for sign in (1, -1)]
    return min(1.0, 2 * min(sides))


def shift(values: FloatArray, present: BoolArray, strata: Rows) -> float:
    """Return the mean of values [n] of images that show a concept minus that of the others.

    Within each stratum that holds both, weighted by n₁n₀/(n₁ + n₀), the precision of a difference.
    """
    return float(_shift_weights(present[None], strata)[0] @ values)


def influences(values: FloatArray, present: BoolArray, strata: Rows) -> FloatArray:
    """Return values [n] whose mean is the shift, and whose spread is its standard error.

    They are the shift plus the infinitesimal jackknife: n times an image's weight times its
    distance from the mean of its set in its stratum.
    """
    weights, total = _shift_weights(present[None], strata)[0], shift(values, present, strata)
    centred = np.zeros(len(values))
    for stratum in np.unique(strata):
        for side in (False, True):
            members = (strata == stratum) & (present == side)
            if members.any():
                centred[members] = values[members] - values[members].mean()
    influence: FloatArray = total + len(values) * weights * centred
    return influence


def label_p(
    values: FloatArray,
    present: BoolArray,
    strata: Rows,
    permutations: int,
    generator: np.random.Generator,
) -> float:
    """Return the two-sided p-value of the shift under permutations of labels within strata."""
    observed = abs(shift(values, present, strata)) - _ROUNDING * float(np.abs(values).max())
    count, left = 0, permutations
    while left:
        size = min(_BLOCK, left)
        labels = permuted_labels(present, strata, size, generator)
        count += int((np.abs(_shift_weights(labels, strata) @ values) >= observed).sum())
        left -= size
    return (count + 1) / (permutations + 1)


def permuted_labels(
    present: BoolArray, strata: Rows, count: int, generator: np.random.Generator
) -> BoolArray:
    """Return labels [count, n] whose images are exchanged at random within strata."""
    labels = np.broadcast_to(present, (count, len(present))).copy()
    for stratum in np.unique(strata):
        members = strata == stratum
        labels[:, members] = generator.permuted(labels[:, members], axis=1)
    return labels


def random_shifts(
    pool: FloatArray, sets: int, permutations: int, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return shifts [sets] between random halves of a pool of values, and their p-values.

    The two halves are disjoint and equally large; an odd image is left out.
    """
    half = len(pool) // 2
    strata, present = np.zeros(2 * half, dtype=np.int64), np.arange(2 * half) < half
    shifts, p_values = [], []
    for _ in range(sets):
        drawn = pool[generator.permutation(len(pool))[: 2 * half]]
        shifts.append(shift(drawn, present, strata))
        p_values.append(label_p(drawn, present, strata, permutations, generator))
    return np.array(shifts), np.array(p_values)


def concept_direction(embeddings: FloatArray, present: BoolArray) -> FloatArray:
    """Return the unit direction [D] of a logistic regression of labels [n] on embeddings [n, D].

    Features are standardised for the fit, and the direction is folded back to the embedding. It is
    zero where the embedding does not vary.
    """
    # scikit-learn takes a second to import, for which other protocols need not wait.
    from sklearn.linear_model import LogisticRegression

    scale = embeddings.std(axis=0)
    varied = scale > 0
    if not varied.any():
        return np.zeros(embeddings.shape[1])
    features = (embeddings[:, varied] - embeddings[:, varied].mean(0)) / scale[varied]
    fitted = LogisticRegression(C=PENALTY).fit(features, present)
    direction = np.zeros(embeddings.shape[1])
    direction[varied] = fitted.coef_[0] / scale[varied]
    return unit(direction)


def unit(direction: FloatArray) -> FloatArray:
    """Return a direction of length 1, or zero of zero."""
    length = float(np.linalg.norm(direction))
    return direction / length if length else direction


def held_out_hits(
    embeddings: FloatArray, present: BoolArray, subjects: Sequence[str]
) -> FloatArray:
    """Return whether each image's label is found by a fit on other subjects, [n] of 0 and 1."""
    # As above.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    hits = np.zeros(len(present))
    folds = StratifiedGroupKFold(FOLDS).split(embeddings, present, subjects)
    for known, others in folds:
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY))
        fitted.fit(embeddings[known], present[known])
        hits[others] = fitted.predict(embeddings[others]) == present[others]
    return hits


def alignment_p(
    embeddings: FloatArray, labels: BoolArray, present: BoolArray, towards: FloatArray
) -> tuple[float, float]:
    """Return the cosine of a concept's direction with another [D], and its two-sided p-value.

    Args:
        embeddings: [n, D] embeddings of the images of both sets.
        labels: [permutations, n] labels that are as likely under the null hypothesis.
        present: [n] truth value that says which images show the concept.
        towards: Unit vector [D].
    """
    cosine = float(concept_direction(embeddings, present) @ towards)
    null = np.array([abs(concept_direction(embeddings, own) @ towards) for own in labels])
    return cosine, (int((null >= abs(cosine) - _ROUNDING).sum()) + 1) / (len(null) + 1)


def swapped_labels(pairs: int, count: int, generator: np.random.Generator) -> BoolArray:
    """Return labels [count, 2 · pairs] of images without and then with, exchanged within pairs."""
    swapped = generator.integers(0, 2, size=(count, pairs)).astype(bool)
    return np.concatenate([swapped, ~swapped], axis=1)


def _shift_weights(labels: BoolArray, strata: Rows) -> FloatArray:
    """Return the weight [M, n] that each image has in the shift under labels [M, n]."""
    weights = np.zeros(labels.shape)
    precision = np.zeros(len(labels))
    for stratum in np.unique(strata):
        members = strata == stratum
        own = labels[:, members]
        with_it = own.sum(1, keepdims=True).astype(float)
        without = own.shape[1] - with_it
        usable = (with_it > 0) & (without > 0)
        of_stratum = np.where(usable, with_it * without / own.shape[1], 0.0)
        signed = np.where(own, 1 / np.maximum(with_it, 1), -1 / np.maximum(without, 1))
        weights[:, members] = of_stratum * signed
        precision += of_stratum[:, 0]
    return weights / np.where(precision > 0, precision, np.nan)[:, None]
