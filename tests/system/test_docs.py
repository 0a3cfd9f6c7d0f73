"""The documentation is true: its commands run, its code works, its links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from commands import ROOT, run
from image_folders import write_bids
from publications import write_two_versions
from small_suite import SMALL_SUITE
from typer.main import get_command

from baselines.cohorts.files.cohort_toml import (
    CohortFile,
    Foreground,
    ImageFile,
    Intensity,
    MaskFile,
    Region,
    Slice,
    Split,
)
from baselines.cohorts.nifti import write_cohort
from benchmark.commands.app import app
from benchmark.explainer import Control
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_cohort
from leaderboard.published.folder import load_folder

_DOCS = tuple(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *_DOCS)
MODELS = Path("baselines/models")
ENCODER = ("roi_pointing", "delta_t", "agreement")
QUICK = ("roi_pointing", "delta_t")
# On the committed cohorts and networks, so that nothing is trained.
SMALL_V2 = """
version = "small-v2"
cohorts = ["phantom2", "sources"]
models = ["phantom2_resnet"]
protocols = ["positive_control@2", "roi_pointing@2", "delta_t@2", "known_source"]
health = ["random"]
[cohort.sources]
protocols = ["known_source"]
joins = "phantom2"
[board]
models = ["phantom2_resnet"]
salt = "small"
[protocol.positive_control]
subjects = 32
dose_response = false
[protocol.roi_pointing]
subjects = 40
confidence = 0.0
repeats = 1
[protocol.delta_t]
subjects = 20
quantiles = [0.05, 0.1, 0.2]
repeats = 1
yardstick_repeats = 1
controls = []
[protocol.known_source]
subjects = 20
"""
VOLUMES = """
from baselines.cohorts.phantom3d import Phantom3D


class Few(Phantom3D):
    name = "few"

    def __init__(self):
        super().__init__(20)
