"""How commands print what users have named."""

from typing import NoReturn

from rich.console import Console


class _Plain(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave it to `fbfl.cli.main`; Rich would end with status 1."""
        raise BrokenPipeError


def plain_console(*, quiet: bool = False) -> Console:
    """What prints lines as they are: brackets and colons in names are no markup. `quiet` prints nothing."""
    return _Plain(quiet=quiet, markup=False, emoji=False, highlight=False, soft_wrap=True)
