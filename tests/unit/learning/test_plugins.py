import functools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.errors import AggregationError, InvalidInputError, UserCodeError
from fbfl.learning import aggregation, attacks, partition, plugins, server_optimizers
from fbfl.learning.evaluation import resolve_metrics
from fbfl.learning.federation import Federation
from fbfl.learning.on_round import teller
from fbfl.learning.plugins import Plugin
from fbfl.learning.training import TrainingSettings
from fbfl.mec import mobility, radio


def scale(
    data: list[int], factor: float, *, offset: int = 0, mode: str | None = None, seed: int | None = None
) -> tuple[Any, ...]:
    return [value * factor + offset for value in data], mode, seed


def anything(data: list[int], **settings: Any) -> tuple[list[int], dict[str, int]]:
    return data, settings


TABLE = {"scale": scale}


def find(
    name: Callable[..., Any] | str, context: tuple[str, str] = ("seed", "unused"), **settings: float | None
) -> Plugin:
    return plugins.resolve("thing", name, TABLE, settings, data=1, context=context)


def test_a_plugin_gets_its_settings_and_what_it_wants_of_the_context() -> None:
    plugin = find("scale", factor=2)
    assert plugin.wants == {"seed"}
    assert plugin([1, 2], seed=9, unused=1) == ([2, 4], None, 9)
    assert find("scale", factor=2, seed=4)([1], seed=9) == ([2], None, 4), "a setting wins over the context"
    assert find(f"{__name__}:scale", factor=0.5, mode=None)([2]) == ([1.0], None, None)
    assert find(anything, x=1)([2]) == ([2], {"x": 1})


def test_a_users_function_may_change_the_arrays_that_it_gets() -> None:
    def spoil(data: Any, state: dict[str, Any], weights: list[Any], classes: Any) -> Any:
        for array in (data, state["sum"], *weights):
            array += classes.pop()
        state["more"] = 0
        return data

    data, state, weights = np.zeros(2), {"sum": np.zeros(2)}, [np.zeros(2)]
    plugin = plugins.resolve("thing", spoil, {}, {"classes": [1, 1, 1]}, data=1, context=("state", "weights"))
    for _ in range(2):
        assert plugin(data, state=state, weights=weights).tolist() == [1, 1]
    assert state.keys() == {"sum"}
    assert [array.tolist() for array in (data, state["sum"], *weights)] == [[0, 0]] * 3


def test_the_arrays_of_a_users_function_lie_in_memory_as_they_did() -> None:
    plugin = plugins.resolve("thing", lambda data: data.flags, {}, {}, data=1)  # sums depend on it
    for order in ("C", "F"):
        assert plugin(np.ones((3, 4), order=order))[f"{order}_CONTIGUOUS"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("scales", {}, r"thing is 'scales'; allowed: scale, or package.module:function"),
        ("scale", {}, "thing scale: needs factor; its settings are: factor, offset, mode"),
        ("scale", {"factor": 1.0, "of": 1}, "does not take 'of'; allowed: factor, offset, mode"),
        ("scale", {"factor": "x"}, "factor is 'x'; allowed: a number"),
        ("scale", {"factor": True}, "factor is True; allowed: a number"),
        ("scale", {"factor": 1, "offset": 1.5}, "offset is 1.5; allowed: a whole number"),
        ("scale", {"factor": 1, "mode": 3}, "mode is 3; allowed: a text"),
        (lambda: 1, {}, r"thing <lambda>: its parameters are \(\); needed: 1 or more, by place"),
        ("scale:factor", {}, "is 'scale:factor'; allowed: scale, with its settings apart as KEY=VALUE"),
        ("no.such.module:f", {}, "cannot import 'no.such.module'"),
        ("math:no_such", {}, "module math has no function 'no_such'"),
        ("math:pi", {}, "has no function 'pi'"),
        (":f", {}, "cannot import ''"),
        ("builtins:max", {}, "parameters can be read"),
    ],
)
def test_what_is_wrong_is_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        find(name, **settings)


