"""Puts Brownie, under which the deployment steps are tested too, into an environment of its own: .tools/bin/brownie.

    python tools/install_brownie.py

It pins another web3 than fbfl. Says why, with exit status 3, where it cannot be had.
"""

import shutil
import sys
import venv
from pathlib import Path

from fbfl.errors import ProcessError
from fbfl.nodes.install import BIN, find_node, npm_ci, run, write_script
from fbfl.nodes.processes import TOOLS

CHECKOUT = Path(__file__).resolve().parents[1]
REQUIREMENTS = CHECKOUT / "tools" / "brownie.txt"
HOME = TOOLS / "brownie"
INSTALLED = HOME / "requirements.txt"
"""A copy of what it was installed from, written last."""


def main() -> int:
    """Install it, unless it is there as `REQUIREMENTS` say; returns the exit status."""
    if INSTALLED.exists() and INSTALLED.read_bytes() == REQUIREMENTS.read_bytes():
        return 0
    try:
        _install()
    except ProcessError as problem:
        print(f"brownie: not available: {problem}", file=sys.stderr)
        return problem.exit_status
    return 0


def _install() -> None:
    if not (CHECKOUT / "node_modules" / "solc").exists():
        npm_ci(CHECKOUT)  # the compiler, and what the contracts import
    venv.create(HOME, with_pip=True, clear=True)
    pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "-r", str(REQUIREMENTS)], timeout=1200)
    compilers = HOME / "solc"
    compilers.mkdir()
    solc = compilers / "solc-v0.8.37"
    solc.write_text(f"#!/bin/sh\nexec '{find_node()}' '{CHECKOUT / 'tools' / 'solc.js'}' \"$@\"\n")
    solc.chmod(0o755)
    settings = f"PATH='{BIN}':\"$PATH\" SOLCX_BINARY_PATH='{compilers}' "
    write_script("brownie", [HOME / "bin" / "brownie"], settings)
    shutil.copy(REQUIREMENTS, INSTALLED)


if __name__ == "__main__":
    sys.exit(main())
