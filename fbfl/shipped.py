"""Files that come with fbfl besides its modules: the steps of a deployment, and the definitions of experiments.

In a checkout these are folders beside the package; the build puts them into the wheel's package.
"""

from importlib import resources
from pathlib import Path

_PACKAGE = Path(str(resources.files("fbfl")))


def folder(name: str) -> Path:
    """Return the folder `migrations` or `experiments` of the installed package, or of the checkout fbfl runs from."""
    return checkout_folder(name) or _PACKAGE / "shipped" / name


def checkout_folder(name: str) -> Path | None:
    """Return a folder of the checkout that fbfl runs from; None if it runs from an installed package."""
    return None if (_PACKAGE / "shipped").is_dir() else _PACKAGE.parent / name
