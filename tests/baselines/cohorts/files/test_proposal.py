"""What ``cohort init`` proposes for the folders that people have, and what it leaves to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import image_folders as folders
import numpy as np
import pytest
from dicom_files import write_picture, write_series

from baselines.cohorts.files.cohort_toml import read_cohort_file
from baselines.cohorts.files.participants import read_rows
from baselines.cohorts.files.proposal import listing
from baselines.cohorts.files.proposal.writing import Written, write_proposal
from baselines.cohorts.files.reader import read_cohort, read_with_findings
from baselines.cohorts.nifti import write_cohort
from baselines.cohorts.template import coronal_view
from benchmark.cohort import Geometry
from benchmark.errors import CohortError
from benchmark.plugins.examples import build_cohort

SIZE = (folders.SIZE, folders.SIZE)
SPACING = "spacing = [0.8, 0.5]"


def propose(folder: Path, out: Path | None = None) -> Written:
    messages: list[str] = []
    return write_proposal(folder, out, messages.append)


def fill_in_spacing(written: Written) -> None:
    text = written.toml_path.read_text()
    assert '# spacing = ["?", "?"]  # FILL IN' in text
    written.toml_path.write_text(text.replace('# spacing = ["?", "?"]', SPACING))


def save_both(folder: Path, image: str, mask: str) -> Path:
    """Write pictures and masks under names that hold ``{group}`` and ``{number}``."""
    for number in range(folders.SUBJECTS):
        names = {"group": folders.group(number), "number": number, "half": number // 2}
        folders.save_picture(folder / image.format(**names), folders.picture(number), 8)
        region = folders.ball(SIZE, folders.REGION)
        folders.save_picture(folder / mask.format(**names), region, 8)
    return folder


@pytest.mark.parametrize(
    ("image", "mask", "image_pattern", "mask_pattern"),
    [
        (
            "{group}/p{number}.png",
            "masks/p{number}.png",
            "{group}/{participant_id}.png",
            "masks/{participant_id}.png",
        ),
        (
            "{group}/p{number}.png",
            "{group}/p{number}_mask.png",
            "{group}/{participant_id}.png",
            "{group}/{participant_id}_mask.png",
        ),
        (
            "{group}/{half}.png",
            "{group}/masks/{half}.png",
            "{group}/{file}.png",
            "{group}/masks/{file}.png",
        ),
        (
            "{group}/p{number}/scan.png",
            "{group}/p{number}/roi.png",
            "{group}/{participant_id}/scan.png",
            "{group}/{participant_id}/roi.png",
        ),
        (
            "images/{group}_{number}.png",
            "masks/{group}_{number}_seg.png",
            "images/{participant_id}.png",
            "masks/{participant_id}_seg.png",
        ),
        (
            "{group}/P{number:03d}/T1.png",
            "masks/P{number:03d}_lesion.png",
            "{group}/{participant_id}/T1.png",
            "masks/{participant_id}_lesion.png",
        ),
        (
            "{group}/P{number:03d}/T1.png",
            "masks/{group}/P{number:03d}/lesion.png",
            "{group}/{participant_id}/T1.png",
            "masks/{group}/{participant_id}/lesion.png",
        ),
        (
            "{group}/P{number:03d}/scan.png",
            "P{number:03d}.png",
            "{group}/{participant_id}/scan.png",
            "{participant_id}.png",
        ),
    ],
)
def test_names_and_folders_say_who_is_who(
    image: str, mask: str, image_pattern: str, mask_pattern: str, tmp_path: Path
) -> None:
    """If it fails, a folder with a usual naming is read wrongly, or has to be renamed."""
    written = propose(save_both(tmp_path / "study", image, mask))
    recipe = read_cohort_file(written.toml_path)
    assert recipe.image.path == image_pattern
    assert [rule.path for rule in recipe.rois.values()] == [mask_pattern]
    assert recipe.groups == ("CN", "AD")
    assert written.is_complete
    fill_in_spacing(written)
    cohort = read_cohort(written.toml_path)
    assert len(set(cohort.subjects)) == folders.SUBJECTS
    region = folders.ball(SIZE, folders.REGION)
    darkness = cohort.images[:, 0, region].mean(axis=1)
    assert darkness[cohort.groups == 0].min() > darkness[cohort.groups == 1].max()


def test_two_arrays_are_two_groups(tmp_path: Path) -> None:
    """If it fails, who has one array a group must write a table by hand."""
    written = propose(folders.write_arrays(tmp_path / "arrays"))
    recipe = read_cohort_file(written.toml_path)
    assert recipe.image.path == "{group}_masked_64_4.npy"
    assert recipe.groups == ("group1", "group2")
    assert set(recipe.rois) == set(recipe.control_rois) == {"lesion"}
    fill_in_spacing(written)
    cohort = read_cohort(written.toml_path)
    assert cohort.covariates.columns.empty  # the row of an array is no trait of a person
    first = cohort.subjects.index("group2_0003")
    assert np.allclose(cohort.images[first, 0], folders.picture(7), atol=1e-6)


def test_an_archive_names_its_groups(tmp_path: Path) -> None:
    """If it fails, the labels of an archive are taken for masks, or are lost."""
    images = np.stack([folders.picture(number) for number in range(folders.SUBJECTS)])
    masks = np.stack([folders.ball(SIZE, folders.REGION)] * len(images))
    labels, ids = np.arange(len(images)) % 2, [f"s{number // 2}" for number in range(len(images))]
    np.savez(tmp_path / "all.npz", images=images, labels=labels, masks=masks, ids=np.array(ids))
    recipe = read_cohort_file(propose(tmp_path).toml_path)
    assert (recipe.image.array, recipe.groups) == ("images", ("0", "1"))
    assert [rule.array for rule in recipe.rois.values()] == ["masks"]
    rows = read_rows(tmp_path / "participants.tsv")
    groups = [row["group"] for row in rows]
    assert (rows[3]["participant_id"], rows[3]["visit"]) == ("s1", "2")
    assert groups == ["0", "1"] * (folders.SUBJECTS // 2)


def test_segmentations_and_maps_are_told_by_their_values(tmp_path: Path) -> None:
    """If it fails, a label image is taken for an image, or a map for a mask."""
    written = propose(folders.write_bids(tmp_path / "bids"))
    recipe = read_cohort_file(written.toml_path)
    assert recipe.image.path == "{participant_id}/anat/{participant_id}_T1w.nii.gz"
    assert {name: rule.label for name, rule in recipe.rois.items()} == {
        "hippocampus_left": 17,
        "hippocampus_right": 53,
    }
    assert recipe.foreground.path.endswith("_label-brain_probseg.nii.gz")
    assert recipe.foreground.threshold == 0.5
    assert recipe.registered
    assert "# amygdala_left = " in written.toml_path.read_text()
    cohort, findings = read_with_findings(written.toml_path)
    assert cohort.anatomy.rois["hippocampus_left"][0].sum() == (folders.segmentation() == 17).sum()
    assert findings.spans[:, 1].max() > 100
    sentences = " ".join(written.guesses + written.undecided)
    for words in ("FreeSurfer", "registered", "map of probabilities", "Control regions"):
        assert words in sentences


def test_series_lie_in_folders_of_patients(tmp_path: Path) -> None:
    """If it fails, each slice of a scanner's series passes for a patient."""
    written = propose(folders.write_dicom(tmp_path / "scans"))
    recipe = read_cohort_file(written.toml_path)
    assert recipe.image.path == "{group}/{participant_id}"
    assert recipe.groups == ("control", "patient")
    assert recipe.foreground.whole
    assert any("mask of the organ" in sentence for sentence in written.undecided)
    assert read_cohort(written.toml_path).shape == folders.SHAPE[::-1]


