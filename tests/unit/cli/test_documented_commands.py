"""The commands in the documents, as the command line reads them."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fbfl import simulation
from fbfl.cli.main import parser
from fbfl.cli.settings import settings_of
from fbfl.mec.radio import resolve
from tests.support.paths import REPOSITORY

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
OWN_CODE = re.compile(r"[a-z_.]+:[A-Za-z_]+")
"""A function in a reader's own file, which says more, as a Flower app does."""

MNIST_5K = 4_000
"""Samples of its training set."""


def commands(document: Any) -> Iterator[list[str]]:
    text = document.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        program, *words = shlex.split(line, comments=True) if line.startswith((".venv/bin/fbfl ", "fbfl ")) else [""]
        if program:
            yield [*itertools.takewhile(lambda word: word not in ("&", "2>>"), words)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_is_one(document: Path) -> None:
    found = list(commands(document))
    assert found or document.name not in ("README.md", "nodes.md")
    for words in found:
        if "--help" in words:
            continue
        options = parser().parse_args(words)
        if words[0] == "run" and not any(word == "flower" or OWN_CODE.fullmatch(word) for word in words):
            simulation.check(settings_of(options))


def test_the_example_of_slow_servers_has_some() -> None:
    (words,) = (words for words in commands(REPOSITORY / "README.md") if "--radio" in words)
    settings = settings_of(parser().parse_args(words))
    assert settings.dataset == "mnist-5k"
    assert settings.radio is not None
    samples = dict.fromkeys(range(settings.servers), MNIST_5K // settings.servers)
    cost = resolve(settings.radio, settings.radio_args).round_cost(settings.seed, [], samples, settings.local_epochs)
    assert 0 < len(cost.late_servers) < settings.servers


def test_every_threat_names_tests_that_there_are() -> None:
    text = (REPOSITORY / "docs" / "contracts.md").read_text()
    (table,) = re.findall(r"\| threat \| answer \| test \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", text)
    there = {
        name
        for file in (REPOSITORY / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    for row in table.splitlines():
        tests = re.findall(r"`(test_\w+)`", row.rpartition(" | ")[2])
        assert tests, row
        assert set(tests) <= there, set(tests) - there
