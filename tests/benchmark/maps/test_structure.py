"""SSIM, HOG and entropy of maps, against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import entropy as scipy_entropy
from skimage.feature import hog as skimage_hog
from skimage.metrics import structural_similarity

from benchmark.maps.similarity import entropy, hog, hog_features, pearson, ssim

RNG = np.random.default_rng(0)


def _smooth_noise(*shape: int) -> np.ndarray:
    noise = gaussian_filter(RNG.normal(size=shape), 2)
    return (noise - noise.min()) / np.ptp(noise)


@pytest.mark.parametrize(("shape", "width"), [((48, 40), 11), ((20, 18, 16), 7)])
def test_ssim_is_scikit_images(shape: tuple[int, ...], width: int) -> None:
    """If it fails, a similarity under a known name is another number."""
    first, second = _smooth_noise(*shape), _smooth_noise(*shape)
    second = 0.6 * first + 0.4 * second
    second = (second - second.min()) / np.ptp(second)
    inside = np.ones(shape, dtype=bool)
    # SciPy's window reaches truncate · σ + 0.5 pixels, so this makes it as wide as ours.
    _, wanted = structural_similarity(
        first,
        second,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
        truncate=(width // 2) / 1.5,
    )
    pair = [torch.from_numpy(one)[None, None] for one in (first, second)]
    found = ssim(pair[0], pair[1], torch.from_numpy(inside)[None, None])
    if len(shape) == 2:  # scikit-image fixes the reach at 3.5 σ, which is 5 pixels
        assert float(found) == pytest.approx(wanted.mean(), abs=1e-6)
    else:
        assert float(found) == pytest.approx(wanted.mean(), abs=0.02)
    assert float(ssim(pair[0], pair[0], torch.from_numpy(inside)[None, None])) == pytest.approx(1)


def test_hog_is_scikit_images() -> None:
    """If it fails, a similarity under a known name is another number."""
    image = _smooth_noise(64, 48)
    wanted = skimage_hog(image, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(3, 3))
    found = hog(torch.from_numpy(image)[None, None])[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_hog_correlation_tells_the_same_from_another() -> None:
    """If it fails, structure is compared with itself."""
    maps = [torch.from_numpy(_smooth_noise(48, 48))[None, None] for _ in range(2)]
    inside = torch.ones_like(maps[0], dtype=torch.bool)
    features = [hog_features(one, inside) for one in maps]
    assert float(pearson(features[0], features[0])) == pytest.approx(1)
    assert float(pearson(features[0], features[1])) < 0.9


def test_entropy_is_that_of_the_histogram() -> None:
    """If it fails, eMPRT compares something else."""
    values = RNG.random((1, 1, 30, 30))
    inside = RNG.random((1, 1, 30, 30)) < 0.7
    known = values[inside]
    counts = np.histogram(known, bins=100, range=(known.min(), known.max()))[0]
    found = entropy(torch.from_numpy(values), torch.from_numpy(inside))
    assert float(found) == pytest.approx(scipy_entropy(counts, base=2), abs=1e-9)


def test_a_constant_or_broken_map_has_no_structure() -> None:
    """If it fails, a map that marks nothing is similar to anything."""
    inside = torch.ones(2, 1, 16, 16, dtype=torch.bool)
    other = torch.rand(2, 1, 16, 16)
    broken = torch.ones(2, 1, 16, 16)
    broken[1, 0, 3, 3] = float("nan")
    assert ssim(broken, other, inside).isnan().all()
    assert pearson(hog_features(broken, inside), hog_features(other, inside)).isnan().all()
    assert entropy(broken, inside).isnan().all()
