"""``cohort init`` and ``inspect``: a folder becomes a cohort that is looked at, and is scored."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import fakes
import image_folders as folders
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from benchmark.commands.app import app
from benchmark.commands.exits import exit_on_error


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fill_in(toml_path: Path, line: str, by: str) -> None:
    """Replace the comment that begins with a line by a line of its own."""
    lines = toml_path.read_text().splitlines()
    positions = [number for number, text in enumerate(lines) if text.startswith(f"# {line}")]
    assert positions, line
    lines[positions[0]] = by
    toml_path.write_text("\n".join(lines) + "\n")


def add_size(toml_path: Path) -> None:
    fill_in(toml_path, "spacing", "spacing = [0.8, 0.5]")
    fill_in(toml_path, "axes", 'axes = "IL"')


def add_controls(toml_path: Path) -> None:
    """Let the amygdala stand in for the hippocampus."""
    path = "derivatives/masks/{participant_id}/{participant_id}_desc-aseg_dseg.nii.gz"
    for side in ("left", "right"):
        region = f"hippocampus_{side}"
        fill_in(toml_path, f'{region} = "', f'{region} = {{ path = "{path}", label = 18 }}')


def add_regions(toml_path: Path) -> None:
    """Name masks in NIfTI, which lie in the same world as the series."""
    for name, centre in (("lesion", folders.LEFT), ("control", folders.OTHER)):
        mask = folders.ball(folders.SHAPE, centre, 1.5)
        folders.save_volume(toml_path.parent / f"{name}.nii.gz", mask, np.uint8)
    fill_in(toml_path, 'lesion = "masks/{participant_id}_lesion', 'lesion = "lesion.nii.gz"')
    fill_in(toml_path, 'lesion = "masks/{participant_id}_control', 'lesion = "control.nii.gz"')


@pytest.mark.parametrize(
    ("write", "complete", "reason", "shown"),
    [
        (folders.write_pictures, add_size, "give spacing", "region lesion"),
        (folders.write_arrays, add_size, "give spacing", "12 group1, 12 group2"),
        (folders.write_bids, add_controls, None, "label 17"),
        (folders.write_dicom, add_regions, None, "12 control, 12 patient"),
    ],
)
def test_a_folder_is_proposed_looked_at_and_scored(
    write: Callable[[Path], Path],
    complete: Callable[[Path], None],
    reason: str | None,
    shown: str,
    tmp_path: Path,
) -> None:
    """If it fails, a folder of a usual kind does not come from `init` to a score."""
    folder = write(tmp_path / "study")
    proposed = call("cohort", "init", folder)
    assert proposed.exit_code == 0, proposed.stderr
    assert shown in proposed.stdout
    if reason is None:
        assert "subjects by split" in proposed.stdout
    else:
        assert "It cannot be read yet" in proposed.stdout
        assert reason in proposed.stdout
    again = call("cohort", "init", folder)
    assert again.exit_code == 2
    assert "exists already" in again.stderr

    complete(folder / "cohort.toml")
    toml = folder / "cohort.toml"
    toml.write_text(toml.read_text().replace("# truth = ", "truth = "))
    options = ["--protocol", fakes.spec("Loading"), "--model", fakes.spec("TinyModel")]
    options += ["--report", "none", "--device", "cpu", "--json", "scores.json"]
    scored = call("run", "--cohort", folder, "--explainer", "saliency", *options)
    assert scored.exit_code == 0, scored.stderr
    results = json.loads(Path("scores.json").read_text())["results"]
    assert "scored" in {result["state"] for result in results}, results


def test_a_cohort_is_looked_at_as_table_picture_and_json(tmp_path: Path) -> None:
    """If it fails, a region on the wrong side is found after the study."""
    folder = folders.write_bids(tmp_path / "study")
    assert call("cohort", "init", folder).exit_code == 0
    add_controls(folder / "cohort.toml")
    looked = call("cohort", "inspect", folder, "--json", "looked.json")
    assert looked.exit_code == 0, looked.stderr
    overview = json.loads(Path("looked.json").read_text())
    assert overview["orientation"] == "SAR"
    assert [sum(sizes) for sizes in overview["sizes"].values()] == [14, 6, 4]
    left = [mask for mask in overview["masks"] if mask["name"] == "hippocampus_left"]
    voxels = [(folders.segmentation() == label).sum() for label in (17, 18)]
    assert [mask["kind"] for mask in left] == ["region", "control region"]
    assert [mask["mean"] for mask in left] == pytest.approx([8.0 * count for count in voxels])
    with Image.open("medsanity-runs/cohort/study/contact_sheet.png") as sheet:
        assert round(sheet.info["dpi"][0]) == 300
        assert sheet.size[0] > 3000


def test_what_stays_open_is_told(tmp_path: Path) -> None:
    """If it fails, a reader takes a half-described folder for a finished cohort."""
    for number in range(4):
        folders.save_picture(tmp_path / "study" / f"scan{number}.png", folders.picture(number))
    result = call("cohort", "init", "study")
    assert result.exit_code == 0, result.stderr
    words = "Fill in the column group of study/participants.tsv, then run `cohort inspect"
    assert words in result.stdout
    assert "Could not be decided:" in result.stdout
    assert "none is here, so the foreground is the whole image" in result.stdout
    refused = call("cohort", "inspect", "study")
    assert refused.exit_code == 2
    assert "'n/a'" in refused.stderr


def test_nothing_to_propose_is_one_sentence(tmp_path: Path) -> None:
    """If it fails, a mistyped folder ends in a traceback."""
    for folder in ("nowhere", "."):
        result = call("cohort", "init", folder)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_inspect_tells_what_gives_the_group_away(tmp_path: Path) -> None:
    """If it fails, a scanner that only patients were in is found after the study."""
    folder = folders.write_pictures(tmp_path / "study")
    assert call("cohort", "init", folder).exit_code == 0
    add_size(folder / "cohort.toml")
    table = folder / "participants.tsv"
    header, *rows = table.read_text().splitlines()
    sites = ["old" if row.endswith("AD") else "new" for row in rows]
    sizes = {"old": 1000, "new": 1500}
    rows = [f"{row}\t{site}\t{sizes[site]}" for row, site in zip(rows, sites, strict=True)]
    toml = folder / "cohort.toml"
    volume = next(iter(tomllib.loads(toml.read_text())["rois"])) + "_volume"
    table.write_text("\n".join([f"{header}\tscanner\t{volume}", *rows]) + "\n")
    toml.write_text(toml.read_text().replace("high = 65535", "high = 41000"))
    result = call("cohort", "inspect", folder, "--out", "sheet")
    assert result.exit_code == 0, result.stderr
    assert "The covariate 'scanner' alone tells the groups apart with an AUROC of 1.00" in (
        result.stdout
    )
    assert f"The covariate {volume!r}" not in result.stdout, "it is what the disease changes"
    assert "lies above the window and is clipped" in result.stdout
    assert "IL (feet, left)" in result.stdout
    assert Path("sheet/contact_sheet.png").is_file()


def test_inspect_tells_of_images_in_other_units(tmp_path: Path) -> None:
    """If it fails, pictures of 8 bits among those of 16 are scored as if they were black."""
    folder = folders.write_pictures(tmp_path / "study")
    assert call("cohort", "init", folder).exit_code == 0
    add_size(folder / "cohort.toml")
    path = sorted((folder / "AD").glob("*.png"))[1]
    with Image.open(path) as image:
        Image.fromarray((np.asarray(image) // 256).astype(np.uint8)).save(path)
    result = call("cohort", "inspect", folder, "--out", "sheet")
    assert result.exit_code == 0, result.stderr
    assert f"foreground of 1 images, such as that of '{path.stem}', takes up less" in result.stdout


def test_a_closed_pipe_is_no_fault_of_a_plugin(capfd: pytest.CaptureFixture[str]) -> None:
    """If it fails, `cohort inspect … | head` blames a plugin."""

    def write_on() -> None:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            sys.exit(1)  # as Rich does

    with pytest.raises(typer.Exit), exit_on_error():
        write_on()
    assert not capfd.readouterr().err


POSED = """
from dataclasses import replace

