"""Empty pictures for files, and how Matplotlib is loaded.

What a user's environment and matplotlibrc say is for windows and notebooks; pictures here look the same without.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.errors import StorageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextlib.contextmanager
def blank(**settings: Any) -> Iterator["Figure"]:
    """An empty figure, to be filled and saved inside; `settings` are Matplotlib's own, with `__` for the dot."""
    mpl = load_matplotlib()
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({name.replace("__", "."): value for name, value in settings.items()})
        yield Figure(dpi=150, layout="constrained")


def save(figure: "Figure", path: Path, **options: Any) -> Path:
    """Write a picture of the kind that its name ends with; a disk that fails raises `StorageError`."""
    try:
        # Matplotlib warns of letters that its font has not, and of titles that leave no room: texts of the user's.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            figure.savefig(path, **options)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def literal(text: str) -> str:
    """A user's text as Matplotlib draws it letter by letter: between two $ it would read a formula."""
    return text.replace("$", r"\$")


def load_matplotlib() -> Any:
    """Import Matplotlib also where MPLBACKEND names what is not installed here, as in the shell of a notebook.

    It would refuse to be imported. A backend that is there stays the one of the program that imports us.
    """
    given = os.environ.get("MPLBACKEND")
    first = "matplotlib" not in sys.modules
    if given and first:
        os.environ["MPLBACKEND"] = "agg"
    try:
        import matplotlib as mpl
    finally:
        if given and first:
            os.environ["MPLBACKEND"] = given
    if given and first:
        with contextlib.suppress(ValueError):
            mpl.rcParams["backend"] = given
    return mpl
