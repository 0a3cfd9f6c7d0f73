"""A method in a file, submitted and verified through the command line."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import fakes
import pytest
from runs import write_suite
from typer.testing import CliRunner, Result

from benchmark import contract
from benchmark.commands.app import app

HONEST = '''
    """An honest method."""

    import torch
    from benchmark.explainer import Explainer


    class Mine(Explainer):
        """The gradient."""

        name = "mine"
        passes = (1, 1)

        def attribute(self, classifier, images, target):
            leaf = images.detach().clone().requires_grad_()
            return torch.autograd.grad(target(*classifier(leaf)).sum(), leaf)[0]
'''


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def submit(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, name: str = "mine") -> Path:
    """Submit a plugin without asking its contract, as a cheat would who edited the package."""
    suite = write_board(folder)
    plugin = folder / f"{name}.py"
    plugin.write_text(text)
    with monkeypatch.context() as patched:
        patched.setattr(contract, "run_checks", lambda _: [])
        out, store = folder / "bundle", folder / "store"
        options = ["--suite", suite, "--store", store, "--device", "cpu", "--submitter", "Someone"]
        options += ["--no-isolation"]
        told = invoke("submit", f"{plugin}:Mine", "--name", "My CAM", "--out", out, *options)
    assert told.exit_code == 0, told.output
    return out


def plugin(more: str = "") -> str:
    return textwrap.dedent(HONEST) + textwrap.indent(textwrap.dedent(more), "    " if more else "")


def write_board(folder: Path) -> Path:
    """Write a suite with a board, over the fake cohort and model."""
    model = fakes.spec("TinyModel")
    board = f'health = ["oracle"]\n[board]\nmodels = ["{model}"]\nsalt = "test"\n'
    return write_suite(folder, ("Loading", "Second"), board)


def verify(folder: Path, *more: object, bundle: Path | None = None) -> tuple[Result, list[str]]:
    """Return what verify says of ``folder/bundle``, and the names of its faults."""
    out = folder / "told.json"
    where = [bundle or folder / "bundle", "--suite", folder / "suite.toml", "--json", out]
    told = invoke("verify", *where, *more)
    assert "Traceback" not in told.output
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    faults = json.loads(out.read_text())["faults"] if out.exists() else []
    return told, [one["name"] for one in faults]
