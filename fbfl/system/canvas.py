"""Empty pictures for files, and how Matplotlib is loaded.

A user's environment and matplotlibrc are for windows and notebooks; these pictures look the same everywhere.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.system.atomic import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextlib.contextmanager
def blank(**settings: Any) -> Iterator["Figure"]:
    """Yield an empty figure, to be filled and saved inside; `settings` are Matplotlib's own, with `__` for the dot."""
    mpl = load_matplotlib()
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({name.replace("__", "."): value for name, value in settings.items()})
        yield Figure(dpi=150, layout="constrained")


def save(figure: "Figure", path: Path, **options: Any) -> Path:
    """Write a picture of the kind that its name ends with; a disk that fails raises `StorageError`, and leaves none."""
    # Matplotlib warns of letters missing in its font and of titles that leave no room: the texts are the user's.
    silence = warnings.catch_warnings(action="ignore", category=UserWarning)
    drawn = io.BytesIO()
    with silence:
        figure.savefig(drawn, format=path.suffix[1:], **options)
    write_file(path, drawn.getvalue())
    return path


def literal(text: str) -> str:
    """Return a user's text escaped, so that Matplotlib draws it as it is: between two $ it would read a formula."""
    return text.replace("$", r"\$")


def load_matplotlib() -> Any:
    """Import Matplotlib even if MPLBACKEND names a backend that is not installed here, as in a notebook's shell.

    Its import would fail otherwise. A backend that is installed stays as the importing program has it.
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
