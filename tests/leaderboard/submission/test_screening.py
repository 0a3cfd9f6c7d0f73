"""The screen lets honest methods through, and says what to use instead of what it refuses."""

from __future__ import annotations

import re
import textwrap

import pytest
from evasions import evasions
from paths import ROOT

from leaderboard.submission.screening import screen

# Under isolation none of these finds anything: there is no truth, no file and no other process.
PASSING = 21


def examples() -> list[str]:
    """Return the methods that the documentation shows."""
    text = (ROOT / "docs" / "explainer.md").read_text()
    found = re.findall(r"```python[^\n]*\n(.*?)```", text, re.DOTALL)
    return [example for example in found if "class " in example]


def test_the_methods_of_the_documentation_pass() -> None:
    """If it fails, an author who does as the documentation says is refused."""
    assert len(examples()) >= 6
    for example in examples():
        assert screen(example.encode(), "mine.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "from zennit.attribution import Gradient\nfrom zennit.composites import EpsilonPlusFlat\n",
        "import torch\n\ntorch.nn.functional.relu(torch.linalg.norm(torch.ones(3)))\n",
        "import numpy as np\nfrom scipy import ndimage\n\nndimage.zoom(np.ones((2, 2)), 2)\n",
        "from skimage.segmentation import slic\nfrom sklearn.linear_model import Ridge\n",
        "class A:\n    def __init__(self):\n        self._kept = 1\n\n    def f(self):\n"
        "        return getattr(self, 'size', self._kept)\n",
    ],
)
def test_common_ways_of_writing_pass(source: str) -> None:
    """If it fails, honest authors rewrite methods that do nothing wrong."""
    assert screen(source.encode(), "mine.py") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import random", "benchmark.seeding.torch_stream"),
        ("import numpy as np\nnp.load('x')", "write constants as numbers into the source"),
        ("import torch\ntorch.hub.load('a', 'b')", "there is no network"),
        ("from torch import *", "name what you import"),
        ("x = 1\ngetattr(x, 'a' + 'b')", "write the name out"),
        ("'{0.x}'.format(1)", "use an f-string"),
        ("import torch\ntorch.relu = abs", "change objects of your own"),
        ("def attribute_batch(self, model, b, t):\n    b.keys", "use images and references"),
    ],
)
def test_what_is_refused_is_told_with_what_to_use_instead(line: str, said: str) -> None:
    """If it fails, an author learns that a line is refused, and not how to mend it."""
    faults = screen(line.encode(), "mine.py")
    assert said in " ".join(map(str, faults))


def test_how_many_evasions_pass_is_what_is_said() -> None:
    """If it fails, the documentation claims another number than the screen stops."""
    passing = []
    for line in evasions():
        head = "def attribute_batch(self, classifier, batch, target):\n    images = batch.images\n"
        indented = head + "    name = ''\n" + textwrap.indent(line, "    ")
        faults = screen((line if "*" in line else indented).encode(), "mine.py")
        assert "not-python" not in {fault.name for fault in faults}, line
        if not faults:
            passing.append(line)
    assert len(passing) == PASSING, passing
    page = (ROOT / "docs" / "submit.md").read_text()
    assert f"{len(evasions())} one-line evasions, {PASSING} pass" in page


def test_a_source_that_reads_otherwise_than_it_runs_is_refused() -> None:
    """If it fails, a person audits another program than the one that runs."""
    (fault,) = screen("x = 1  # \u202e1 = x\n".encode(), "mine.py")
    assert (fault.name, "U+202E" in fault.detail) == ("hidden-character", True)
    assert [one.name for one in screen("# coding: latin-1\nx = 'é'\n".encode("latin-1"), "m")] == [
        "not-python"
    ]
