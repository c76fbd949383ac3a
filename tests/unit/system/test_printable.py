"""Texts by others, as they are shown."""

import pytest

from fbfl.chain.digests import from_short_text
from fbfl.system.printable import printable


@pytest.mark.parametrize("sign", ["\x1b[2J", "\r", "\n", "\x00", "\x9b", "\u202e", "\ud800", "\x7f"])
def test_what_terminals_obey_is_shown_and_not_obeyed(sign: str) -> None:
    shown = printable(f"is \u00e9 {sign}")
    assert shown.startswith("is \u00e9 ")
    assert "\\" in shown
    assert shown.isprintable()


def test_texts_on_the_chain_are_shown_so() -> None:
    assert from_short_text(b"gone\x1b[2J".ljust(32, b"\0")) == "gone\\x1b[2J"
    assert from_short_text(b"too many views".ljust(32, b"\0")) == "too many views"
