"""What table, files and regions say against each other is refused, with subject and file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from baselines.cohorts.files.contradictions import refuse_shared_images
from baselines.cohorts.files.formats.scan import Source
from baselines.cohorts.files.reader import read_cohort
from benchmark.commands.app import app
from benchmark.errors import CohortError
from benchmark.plugins.cohort_checks import refuse_small_groups, remark_on

SHAPE = (10, 12, 8)
AFFINE = np.diag([2.0, 2, 2, 1])
TOML = """\
name = "study"
groups = ["CN", "AD"]
registered = true
image = "s{participant_id}.nii.gz"
intensity = { low = 0, high = 200 }

[foreground]
path = "brain.nii.gz"

[rois]
left = "left.nii.gz"
right = "right.nii.gz"

[control_rois]
left = "control.nii.gz"
"""
COUNT = 20


def _box(*slices: slice) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[slices] = 1
    return mask


BRAIN = _box(slice(1, 9), slice(1, 11), slice(1, 7))
LEFT = _box(slice(2, 4), slice(2, 6), slice(2, 5))
RIGHT = _box(slice(6, 8), slice(2, 6), slice(2, 5))
CONTROL = _box(slice(2, 4), slice(7, 10), slice(2, 5))


def _save(path: Path, voxels: npt.NDArray[np.generic]) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), path)


def _table(toml: Path, lines: list[str]) -> None:
    toml.with_name("participants.tsv").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return the ``cohort.toml`` of twenty subjects in 3-D."""
    rng = np.random.Generator(np.random.PCG64(0))
    for number in range(COUNT):
        _save(tmp_path / f"s{number}.nii.gz", rng.integers(1, 200, SHAPE).astype(np.int16))
    masks = {"brain": BRAIN, "left": LEFT, "right": RIGHT, "control": CONTROL}
    for name, mask in masks.items():
        _save(tmp_path / f"{name}.nii.gz", mask)
    toml = tmp_path / "cohort.toml"
    toml.write_text(TOML, encoding="utf-8")
    _table(
        toml, ["participant_id\tgroup", *(f"{n}\t{'CN' if n % 2 else 'AD'}" for n in range(COUNT))]
    )
    return toml


def _mask(name: str, mask: npt.NDArray[np.uint8]) -> Callable[[Path], None]:
    return lambda toml: _save(toml.with_name(f"{name}.nii.gz"), mask)


def _own(name: str, other: str) -> Callable[[Path], None]:
    """Return a spoiler that gives each subject an own mask, and the seventh that of another."""

    def spoil(toml: Path) -> None:
        for number in range(COUNT):
            source = toml.with_name(f"{other if number == 7 else name}.nii.gz")
            shutil.copy(source, toml.with_name(f"{name}{number}.nii.gz"))
        text = toml.read_text("utf-8")
        path = f"{name}{{participant_id}}.nii.gz"
        toml.write_text(text.replace(f"{name}.nii.gz", path), encoding="utf-8")

    return spoil


def _copy(first: int, second: int) -> Callable[[Path], None]:
    return lambda toml: shutil.copy(
        toml.with_name(f"s{first}.nii.gz"), toml.with_name(f"s{second}.nii.gz")
    )


def _link(toml: Path) -> None:
    toml.with_name("s4.nii.gz").unlink()
    toml.with_name("s4.nii.gz").symlink_to("s3.nii.gz")


