"""How commands print what users have named."""

from rich.console import Console


def plain_console(*, quiet: bool = False) -> Console:
    """What prints lines as they are: brackets and colons in names are no markup. `quiet` prints nothing."""
    return Console(quiet=quiet, markup=False, emoji=False, highlight=False, soft_wrap=True)
