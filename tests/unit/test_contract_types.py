import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, with_config

from fbfl.values.contract_types import STRICT, Number


@dataclass(frozen=True)
class Part:
    name: str
    good: bool
    digest: bytes


@with_config(STRICT)
@dataclass(frozen=True)
class Whole:
    number: Number
    missing: Number | None
    parts: tuple[Part, ...]
    pairs: tuple[tuple[str, Number], ...]
    table: Mapping[str, Any]


WHOLE = TypeAdapter(Whole)

numbers = st.integers(0, 2**256 - 1)
wholes = st.builds(
    Whole,
    number=numbers,
    missing=st.none() | numbers,
    parts=st.lists(st.builds(Part, name=st.text(), good=st.booleans(), digest=st.binary())).map(tuple),
    pairs=st.lists(st.tuples(st.text(), numbers)).map(tuple),
    table=st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False)),
)


@given(wholes)
def test_what_is_written_comes_back(whole: Whole) -> None:
    assert WHOLE.validate_json(WHOLE.dump_json(whole)) == whole


RIGHT: dict[str, Any] = {
    "number": 1,
    "missing": None,
    "parts": [{"name": "a", "good": True, "digest": "00ff"}],
    "pairs": [["a", 1]],
    "table": {},
}


WRONG: dict[str, list[Any]] = {
    "number": [-1, 2**256, 1.0, True, "1", None, [1]],
    "missing": ["none"],
    "parts": [
        {},
        None,
        [1],
        [[]],
        [{"name": "a", "good": True}],
        [{"name": "a", "good": 1, "digest": ""}],
        [{"name": "a", "good": True, "digest": "0g"}],
        [{"name": "a", "good": True, "digest": "", "more": 1}],
        [{"name": "a" * 100_001, "good": True, "digest": ""}],
    ],
    "pairs": [[["a"]], [["a", 1, 2]], [[1, "a"]], "ab"],
    "table": [[], None, "{}"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_every_value_of_another_type_is_refused(field: str, value: object) -> None:
    assert read(RIGHT).parts[0].digest == b"\x00\xff"
    with pytest.raises(ValueError, match=field):
        read({**RIGHT, field: value})


@pytest.mark.parametrize("value", [None, [], {}, {**RIGHT, "other": 1}])
def test_an_object_has_exactly_the_fields(value: object) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read(value)


def read(value: object) -> Whole:
    return WHOLE.validate_json(json.dumps(value))
