"""Values of the wrong type and absurd ones, wherever they are given: one line, and NumPy's numbers are numbers."""

import inspect
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import GenericAlias, UnionType
from typing import Annotated, Any, cast

import numpy as np
import pytest

from fbfl.errors import FbflError, InvalidInputError
from fbfl.learning import aggregation, attacks, partition
from fbfl.learning.federation import Federation
from fbfl.learning.training import TrainingSettings
from fbfl.settings import RunSettings, as_dict
from fbfl.values import checks

WRONG: dict[str, object] = {
    "a list": [1.0],
    "a text": "x",
    "a whole float": 10.0,
    "NaN": float("nan"),
    "negative": -1,
    "zero": 0,
    "33 bits": 2**33,
    "100 bits": 10**30,
    "too large for a float": 10**400,
    "a flag": True,
    "a table": {},
    "none": None,
    "an array": np.array([1.0]),
}
LABELS = np.arange(60) % 6
PICTURES = np.random.default_rng(0).random((60, 8, 8)).astype(np.float32)
UPDATES = np.random.default_rng(1).normal(size=(16, 5)).astype(np.float32)
GOOD: dict[str, object] = {
    "num_clients": 4,
    "shards_per_client": 2,
    "alpha": 1.0,
    "labels_per_client": 2,
    "bias": 0.5,
    "sigma": 0.5,
    "seed": 0,
    "variance": 0.1,
    "client": 1,
    "num_byzantine": 3,
    "num_selected": 3,
    "trim": 2,
    "max_norm": 1.0,
    "source": 1,
    "target": 2,
    "num_classes": 6,
    "attacker": 0,
    "round_number": 1,
}
DATA = {
    "labels": LABELS,
    "x": PICTURES,
    "y": LABELS,
    "updates": UPDATES,
    "own": UPDATES[0],
    "root_update": UPDATES[0],
    "honest": UPDATES,
    "everybody": UPDATES,
    "compromised": UPDATES[:3],
    "device_of": LABELS,
}
GIVEN = {"rng", "x", "y", "honest", "own", "everybody", "compromised", "sample_range"}
"""Arguments that no user gives, but a federation."""
PARTITIONS: dict[str, Callable[..., object]] = {**partition.PARTITIONS, "feature_noise": partition.feature_noise}
FUNCTIONS: dict[str, Callable[..., object]] = {**PARTITIONS, **aggregation.RULES, **attacks.ATTACKS}


def call(function: Callable[..., object], changed: dict[str, object]) -> object:
    parameters = inspect.signature(function).parameters
    data = {name: DATA[name] for name in parameters if name in DATA}
    settings = {name: GOOD[name] for name in parameters if name in GOOD}
    rng = {"rng": np.random.default_rng(0)} if "rng" in parameters else {}
    return function(**{**data, **settings, **rng, **changed})


def made(kind: Callable[..., object], fields: dict[str, object]) -> object:
    return kind(**fields)


def settings(name: str, value: Any) -> RunSettings:
    return RunSettings(**{name: value})


def refusal(call: Callable[[], object]) -> str:
    """The line with which a call is refused; nothing if it is not. Raw errors pass."""
    try:
        call()
    except FbflError as error:
        return str(error)
    return ""


