"""What pip installs is whole, holds nothing else, and is used from any folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packages import ROOMS, build, files_of_wheel, files_to_ship, link_sources
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
_INSTALLED = re.compile(r"""pip install\s+(?:-[-\w]+\s+)*(?:'([^'\s]+)'|"([^"\s]+)"|([^\s'"`]+))""")
SUITE = """
version = "small"
cohorts = ["phantom"]
models = ["smallresnet"]
protocols = ["roi_pointing"]
health = ["random"]
seed = 0
[protocol.roi_pointing]
confidence = 0.5
subjects = 40
repeats = 1
"""

_COMMANDS = """
import json, sys
from typer.testing import CliRunner
from benchmark.commands.app import app
told = [CliRunner().invoke(app, line) for line in json.loads(sys.argv[1])]
origins = {
    name: module.__file__ for name, module in sys.modules.items()
    if name.partition(".")[0] in json.loads(sys.argv[2]) and getattr(module, "__file__", None)
}
print(json.dumps([[[each.exit_code, each.output] for each in told], origins]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return build("wheel", link_sources(folder / "sources"), folder / "dist")


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder of packages in which the wheel is installed."""
    folder = wheel.parents[1] / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_file_that_is_needed_and_no_other(wheel: Path) -> None:
    """If it fails, a cohort or page is missing where it is installed, or a download grows."""
    assert sorted(files_of_wheel(wheel)) == sorted(files_to_ship())
    with zipfile.ZipFile(wheel) as archive:
        description = {Path(name).name for name in archive.namelist() if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE.md", "METADATA", "entry_points.txt"} <= description


def _run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_an_installation_is_used_from_another_folder(installed: Path, tmp_path: Path) -> None:
    """If it fails, commands work in a clone and nowhere else."""
    (tmp_path / "small.toml").write_text(SUITE)
    of_model = Path("phantom", "smallresnet")
    for name in ("gradcam", "oracle", "random"):
        published = ROOT / "leaderboard" / "v1" / "records" / of_model / name
        shutil.copytree(published, tmp_path / "records" / of_model / name)
    measured = "run --suite small.toml --explainer gradcam --workers 1 --report report"
    lines = [measured, "board --records records --out board"]
    answers = json.dumps([line.split() for line in lines])
    done = _run(installed, tmp_path, "-c", _COMMANDS, answers, json.dumps(ROOMS))
    assert done.returncode == 0, done.stderr
    told, origins = json.loads(done.stdout)
    assert [code for code, _ in told] == [0] * len(lines), told
    elsewhere = {name for name, file in origins.items() if not file.startswith(str(installed))}
    assert elsewhere == set()
    for page in ("report", "board"):
        assert "gradcam" in (tmp_path / page / "index.html").read_text("utf-8")


def test_the_version_names_the_commit_where_one_is_known(installed: Path, tmp_path: Path) -> None:
    """If it fails, a report of a fault does not say which code has it."""
    asked = ("-m", "benchmark", "--version")
    number = f"medsanity {version('medsanity')}"
    assert _run(installed, tmp_path, *asked).stdout == f"{number}\n"
    (description,) = installed.glob("*.dist-info")
    origin = {"url": "https://example.org/medsanity.git"}
    origin |= {"vcs_info": {"vcs": "git", "commit_id": "c0ffee" + "0" * 34}}
    (description / "direct_url.json").write_text(json.dumps(origin))
    assert _run(installed, tmp_path, *asked).stdout == f"{number} (commit c0ffee000000)\n"
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True)
    assert f"(commit {head[:12]}" in _run(ROOT, tmp_path, *asked).stdout


def _requirements(name: str) -> list[Requirement]:
    texts = PROJECT["dependencies"] if not name else PROJECT["optional-dependencies"][name]
    return [Requirement(text) for text in texts]


def _names_to_install() -> list[tuple[str, str]]:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "Containerfile"]
    code = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return [
        (path.relative_to(ROOT).as_posix(), next(name for name in found if name))
        for path in [*pages, *code]
        for found in _INSTALLED.findall(path.read_text("utf-8"))
    ]


def test_what_a_page_or_message_tells_to_install_exists() -> None:
    """If it fails, a reader asks an index for what is not there, or gets a stranger's package."""
    extras = PROJECT["optional-dependencies"]
    known = {each.name for name in ("", *extras) for each in _requirements(name)}
    told = _names_to_install()
    assert len(told) > 8
    for path, name in told:
        if name.startswith((".", "/", "$", "dist/", "git+https://", "{")):
            continue  # a folder or file, a repository, or what the code fills in
        requirement = Requirement(name.replace("{library}", "timm"))
        assert requirement.extras <= set(extras), (path, name)
        # On no index: it is told only of an installation that gets an extra.
        if requirement.name == PROJECT["name"]:
            assert requirement.extras, (path, name)
        else:
            assert canonicalize_name(requirement.name) in map(canonicalize_name, known), path


def test_a_container_is_built_of_all_that_the_wheel_needs() -> None:
    """If it fails, an image lacks cohorts or networks, or every record of a board is sent to it."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    everything, *patterns = [line for line in lines if line and not line.startswith("#")]
    assert everything == "*"
    taken = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    left_out = [pattern for pattern in patterns if not pattern.startswith("!")]
    assert taken == {"LICENSE", "README.md", "pyproject.toml", *ROOMS}

    def arrives(name: str) -> bool:
        folders = [name, *map(str, Path(name).parents)]
        return not any(fnmatch(folder, pattern) for folder in folders for pattern in left_out)

    assert [name for name in files_to_ship() if not arrives(name)] == []
    assert not arrives("leaderboard/v1/records/phantom/smallvit/cam/agreement.json")
    last = re.findall(r"^USER (.+)$", (ROOT / "Containerfile").read_text("utf-8"), re.MULTILINE)
    assert last == ["10001"], "a cluster that forbids root asks for a number other than 0"


def test_the_citation_is_of_this_version() -> None:
    """If it fails, a paper cites another version than it used."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == PROJECT["version"]
    assert citation["title"].startswith(PROJECT["name"])
    licences = set(PROJECT["license"].split(" AND "))
    assert set(citation["license"]) == licences
