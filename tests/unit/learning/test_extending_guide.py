"""The guide's code runs, and its functions do what the text says."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import aggregation, attacks, partition

pytest.importorskip("keras")
GUIDE = Path(__file__).parents[3] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def guide():
    """What the guide's Python blocks define, run from first to last."""
    names = {}
    text = GUIDE.read_text()
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(GUIDE), "exec"), names)
    return names


def test_the_blocks_run(guide):
    assert {"mean_without_longest", "steady_mean", "blindfold", "sleeper", "by_label", "small", "cautious"} <= set(
        guide
    )
    assert guide["result"].aborted is None


def test_the_sleeper_wakes(guide):
    accuracies = guide["accuracies"]
    assert accuracies[1] > accuracies[0]


def test_the_rules_are_usable_by_name_too(guide, tmp_path, monkeypatch):
    block = next(block for block in GUIDE.read_text().split("```") if "def mean_without_longest" in block)
    module = "import numpy as np\n" + block.removeprefix("python").split("federation =")[0]
    (tmp_path / "mylab_rules.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    updates = np.diag([1.0, 2.0, 9.0]).astype(np.float32)
    rule = aggregation.resolve("mylab_rules:mean_without_longest", drop=1)
    assert np.array_equal(rule(updates).vector, [0.5, 1.0, 0.0])
    with pytest.raises(InvalidInputError, match="needs drop"):
        aggregation.resolve("mylab_rules:mean_without_longest")


def test_the_command_line_words_name_functions_of_the_guide(guide):
    lines = re.findall(r"^fbfl run .*$", GUIDE.read_text(), re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        (function,) = re.findall(r"mylab\.\w+:(\w+)", line)
        assert function in guide


def entry(name, function, filled_in):
    """A name with its settings, as the guide writes them."""
    settings = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in filled_in and parameter.kind is not parameter.VAR_KEYWORD:
            default = "" if parameter.default in (parameter.empty, None) else f"={parameter.default}"
            settings.append(parameter.name + default)
    return f"`{name} ({', '.join(settings)})`" if settings else f"`{name}`"


def test_all_names_and_settings_are_listed():
    table = GUIDE.read_text().partition("## What has a name")[2]
    rules = [entry(*rule, {"updates", *aggregation.rulefunction.CONTEXT}) for rule in aggregation.RULES.items()]
    given = {"honest", "everybody", "compromised", "own", "x", "y", "rng", *attacks.names.CONTEXT}
    named = [entry(*attack, given) for attack in attacks.names.ATTACKS.items()]
    partitions = [entry(*each, {"labels", "num_clients", "seed"}) for each in partition.PARTITIONS.items()]
    assert [name for name in (*rules, *named, *partitions) if name not in table] == []
