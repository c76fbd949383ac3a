"""Names of users are printed as they are."""

import pytest

from fbfl.cli.console import plain_console

NAME = "exp[lr=0.1] [/a] [bold]b :smile: " + 40 * "long "


@pytest.mark.parametrize("quiet", [False, True])
def test_nothing_in_a_line_is_markup(capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    plain_console(quiet=quiet).print(NAME)
    assert capsys.readouterr().out == ("" if quiet else NAME + "\n")
