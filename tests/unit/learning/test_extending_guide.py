"""The guide's code runs, and its functions do what the text says."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.cli.catalogue import catalogue
from fbfl.errors import InvalidInputError
from fbfl.learning import aggregation
from tests.support.guides import names_of
from tests.support.paths import REPOSITORY

pytest.importorskip("keras")
GUIDE = REPOSITORY / "docs" / "extending.md"


@pytest.fixture(scope="module")
def guide() -> dict[str, Any]:
    """Names that the guide's Python blocks define, run from first to last."""
    return names_of(GUIDE)


def test_the_blocks_run(guide: dict[str, Any]) -> None:
    assert {"mean_without_longest", "steady_mean", "blindfold", "sleeper", "by_label", "small", "cautious"} <= set(
        guide
    )
    assert guide["result"].aborted is None


def test_functions_that_train_learn(guide: dict[str, Any]) -> None:
    assert guide["fitted"][1] > 0.9


@pytest.mark.parametrize(("name", "package"), [("descended", "jax"), ("netted", "torch")])
def test_frameworks_train(guide: dict[str, Any], name: str, package: str) -> None:
    if not importlib.util.find_spec(package):
        pytest.skip(f"{package} is not installed; make test-torch has it")
    assert guide[name][1] > 0.8


def test_the_sleeper_wakes(guide: dict[str, Any]) -> None:
    accuracies = guide["accuracies"]
    assert accuracies[1] > accuracies[0]


def test_the_rules_are_usable_by_name_too(
    guide: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = next(block for block in GUIDE.read_text().split("```") if "def mean_without_longest" in block)
    module = "import numpy as np\n" + block.removeprefix("python").split("federation =")[0]
    (tmp_path / "mylab_rules.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    updates = np.diag([1.0, 2.0, 9.0]).astype(np.float32)
    rule = aggregation.resolve("mylab_rules:mean_without_longest", drop=1)
    assert np.array_equal(rule(updates).vector, [0.5, 1.0, 0.0])
    with pytest.raises(InvalidInputError, match="needs drop"):
        aggregation.resolve("mylab_rules:mean_without_longest")


def test_a_rule_that_is_called_canonical_keeps_to_what_the_page_says_of_them(guide: dict[str, Any]) -> None:
    """Neither an operation whose order is the processor's, nor bytes that change with how the updates lie in memory."""
    text = GUIDE.read_text()
    forbidden = set(re.findall(r"`np\.(?:linalg\.)?(\w+)`", text[text.index("`@`, ") : text.index(" do not: ")]))
    assert forbidden >= {"dot", "sum", "mean", "norm"}
    functions = {
        name: ast.parse(block)
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"^(\w+)\.canonical = True", block, re.MULTILINE)
    }
    assert list(functions) == ["mean_without_longest"], "the first rule of the page"
    updates = np.random.default_rng(0).normal(size=(9, 3_001)).astype(np.float32)
    for name, tree in functions.items():
        nodes = list(ast.walk(tree))
        assert not any(isinstance(node, ast.MatMult) for node in nodes)
        assert not {node.attr for node in nodes if isinstance(node, ast.Attribute)} & forbidden
        rule = aggregation.resolve(guide[name], drop=2)
        assert rule.canonical
        answers = [rule(laid(updates)).vector.tobytes() for laid in (np.ascontiguousarray, np.asfortranarray)]
        assert answers[0] == answers[1]
    shortest = np.argsort(np.linalg.norm(updates, axis=1))[:7]
    np.testing.assert_allclose(rule(updates).vector, updates[shortest].mean(axis=0), atol=1e-6)
    assert not aggregation.resolve(guide["steady_mean"]).canonical


def test_the_command_line_words_name_functions_of_the_guide(guide: dict[str, Any]) -> None:
    lines = re.findall(r"^fbfl run .*mylab.*$", GUIDE.read_text(), re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        (function,) = re.findall(r"mylab\.\w+:(\w+)", line)
        assert function in guide or (function == "Net" and not importlib.util.find_spec("torch"))


def test_all_names_and_settings_are_listed() -> None:
    table = GUIDE.read_text().partition("## Known names")[2]
    in_the_table = ("aggregator", "attack", "partition", "mobility", "radio")
    entries = [entry for kind, known in catalogue().items() if kind in in_the_table for entry in known]
    assert len(entries) > 40
    shown = [f"`{each.name} ({', '.join(each.settings)})`" if each.settings else f"`{each.name}`" for each in entries]
    assert [name for name in shown if name not in table] == []