@pytest.fixture
def patience() -> Iterator[Any]:
    """A call that does not come to an end is a failure."""

    def end(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_argument_of_a_function_of_ours_ends_in_a_raw_error(name: str, patience: Any) -> None:
    function = FUNCTIONS[name]
    call(function, {})
    arguments = [argument for argument in inspect.signature(function).parameters if argument not in GIVEN]
    lines = [refusal(partial(call, function, {a: v})) for a in arguments for v in WRONG.values()]
    assert any(lines) == bool(arguments)
    assert not any("\n" in line for line in lines)


def numpys(value: object) -> object:
    """The number as one of NumPy's; any other value as it is."""
    kinds = {int: np.int64, float: np.float64, bool: np.bool_}
    return kinds[type(value)](value) if type(value) in kinds else value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_of_numpys_are_numbers(name: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    changed = {key: numpys(value) for key, value in GOOD.items() if key in parameters}
    expected, found = (call(FUNCTIONS[name], each) for each in ({}, changed))
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("kind", [RunSettings, TrainingSettings])
def test_no_field_of_settings_ends_in_a_raw_error_and_numpys_numbers_become_pythons(kind: type[Any]) -> None:
    for name, default in vars(kind()).items():
        lines = [refusal(partial(made, kind, {name: value})) for value in WRONG.values()]
        assert all(name in line and "\n" not in line for line in lines if line)
        assert any(lines) or (kind, name) == (TrainingSettings, "optimizer")  # which is looked up later
        assert type(getattr(kind(**{name: numpys(default)}), name)) is type(default)
    for name, value in (("batch_size", 32.0), ("batch_size", "32"), ("local_epochs", True)):
        with pytest.raises(InvalidInputError, match=f"^{name} is {value!r}"):
            kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "most"),
    [
        (TrainingSettings, "batch_size", 2**24),
        (TrainingSettings, "local_epochs", 10_000),
        (TrainingSettings, "local_steps", 1_000_000),
        (RunSettings, "servers", 240),
        (RunSettings, "nodes", 240),
        (RunSettings, "devices", 1_000_000),
    ],
)
def test_numbers_that_no_machine_can_serve_are_refused(kind: type[Any], name: str, most: int) -> None:
    others: dict[str, Any] = {"consensus": "ethash"} if name == "nodes" else {}
    assert getattr(kind(**{**others, name: most}), name) == most
    with pytest.raises(InvalidInputError, match=f"{name} is {most + 1}.* {most:,}|{name} is {most + 1}.* {most}"):
        kind(**{**others, name: most + 1})


def test_tables_of_settings_are_fit_for_json() -> None:
    settings = RunSettings(
        aggregator="krum", aggregator_args={"num_byzantine": np.int64(2)}, seed=cast(int, np.uint64(7))
    )
    assert settings == RunSettings(aggregator="krum", aggregator_args={"num_byzantine": 2}, seed=7)
    assert json.dumps(as_dict(settings))


@pytest.mark.parametrize("name", ["stake", "reward"])
def test_money_has_the_bits_that_the_contracts_have_for_it(name: str) -> None:
    assert getattr(settings(name, 2**128 - 1), name) == 2**128 - 1
    with pytest.raises(InvalidInputError, match=rf"{name} is \d+\.*; allowed: a whole number of wei, below 2\*\*128"):
        settings(name, 2**128)


def test_no_argument_of_a_federation_ends_in_a_raw_error() -> None:
    given: dict[str, Any] = {"clients": [(PICTURES, LABELS)], "test": (PICTURES, LABELS)}
    trainer = Federation(**given, lanes=1).trainer
    for name in inspect.signature(Federation).parameters:
        values = (*WRONG.values(), object(), {1: 2})
        lines = [refusal(partial(made, Federation, {**given, "trainer": trainer, name: v})) for v in values]
        assert any(lines) or name == "lanes"  # which are the trainer's
        assert not any("\n" in line for line in lines)


@pytest.mark.parametrize(
    ("annotation", "value", "allowed"),
    [
        (int, 1.0, "a whole number"),
        (int, 2**63, "a whole number of at most 64 bits"),
        (int | None, "1", "a whole number"),
        (float, "1", "a number"),
        (bool, 1, "True or False"),
        (float | Callable[[int], float] | None, [1], "a number or a function"),
        (Mapping[str, object], [1], "a table of settings"),
        (Annotated[int, checks.Within(1, 1_000)], 1_001, "a whole number from 1 to 1,000"),
        (Annotated[int, checks.Within(1, 1_000)] | None, 0, "a whole number from 1 to 1,000"),
    ],
)
def test_what_is_allowed_is_read_off_the_annotation(
    annotation: GenericAlias | UnionType | type[Any], value: float | list[int] | str, allowed: str
) -> None:
    with pytest.raises(InvalidInputError, match=rf"thing: x is .*; allowed: {allowed}$"):
        checks.check("thing: ", "x", value, annotation)


def test_other_annotations_are_left_to_who_uses_the_value() -> None:
    for annotation in (np.ndarray, list[int], str | list[int], str | Callable[[], int], "int", inspect.Parameter.empty):
        checks.check("", "x", 1, annotation)
