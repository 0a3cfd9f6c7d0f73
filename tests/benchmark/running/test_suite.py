"""The suite file: what it may say, and the cells that follow from it."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
from paths import ROOT
from runs import build_plan, build_suite

from benchmark.errors import InputError, PluginError, SuiteError, UnknownNameError
from benchmark.plugins.catalogue import Catalogue
from benchmark.running.plan import make_plan
from benchmark.running.suite import Cell, CohortSettings, Selection, Suite, load_suite

WHOLE = 'version = "x"\ncohorts = ["c"]\nmodels = ["m"]\nprotocols = ["p"]\n'


def written(folder: Path, text: str) -> str:
    path = folder / "suite.toml"
    path.write_text(text)
    return str(path)


def test_v1_ships_with_the_package_and_its_settings_fit_its_protocols() -> None:
    suite = load_suite("v1")
    assert suite.version == "v1"
    assert suite.protocols == (
        "positive_control",
        "randomization",
        "roi_pointing",
        "delta_t",
        "agreement",
    )
    plan = make_plan(Catalogue(), suite, Selection(("gradcam",)))
    for name in suite.protocols:
        assert plan.protocol(name).config.model_dump()["subjects"] == 64
    assert set(plan.panel) == set(plan.protocol("agreement").panel)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WHOLE + 'colour = "red"\n', "'colour' is unknown"),
        (WHOLE.replace('version = "x"\n', ""), "'version' is missing"),
        (WHOLE + 'seed = "0"\n', "'seed' is '0'"),
        (WHOLE + "seed = true\n", "'seed' is True"),
        (WHOLE.replace('["c"]', '"c"'), "'cohorts'"),
        (WHOLE.replace('["c"]', "[1]"), "'cohorts.0' is 1"),
        (WHOLE.replace('["c"]', "[]"), "'cohorts'"),
        (WHOLE.replace('"x"', '"a b"'), "'version' is 'a b'"),
        (WHOLE + "[protocol.q]\nn = 1\n", "[protocol.q]"),
        (WHOLE + "seed = = 1\n", "is no TOML"),
        (WHOLE + '[cohort.c]\nprotocols = ["q"]\n', "scores the cohort 'c' under 'q'"),
        (WHOLE + '[cohort.c]\njoins = "e"\n', "lets the cohort 'c' join 'e'"),
        (WHOLE + '[cohort.c]\njoins = "c"\n', "its other cohorts are none"),
    ],
)
def test_a_suite_that_says_something_else_is_refused_by_file_and_key(
    tmp_path: Path, text: str, told: str
) -> None:
    """A misspelt key that is passed over would score another suite than its author thinks."""
    path = written(tmp_path, text)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert told in str(caught.value)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_suite_says_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="known: v1"):
        load_suite("v7")
    with pytest.raises(SuiteError, match="cannot be read"):
        load_suite(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b'version = "\xe9"')
    with pytest.raises(SuiteError, match="UTF-8"):
        load_suite(str(tmp_path / "latin.toml"))


def test_cells_come_in_the_order_of_the_names_with_the_controls_last() -> None:
    """Shards count cells, so every process must see the same order."""
    suite = Suite.model_validate(
        {
            "version": "x",
            "cohorts": ["c"],
            "models": ["m", "n"],
            "protocols": ["p", "q"],
            "health": ["oracle", "a"],
            "seed": 3,
        }
    )
    cells = suite.cells(Selection(("b", "a", "b"), models=("n",)))
    assert cells == tuple(
        Cell("c", "n", explainer, protocol, 3)
        for explainer in ("b", "a", "oracle")
        for protocol in ("p", "q")
    )


def test_a_protocol_that_a_cohort_claims_is_scored_on_no_other() -> None:
    """If it fails, known sources would be asked of cohorts that have none."""
    suite = Suite.model_validate(
        {
            "version": "x",
            "cohorts": ["c", "d"],
            "models": ["m"],
            "protocols": ["p@2", "q"],
            "cohort": {"d": {"protocols": ["q"], "joins": "c"}},
        }
    )
    assert suite.protocols_of("c", ("p", "q")) == ("p",)
    assert suite.protocols_of("d", ("p", "q")) == ("q",)
    assert suite.protocols_of("another", ("p", "q")) == ("p",)
    # So `relatives` trains for both, where a model's own cohort is the first.
    assert suite.joined_to("c") == ("d",)
    assert suite.joined_to("d") == ()


def test_settings_of_a_cohort_that_is_not_scored_are_refused() -> None:
    """If it fails, a misspelt name lets a cohort be scored under protocols that are not its own."""
    suite = build_suite()
    names = {name: CohortSettings() for name in ("tiny", "tinny")}
    with pytest.raises(SuiteError, match=r"settings \[cohort.tinny\], but its cohorts are tiny"):
        build_plan(["Bright"], suite.model_copy(update={"cohort": names}))
    # By the name that a file's cohort has, not by that of the file.
    del names["tinny"]
    assert build_plan(["Bright"], suite.model_copy(update={"cohort": names})).cells


def test_a_suite_says_which_version_of_a_protocol_is_meant() -> None:
    """If it fails, ``--protocol delta_t`` would score a suite by rules that are not its own."""
    suite = Suite.model_validate(
        {"version": "x", "cohorts": ["c"], "models": ["m"], "protocols": ["p@2", "q"]}
    )
    chosen = suite.select(Selection(("a",), protocols=("p", "q", "file.py:Own")))
    assert chosen.protocols == ("p@2", "q", "file.py:Own")
    cells = suite.cells(Selection(("a",), protocols=("p",)))
    assert [cell.protocol for cell in cells] == ["p"]


def test_settings_that_a_protocol_does_not_have_are_refused() -> None:
    for settings in ({"powr": 2.0}, {"power": -1.0}):
        suite = build_suite().model_copy(update={"protocol": {"loading": settings}})
        with pytest.raises(SuiteError, match=r"protocol\.loading.*settings known: power, memory"):
            build_plan(["Bright"], suite)


def test_another_seed_names_other_streams() -> None:
    assert build_suite(seed=0).stream_name != build_suite(seed=1).stream_name


def test_all_means_every_explainer_and_may_stand_beside_a_path() -> None:
    plan = make_plan(Catalogue(), build_suite(), Selection(("all", fakes.spec("Bright"))))
    assert {"gradcam", "oracle", "bright"} <= set(plan.explainers)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gradcam'"):
        make_plan(Catalogue(), build_suite(), Selection(("gradcm",)))


def test_two_files_cannot_go_by_one_name(tmp_path: Path) -> None:
    """Otherwise two methods would stand in one row of the table."""
    other = tmp_path / "other.py"
    other.write_text(fakes.FILE.read_text() + "\n# another file\n")
    with pytest.raises(PluginError, match=r"fakes\.py:Bright.*other\.py:Bright"):
        make_plan(Catalogue(), build_suite(), Selection((fakes.spec("Bright"), f"{other}:Bright")))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("first", [0, 1])
def test_shards_divide_the_cells_whichever_way_they_are_counted(count: int, first: int) -> None:
    plan = build_plan(["Bright", "Dark", "Flat"], build_suite(("Loading", "Second")))
    parts = [plan.shard(index, count).cells for index in range(first, first + count)]
    assert sorted(map(str, sum(parts, ()))) == sorted(map(str, plan.cells))


def test_a_shard_holds_all_cells_of_a_method_and_costly_methods_are_dealt_out() -> None:
    """If it fails, several jobs draw the maps of one method, or one job gets all slow methods."""
    suite = build_suite(("Loading", "Second"))
    plan = make_plan(Catalogue(), suite, Selection(("rise", "saliency", "random", "occlusion")))
    named = [{cell.explainer for cell in plan.shard(index, 2).cells} for index in (0, 1)]
    assert sorted(map(len, named)) == [2, 2]
    assert [len(own & {"rise", "occlusion"}) for own in named] == [1, 1]
    assert not named[0] & named[1]


def test_a_shard_outside_is_refused() -> None:
    plan = build_plan(["Bright"])
    for index, count in ((3, 2), (0, 0), (-1, 2)):
        with pytest.raises(InputError, match="shard"):
            plan.shard(index, count)


def test_a_suite_sets_what_explainers_are_made_with() -> None:
    """If it fails, a method is scored with its defaults whatever the suite says."""
    suite = build_suite().model_copy(update={"explainer": {fakes.spec("Powered"): {"power": 3.0}}})
    plan = build_plan(["Powered", "Bright"], suite)
    assert plan.explainers["powered"].create().config == {"power": 3.0, "rule": "plain"}
    assert build_plan(["Powered"]).explainers["powered"].create().config["power"] == 2.0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"Powered": {"pwer": 3.0}}, "has no setting 'pwer'; known: power"),
        ({"Powered": {"power": -1.0}}, "The power must be above 0"),
        ({"Powered": {"power": "three"}}, "is 'three': Input should be a valid number"),
        ({"Bright": {"power": 1.0}}, "has no setting 'power'; known: none"),
    ],
)
def test_settings_that_an_explainer_cannot_take_are_refused(
    settings: dict[str, dict[str, object]], told: str
) -> None:
    """If it fails, a misspelt setting is passed over, or ends in a traceback hours later."""
    named = {fakes.spec(name): one for name, one in settings.items()}
    with pytest.raises(InputError, match=told):
        build_plan(["Powered", "Bright"], build_suite().model_copy(update={"explainer": named}))


def test_settings_of_an_explainer_that_nobody_knows_are_refused() -> None:
    suite = build_suite().model_copy(update={"explainer": {"gradcm": {}}})
    with pytest.raises(UnknownNameError, match="Did you mean 'gradcam'"):
        build_plan(["Bright"], suite)


def test_a_frozen_suite_that_was_altered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, scores of two different suites carry one version."""
    shipped = ROOT / "leaderboard" / "v1"
    (tmp_path / "v1").mkdir()
    text = (shipped / "suite.toml").read_text("utf-8")
    (tmp_path / "v1" / "suite.sha256").write_text((shipped / "suite.sha256").read_text("utf-8"))
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    (tmp_path / "v1" / "suite.toml").write_text(text)
    assert load_suite("v1").version == "v1"
    (tmp_path / "v1" / "suite.toml").write_text(text.replace("subjects = 64", "subjects = 32", 1))
    with pytest.raises(SuiteError, match="is frozen"):
        load_suite("v1")