"""
# Of the board; test_committed_board.py builds it whole.
ON_BOARD = ("gradcam", "oracle", "random", "saliency")
FEW = """
[protocol.roi_pointing]
confidence = 0.5
subjects = 8
repeats = 2
"""

# Groups of twenty test subjects, which group maps ask for, are more than the small cohort has.
SMALL_GROUPS = """
version = "small-groups"
cohorts = ["exported/cohort.toml"]
models = ["smallresnet"]
protocols = ["group_maps"]
health = ["oracle", "random"]
seed = 0
[protocol.group_maps]
subjects = 24
fewest = 3
permutations = 19
halves = 2
repeats = 1
steady_subjects = 0
controls = []
"""


def _blocks(page: str) -> list[tuple[str, str, str]]:
    """Return language, title and text of each fenced block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(
        r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    return [(language, title, body) for language, title, body in found]


def _commands(page: str) -> list[str]:
    lines = [line for _, _, body in _blocks(page) for line in body.splitlines()]
    return [
        line.split("  #")[0].strip()
        for line in lines
        if line.startswith("python -m benchmark") and "$" not in line
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the documentation speaks of, on a small cohort."""
    folder = tmp_path_factory.mktemp("docs")
    for suite, cohort, subjects in (("small", "exported", 72), ("smaller", "few", 48)):
        write_cohort(build_cohort((48, 48), subjects=subjects), folder / cohort)
        text = SMALL_SUITE.format(cohort=f"{cohort}/cohort.toml")
        (folder / f"{suite}.toml").write_text(text + FEW)
    for page in PAGES:
        for _, title, body in _blocks(page):
            if title:
                assert not (folder / title).exists(), f"two files are called {title}"
                if title.endswith(".toml"):
                    body = body.replace('"phantom"', '"exported/cohort.toml"') + FEW
                (folder / title).write_text(body)
    _write_checkpoints(folder)
    (folder / "few.py").write_text(VOLUMES)
    (folder / "small_v2.toml").write_text(SMALL_V2)
    (folder / "small_groups.toml").write_text(SMALL_GROUPS)
    write_bids(folder / "scans")
    for name in ON_BOARD:
        place = Path("leaderboard/v1/records/phantom/smallresnet", name)
        shutil.copytree(ROOT / place, folder / place)
    (folder / MODELS / "data").mkdir(parents=True)
    for path in (ROOT / MODELS / "smallresnet.py", *(ROOT / MODELS).glob("data/supervised_*")):
        shutil.copy(path, folder / path.relative_to(ROOT))
    write_two_versions(folder, load_folder(folder / "leaderboard/v1/records"))
    # What a reader has done before the page at hand.
    command = ["run", "--explainer", "gradcampp", "--suite", "small.toml", "--report", "none"]
    assert run(folder, *command).returncode == 0
    return folder


def _write_checkpoints(folder: Path) -> None:
    """Write weights as a contrastive training, a user's parts and a user's class leave them."""
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    tensors |= {f"projector.{number}.weight": torch.zeros(8, 8) for number in (0, 2)}
    torch.save({"state_dict": tensors, "epoch": 100}, folder / "encoder.pth")
    names: dict[str, Any] = {}
    exec((folder / "my_parts.py").read_text(), names)
    torch.save(names["build"]().state_dict(), folder / "own.pth")
    names = {}
    exec((folder / "my_class.py").read_text(), names)
    torch.save(names["Network"]().state_dict(), folder / "supervised.pth")


def _smaller(words: list[str]) -> list[str]:
    """Return a command on the small cohort and suite; the built-in ones are run end to end."""
    if words[0] == "run" and "all" in words:
        # tests/contract/ asks every method under every protocol; they would fill the report, too.
        words = [*words, "--protocol", "roi_pointing", "--store", "store of all"]
        words += ["--suite", "smaller.toml"]
    if words[0] == "run" and {"group_maps", "biomarker"} & set(words):
        # The small cohort has no volumes, so that `biomarker` alone would measure nothing.
        words = [*words, "--protocol", "group_maps"] if "group_maps" not in words else words
        words = [*words, "--suite", "small_groups.toml", "--store", "store of groups"]
    if "--suite" in words and words[words.index("--suite") + 1] == "v2":
        # A run names a suite, and a report the version that its records hold.
        small = "small-v2" if words[0] == "report" else "small_v2.toml"
        words[words.index("--suite") + 1] = small
        # Else every report would have to name its suite.
        words = [*words, "--records" if words[0] == "report" else "--store", "store of v2"]
    suited = ("run", "relatives", "publish", "submit", "verify", "gate")
    if words[0] in suited and "--suite" not in words:
        words = [*words, "--suite", "small.toml"]
    # Suite v2, and every control of v1, would be measured for minutes.
    is_of_records = words[0] in ("report", "paper")  # and names the version that these hold
    built_in = ("v1", "v2") if words[0] in ("controls", "paper") else ("v2",)
    words = [
        ("small" if is_of_records else "small.toml") if word in built_in else word for word in words
    ]
    if words[0] == "controls":
        words = [*words, "--out", "controls"]
    if words[0] == "verify":
        # Each cell is a process that imports everything; the last of an option twice holds.
        words = [*words, "--cells", "1"]
    if words[0] == "run" and "--workers" not in words:
        # Each process imports everything; tests/benchmark/running/workers asks for several.
        words = [*words, "--workers", "1"]
    if words[0] == "run" and "--report" not in words:
        words = [*words, "--report", "none"]
    model = words[words.index("--model") + 1] if words[0] == "run" and "--model" in words else ""
    if model and not model.startswith("small") and "--store" not in words:
        # A report draws every model of its store, and two pages have one written.
        words = [*words, "--store", "store of others"]
    if ".py" in model:
        # The others train copies of an encoder for minutes.
        words += [one for name in ENCODER for one in ("--protocol", name)]
    elif model and not model.startswith("small"):
        words += [one for name in QUICK for one in ("--protocol", name)]
    if "training_regime" in words:
        # Its refits train for minutes; tests/protocols asks for few, of few epochs.
        words[words.index("training_regime")] = "agreement"
    if words[0] == "gate" or "--shard" in words or (words[0] == "run" and "store" in words):
        # What is measured in a store of its own, or in none, trains every relative again.
        words += [one for name in QUICK for one in ("--protocol", name)]
    if words[0] == "relatives":
        words = [*words, "--cohort", "exported/cohort.toml"]
    if words[0] == "run" and "phantom3d" in words:
        # Copies that are tuned by another suite than v1 train for a quarter of an hour.
        words[words.index("phantom3d")] = "few.py:Few"
        words += ["--protocol", "agreement"]
    if words[0] == "train" and "phantom" in words:
        words[words.index("phantom")] = "exported/cohort.toml"
    if words[:2] == ["cohort", "corrupt"]:
        # The small cohort lies elsewhere, and so few subjects learn what is strong alone.
        smaller = {"phantom": "exported/cohort.toml", "36,-21,30": "36,36,0", "0.1": "0.8"}
        words = [smaller.get(word, word) for word in words]
    if words[:2] == ["cohort", "export"]:
        words[words.index("exported")] = "exported again"
    return words


COMMANDS = tuple(dict.fromkeys(command for page in PAGES for command in _commands(page)))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documented_commands_run(folder: Path, command: str) -> None:
    """If it fails, a reader who copies the commands of a page in their order gets an error."""
    if "--engine ray" in command:
        pytest.importorskip("ray", reason="Ray is an extra: pip install 'medsanity[ray]'")
    done = run(folder, *_smaller(shlex.split(command)[3:]))
    assert done.returncode == 0, command + done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_commands_of_jobs_have_the_options_that_they_name() -> None:
    """If it fails, a job waits in a queue for a night to hear that there is no such option."""
    commands, named = get_command(app).commands, set[str]()
    for _, _, body in _blocks("docs/clusters.md"):
        for command in re.findall(r"python -m benchmark (.+)", body):
            name, *words = shlex.split(command)
            known = {option for each in commands[name].params for option in each.opts}
            options = {word for word in words if word.startswith("--")}
            assert options <= known, command
            named |= options
    assert {"--engine", "--address", "--shard"} <= named
    (job,) = [body for language, _, body in _blocks("docs/clusters.md") if language == "yaml"]
    spec = yaml.safe_load(job)["spec"]
    assert spec["entrypoint"].startswith("python -m benchmark run ")
    for group in (
        spec["rayClusterSpec"]["headGroupSpec"],
        *spec["rayClusterSpec"]["workerGroupSpecs"],
    ):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for each in pod["containers"] for mount in each["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_fence(page: str) -> None:
    """If it fails, a command is set as text, and no test runs it."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if re.fullmatch(r"`{1,2}", line)]


def test_every_block_of_python_runs(folder: Path) -> None:
    """If it fails, a reader who copies a file gets an error."""
    for page in PAGES:
        for number, (language, title, body) in enumerate(_blocks(page)):
            if language != "python":
                continue
            name = title or f"{Path(page).stem}_{number}.py".lower()
            (folder / name).write_text(body)
            if name.startswith("test_"):
                done = run(folder, "-q", "-p", "no:cacheprovider", name, module="pytest")
            else:
                done = run(folder, module=Path(name).stem)
            assert done.returncode == 0, page + name + done.stdout + done.stderr


def test_the_method_of_the_readme_keeps_the_contract(folder: Path) -> None:
    """If it fails, the first method that a reader copies is refused."""
    (body,) = [body for language, _, body in _blocks("README.md") if language == "python"]
    (folder / "of_readme.py").write_text(body)
    done = run(folder, "check", "of_readme.py:MyCAM")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_encoder_of_the_documentation_is_scored(folder: Path) -> None:
    """If it fails, a researcher cannot bring their own encoder as told."""
    model = ["--model", "my_encoder.py:MyEncoder", "--explainer", "gradcam_aligned"]
    done = run(folder, *_smaller(["run", *model]), "--json", "encoder.json")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((folder / "encoder.json").read_text())["results"]
    assert {one["model"] for one in results} == {"my_encoder"}
    assert {one["protocol"] for one in results} == set(ENCODER)
    assert {one["state"] for one in results} <= {"scored", "not assessable"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    folder = tmp_path_factory.mktemp("site")
    done = run(ROOT, "build", "--strict", "--quiet", "--site-dir", str(folder), module="mkdocs")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_pages_are_built_without_a_broken_link(site: Path) -> None:
    """If it fails, a page is missing from the menu or a link leads nowhere."""
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    pages |= {path.stem for path in (ROOT / "docs").glob("*.ipynb")}
    assert {path.stem for path in site.glob("*.html")} == pages | {"404"}
    menu = (ROOT / "mkdocs.yml").read_text()
    assert all(f"{page}.md" in menu for page in pages)


def test_the_pages_ask_nobody_else_for_anything(site: Path) -> None:
    """If it fails, whoever reads the documentation is seen by a third party."""
    asked = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=.?(?:https?:)?//")
    for path in site.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not asked.search(text), path.name
        assert "fonts.g" not in text


def test_the_notebook_is_a_page(site: Path) -> None:
    """If it fails, a reader without Jupyter sees neither the notebook's code nor what it shows."""
    page = (site / "first_maps.html").read_text(encoding="utf-8")
    assert "average_precision_score" in page
    assert "gradcam_aligned" in page
    assert re.search(r'<img alt="[^"]{20,}" src="data:image/png;base64,', page)


def test_formulas_are_set(site: Path) -> None:
    """If it fails, a reader sees the source of a formula instead of the formula."""
    pages = {path.name: path.read_text(encoding="utf-8") for path in site.glob("*.html")}
    assert "<math" in pages["protocols.html"]
    for name, text in pages.items():
        assert "arithmatex" not in text, name
        assert not re.search(r"\$\S*\\", text), name


def test_every_method_is_on_the_page_of_methods() -> None:
    """If it fails, the page of methods is out of date."""
    text = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    for entry in Catalogue().explainers.entries:
        name = entry.name.removesuffix("_aligned")
        assert f"`{name}`" in text, name
        if not issubclass(entry.plugin, Control):
            costs = ", ".join(str(one) for one in entry.plugin.passes)
            assert re.search(rf"^\| `{name}` \|.*\| {costs} \|", text, re.MULTILINE), name


def test_every_key_of_a_cohort_is_on_its_page() -> None:
    """If it fails, a key of `cohort.toml` is undocumented, or a documented one is refused."""
    text = (ROOT / "docs/cohort.md").read_text(encoding="utf-8")
    schemas: dict[str, set[str]] = {
        "Every key": set(CohortFile.model_fields),
        "Where an image is": set(ImageFile.model_fields),
        "Intensities": set(Intensity.model_fields),
        "A mask": set(MaskFile.model_fields),
        "Parts of a region": set(Region.model_fields) - set(MaskFile.model_fields),
        "The organ": set(Foreground.model_fields) - set(MaskFile.model_fields),
        "A slice of each volume": set(Slice.model_fields),
        "Splits": set(Split.model_fields),
    }
    for heading, keys in schemas.items():
        section = re.split(r"^#+ ", text.split(f"# {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)
        assert set(re.findall(r"^\| `(\w+)` \|", section[0], re.MULTILINE)) == keys, heading


def test_every_cohort_file_of_the_page_is_valid() -> None:
    """If it fails, a reader who copies an example gets a sentence about a wrong key."""
    files = [body for language, _, body in _blocks("docs/cohort.md") if language == "toml"]
    assert len(files) == 6
    recipes = [CohortFile.model_validate(tomllib.loads(body)) for body in files]
    # The first shows them all, but for those of files that do not say their size.
    assert recipes[0].model_fields_set == set(CohortFile.model_fields) - {"spacing", "axes"}


def test_every_command_is_documented() -> None:
    """If it fails, a command exists that no reader will find."""
    names = get_command(app).commands  # type: ignore[attr-defined] # of a group
    text = "".join((ROOT / page).read_text() for page in PAGES)
    for name in names:
        assert f"`{name}`" in text or f"benchmark {name}" in text, name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """If it fails, a reader ends in front of nothing."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor in slugs, target


def test_the_readme_is_short() -> None:
    """If it fails, nobody reads it."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
