"""JSON with null for what is not finite, and nothing in it that JSON has not."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbfl.system import strictjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def refuse(name: Any) -> None:
    pytest.fail(f"JSON has no {name}")


@given(VALUES)
def test_what_is_not_finite_is_null_and_all_else_as_it_was(value: bool | dict[str, Any] | list[Any] | None) -> None:
    for indent in (None, 1):
        read = json.loads(strictjson.dumps(value, indent=indent), parse_constant=refuse)
        assert read == strictjson.finite(value) == json.loads(json.dumps(value), parse_constant=lambda _: None)


def test_what_python_wrote_before_is_read_as_null() -> None:
    assert strictjson.loads(json.dumps([math.nan, -math.inf, 1.5])) == [None, None, 1.5]


def test_a_number_that_no_float_holds_is_null() -> None:
    assert strictjson.loads("[1e400, -1e400, 1e300]") == [None, None, 1e300]


@pytest.mark.parametrize("form", ["[", '{"a":', '"\\"[",[', '"]",['])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_nesting_that_would_crash_the_parser_is_refused(form: Any, encoding: Any) -> None:
    for levels in (strictjson.MOST_LEVELS + 1, 100_000):
        with pytest.raises(ValueError, match="inside each other"):
            strictjson.loads((form * levels).encode(encoding))


def test_brackets_beside_each_other_or_in_texts_are_no_levels() -> None:
    many = [[], {"[{": '{"[['}] * strictjson.MOST_LEVELS
    assert strictjson.loads(json.dumps(many)) == many
    deepest = "[" * strictjson.MOST_LEVELS + "]" * strictjson.MOST_LEVELS
    assert json.dumps(strictjson.loads(deepest)) == deepest


def test_levels_count_lists_and_objects_alike() -> None:
    def nested(pairs: int) -> str:
        return '[{"a": ' * pairs + '"]}\\\\"' + "}]" * pairs

    half = strictjson.MOST_LEVELS // 2
    assert json.dumps(strictjson.loads(nested(half))) == nested(half)
    with pytest.raises(ValueError, match="inside each other"):
        strictjson.loads(nested(half + 1))
    for unfinished in ("[" * strictjson.MOST_LEVELS, "][" * 1000, "]" * 1000, '"' + "[" * 1000):
        with pytest.raises(json.JSONDecodeError):
            strictjson.loads(unfinished)