def test_series_called_alike_find_their_masks_in_another_folder(tmp_path: Path) -> None:
    """If it fails, an archive's export with masks beside it is read as one patient's series."""
    rows = ["participant_id;group"]
    for number in range(10):
        name = f"P{number:03d}"
        voxels = folders.volume(number).clip(0).astype(np.uint16)
        write_series(tmp_path / name / "MR_T1", voxels, folders.AFFINE)
        folders.save_volume(tmp_path / f"masks/{name}_brain.nii.gz", folders.brain(), np.uint8)
        rows.append(f"{name};{folders.group(number)}")
    (tmp_path / "patients.csv").write_text("\n".join(rows))
    recipe = read_cohort_file(propose(tmp_path).toml_path)
    assert recipe.image.path == "{participant_id}/MR_T1"
    assert recipe.foreground.path == "masks/{participant_id}_brain.nii.gz"
    assert recipe.participants == "patients.csv"
    assert not (tmp_path / "participants.tsv").exists()


def test_a_table_without_ids_is_told(tmp_path: Path) -> None:
    """If it fails, a hospital's own table is passed over in silence."""
    folder = folders.write_pictures(tmp_path / "study")
    (folder / "patients.csv").write_text("Patient ID,age\np000,71\n")
    (sentence,) = [text for text in propose(folder).undecided if "patients.csv" in text]
    assert "if 'Patient ID' is it, call it 'participant_id'" in sentence
    assert "run `cohort init` again" in sentence


