"""Write the pages of the notebooks: each is run, and its code with what it has printed and drawn becomes a page.

    python -m tools.notebooks [NAME ...]      # default: all in docs/notebooks

The notebooks themselves stay without output: a page and its pictures lie beside each, for the site.
"""

import argparse
import base64
import re
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
_TERMINAL = re.compile(r"\x1b\[[0-9;]*m")


def names() -> list[str]:
    """Return the names of all notebooks."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def executed(name: str, folder: Path) -> Any:
    """Run a notebook in a kernel of its own, whose current folder is `folder`; return it with its output.

    A cell that fails raises `nbclient.exceptions.CellExecutionError`.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def page(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Return a notebook's page as Markdown, and its pictures by their file names."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source.removesuffix(';')}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                file = f"{name}-{len(pictures) + 1}.png"
                pictures[file] = base64.b64decode(data["image/png"])
                parts.append(f"![Drawn by the cell above]({file})")
            elif text := _TERMINAL.sub("", output.get("text") or data.get("text/plain", "")).strip("\n"):
                parts.append(f"```text\n{text}\n```")
    first, *others = parts
    note = f"*A notebook: [{name}.ipynb]({name}.ipynb), with what it printed when this page was made.*"
    title, *rest = first.split("\n", 1)
    return "\n\n".join([title, note, *(text.strip() for text in rest), *others]) + "\n", pictures


def main() -> None:
    """Run the notebooks and write their pages."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.notebooks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())} (default: all)")
    for name in parser.parse_args().names or names():
        with tempfile.TemporaryDirectory() as folder:
            text, pictures = page(executed(name, Path(folder)), name)
        for old in FOLDER.glob(f"{name}-*.png"):
            old.unlink()
        (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
        for file, content in pictures.items():
            (FOLDER / file).write_bytes(content)
        print(FOLDER / f"{name}.md")


if __name__ == "__main__":
    main()
