"""The notebooks run in a kernel, from the first cell to the last; the pages made of them have their code."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools import notebooks

NEEDS = {"pytorch-model": "torch"}


def test_there_are_four_and_each_is_stored_without_output() -> None:
    assert len(notebooks.names()) == 4
    for name in notebooks.names():
        stored = json.loads((notebooks.FOLDER / f"{name}.ipynb").read_text())
        for cell in stored["cells"]:
            assert cell["cell_type"] == "markdown" or (cell["execution_count"], cell["outputs"]) == (None, []), name


@pytest.mark.parametrize("name", notebooks.names())
def test_its_page_has_its_text_and_code_and_shows_its_pictures(name: str) -> None:
    cells = json.loads((notebooks.FOLDER / f"{name}.ipynb").read_text())["cells"]
    page = (notebooks.FOLDER / f"{name}.md").read_text()
    code = ["".join(cell["source"]).removesuffix(";") for cell in cells if cell["cell_type"] == "code"]
    assert re.findall(r"^```python\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL) == code, "python -m tools.notebooks"
    for cell in cells:
        assert cell["cell_type"] == "code" or "".join(cell["source"]).split("\n", 1)[-1] in page
    drawn = re.findall(rf"\(({name}-\d+\.png)\)", page)
    assert drawn
    assert sorted(drawn) == sorted(path.name for path in notebooks.FOLDER.glob(f"{name}-*.png"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's client
@pytest.mark.parametrize("name", notebooks.names())
def test_it_runs_and_gives_what_its_page_shows(name: str, tmp_path: Path) -> None:
    if (package := NEEDS.get(name)) and not importlib.util.find_spec(package):
        pytest.skip(f"{package} is not installed; make test-torch has it")
    made: Any = notebooks.executed(name, tmp_path)
    text, pictures = notebooks.page(made, name)
    stored = (notebooks.FOLDER / f"{name}.md").read_text()
    # Training differs in its last digits between processors: numbers may differ, what there is may not.
    assert re.sub(r"[\d.]+", "0", without_answers(text)) == re.sub(r"[\d.]+", "0", without_answers(stored))
    assert len(pictures) == stored.count("![")


def without_answers(page: str) -> str:
    """A page without what cells print."""
    return re.sub(r"^```text\n.*?^```$", "```text```", page, flags=re.MULTILINE | re.DOTALL)