def test_one_hippocampus_of_freesurfer_is_known(tmp_path: Path) -> None:
    """If it fails, the white matter of a crop is proposed as what the disease changes."""
    segmentation = np.where(folders.segmentation() == 17, 2, folders.segmentation())
    for number in range(4):
        folders.save_volume(tmp_path / f"p{number}_T1.nii.gz", folders.volume(number))
        folders.save_volume(tmp_path / f"p{number}_aseg.nii.gz", segmentation, np.int16)
    assert list(read_cohort_file(propose(tmp_path).toml_path).rois) == ["hippocampus_right"]


def test_folders_of_a_scanner_may_be_called_as_they_like(tmp_path: Path) -> None:
    """If it fails, who exports patients from an archive must rename every folder."""
    for number in range(6):
        kind = ("control", "patient")[number % 2]
        folder = tmp_path / kind / f"P{number}" / f"1.2.{number}7" / f"se{number}9"
        write_series(folder, folders.volume(number).clip(0).astype(np.uint16), folders.AFFINE)
    recipe = read_cohort_file(propose(tmp_path).toml_path)
    assert recipe.image.path == "{group}/{participant_id}/{folder}"
    assert read_rows(tmp_path / "participants.tsv")[1]["folder"] == "1.2.17/se19"


def test_radiographs_in_one_folder_are_no_series(tmp_path: Path) -> None:
    """If it fails, a folder of radiographs passes for one volume."""
    for number in range(6):
        kind = ("normal", "effusion")[number % 2]
        pixels = (folders.picture(number) * 4000).astype(np.uint16)
        write_picture(tmp_path / kind / f"x{number}.dcm", pixels)
    recipe = read_cohort_file(propose(tmp_path).toml_path)
    assert recipe.image.path == "{group}/{participant_id}.dcm"
    assert recipe.groups == ("normal", "effusion")


