"""Tables in the terminal."""

import pytest

from fbfl.cli.tables import names_of, short, show
from fbfl.system.printable import counted


def test_columns_stand_below_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    show(("name", "gas"), [("a", "1,000"), ("数据", "2"), ("x\x1b[31m", "3")], right=("gas",))
    assert capsys.readouterr().out.splitlines() == [
        "name         gas",
        "a          1,000",
        "数据           2",
        "x\\x1b[31m      3",
    ]


def test_rows_that_come_later_stand_below_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    for place, row in enumerate((("1", "a"), ("10", ""))):
        show(("round", "who"), [row], right=("round",), headed=not place, widths=(6, 3))
    assert capsys.readouterr().out.splitlines() == [" round  who", "     1  a", "    10"]


def test_short_names() -> None:
    assert short("0x332e5Ed7F1c02055932027A0c23ce0BfeE416ce6") == "0x332e..6ce6"
    assert short("pow") == "pow"
    assert names_of(["0xb", "0xa"]) == {"0xb": "server-0", "0xa": "server-1"}


@pytest.mark.parametrize(("number", "said"), [(0, "0 rounds"), (1, "1 round"), (1_200, "1,200 rounds")])
def test_one_of_a_thing_has_no_plural(number: int, said: str) -> None:
    assert counted(number, "round") == said
