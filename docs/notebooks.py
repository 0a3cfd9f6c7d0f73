"""Shows each notebook of the documentation as a page, with the outputs that it was kept with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files with a page for each notebook; mkdocs calls this once for each build."""
    for notebook in tuple(files):
        if notebook.src_uri.endswith(".ipynb") and notebook.abs_src_path:
            cells = json.loads(Path(notebook.abs_src_path).read_text(encoding="utf-8"))["cells"]
            text = "\n\n".join(part for cell in cells for part in _parts(cell))
            name = notebook.src_uri.removesuffix(".ipynb") + ".md"
            files.append(File.generated(config, name, content=text))
    return files


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    """Yield the Markdown of a cell and of what it has printed, shown or drawn."""
    source = "".join(cell["source"])
    yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        if "image/png" in data:
            picture = "".join(data["image/png"]).replace("\n", "")
            words = cell["metadata"]["alt"]
            yield f"![{words}](data:image/png;base64,{picture})"
        else:
            text = "".join(output.get("text") or data["text/plain"])
            yield f"```text\n{text.rstrip()}\n```"