def test_folders_of_splits_are_respected(tmp_path: Path) -> None:
    """If it fails, images that were kept for the test are trained on."""
    for number in range(folders.SUBJECTS):
        split = ("train", "val", "test")[number % 3]
        path = tmp_path / split / folders.group(number // 3) / f"{number // 6:03d}.png"
        folders.save_picture(path, folders.picture(number))
    written = propose(tmp_path)
    rows = read_rows(tmp_path / "participants.tsv")
    assert {(row["folder"], row["split"]) for row in rows} == {
        ("train", "train"),
        ("val", "validation"),
        ("test", "test"),
    }
    assert {row["group"] for row in rows} == {"CN", "AD"}
    assert not (tmp_path / "splits.tsv").exists()
    fill_in_spacing(written)
    cohort = read_cohort(written.toml_path)
    assert len(set(cohort.subjects)) == folders.SUBJECTS
    assert cohort.covariates.columns.empty


def test_an_exported_cohort_is_proposed_as_it_was(tmp_path: Path) -> None:
    """If it fails, the suite's own folders are not understood."""
    view = coronal_view(folders.SIZE)
    geometry = Geometry(view.spacing, view.affine, registered=True)
    toml_path = write_cohort(replace(build_cohort(), geometry=geometry), tmp_path / "exported")
    before = read_cohort_file(toml_path)
    with pytest.raises(CohortError, match="exists already and is not overwritten"):
        propose(tmp_path / "exported")
    other = propose(tmp_path / "exported", tmp_path / "elsewhere" / "own.toml")
    after = read_cohort_file(other.toml_path)
    assert after.image.path == f"../exported/{before.image.path}"
    assert read_cohort(other.toml_path).images.tobytes() == read_cohort(toml_path).images.tobytes()
    toml_path.unlink()
    after = read_cohort_file(propose(tmp_path / "exported").toml_path)
    for key in ("groups", "image", "foreground", "rois", "control_rois", "registered"):
        assert getattr(after, key) == getattr(before, key), key


def test_visits_are_told_apart(tmp_path: Path) -> None:
    """If it fails, two visits of a person count as two people, in two splits."""
    for number in range(folders.SUBJECTS):
        for visit in ("01", "02"):
            name = f"sub-{number:02d}/ses-{visit}/anat/sub-{number:02d}_ses-{visit}"
            image = folders.volume(number + 100 * int(visit))
            folders.save_volume(tmp_path / f"{name}_T1w.nii.gz", image)
            folders.save_volume(tmp_path / f"{name}_T2w.nii.gz", image)
    written = propose(tmp_path)
    rows = read_rows(tmp_path / "participants.tsv")
    assert len(rows) == 2 * folders.SUBJECTS
    assert rows[1] == {"participant_id": "sub-00", "session": "02", "group": "n/a"}
    assert read_cohort_file(written.toml_path).image.path.endswith("_ses-{session}_T1w.nii.gz")
    assert any("T2w" in sentence for sentence in written.undecided)
    assert not written.is_complete
    assert "Fill in the column group" in written.advice
    assert not (tmp_path / "splits.tsv").exists()


def test_three_groups_are_told(tmp_path: Path) -> None:
    """If it fails, a third group is mixed into one of the two, or lost in silence."""
    for number in range(30):
        group = ("MCI", "AD", "CN")[number % 3]
        folders.save_picture(tmp_path / group / f"p{number}.png", folders.picture(number))
    written = propose(tmp_path)
    rows = read_rows(tmp_path / "participants.tsv")
    assert {row["group"] for row in rows} == {"CN", "AD"}
    assert any("rows of MCI are left out" in sentence for sentence in written.guesses)


def test_a_table_is_never_changed(tmp_path: Path) -> None:
    """If it fails, a table that a hospital keeps is overwritten."""
    folder = folders.write_bids(tmp_path / "bids")
    table = folder / "participants.tsv"
    table.write_text(table.read_text().replace("group", "diagnosis"))
    before = table.read_bytes()
    written = propose(folder)
    assert table.read_bytes() == before
    assert not written.is_complete
    assert any("diagnosis (AD, CN)" in sentence for sentence in written.undecided)
    assert read_cohort_file(written.toml_path).image.path.endswith("_T1w.nii.gz")


def _empty(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing")


def _missing(folder: Path) -> None:
    folder.rmdir()


def _file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("a file")


def _masks_alone(folder: Path) -> None:
    for number in range(3):
        folders.save_picture(folder / f"{number}.png", folders.ball(SIZE, (8, 8 + number)), 8)


def _unwritable(folder: Path) -> None:
    for number in range(3):
        folders.save_picture(folder / f"p\n{number}.png", folders.picture(number))


def _broken(folder: Path) -> None:
    for number in range(3):
        (folder / f"p{number}.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_empty, "holds no image among 1 files"),
        (_missing, "does not exist"),
        (_file, "is a file"),
        (_unwritable, "characters that are no text"),
        (_masks_alone, "All seem to be masks"),
        (_broken, "holds no image that can be read"),
    ],
)
def test_nothing_is_written_where_nothing_is_known(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    """If it fails, a folder without images gets a cohort.toml that nobody can use."""
    folder = tmp_path / "folder"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(CohortError, match=words):
        propose(folder)
    assert not list(tmp_path.rglob("*.toml"))
    assert not list(tmp_path.rglob("*.tsv"))


def test_loops_and_deep_trees_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a link to a parent folder, or a huge archive, keeps a command busy for ever."""
    folder = folders.write_pictures(tmp_path / "study")
    (folder / "CN" / "loop").symlink_to(folder, target_is_directory=True)
    deep = folder.joinpath(*["d"] * 40)
    folders.save_picture(deep / "p.png", folders.picture(0))
    written = propose(folder)
    assert read_cohort_file(written.toml_path).image.path == "{group}/{participant_id}.png"
    assert any("levels deep" in sentence for sentence in written.undecided)
    monkeypatch.setattr(listing, "MOST_FILES", 30)
    shutil.rmtree(folder / "d")
    written.toml_path.unlink()
    assert any("first 30 files" in sentence for sentence in propose(folder).undecided)


def test_what_is_amiss_in_a_folder_spoils_no_more_than_itself(tmp_path: Path) -> None:
    """If it fails, one damaged file or odd link makes a whole folder of images unreadable."""
    folder = save_both(tmp_path / "study", "{group}/p{number}.png", "{group}/p{number}_lesion.png")
    first = sorted((folder / "AD").glob("*.png"))
    first[0].write_bytes(b"")  # an image, since its mask sorts behind it
    folders.save_picture(first[1], np.zeros(SIZE), 8)
    (folder / "self").symlink_to("self")
    (folder / "CN" / "p\\1.png").write_bytes(b"")
    (folder / "__MACOSX").mkdir()
    shutil.copy(first[2], folder / "__MACOSX" / "p1.png")
    written = propose(folder)
    assert written.rows["images"].endswith("{group}/{participant_id}.png")
    assert "region lesion" in written.rows
    assert any(f"{first[0]}, is no PNG" in sentence for sentence in written.undecided)
    assert any("a backslash in a name" in sentence for sentence in written.undecided)
    assert not any("__MACOSX" in sentence for sentence in written.undecided)
    assert any("the folders AD, CN; check that" in sentence for sentence in written.guesses)


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a full disk leaves a table of subjects that looks like the user's own."""
    folder = folders.write_pictures(tmp_path / "study")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fail(*_: Any) -> None:
        raise CohortError("the disk is full")

    monkeypatch.setattr("baselines.cohorts.files.proposal.writing.write_splits", fail)
    with pytest.raises(CohortError, match="disk is full"):
        propose(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