BROKEN = """
import numpy as np
from fbfl.errors import AggregationError
from fbfl.mec.mobility import Grid, Mobility
from fbfl.mec.radio import CostModel, Radio

def fails(*_, **__):
    return deeper()

def deeper():
    return np.zeros(2).reshape(3)

def rule(updates): fails()
def attack(honest, own, rng): fails()
def data(x, y, rng): return x, y
data.triggered = fails
def split(labels, num_clients): fails()
def server(update, state): fails()
def moves(servers): fails()
def air(): fails()
def moving(servers): return Mobility(fails, Grid(1, 1, servers, 1), 1.0, 1)
def busy(): return CostModel(Radio(), fails, fails)
def refuses(updates): raise AggregationError("no update is good")
def leaves(updates): raise SystemExit(0)
def stopped(updates): raise KeyboardInterrupt
"""


class Answer:
    """What users name instead of an object of it, or of a function."""

    def __init__(self, *first: object, x: object = None, honest: object = None) -> None:
        """Take anything."""

    def __call__(self, *data: Any) -> Any:
        return data


SMALL: dict[str, Any] = {
    "clients": [(np.zeros((4, 2), np.float32), np.arange(4) % 2)],
    "test": (np.zeros((4, 2)), np.arange(4) % 2),
}


@pytest.mark.parametrize("named", [Answer, f"{__name__}:Answer"])
@pytest.mark.parametrize(
    ("kind", "use"),
    [
        ("aggregator", aggregation.resolve),
        ("attack", attacks.resolve),
        ("partition", partition.resolve),
        ("server optimizer", server_optimizers.resolve),
        ("metric", lambda name: resolve_metrics([name])),
        ("schedule", lambda name: TrainingSettings(learning_rate=1.0, schedule=name)),
        ("loss", lambda name: Federation(**SMALL, loss=name)),
    ],
)
def test_a_class_where_a_function_is_needed_is_refused_before_any_work(kind: str, use: Any, named: Any) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{kind} .*Answer is a class; needed: a function, or an object of"):
        use(named)


def test_a_class_as_on_round_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^on_round Answer is a class; needed: a function"):
        teller(Answer)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "brokenlab.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "brokenlab.py"
    sys.modules.pop("brokenlab", None)


UPDATES = np.ones((2, 3), np.float32)
LABELS = np.zeros(2, np.int64)
RNG = np.random.default_rng(0)
CALLS: dict[str, Callable[[], object]] = {
    "aggregator brokenlab:rule": lambda: aggregation.resolve("brokenlab:rule")(UPDATES),
    "attack brokenlab:attack": lambda: attacks.resolve("brokenlab:attack").poison_update(
        UPDATES, UPDATES[0], RNG, num_clients=3, num_byzantine=1
    ),
    "attack brokenlab:data: its triggered": lambda: attacks.resolve("brokenlab:data").triggered(UPDATES, LABELS),
    "partition brokenlab:split": lambda: partition.resolve("brokenlab:split")([0, 1], 2, seed=0),
    "server optimizer brokenlab:server": lambda: server_optimizers.resolve("brokenlab:server")(UPDATES[0], {}),
    "mobility brokenlab:moves": lambda: mobility.resolve("brokenlab:moves", 2, {}),
    "radio brokenlab:air": lambda: radio.resolve("brokenlab:air", {}),
    "mobility fails": lambda: mobility.resolve("brokenlab:moving", 2, {}).server_of(0, 0, 1),
    "radio fails": lambda: radio.resolve("brokenlab:busy", {}).round_cost(0, [], {0: 1}, 1),
}


@pytest.mark.parametrize("label", CALLS)
def test_what_a_function_of_the_users_raises_is_shown_with_its_name_and_its_own_frames(
    broken: Path, label: str
) -> None:
    with pytest.raises(UserCodeError) as caught:
        CALLS[label]()
    first, *frames = str(caught.value).splitlines()
    assert first.startswith(f"{label} raised ValueError: cannot reshape")
    assert frames[-2:] == [
        f"  {broken}:8 in fails: return deeper()",
        f"  {broken}:11 in deeper: return np.zeros(2).reshape(3)",
    ]
    assert all(frame.startswith(f"  {broken}:") for frame in frames)
    assert caught.value.exit_status == 2


