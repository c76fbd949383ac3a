"""Output of commands that may hold names chosen by users."""

from typing import NoReturn

from rich.console import Console


class _Plain(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave a broken pipe to `fbfl.cli.main`; Rich would end with status 1."""
        raise BrokenPipeError


def plain_console(*, quiet: bool = False) -> Console:
    """Return a console that prints lines as they are: brackets and colons are not markup. `quiet` prints nothing."""
    return _Plain(quiet=quiet, markup=False, emoji=False, highlight=False, soft_wrap=True)