import numpy as np

from benchmark.cohort import Source
from benchmark.cohort_source import CohortSource
from benchmark.plugins.examples import SHAPE_2D, build_cohort


class Posed(CohortSource):
    name = "posed"

    def load(self):
        cohort = build_cohort(SHAPE_2D, subjects=12)
        poses = np.tile(cohort.geometry.affine, (len(cohort), 1, 1))
        return replace(
            cohort,
            geometry=replace(cohort.geometry, registered=False, poses=poses),
            partners=cohort.images[::-1].copy(),
            sources={"left": Source(cohort.groups, ("left",))},
        )
"""


def test_what_a_cohort_knows_beyond_images_is_shown_and_its_loss_told(tmp_path: Path) -> None:
    """If it fails, an exported cohort is scored as the one it came from, which it is not."""
    Path("posed.py").write_text(POSED)
    shown = call("cohort", "inspect", "posed.py:Posed")
    assert shown.exit_code == 0, shown.output
    for words in ("a pose of each image", "the other group's anatomy", "sources"):
        assert words in shown.output
    exported = call("cohort", "export", "posed.py:Posed", "--out", "exported")
    assert exported.exit_code == 0, exported.output
    assert "not written" in exported.output
    assert "poses, partners, sources" in " ".join(exported.output.split())
    assert "partners" not in call("cohort", "inspect", "exported").output