def test_what_is_wrong_with_a_setting_is_said_of_the_function_and_all_else_as_it_is() -> None:
    def rule(updates: object, bound: float) -> None:
        raise AggregationError(f"bound is {bound}" if bound < 0 else "no update to average")

    plugin = plugins.resolve("aggregator", rule, {}, {"bound": -1}, data=1)
    with pytest.raises(AggregationError, match=r"^aggregator rule: bound is -1$"):
        plugin([])
    with pytest.raises(AggregationError, match=r"^no update to average$"):
        plugins.resolve("aggregator", rule, {}, {"bound": 1}, data=1)([])


def test_errors_of_fbfl_and_interrupts_pass_and_an_exit_does_not(broken: Path) -> None:
    for name, error in (("refuses", AggregationError), ("stopped", KeyboardInterrupt), ("leaves", UserCodeError)):
        with pytest.raises(error):
            aggregation.resolve(f"brokenlab:{name}")(UPDATES)


def test_a_fault_of_our_own_is_not_said_to_be_the_users() -> None:
    trimmed_mean: Any = aggregation.trimmed_mean
    for rule in (functools.partial(trimmed_mean, trim="x"), trimmed_mean):
        assert plugins.is_ours(rule)
    with pytest.raises(TypeError), plugins.users_code("rule", aggregation.krum):
        raise TypeError


def test_frames_of_deep_recursion_and_long_texts_are_cut() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("line\n" * 100)

    with pytest.raises(UserCodeError, match=r"thing deep raised ValueError: line") as caught:
        plugins.guarded("thing", deep)(50)
    assert len(str(caught.value).splitlines()) <= 8


def test_an_import_that_raises_is_shown_and_one_that_finds_nothing_takes_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "raisinglab.py").write_text("a = {}\na['b']\n")
    (tmp_path / "importinglab.py").write_text("import nosuchlab\n")
    (tmp_path / "leavinglab.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "wronglab.py").write_text("def f(:\n")
    for name, text in (
        ("raisinglab", f"KeyError: 'b'\n  {tmp_path}/raisinglab.py:2 in <module>: a['b']"),
        ("importinglab", f"ModuleNotFoundError: No module named 'nosuchlab'\n  {tmp_path}/importinglab.py:1 in "),
        ("leavinglab", "SystemExit: 0\n"),
    ):
        with pytest.raises(UserCodeError, match=re.escape(f"thing '{name}:f': the import of {name} raised {text}")):
            find(f"{name}:f")
    for name, text in (("wronglab", "invalid syntax"), ("nosuchlab", "No module named 'nosuchlab'")):
        with pytest.raises(InvalidInputError, match=f"thing '{name}:f': cannot import '{name}': {text}"):
            find(f"{name}:f")


@pytest.mark.parametrize("name", [":", ":f", ".x:f", "a..b:f"])
def test_a_name_without_a_module_is_refused_where_only_its_file_is_wanted(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^model is '{re.escape(name)}'; allowed: package.module:function$"):
        plugins.source_of("model", name)


def test_settings_of_a_command_line() -> None:
    words = ["a=1", "b=0.5", "c=True", "d=text", "e=(1, 2)", "f=a=b", "g=", "h=None", "i=true", "j=false"]
    assert plugins.parse_settings("--x-arg", words) == {
        "a": 1, "b": 0.5, "c": True, "d": "text", "e": (1, 2), "f": "a=b", "g": "", "h": None, "i": True, "j": False,
    }  # fmt: skip
    for bad in (["a"], ["=1"], ["1a=1"], ["a=1", "a=2"]):
        with pytest.raises(InvalidInputError, match=rf"^--x-arg {bad[-1]}: (must be KEY=VALUE|a is given twice)$"):
            plugins.parse_settings("--x-arg", bad)
    for number in ("9" * 5_000, "0x" + "f" * 5_000):
        assert plugins.parse_settings("--x-arg", [f"a={number}"]) == {"a": number}, "no message could show the number"


def test_a_module_that_imports_keras_itself_does_so_with_our_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "imports_first.py").write_text(
        f"import os\nSEEN = [os.environ.get(n) for n in {names}]\ndef f(x): pass"
    )
    monkeypatch.syspath_prepend(tmp_path)
    find("imports_first:f")
    assert sys.modules.pop("imports_first").SEEN == ["tensorflow", "1"]
