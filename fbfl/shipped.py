"""What comes with fbfl besides its modules: the steps of a deployment, and the definitions of experiments.

In a checkout these are folders beside the package; the build puts them into the wheel's package.
"""

from importlib import resources
from pathlib import Path


def folder(name: str) -> Path:
    """The folder `migrations` or `experiments`: of the installed package, or of the checkout that fbfl runs from."""
    package = Path(str(resources.files("fbfl")))
    installed = package / "shipped" / name
    return installed if installed.is_dir() else package.parent / name
