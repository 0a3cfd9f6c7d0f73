"""Who a submission says that it is, and names that an eye takes for another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from self_descriptions import Case, cases
from submissions import build_published, build_standard, copy, faults_of, write_valid

from benchmark.plugins.catalogue import Catalogue
from leaderboard.published.fault import plain
from leaderboard.submission.checks import Standard
from leaderboard.submission.look_alikes import mixed_word, skeleton
from leaderboard.submission.manifest import Manifest
from leaderboard.submission.names import name_faults
from leaderboard.submission.plausibility import FAMILIES, method_faults

CASES = tuple(cases())
# The rest is in tests/support/bundle_acceptance.py, which goes through all.
SAMPLE = [case for number, case in enumerate(CASES) if number >= 120 or number % 8 == 0]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that every case spoils a copy of."""
    return write_valid(tmp_path_factory.mktemp("valid") / "bundle")


@pytest.fixture(scope="module")
def standard() -> Standard:
    """What the verifier knows."""
    return build_standard()


@pytest.mark.parametrize("case", SAMPLE, ids=[plain(case[0]) for case in SAMPLE])
def test_what_cannot_be_is_refused_by_name(
    case: Case, valid: Path, standard: Standard, tmp_path: Path
) -> None:
    """If it fails, the board shows a name, a date or a cost that is made up to deceive."""
    bundle, workspace = copy(valid, tmp_path / "bundle"), tmp_path / "copy"
    workspace.mkdir()
    _, fault, spoil = case
    spoil(bundle)
    faults = faults_of(bundle, workspace, standard)
    assert fault in {found.name for found in faults}, faults
    assert all(str(found).isprintable() for found in faults)


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("gradcam", "grаdcаm"),
        ("random", "rand0rn"),
        ("Integrated Gradients", "lntegrated Grad|ents"),
        ("RISE", "r1se"),
        ("Saliency", "Ѕаӏіеnсу"),
        ("Müller", "Muller"),
        ("lrp_epsilon", "LRP-EPSILON"),
    ],
)
def test_twins_have_one_skeleton(name: str, twin: str) -> None:
    """If it fails, a method goes under the name of a better known one."""
    assert skeleton(name) == skeleton(twin)


def test_no_two_methods_of_the_package_look_alike() -> None:
    """If it fails, the table of look-alikes makes one of names that anybody can tell apart."""
    names = Catalogue().explainers.names
    assert len({skeleton(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    "title",
    ["γ-LRP", "αβ-rule", "LRPε", "Δt", "Ménage", "Маша Иванова", "李 CAM", "CAM改", "Łukasz", "µ²"],
)
def test_letters_of_honest_authors_are_no_disguise(title: str) -> None:
    """If it fails, an author is refused for the alphabet of a name or of a formula."""
    assert mixed_word(title) is None
    assert _faults(title=title) == []


def _faults(explainer: str = "mine", title: str = "Mine", submitter: str = "Someone") -> list[str]:
    """Return the names of faults beside a method of another submitter."""
    other, _ = build_published("loading", explainer="blob_finder")
    others = [
        other.model_copy(
            update={
                "submitter": "Ann Other",
                "method": other.method.model_copy(update={"title": "Fine Map"}),
            }
        )
    ]
    card = Manifest.of(
        suite="test",
        suite_sha256="5" * 64,
        title=title,
        explainer=explainer,
        class_name="Mine",
        source="mine.py",
        source_sha256="0" * 64,
        submitter=submitter,
        files={},
    )
    own = other.identity.explainer
    found = name_faults(card, ("gradcam", "sobel"), {"phantom": "a cohort"}, own, others)
    return [fault for fault, _ in found]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, []),
        ({"explainer": "gradcarn"}, ["look-alike"]),
        ({"explainer": "GradCam"}, ["name-taken"]),
        ({"explainer": "phant0m"}, ["reserved-name"]),
        ({"explainer": "all"}, ["reserved-name"]),
        ({"explainer": "b1ob_finder"}, ["look-alike"]),
        ({"explainer": "Blob_Finder"}, ["name-taken"]),
        ({"title": "fine map"}, ["title-taken"]),
        ({"title": "F1ne Map"}, ["look-alike"]),
        ({"title": "Ѕobеl"}, ["mixed-script", "look-alike"]),
        ({"title": "Sobel!"}, ["title-taken"]),
        ({"submitter": "Ann 0ther"}, ["look-alike"]),
        ({"submitter": "Ann Other"}, []),
        ({"submitter": "Ann Other", "explainer": "blob_finder", "title": "Fine Map"}, []),
    ],
)
def test_names_are_held_against_those_that_are_known(
    told: dict[str, str], expected: list[str]
) -> None:
    """If it fails, two methods on a board cannot be told apart, or an author is locked out."""
    assert _faults(**told) == expected


def test_families_are_those_of_the_methods_that_are_built_in() -> None:
    """If it fails, a method of a new family is refused although the package has one."""
    catalogue = Catalogue().explainers
    families = {catalogue.find(name).plugin.family for name in catalogue.names}
    assert families - {"control"} <= set(FAMILIES)
    for version in ("1.0", "2.1.3", "2026.11", "1.0rc1", "2.14.0+cpu", "2.12.0a0+gitd0d6b1f"):
        assert list(method_faults("other", version)) == []


def test_a_submission_may_be_sent_again(valid: Path, standard: Standard, tmp_path: Path) -> None:
    """If it fails, nobody can improve on what stands on the board under the own name."""
    records = tuple(build_published(name)[0] for name in ("loading", "second"))
    known = replace(standard, others=records)
    assert faults_of(valid, tmp_path, known) == []
