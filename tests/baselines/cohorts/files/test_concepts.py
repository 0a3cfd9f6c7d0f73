"""Concepts in a ``cohort.toml``: folders of images, or a condition on the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.cohorts.files.reader import read_cohort
from benchmark.errors import CohortError

SIZE, SUBJECTS, IMAGES = 16, 12, 20


def picture(path: Path, seed: int, size: int = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(40, 200, (size, size), dtype=np.uint8)
    Image.fromarray(grey).save(path)


def write(folder: Path, concept: str, intensity: str = "low = 0, high = 255") -> Path:
    """Write a cohort with a concept, and pairs of images for it; return its file."""
    lines = ["participant_id,group,split,age,sex"]
    for number in range(SUBJECTS):
        split = ("train", "validation", "test")[number // 2 % 3]
        sex = "FM"[number // 2 % 2] if number else ""
        lines.append(f"sub-{number:02d},{'CN' if number % 2 else 'AD'},{split},{60 + number},{sex}")
        picture(folder / "images" / f"sub-{number:02d}.png", number)
    (folder / "participants.csv").write_text("\n".join(lines) + "\n")
    for number in range(IMAGES):
        for which in ("before", "after"):
            picture(
                folder / which / f"extra{number:02d}_T1w.png", number + 100 * (which == "after")
            )
    (folder / "cohort.toml").write_text(
        'name = "mine"\ngroups = ["CN", "AD"]\nparticipants = "participants.csv"\n'
        f'image = "images/{{participant_id}}.png"\nintensity = {{ {intensity} }}\n'
        f"spacing = [1.0, 1.0]\n\n[foreground]\nwhole = true\n\n[concept.mine]\n{concept}\n"
    )
    return folder / "cohort.toml"


FOLDERS = 'with = "after"\nwithout = "before"'


def test_two_folders_of_equal_names_are_pairs(tmp_path: Path) -> None:
    """If it fails, a user's edited images are compared as if they were of other subjects."""
    rule = f'{FOLDERS}\nnuisance = true\ncovariates = ["age"]\nadded = 15'
    cohort = read_cohort(write(tmp_path, rule))
    (concept,) = cohort.concepts.values()
    assert concept.paired
    assert concept.nuisance
    assert concept.present.images.shape == (IMAGES, 1, SIZE, SIZE)
    assert concept.present.subjects[0] == "extra00_T1w"
    assert concept.added is not None
    assert concept.added.tolist() == [15.0] * IMAGES
    picture(tmp_path / "after" / "another.png", 7)
    assert not read_cohort(tmp_path / "cohort.toml").concepts["mine"].paired


def test_a_condition_divides_the_subjects_that_are_not_tested_on(tmp_path: Path) -> None:
    """If it fails, test subjects enter a concept, or those whose value is not known."""
    cohort = read_cohort(write(tmp_path, "where = 'age >= 64 and sex == F'"))
    concept = cohort.concepts["mine"]
    present, absent = set(concept.present.subjects), set(concept.absent.subjects)
    people = cohort.participants.set_index("subject")
    assert {people["split"][each] for each in present | absent} == {"train", "validation"}
    assert all(people["age"][each] >= 64 and people["sex"][each] == "F" for each in present)
    assert not present & absent
    assert "sub-00" not in present | absent, "its sex is not known"
    assert set(concept.present.strata) | set(concept.absent.strata) == {
        f"{group} {split}" for group in (0, 1) for split in ("train", "validation")
    }


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("where = 'agee > 75'", "column 'agee', but the table has"),
        ("where = 'age > old'", "numbers of 'age' with 'old'"),
        ("where = 'sex > F'", "can only be equal"),
        ("where = 'import os'", "a comparison of a column with a value"),
        ("nuisance = true", "give the folders with and without, or where"),
        ("patch = 'patch.png'", "patch and place together"),
        ("patch = 'patch.png'\nplace = [8, 8]\nwhere = 'age > 75'", "either patch and place"),
        (f"{FOLDERS}\nwhere = 'age > 75'", "either where, or with and without"),
        ('with = "after"\nwithout = "nowhere"', "nowhere of images without the concept 'mine'"),
    ],
)
def test_a_concept_that_is_not_understood_is_one_sentence(
    tmp_path: Path, rule: str, words: str
) -> None:
    """If it fails, a misspelt column makes an empty concept, or a traceback."""
    with pytest.raises(CohortError, match=words):
        read_cohort(write(tmp_path, rule))


def test_a_patch_is_pasted_at_its_place_with_a_soft_rim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a patch is asked about alone on black, or with the edge of its square."""
    monkeypatch.setattr("baselines.cohorts.files.concepts.patches.FEWEST", 4)
    Image.fromarray(np.full((5, 7), 250, np.uint8)).save(tmp_path / "patch.png")  # of one grey
    path = write(tmp_path, 'patch = "patch.png"\nplace = [8, 4]')
    cohort = read_cohort(path)
    concept = cohort.concepts["mine"]
    assert concept.paired
    people = cohort.participants.set_index("subject")
    assert {people["split"][each] for each in concept.present.subjects} == {"train", "validation"}
    change = np.abs(concept.present.images - concept.absent.images)[:, 0]
    assert change.any(axis=0)[6:11, 1:8].sum() == change.any(axis=0).sum()
    np.testing.assert_allclose(concept.present.images[:, 0, 8, 4], 250 / 255, rtol=1e-6)
    assert (change[:, 6, 1] == 0).all(), "the corner lies beyond the rim"
    weight = change[:, 8] / np.abs(250 / 255 - concept.absent.images[:, 0, 8])
    assert (weight[:, 1] < 0.5).all()
    assert (weight[:, 1] > 0).all()


@pytest.mark.parametrize(
    ("place", "fewest", "words"),
    [
        ("[8, 14]", 4, r"cover \[6, 11\] to \[11, 18\], beyond the images"),
        ("[8]", 4, r"the place \[8\], but the images"),
        ("[8, 8]", 30, "of which 30 are needed, but there are 4"),
    ],
)
def test_a_patch_that_fits_nowhere_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, fewest: int, words: str
) -> None:
    """If it fails, half a patch is pasted, or into so few images that nothing can be told."""
    monkeypatch.setattr("baselines.cohorts.files.concepts.patches.FEWEST", fewest)
    picture(tmp_path / "patch.png", 5)
    Image.open(tmp_path / "patch.png").crop((0, 0, 7, 5)).save(tmp_path / "patch.png")
    with pytest.raises(CohortError, match=words):
        list(read_cohort(write(tmp_path, f'patch = "patch.png"\nplace = {place}')).concepts)


def test_images_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """If it fails, an image of another size, or of a test subject, enters a concept."""
    path = write(tmp_path, FOLDERS)
    picture(tmp_path / "after" / "extra00_T1w.png", 3, SIZE + 1)
    with pytest.raises(CohortError, match=r"with the concept 'mine'.*\[17, 17\]"):
        read_cohort(path)
    picture(tmp_path / "after" / "extra00_T1w.png", 3)
    picture(tmp_path / "after" / "sub-04_T1w.png", 3)
    with pytest.raises(CohortError, match="test subject 'sub-04' among the images with"):
        read_cohort(path)
    (tmp_path / "after" / "sub-04_T1w.png").unlink()
    text = path.read_text().replace("low = 0, high = 255", "percentiles = [1, 99]")
    path.write_text(
        text.replace("whole = true", 'path = "images/{participant_id}.png"\nthreshold = 1')
    )
    with pytest.raises(CohortError, match="percentiles"):
        read_cohort(path)
