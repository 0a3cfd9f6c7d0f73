"""Finding plugins: built-in, installed, by path; and what broken ones do to the others."""

from __future__ import annotations

import importlib.metadata
import io
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import fakes
import pytest
from paths import ROOT
from rich.console import Console

from benchmark.commands.terminal import catalogue_table
from benchmark.errors import CohortError, PluginError, UnknownNameError
from benchmark.plugins import catalogue as module
from benchmark.plugins.catalogue import Catalogue, cohort_writer
from benchmark.plugins.entry import Entry, with_majors
from benchmark.plugins.examples import build_cohort

PLUGIN = """
from benchmark.explainer import Explainer

class Mine(Explainer):
    {body}
    def attribute(self, classifier, images, target):
        return images
"""


def write(path: Path, body: str = "version = '1.0'") -> Path:
    path.write_text(PLUGIN.format(body=body))
    return path


def install(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Make entry points of explainers appear installed."""
    found = [EntryPoint(name, value, "medsanity.explainers") for name, value in points.items()]

    def entry_points(group: str) -> list[EntryPoint]:
        return [one for one in found if one.group == group]

    monkeypatch.setattr(module, "entry_points", entry_points)


def test_built_in_plugins_are_found_by_their_files_alone() -> None:
    found = Catalogue()
    assert {"gradcam", "gradcam_aligned", "saliency", "oracle"} <= set(found.explainers.names)
    assert "smallresnet" in found.models.names
    assert "phantom" in found.cohorts.names
    assert {"delta_t", "roi_pointing"} <= set(found.protocols.names)
    assert {one.origin for one in found.explainers.entries} == {"built-in"}
    assert all(one.error is None for one in found.explainers.entries)
    assert all(one.description for one in found.protocols.entries)


def test_a_source_that_needs_an_argument_is_no_cohort_of_its_own() -> None:
    assert "nifti" not in Catalogue().cohorts.names


def test_listing_one_kind_imports_no_other() -> None:
    """Otherwise `list protocols` would wait for every cohort and for Captum."""
    code = (
        "import sys\nfrom benchmark.plugins.catalogue import Catalogue\n"
        "Catalogue().protocols.entries\n"
        "assert not [name for name in sys.modules if name.startswith('baselines')]"
    )
    root = ROOT
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=120)


def test_catalogue_and_terminal_leave_out_what_few_runs_need() -> None:
    """If it fails, each command loads what draws figures or reads medical images."""
    code = (
        "import sys\nfrom benchmark.commands import terminal\n"
        "from benchmark.plugins.catalogue import Catalogue\n"
        "kinds = Catalogue()\n"
        "assert kinds.cohorts.entries and kinds.models.entries and kinds.protocols.entries\n"
        "heavy = {'nibabel', 'pydicom', 'matplotlib', 'nilearn', 'captum'}\n"
        "heavy |= {'scipy.spatial', 'scipy.linalg', 'scipy.stats'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'phantom'") as caught:
        Catalogue().cohorts.find("fantom")
    assert "phantom3d" in str(caught.value)


def test_a_path_that_describes_nothing_is_told_from_an_unknown_name(tmp_path: Path) -> None:
    """If it fails, who names their weights or a folder is shown a list of built-in names."""
    weights, table = tmp_path / "encoder.pth", tmp_path / "participants.tsv"
    weights.touch()
    table.touch()
    known = Catalogue()
    for shelf, spec, message in (
        (known.models, str(weights), f"`model init {weights}` writes one"),
        (known.models, "gone.pth", "There is no file and no folder gone.pth"),
        (known.models, "experiments/EXP-999", "no folder experiments/EXP-999"),
        (known.models, str(tmp_path), "holds no model.toml"),
        (known.cohorts, str(table), "described by a cohort.toml, which"),
        (known.cohorts, "none/cohort", "no folder none/cohort, which is to hold a cohort.toml"),
        (
            known.cohorts,
            str(tmp_path),
            f"The cohort file {tmp_path / 'cohort.toml'} does not exist",
        ),
    ):
        with pytest.raises(PluginError, match=re.escape(message)):
            shelf.find(spec)
    (tmp_path / "cohort.toml").touch()
    assert known.cohorts.find(str(tmp_path)).name == str(tmp_path / "cohort.toml")
    (tmp_path / "net.py").write_text("def build():\n    return None\n")
    with pytest.raises(PluginError, match="architecture = "):
        known.models.find(f"{tmp_path / 'net.py'}:build")


def test_a_path_gives_the_class_with_the_hash_of_its_source(tmp_path: Path) -> None:
    """Without the hash in its identity, an edited method would keep its old scores."""
    path = write(tmp_path / "mine.py")
    first = Catalogue().explainers.find(f"{path}:Mine")
    assert first.name == "mine"
    assert first.create().name == "mine"
    assert first.origin == str(path)
    write(path, "version = '1.1'")
    second = Catalogue().explainers.find(f"{path}:Mine")
    assert second.source_sha256 != first.source_sha256
    assert second.create().version == "1.1"
    assert second.plugin.__module__ != first.plugin.__module__


def test_a_path_may_name_any_kind() -> None:
    found = Catalogue()
    assert found.protocols.find(fakes.spec("Loading")).name == "loading"
    assert found.models.find(fakes.spec("TinyModel")).name == "tiny_model"
    assert len(found.cohorts.find(fakes.spec("TinyCohort")).create().load()) == 24


def test_what_is_wrong_with_a_path_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py")
    bodies = {
        "def": "SyntaxError",
        "raise SystemExit(3)": "SystemExit: 3",
        'name = "../up"': "'../up'",
        'polarity = "both"': "polarity 'both'",
        'name = "gradcam"': "class_activation.py",
    }
    cases = {
        f"{tmp_path / 'none.py'}:Mine": "cannot be read",
        str(path): "explainer classes in it: Mine",
        f"{path}:Yours": "no class 'Yours'; explainer classes in it: Mine",
        f"{fakes.FILE}:TinyModel": "must be a subclass of benchmark.explainer.Explainer",
        f"{tmp_path / 'none.toml'}:Mine": "Unknown explainer",
    }
    for number, (body, told) in enumerate(bodies.items()):
        cases[f"{write(tmp_path / f'wrong{number}.py', body)}:Mine"] = told
    for spec, told in cases.items():
        with pytest.raises(PluginError if "Unknown" not in told else UnknownNameError) as caught:
            Catalogue().explainers.find(spec)
        assert told in str(caught.value), spec
        assert "\n" not in str(caught.value)


def test_passes_that_depend_on_the_network_are_listed_as_such(tmp_path: Path) -> None:
    """If it fails, the table promises a number of passes that holds for no network."""
    plain = Catalogue().explainers.find(f"{write(tmp_path / 'plain.py')}:Mine")
    assert plain.declared["passes"] == (1, 1)
    path = write(tmp_path / "mine.py", "def passes_on(self, classifier): return 8, 0")
    entry = Catalogue().explainers.find(f"{path}:Mine")
    assert entry.declared["passes"] == "by network"
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(catalogue_table([entry]))
    assert "by network" in console.export_text()


def test_an_abstract_class_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(
        "from benchmark.explainer import Explainer\nclass Half(Explainer):\n    name = 'half'\n"
    )
    with pytest.raises(PluginError, match="must implement attribute"):
        Catalogue().explainers.find(f"{path}:Half")


def test_a_constructor_that_fails_is_blamed_on_the_plugin(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "def __init__(self): raise OSError('no weights')")
    with pytest.raises(PluginError, match=r"mine\.py:Mine cannot be made: OSError: no weights"):
        Catalogue().explainers.find(f"{path}:Mine").create()


def test_a_protocol_must_say_what_its_score_is(tmp_path: Path) -> None:
    path = tmp_path / "bare.py"
    path.write_text(
        "from benchmark.protocol import SanityProtocol\n"
        "class Bare(SanityProtocol):\n"
        "    def readings(self, trial): ...\n"
        "    def verdict(self, readings): ...\n"
    )
    with pytest.raises(PluginError, match="must set version, title, statistics, primary"):
        Catalogue().protocols.find(f"{path}:Bare")


def test_a_broken_installed_plugin_hurts_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, broken="no_such_module:Mine", bright="fakes:Bright", odd="fakes:FILE")
    shelf = Catalogue().explainers
    by_name = {one.name: one for one in shelf.entries}
    assert "ModuleNotFoundError" in str(by_name["broken"].error)
    assert "must be a subclass" in str(by_name["odd"].error)
    assert by_name["bright"].origin == "fakes:Bright"
    assert by_name["bright"].create().name == "bright"
    assert "gradcam" in shelf.names
    assert "broken" not in shelf.names
    with pytest.raises(PluginError, match="ModuleNotFoundError"):
        shelf.find("broken")


def test_an_installed_plugin_names_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, bright="fakes:Bright")
    point: Any = module.entry_points(group="medsanity.explainers")
    distribution = importlib.metadata.distribution("numpy")
    vars(point[0])["dist"] = distribution
    entry = next(one for one in Catalogue().explainers.entries if one.name == "bright")
    assert entry.origin == f"numpy {distribution.version}"


def test_two_plugins_of_one_name_raise_and_name_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever won silently would be scored under the other's name."""
    install(monkeypatch, one="fakes:Bright", two="fakes:Bright")
    with pytest.raises(PluginError, match=r"'bright'.*fakes:Bright.*fakes:Bright"):
        _ = Catalogue().explainers.entries


def test_a_cohort_file_is_read_as_nifti(tmp_path: Path) -> None:
    cohort = build_cohort()
    toml = cohort_writer()(cohort, tmp_path / "exported")
    read = Catalogue().cohorts.find(str(toml)).create().load()
    assert read.name == cohort.name
    assert len(read) == len(cohort)


def test_a_missing_cohort_file_is_said(tmp_path: Path) -> None:
    with pytest.raises((PluginError, CohortError), match="does not exist"):
        Catalogue().cohorts.find(str(tmp_path / "cohort.toml"))


def test_a_corrected_protocol_is_a_new_version_and_the_old_one_stays() -> None:
    """If it fails, a frozen suite would be scored by another protocol than it was made with."""

    def entry(version: str) -> Entry[Any]:
        plugin = type("Plugin", (), {"name": "p", "version": version})
        return Entry("protocol", "p", "built-in", version, plugin)

    specs = [entry.spec for entry in with_majors([entry("2.1"), entry("1.3"), entry("10.0")])]
    assert specs == ["p@2", "p", "p@10"]
    assert [entry.spec for entry in with_majors([entry("2.0")])] == ["p"]
