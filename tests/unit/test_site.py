"""The documentation as a site: whole, and nothing in it comes from elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.paths import REPOSITORY


def pages(tree: object) -> list[str]:
    """The pages of a navigation, in order."""
    if isinstance(tree, str):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    assert not isinstance(parts, str)
    return [page for part in parts for page in pages(part)]  # type: ignore[attr-defined]  # a list, or values of one


def test_every_page_is_in_the_navigation() -> None:
    navigation = pages(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"])
    there = {str(page.relative_to(REPOSITORY / "docs")) for page in (REPOSITORY / "docs").rglob("*.md")}
    assert sorted(navigation) == sorted(there)


@pytest.mark.slow
def test_the_site_has_all_pages_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    (tmp_path / "mkdocs.yml").write_text((REPOSITORY / "mkdocs.yml").read_text())
    command = [sys.executable, "-m", "zensical", "build", "-f", "mkdocs.yml", "--strict"]
    built = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    site = tmp_path / "build" / "site"
    for page in (tmp_path / "docs").rglob("*.md"):
        folder = page.relative_to(tmp_path / "docs").with_suffix("")
        assert (site / ("" if folder.name == "index" else folder) / "index.html").is_file(), page
    reference = (site / "reference" / "learning" / "index.html").read_text()
    assert "Byzantine Tolerant Gradient Descent" in reference, "the docstring of krum"
    loads = re.compile(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"?(?:https?:)?//|url\((?:https?:)?//|@import")
    for file in (*site.rglob("*.html"), *site.rglob("*.css")):
        assert not loads.search(file.read_text()), file
