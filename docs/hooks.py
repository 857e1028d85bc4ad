"""The notebook of the tutorial becomes a page of the site, without its outputs."""

import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Replace `tutorial.ipynb` by `tutorial.md`, made from its cells."""
    notebook = Path(config.docs_dir) / "tutorial.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    files.append(File.generated(config, "tutorial.md", content="\n\n".join(parts) + "\n"))
    return files
