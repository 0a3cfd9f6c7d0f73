"""The phantoms know what each subject would look like at normal volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from phantoms import phantom_with_partners, render_partner
from scipy.ndimage import distance_transform_edt

from baselines.cohorts import phantom
from baselines.cohorts.committed_file import read_normals
from baselines.cohorts.generator import ELLIPSOID_VOLUME, SIDES
from baselines.cohorts.phantom import Phantom
from baselines.cohorts.phantom2 import Phantom2
from baselines.cohorts.rendering.normals import moved_view, render_normal
from baselines.cohorts.template import coronal_view
from benchmark.cohort import Cohort
from benchmark.errors import CohortError

FINGERPRINTS = {
    "phantom": "69fc16c88cbac3ec632e64777c36fe03fb66987b1672e406af0c75c45d4f9a48",
    "phantom2": "32f29d9446cd5a1752be0025f6e4c3f92efe26f70ea136ba64151a482197dd16",
}


@pytest.fixture(scope="module", params=[Phantom, Phantom2], ids=["phantom", "phantom2"])
def cohort(request: pytest.FixtureRequest) -> Cohort:
    loaded: Cohort = request.param().load()
    return loaded


def test_normals_are_no_part_of_the_fingerprint(cohort: Cohort) -> None:
    """If it fails, every score on a cohort whose images did not change has to be made anew."""
    assert cohort.normals is not None
    assert cohort.fingerprint == FINGERPRINTS[cohort.name]


def test_the_committed_normals_are_those_that_the_code_makes(cohort: Cohort) -> None:
    """If it fails, nobody can say how the truth of two protocols came about."""
    assert cohort.normals is not None
    for row in range(0, 600, 75):
        view = coronal_view() if cohort.name == "phantom" else moved_view(row + 1)
        normal = render_normal(row + 1, int(cohort.groups[row]), view)
        assert np.abs(np.rint(cohort.normals[row, 0] * 255) - normal).max() <= 1


def test_the_deviation_is_near_the_hippocampi_and_grows_with_what_they_lack(cohort: Cohort) -> None:
    """If it fails, the truth of group maps and of biomarkers lies elsewhere, or is none."""
    deviation, truth = cohort.deviation, cohort.truth
    assert deviation is not None
    assert truth is not None
    distance = np.stack([distance_transform_edt(~mask[0], sampling=1.5) for mask in truth[::20]])
    assert not deviation[::20, 0][distance > 20].any()
    means = (deviation * truth).sum((1, 2, 3)) / truth.sum((1, 2, 3))
    volumes = sum(cohort.covariates[f"{name}_volume"] / ELLIPSOID_VOLUME / 2 for name in SIDES)
    smaller = (volumes < 0.95).to_numpy()
    # Fluid fills what a hippocampus lost; signed, so that a large one has the other sign.
    assert means[smaller].mean() < -0.03
    assert means[~smaller].mean() > -0.01
    assert np.corrcoef(means, volumes)[0, 1] > 0.85


def test_normals_of_other_images_are_refused(tmp_path: Path) -> None:
    """If it fails, a truth of other subjects is taken for that of these."""
    with pytest.raises(CohortError, match="of cohort 'phantom' cannot be read"):
        read_normals(phantom.NORMALS, "phantom", np.zeros((7, 1, 96, 96), dtype=np.uint8))
    with pytest.raises(CohortError, match="is missing; install the package again"):
        read_normals(tmp_path / "none.npz", "phantom", np.zeros((7, 1, 4, 4), dtype=np.uint8))


def test_the_partners_that_tests_give_phantom_are_those_that_the_code_makes() -> None:
    """If it fails, group maps are tested against a change that nobody can make again."""
    cohort = phantom_with_partners()
    assert cohort.partners is not None
    for row in (400, 475, 599):
        partner = render_partner(row, int(cohort.groups[row]))
        assert np.abs(np.rint(cohort.partners[row, 0] * 255) - partner).max() <= 1
