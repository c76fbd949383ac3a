"""The help of any command costs little: it needs the options of all."""

import subprocess
import sys

SLOW = ("web3", "eth_account", "rich", "requests", "keras", "tensorflow", "scipy", "matplotlib", "pandas")


def test_options_are_read_without_what_is_slow_to_import() -> None:
    program = f"import sys; from fbfl.cli.main import parser; parser(); print({{*{SLOW}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
