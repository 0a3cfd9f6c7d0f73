"""The notebook of the documentation runs, and shows what it has shown."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from commands import ROOT
from nbclient import NotebookClient

NOTEBOOK = ROOT / "docs/first_maps.ipynb"


def _texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what each cell has printed or shown as text, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.get("text") or output.data["text/plain"] for output in outputs]


def test_every_cell_of_the_notebook_shows_its_output() -> None:
    """If it fails, a reader of the notebook sees code without what comes of it, or an error."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs for cell in cells)
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"stream", "execute_result", "display_data"}
    assert NOTEBOOK.stat().st_size < 400_000


# The kernel of Jupyter itself, and its clean-up, warn of what lies outside this project.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_notebook_gives_what_it_shows(tmp_path: Path) -> None:
    """If it fails, a reader who runs the notebook gets an error, or other numbers than it shows."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = _texts(notebook)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert _texts(notebook) == shown
