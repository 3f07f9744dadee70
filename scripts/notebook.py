"""Write the page of the notebook docs/tutorials/notebook.ipynb, with the outputs that are stored in it.

Usage: `python scripts/notebook.py [--check]`. With `--execute FOLDER` the cells run first, in a folder that holds
`my-demo`, the demo after its run. That needs `pip install nbclient ipykernel`; the page needs nothing.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorials" / "notebook.ipynb"
PAGE = NOTEBOOK.with_suffix(".md")
MADE = "<!-- Made by scripts/notebook.py from notebook.ipynb. -->\n\n"


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it is current."""
    if arguments[:1] == ["--execute"]:
        execute(Path(arguments[1]))
    text = page(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    if arguments == ["--check"]:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def execute(folder: Path) -> None:
    """Run all cells from top to bottom, and store their outputs in the notebook."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ with each run
        if "outputs" in cell:  # warnings of other packages name the folders of this machine
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, NOTEBOOK)


def page(notebook: dict[str, Any]) -> str:
    """Return the cells and their outputs as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [shown(output) for output in cell.get("outputs", ())]
    return MADE + "\n\n".join(parts) + "\n"


def shown(output: dict[str, Any]) -> str:
    """Return an output as Markdown: a table as such, all else as text."""
    content = output.get("data", {})
    if table := re.search(r"((?:<p>.*</p>)?)<table.*?>(.*)</table>", "".join(content.get("text/html", "")), re.DOTALL):
        rows = re.sub(r"\s*\n\s*", "", table[2])
        return re.sub(r' style="[^"]*"', "", f"{table[1]}<table>{rows}</table>")
    text = "".join(output.get("text") or content["text/plain"])
    return f"```text\n{text.rstrip()}\n```"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