def _visits(path: str, group: Callable[[int, int], str]) -> Callable[[Path], None]:
    """Return a spoiler that turns twenty subjects into ten with two visits each."""

    def spoil(toml: Path) -> None:
        text = toml.read_text("utf-8")
        toml.write_text(text.replace("s{participant_id}.nii.gz", path), encoding="utf-8")
        for number in range(COUNT):
            source = toml.with_name(f"s{number}.nii.gz")
            shutil.copy(source, toml.with_name(f"s{number // 2}_{number % 2}.nii.gz"))
        rows = [f"{n}\t{group(n, visit)}\t{visit}" for n in range(COUNT // 2) for visit in (0, 1)]
        _table(toml, ["participant_id\tgroup\tvisit", *rows])

    return spoil


def _same_visit(toml: Path) -> None:
    _visits("s{participant_id}_{visit}.nii.gz", lambda n, _: ("CN", "AD")[n % 2])(toml)
    shutil.copy(toml.with_name("s3_0.nii.gz"), toml.with_name("s3_1.nii.gz"))


CONTRADICTIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "visits read one file": (
        _visits("s{participant_id}.nii.gz", lambda n, _: ("CN", "AD")[n % 2]),
        r"images of '0', visit 0 and '0', visit 1 are one file, .*s0.nii.gz; does .* \{visit\}",
    ),
    "everyone reads one file": (
        lambda toml: toml.write_text(TOML.replace("s{participant_id}", "s0"), encoding="utf-8"),
        r"images of '0' and '1' are one file, .*s0.nii.gz; does .* lack \{participant_id\}",
    ),
    "a link": (_link, "images of '3' and '4' are one file, .*s[34].nii.gz; each image may"),
    "a copy": (
        _copy(5, 8),
        r"subjects '5' \(.*s5.nii.gz\) and '8' \(.*s8.nii.gz\) have the same image \(\w+ split and",
    ),
    "a copied visit": (
        _same_visit,
        r"two images of subject '3' \(.*s3_0.nii.gz\) and '3' \(.*s3_1.nii.gz\) are the same",
    ),
    "a subject in both groups": (
        _visits("s{participant_id}_{visit}.nii.gz", lambda n, visit: ("CN", "AD")[visit and n > 7]),
        "participants.tsv has '8', '9' in both groups, '8' in CN and AD",
    ),
    "the control is the region": (
        _mask("control", LEFT),
        r"control region of 'left' is the region itself: they share 24 voxels in '0' "
        r"\(.*left.nii.gz, .*control.nii.gz\) and in 19 more images",
    ),
    "one voxel of the control": (
        _mask("control", _box(slice(3, 5), slice(5, 9), slice(4, 7))),
        "control region of 'left' overlaps it: they share 1 voxels in '0'",
    ),
    "the control of one subject": (
        _own("control", "left"),
        r"overlaps it: they share 24 voxels in '7' \(.*left.nii.gz, .*control7.nii.gz\); a control",
    ),
    "two names of a region": (
        _mask("right", LEFT),
        r"regions 'left' and 'right' are the same in every image, as in '0' \(.*left.nii.gz, .*",
    ),
    "the region is the foreground": (
        _own("right", "brain"),
        r"region 'right' is the whole foreground in '7' \(.*right7.nii.gz, .*brain.nii.gz\), so",
    ),
    "a region outside the foreground": (
        _mask("right", _box(slice(8, 10), slice(0, 12), slice(2, 5))),
        r"58% of the region 'right' lies outside the foreground in '0' \(.*right.nii.gz, .*brain",
    ),
    "a control outside the foreground": (
        _mask("control", _box(slice(0, 1), slice(1, 3), slice(1, 3))),
        "100% of the control of 'left' lies outside the foreground in '0'",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_refused_with_subject_and_file(case: str, study: Path) -> None:
    """If it fails, a slip in table or cohort.toml is scored as though it were the disease."""
    spoil, message = CONTRADICTIONS[case]
    spoil(study)
    with pytest.raises(CohortError, match=message) as refusal:
        read_cohort(study)
    text = str(refusal.value)
    assert "\n" not in text
    assert len(text.replace(str(study.parent), "")) < 600


def test_images_of_one_file_are_told_apart_by_their_number() -> None:
    """If it fails, a stack of all subjects is refused, or one of its images is read twice."""
    rows = [{"participant_id": name} for name in "abc"]
    stack = Path("images.npy")
    sources = [Source(stack, "image", index) for index in (0, 1, 2)]
    refuse_shared_images(rows, sources, "images.npy")
    sources[2] = Source(stack, "image", 0)
    with pytest.raises(CohortError, match=r"images of 'a' and 'c' are number 0 of one file, im"):
        refuse_shared_images(rows, sources, "images.npy")


def _ages(toml: Path) -> None:
    rows = [f"{n}\t{'CN' if n % 2 else 'AD'}\t{60 + n},5" for n in range(COUNT)]
    _table(toml, ["participant_id\tgroup\tage", *rows[:-1], rows[-1].replace(",5", "+")])


def _thin(toml: Path) -> None:
    """Leave one case in the test split."""
    lines = ["participant_id\tgroup\tsplit"]
    for number in range(COUNT):
        is_tested = number == 2 or (number % 2 and number > 8)
        split = "test" if is_tested else "train"
        lines.append(f"{number}\t{'CN' if number % 2 else 'AD'}\t{split}")
    _table(toml, lines)


COMMANDS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "control": (_mask("control", LEFT), ("cohort", "inspect"), "is the region itself"),
    "age": (_ages, ("cohort", "export", "--out", "out"), "the age '60,5' for '0'"),
    "a copy": (_copy(5, 8), ("train", "--model", "smallresnet", "--cohort"), "the same image"),
    "one case in test": (
        _thin,
        ("run", "--explainer", "gradcam_aligned", "--cohort"),
        "the test split has 1 of AD ('2'), but needs at least 2",
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_commands_end_with_the_code_of_bad_input(
    case: str, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a script goes on with a cohort that contradicts itself."""
    spoil, command, message = COMMANDS[case]
    spoil(study)
    with study.open("a", encoding="utf-8") as file:
        file.write('\n[slice]\nplane = "axial"\nindex = 3\n')
    before = {path.name for path in study.parent.rglob("*.*")}
    monkeypatch.chdir(study.parent)
    done = CliRunner().invoke(app, [*command, str(study)])
    assert message in " ".join(done.output.split())
    assert done.exit_code == 2
    # A store is opened, and nothing is put into it.
    assert {path.name for path in study.parent.rglob("*.*")} - {"store.json"} == before


def test_controls_that_control_little_are_remarked_on(study: Path) -> None:
    """If it fails, nobody is told that a control region holds what the disease changes."""
    assert remark_on(read_cohort(study)) == []
    text = study.read_text("utf-8")
    study.write_text(f'{text}right = "control.nii.gz"\n', encoding="utf-8")
    remarks = ["The regions 'left' and 'right' have the same control region."]
    assert remark_on(read_cohort(study)) == remarks
    study.write_text(text, encoding="utf-8")
    _mask("control", _box(slice(4, 8), slice(2, 6), slice(2, 5)))(study)
    (remark,) = remark_on(read_cohort(study))
    assert remark == "The control of 'left' shares 480 voxels with the region 'right'."


def test_a_score_needs_two_subjects_of_each_group(study: Path) -> None:
    """If it fails, a verdict stands on a single case."""
    _thin(study)
    cohort = read_cohort(study)
    with pytest.raises(CohortError, match=r"the test split has 1 of AD \('2'\), but needs"):
        refuse_small_groups(cohort, "test")
    refuse_small_groups(cohort, "train")
